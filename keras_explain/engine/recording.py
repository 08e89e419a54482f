"""Traces a model once, without running it, to fill its `Graph`."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine import interception
from keras_explain.engine.graph import INPUT, Call, Graph, Head
from keras_explain.engine.linearity import Signal

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


# What a layer's own nonlinearity becomes in the TensorFlow graph.
_NONLINEARITIES = {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus",
                   "Softsign", "Sigmoid", "Tanh", "Softmax"}  # fmt: skip


def linear_part(activation: tf.Tensor) -> tf.Tensor:
    """Returns what the last nonlinearity was applied to, or the same."""
    tensor = producer(activation)
    if tensor.op.type in _NONLINEARITIES:
        return tensor.op.inputs[0]
    return activation


class _Recorder:
    """The handler that fills a `Graph`."""

    def __init__(self, model: keras.Model, inputs: Iterable[tf.Tensor]):
        self.names = {
            key: path
            for key, (path, _) in interception.operations(model).items()
        }
        self.graph = tf.compat.v1.get_default_graph()
        self.signal = Signal(inputs)
        self.made_by = {id(tensor): INPUT for tensor in inputs}
        self.kept: list[Any] = list(inputs)  # ids stay unique while alive
        self.calls: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        # Of the calls that are under way: path, own ops, inner calls seen.
        self.stack: list[tuple[str, list[tf.Operation], list[str]]] = []
        self.seen = 0

    def _ops_since(self) -> list[tf.Operation]:
        ops = self.graph.get_operations()
        new = ops[self.seen :]
        self.signal.follow(new)
        self.seen = len(ops)
        return new

    def __call__(
        self, operation: Any, call: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if tf.compat.v1.get_default_graph() is not self.graph:
            return call(*args, **kwargs)  # the body of a loop: one opaque call
        path = path_of(operation, self.names)
        if self.stack:
            self.stack[-1][1].extend(self._ops_since())
            if not isinstance(operation, interception.FusedActivation):
                self.stack[-1][2].append(path)
        enclosing = self.stack[-1][0] if self.stack else ""
        occurrence = self.counts.get(path, 0)
        self.counts[path] = occurrence + 1
        self.stack.append((path, [], []))
        self._ops_since()
        try:
            outputs = call(*args, **kwargs)
        finally:
            _, own, inner = self.stack.pop()
        own.extend(self._ops_since())
        given, tensors = _tensors((args, kwargs)), _tensors(outputs)
        self.calls.append(
            {
                "index": len(self.calls),
                "path": path,
                "occurrence": occurrence,
                "operation": operation if path else None,
                "arguments": tuple(map(self._makers, given)),
                "direct": tuple(id(t) in self.made_by for t in given),
                "enclosing": enclosing,
                "leaf": not inner,
                "ops": own,
                "tensors": tensors,
            }
        )
        for tensor in tensors:
            # The innermost call made it; those around it hand it on.
            self.made_by.setdefault(id(tensor), len(self.calls) - 1)
            self.kept.append(tensor)
        makers = [self.made_by[id(tensor)] for tensor in tensors]
        self.calls[-1]["makers"] = tuple(dict.fromkeys(makers))
        return outputs

    def _makers(self, tensor: tf.Tensor) -> tuple[int, ...]:
        """The calls that made a tensor, raw ops in between left out."""
        if not tf.is_symbolic_tensor(tensor):
            return ()  # a constant that was there before
        found: list[int] = []
        seen: set[str] = set()
        queue = [tensor]
        while queue:
            tensor = queue.pop(0)
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            if id(tensor) in self.made_by:
                found.append(self.made_by[id(tensor)])
            else:
                queue.extend(tensor.op.inputs)
        return tuple(dict.fromkeys(found))


def path_of(operation: Any, names: dict[int, str]) -> str:
    """Returns the path of an operation, inner functions included."""
    if isinstance(operation, interception.Inner):
        return f"{names[id(operation.layer)]}/{operation.name}".lstrip("/")
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
    known = _structure(model)
    flat = tf.nest.flatten(inputs)
    before, graphs = _CACHE.get(model, (None, {}))
    if before != known:
        graphs = {}  # a model that was changed will not change back
        _CACHE[model] = (known, graphs)
    key = repr(inputs)
    if key not in graphs:
        graphs[key] = _record(model, inputs, flat)
    return graphs[key]


def _structure(model: keras.Model) -> tuple[int, ...]:
    """What changes when layers are added to or taken from a model.

    It is asked at every call, so that only models are looked into: a layer
    does not change its sublayers once it is built.
    """
    found, queue = [], [model]
    while queue:
        for child in interception.children(queue.pop()):
            found.append(id(child))
            if isinstance(child, keras.Model):
                queue.append(child)
    return tuple(found)


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
    heads_ops = {
        producer(tensor).op.name
        for tensor in results
        if pre_activation(tensor)[0] in ("softmax", "sigmoid")
    }
    calls = []
    for entry in recorder.calls:
        tensors, ops = entry.pop("tensors"), entry.pop("ops")
        inside = [
            op for op in ops if op.name in on_path and op.name not in heads_ops
        ]
        linearity, nonlinear = recorder.signal.kind(inside)
        first = tensors[0] if tensors else None
        calls.append(
            Call(
                **entry,
                shape=None if first is None else _shape(first),
                dtype="" if first is None else first.dtype.name,
                num_outputs=len(tensors),
                op_types=frozenset(op.type for op in ops),
                on_path=any(t.op.name in on_path for t in tensors),
                linearity=linearity,
                nonlinear_ops=nonlinear,
                affine_ops=recorder.signal.affine(inside),
                readers=_readers(tensors, on_path),
                is_head=any(op.name in heads_ops for op in ops),
            )
        )
    names = output_names(model, outputs)
    heads = [
        Head(pre_activation(tensor)[0], _shape(tensor) or (), name)
        for tensor, name in zip(results, names, strict=True)
    ]
    ranks = tuple(spec.shape.rank for spec in flat)
    return Graph(tuple(calls), tuple(heads), ranks)


def _readers(tensors: list[tf.Tensor], on_path: set[str]) -> int:
    """How many ops on the way to the output read the tensors' values."""
    return sum(
        op.name in on_path and op.type != "Shape"
        for tensor in tensors
        for op in tensor.consumers()
    )


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    if tensor.shape.rank is None:
        return None
    return tuple(tensor.shape)


def output_names(model: keras.Model, outputs: Any) -> list[str | None]:
    """Returns the names of the output tensors, in flattened order."""
    if isinstance(outputs, dict):
        return sorted(outputs)
    flat = _tensors(outputs)
    names = getattr(model, "output_names", None) or []
    if len(names) == len(flat):
        return list(names)
    return [None] * len(flat)
