"""The recorded run of a model: which call fed which, and where the head is.

A `Graph` is plain data made by tracing the model once without running it. It
answers the questions that methods ask before they run: which layer is meant
by a name, which one a class activation map should use, what stands between
the scores and the logits, and which nonlinearities no rule could reach.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import keras

from keras_explain.engine import interception
from keras_explain.engine.errors import message, near

INPUT = -1  # the parent of a call that is fed by the model's inputs

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
        operation: The layer, `keras.ops` node or inner function; `None`
            for the model itself, so that a remembered graph does not keep
            its model alive.
        arguments: For each tensor it was given, indices of the innermost
            calls that made it; several if raw ops joined their outputs,
            none for a constant.
        direct: For each of them, whether it is an output of a call as it is,
            with no raw op in between.
        makers: Indices of the innermost calls that made its outputs: of
            itself, or of those inside it whose outputs it hands on.
        enclosing: Path of the layer or model it was called from.
        shape: Shape of the output with `None` for the batch; of the first
            one if there are several.
        dtype: Name of the output's dtype.
        num_outputs: Number of output tensors.
        op_types: Types of the TensorFlow ops made by the call itself.
        on_path: Whether an output of the model depends on it.
        leaf: Whether it calls no other operation, a fused activation aside.
        linearity: What the ops made by the call itself do to a signal:
            `"moving"`, `"affine"` or `"nonlinear"`; the op of the final
            softmax or sigmoid is set aside.
        nonlinear_ops: Types of its own ops that are nonlinear.
        affine_ops: Types of its own ops that sum or scale.
        readers: How many ops on the way to the output read its values.
        is_head: Whether it is the final softmax or sigmoid.
    """

    index: int
    path: str
    occurrence: int
    operation: Any
    arguments: tuple[tuple[int, ...], ...]
    direct: tuple[bool, ...]
    makers: tuple[int, ...]
    enclosing: str
    shape: tuple[int | None, ...] | None
    dtype: str
    num_outputs: int
    op_types: frozenset[str]
    on_path: bool
    leaf: bool
    linearity: str
    nonlinear_ops: tuple[str, ...]
    affine_ops: tuple[str, ...]
    readers: int
    is_head: bool

    @property
    def key(self) -> tuple[str, int]:
        return (self.path, self.occurrence)

    @property
    def parents(self) -> tuple[int, ...]:
        """Indices of the innermost calls that made the inputs."""
        made = [index for makers in self.arguments for index in makers]
        return tuple(dict.fromkeys(made))

    @property
    def kind(self) -> str:
        """Name of the class of the operation; of a fused one, its function."""
        if self.operation is None:
            return "Model"
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

    @functools.cached_property
    def layers(self) -> tuple[Call, ...]:
        """The calls that have a name of their own, inner ones included."""
        return tuple(
            call
            for call in self.calls
            if call.path
            and not isinstance(
                call.operation,
                (interception.Inner, keras.layers.InputLayer),
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
        """Whether the output is a feature map with positions left."""
        shape = call.shape
        if shape is None or len(shape) < 3 or call.num_outputs != 1:
            return False
        return shape[-1] is not None and self.keeps_positions(call)

    def keeps_positions(self, call: Call) -> bool:
        """Whether the positions have not been averaged away before it."""
        return call.index not in self._pooled

    @functools.cached_property
    def _pooled(self) -> frozenset[int]:
        """Calls after which the positions are averaged away.

        The gate of a squeeze-and-excitation block is one, and the map that
        it is multiplied with is not.
        """
        found: set[int] = set()
        for call in self.calls:
            averages = call.kind.startswith("Global") or call.kind == "Mean"
            if averages or (call.parents and found.issuperset(call.parents)):
                found.add(call.index)
        return frozenset(found)

    def source(self, call: Call) -> Call | None:
        """The call whose output, as it is, is the first argument."""
        if not call.arguments or not call.direct[0]:
            return None
        (index,) = call.arguments[0]
        return None if index == INPUT else self.calls[index]

    def reader(self, call: Call) -> Call | None:
        """The call that alone reads the output, as it is."""
        found = self.readers(call)
        if len(found) != 1 or call.readers != 1:
            return None
        return found[0] if self.source(found[0]) is call else None

    def readers(self, call: Call) -> list[Call]:
        """The calls that read the output, those that only call others aside."""
        return [
            c
            for c in self.calls[call.index + 1 :]
            if call.index in c.parents
            and (c.leaf or c.linearity != "moving")
            and c.kind != "Activation"  # what it holds is a call of its own
            and not _within(c)
        ]

    def kept(self, layers: Iterable[Any], call: Call | None) -> frozenset[int]:
        """Calls whose output is looked at, and must be what it is.

        Args:
            layers: Those a target names.
            call: The one that is attributed to.
        """
        looked_at = [*map(self.find, layers), *([call] if call else [])]
        return frozenset(
            index for c in looked_at for index in (c.index, *c.makers)
        )

    def behind(self, call: Call | None) -> frozenset[int]:
        """Calls that depend on the output of a call, or on the inputs."""
        starts = {INPUT} if call is None else {call.index, *call.makers}
        found = set(starts)
        for other in self.calls:
            # A call that hands on what it was not given is not behind it.
            if found.intersection(other.parents):
                found.add(other.index)
        return frozenset(found - starts)

    @functools.cached_property
    def rescaling(self) -> Any | None:
        """The layer that rescales the pixels first, if there is one."""
        leading = [c for c in self.layers if c.parents == (INPUT,)]
        for call in leading:
            if call.kind == "Rescaling" and call.on_path:
                return call.operation
        return None

    @functools.cached_property
    def automatic_spatial(self) -> Call | None:
        """The last feature map before the positions are pooled away.

        Trailing pooling and dropout are stepped over, so that VGG16 gives
        `block5_conv3` and ResNet50 the activation after the last addition.
        """
        spatial = [c for c in self.spatial() if c.kind != "Softmax"]
        if any(len(head.shape) > 2 for head in self.heads):
            # Per-position outputs: the map that the last weights read.
            weighted = [c for c in spatial if _has_weights(c.operation)]
            last = self._before(weighted[-1]) if weighted else None
            spatial = [c for c in spatial if last and c.index <= last.index]
        if not spatial:
            return None
        # A model that only hands on the output of its last layer ends after
        # it: step inside, to the call that made the tensor.
        found = spatial[-1]
        while True:
            step = self._maker(found)
            if step is None and found.kind.startswith(_POOLING):
                step = self._before(found)
            if step is None:
                return found
            found = step

    def _before(self, call: Call) -> Call | None:
        parents = [self.calls[i] for i in call.parents if i != INPUT]
        named = [p for p in map(self._owner, parents) if p and self._maps(p)]
        return named[-1] if named else None

    def _owner(self, call: Call) -> Call | None:
        """The layer that a fused activation belongs to; else itself."""
        if not isinstance(call.operation, interception.Inner):
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

    @property
    def resolution(self) -> float:
        """The coarsest relative rounding of what its calls return."""
        half = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
        return max(half.get(call.dtype, 2.0**-23) for call in self.calls)


def _within(call: Call) -> bool:
    """Whether it reads what its layer made, and not what that was given."""
    inner = isinstance(call.operation, interception.Inner)
    return inner and not all(call.direct)


def _has_weights(operation: Any) -> bool:
    if isinstance(operation, keras.Model):
        return False
    name = type(operation).__name__
    return "Normalization" not in name and bool(
        getattr(operation, "trainable_variables", None)
        or getattr(operation, "variables", None)
    )
