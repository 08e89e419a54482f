"""The recorded run of a model: which call fed which, and where the head is.

A `Graph` is plain data made by tracing the model once without running it. It
answers the questions that methods ask before they run: which layer is meant
by a name, which one a class activation map should use, what stands between
the scores and the logits, and which nonlinearities no rule could reach.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine import interception
from keras_explain.engine.errors import message, near

INPUT = -1  # the parent of a call that is fed by the model's inputs

# TensorFlow ops that hand a tensor on unchanged (up to its number format).
_TRANSPARENT = {"Identity", "IdentityN", "Cast", "CheckNumerics", "Snapshot"}
_LINEAR_HEADS = {
    "BiasAdd",
    "MatMul",
    "BatchMatMulV2",
    "Add",
    "AddV2",
    "Einsum",
    "Conv2D",
    "Mean",
    "Reshape",
    "Squeeze",
    "Sub",
    "Mul",
    "Relu",
    "Tanh",
    "LogSoftmax",
}
_POOLING = (
    "MaxPooling",
    "AveragePooling",
    "Dropout",
    "SpatialDropout",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ZeroPadding",
    "Identity",
    "ActivityRegularization",
)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of one operation.

    Attributes:
        index: Position in the order in which calls ended.
        path: Names from the outside in, `"backbone/conv5"`.
        occurrence: How many times the operation was called before.
        operation: The layer, `keras.ops` node or `FusedActivation`.
        parents: Indices of the innermost calls that made the inputs.
        enclosing: Path of the layer or model it was called from.
        shape: Shape of the output with `None` for the batch; of the first
            one if there are several.
        dtype: Name of the output's dtype.
        num_outputs: Number of output tensors.
        op_types: Types of the TensorFlow ops made by the call itself.
        on_path: Whether an output of the model depends on it.
    """

    index: int
    path: str
    occurrence: int
    operation: Any
    parents: tuple[int, ...]
    enclosing: str
    shape: tuple[int | None, ...] | None
    dtype: str
    num_outputs: int
    op_types: frozenset[str]
    on_path: bool

    @property
    def key(self) -> tuple[str, int]:
        return (self.path, self.occurrence)

    @property
    def kind(self) -> str:
        """Name of the class of the operation; of a fused one, its function."""
        if isinstance(self.operation, interception.FusedActivation):
            function = self.operation.function
            return getattr(function, "__name__", type(function).__name__)
        return type(self.operation).__name__


@dataclasses.dataclass(frozen=True)
class Head:
    """What stands between one output of the model and its scores.

    Attributes:
        kind: `"softmax"`, `"sigmoid"`, `"linear"` or `"unknown"`.
        shape: Shape of the output with `None` for the batch.
        name: Name of the output if the model names it.
    """

    kind: str
    shape: tuple[int | None, ...]
    name: str | None


@dataclasses.dataclass(frozen=True)
class Graph:
    """All calls of a model, in the order in which they ended."""

    calls: tuple[Call, ...]
    heads: tuple[Head, ...]
    input_ranks: tuple[int | None, ...]

    @property
    def layers(self) -> tuple[Call, ...]:
        """The calls that have a name of their own, inner ones included."""
        return tuple(
            call
            for call in self.calls
            if call.path
            and not isinstance(
                call.operation,
                (interception.FusedActivation, keras.layers.InputLayer),
            )
        )

    def address(self, call: Call) -> str:
        """Returns the path, with `:k` where the operation is called often."""
        several = any(c.path == call.path and c.occurrence for c in self.calls)
        return f"{call.path}:{call.occurrence}" if several else call.path

    def find(self, layer: Any) -> Call:
        """Returns the call meant by a layer, a path, or a name in it.

        Args:
            layer: A layer of the model; its path (`"backbone/conv5"`); a
                name that is unique in the model (`"conv5"`); each with `:k`
                for the k-th call. Without it the last call is meant.

        Raises:
            ValueError: If nothing, or more than one layer, fits.
        """
        if not isinstance(layer, str):
            found = [c for c in self.calls if c.operation is layer]
            if not found:
                name = getattr(layer, "name", layer)
                raise ValueError(
                    message(
                        "The layer is not called by this model.",
                        f"layer={name!r}",
                        f"Layers by path: {near(str(name), self._paths())}.",
                    )
                )
            return found[-1]
        name, _, occurrence = layer.rpartition(":")
        named = self._named(layer)
        if named:
            return named[-1]
        if occurrence.isdigit() and self._named(name):
            for call in self._named(name):
                if call.occurrence == int(occurrence):
                    return call
            raise ValueError(
                message(
                    f"Layer {name!r} is called {len(self._named(name))} times.",
                    f"layer={layer!r}",
                    "Count from `:0`; without a number the last is meant.",
                )
            )
        raise ValueError(
            message(
                "No layer of this name is called by the model.",
                f"layer={layer!r}",
                f"Near names: {near(layer, self._paths())}. `keras-explain "
                "layers MODEL` lists them all.",
            )
        )

    def _paths(self) -> list[str]:
        return list(dict.fromkeys(call.path for call in self.layers))

    def _named(self, name: str) -> list[Call]:
        exact = [call for call in self.calls if call.path == name and name]
        if exact:
            return exact
        inner = [c for c in self.calls if c.path.endswith("/" + name) and name]
        paths = sorted({call.path for call in inner})
        if len(paths) > 1:
            raise ValueError(
                message(
                    "Several layers have this name.",
                    f"layer={name!r}",
                    f"Pass one of the paths: {', '.join(map(repr, paths))}.",
                )
            )
        return inner

    def spatial(self) -> tuple[Call, ...]:
        """The layers on the way to the output that a CAM may use."""
        return tuple(c for c in self.layers if c.on_path and self._maps(c))

    def _maps(self, call: Call) -> bool:
        shape = call.shape
        if shape is None or len(shape) < 3 or call.num_outputs != 1:
            return False
        sizes = shape[1:-1]
        return shape[-1] is not None and any(s is None or s > 1 for s in sizes)

    def automatic_spatial(self) -> Call | None:
        """The last feature map before the positions are pooled away.

        Trailing pooling and dropout are stepped over, so that VGG16 gives
        `block5_conv3` and ResNet50 the activation after the last addition.
        """
        spatial = [c for c in self.spatial() if c.kind != "Softmax"]
        if any(len(head.shape) > 2 for head in self.heads):
            # Per-position outputs: the map that the last weights read.
            weighted = [c for c in spatial if _has_weights(c.operation)]
            before = weighted[-1].parents if weighted else ()
            spatial = [c for c in spatial if c.index <= max(before, default=-1)]
        if not spatial:
            return None
        # A model that only hands on the output of its last layer ends after
        # it: step inside, to the call that made the tensor.
        last = spatial[-1]
        while True:
            inner = self._maker(last)
            if inner is not None:
                last = inner
            elif last.kind.startswith(_POOLING) and self._before(last):
                last = self._before(last)  # type: ignore[assignment]
            else:
                return last

    def _before(self, call: Call) -> Call | None:
        parents = [self.calls[i] for i in call.parents if i != INPUT]
        named = [p for p in map(self._owner, parents) if p and self._maps(p)]
        return named[-1] if named else None

    def _owner(self, call: Call) -> Call | None:
        """The layer that a fused activation belongs to; else itself."""
        if not isinstance(call.operation, interception.FusedActivation):
            return call
        layer = call.operation.layer
        for other in self.calls[call.index + 1 :]:
            if other.operation is layer:
                return other
        return None

    def _maker(self, call: Call) -> Call | None:
        if not isinstance(call.operation, keras.Model):
            return None
        inside = [
            c
            for c in self.layers
            if c.index < call.index
            and c.path.startswith(call.path + "/")
            and self._maps(c)
            and c.on_path
        ]
        return inside[-1] if inside else None

    @property
    def half_precision(self) -> bool:
        """Whether gradients may underflow on the way down."""
        return any(call.dtype == "float16" for call in self.calls)


def _has_weights(operation: Any) -> bool:
    if isinstance(operation, keras.Model):
        return False
    name = type(operation).__name__
    return "Normalization" not in name and bool(
        getattr(operation, "trainable_variables", None)
        or getattr(operation, "variables", None)
    )


def producer(tensor: tf.Tensor) -> tf.Tensor:
    """Steps back over ops that only hand a tensor on."""
    while tensor.op.type in _TRANSPARENT:
        index = tensor.value_index if tensor.op.type == "IdentityN" else 0
        tensor = tensor.op.inputs[index]
    return tensor


def pre_activation(output: tf.Tensor) -> tuple[str, tf.Tensor]:
    """Returns the kind of the final nonlinearity and what it was applied to.

    It reads the TensorFlow graph under trace, so that a softmax is found
    wherever it was written: fused, as a layer, as a `keras.ops` node or as
    a raw op in a subclassed model's `call`.
    """
    tensor = producer(output)
    kind = tensor.op.type
    if kind == "Softmax":
        return "softmax", tensor.op.inputs[0]
    if kind == "Sigmoid":
        return "sigmoid", tensor.op.inputs[0]
    if kind in _LINEAR_HEADS or kind.startswith(("Conv", "Depthwise")):
        return "linear", output
    return "unknown", output


class _Recorder:
    """The handler that fills a `Graph`."""

    def __init__(self, model: keras.Model, inputs: Iterable[tf.Tensor]):
        self.names = {
            key: path
            for key, (path, _) in interception.operations(model).items()
        }
        self.graph = tf.compat.v1.get_default_graph()
        self.made_by = {id(tensor): INPUT for tensor in inputs}
        self.kept: list[Any] = list(inputs)  # ids stay unique while alive
        self.calls: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.stack: list[tuple[str, set[str]]] = []
        self.seen = 0

    def _ops_since(self) -> set[str]:
        ops = self.graph.get_operations()
        types = {op.type for op in ops[self.seen :]}
        self.seen = len(ops)
        return types

    def __call__(
        self, operation: Any, call: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if tf.compat.v1.get_default_graph() is not self.graph:
            return call(*args, **kwargs)  # the body of a loop: one opaque call
        path = path_of(operation, self.names)
        if self.stack:
            self.stack[-1][1].update(self._ops_since())
        enclosing = self.stack[-1][0] if self.stack else ""
        occurrence = self.counts.get(path, 0)
        self.counts[path] = occurrence + 1
        self.stack.append((path, set()))
        self._ops_since()
        try:
            outputs = call(*args, **kwargs)
        finally:
            _, op_types = self.stack.pop()
        op_types.update(self._ops_since())
        tensors = _tensors(outputs)
        self.calls.append(
            dict(
                index=len(self.calls),
                path=path,
                occurrence=occurrence,
                operation=operation,
                parents=self._parents((args, kwargs)),
                enclosing=enclosing,
                op_types=frozenset(op_types),
                tensors=tensors,
            )
        )
        for tensor in tensors:
            # The innermost call made it; those around it hand it on.
            self.made_by.setdefault(id(tensor), len(self.calls) - 1)
            self.kept.append(tensor)
        return outputs

    def _parents(self, arguments: Any) -> tuple[int, ...]:
        found = []
        for tensor in _tensors(arguments):
            if id(tensor) not in self.made_by:
                tensor = producer(tensor)
            if id(tensor) in self.made_by:
                found.append(self.made_by[id(tensor)])
        return tuple(dict.fromkeys(found))


def path_of(operation: Any, names: dict[int, str]) -> str:
    """Returns the path of an operation, fused activations included."""
    if isinstance(operation, interception.FusedActivation):
        return f"{names[id(operation.layer)]}/activation".lstrip("/")
    return names[id(operation)]


def _tensors(structure: Any) -> list[tf.Tensor]:
    return [t for t in tf.nest.flatten(structure) if tf.is_tensor(t)]


def _ancestors(outputs: Iterable[tf.Tensor]) -> set[str]:
    seen: set[str] = set()
    queue = [tensor.op for tensor in outputs]
    while queue:
        op = queue.pop()
        if op.name not in seen:
            seen.add(op.name)
            queue.extend(tensor.op for tensor in op.inputs)
    return seen


_CACHE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def record(model: keras.Model, inputs: Any) -> Graph:
    """Traces `model` once on tensors shaped like `inputs`.

    Args:
        model: A built model.
        inputs: A structure of `tf.TensorSpec`.

    Returns:
        The `Graph`, remembered for as long as the model lives and consists
        of the same operations.
    """
    known = tuple(interception.operations(model))
    flat = tf.nest.flatten(inputs)
    before, graphs = _CACHE.get(model, (None, {}))
    if before != known:
        graphs = {}  # a model that was changed will not change back
        _CACHE[model] = (known, graphs)
    key = repr(inputs)
    if key not in graphs:
        graphs[key] = _record(model, inputs, flat)
    return graphs[key]


def _record(model: keras.Model, inputs: Any, flat: list) -> Graph:
    made: list[Graph] = []

    def trace(*tensors: tf.Tensor) -> list[tf.Tensor]:
        recorder = _Recorder(model, tensors)
        with interception.intercept(model, recorder):
            structure = tf.nest.pack_sequence_as(inputs, list(tensors))
            outputs = model(structure, training=False)
        made.append(_finish(model, recorder, outputs, flat))
        return _tensors(outputs)

    with interception.TRACE_LOCK:
        tf.function(trace, autograph=False).get_concrete_function(*flat)
    return made[0]


def _finish(
    model: keras.Model, recorder: _Recorder, outputs: Any, flat: list
) -> Graph:
    results = _tensors(outputs)
    on_path = _ancestors(results)
    calls = []
    for entry in recorder.calls:
        tensors = entry.pop("tensors")
        first = tensors[0] if tensors else None
        calls.append(
            Call(
                **entry,
                shape=None if first is None else _shape(first),
                dtype="" if first is None else first.dtype.name,
                num_outputs=len(tensors),
                on_path=any(t.op.name in on_path for t in tensors),
            )
        )
    names = output_names(model, outputs)
    heads = [
        Head(pre_activation(tensor)[0], _shape(tensor) or (), name)
        for tensor, name in zip(results, names, strict=True)
    ]
    ranks = tuple(spec.shape.rank for spec in flat)
    return Graph(tuple(calls), tuple(heads), ranks)


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    if tensor.shape.rank is None:
        return None
    return tuple(tensor.shape)


def output_names(model: keras.Model, outputs: Any) -> list[str | None]:
    """Returns the names of the output tensors, in flattened order."""
    if isinstance(outputs, dict):
        return list(sorted(outputs))
    flat = _tensors(outputs)
    names = getattr(model, "output_names", None) or []
    if len(names) == len(flat):
        return list(names)
    return [None] * len(flat)
