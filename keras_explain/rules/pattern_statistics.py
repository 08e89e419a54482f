"""Patterns: what the inputs of a unit do when the unit does something.

The weights of a unit say how it takes its signal out of its inputs, and have
to cancel what distracts from it; its pattern says what the signal looks like
there. For `z = w x + b` it is

    a = n / (w . n),   n = E+[x z] - E+[x] E[z]

where `E+` is the mean over samples and positions at which the unit is on,
and `E` the mean over all. Here these means are gathered while a model runs.

References:
    Kindermans et al., 2018. Learning how to explain neural networks:
    PatternNet and PatternAttribution. https://arxiv.org/abs/1705.05598
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import layers

from keras_explain.engine.folding import Fold, folds
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import held_activation
from keras_explain.engine.linear import (
    LinearMap,
    is_transposed,
)
from keras_explain.engine.linear_rule import PlacedLinearRule
from keras_explain.engine.relevance import cut
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import (
    RELU_FAMILY,
    SMOOTH_FAMILY,
    Place,
)

# When a unit counts as on, by the name of the signal.
SIGNALS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu_positive": lambda z: tf.cast(z > 0, tf.float32),
    "relu_negative": lambda z: tf.cast(z < 0, tf.float32),
    "linear": tf.ones_like,
}
# A denominator this small next to the squared mean of the unit is rounding:
# the unit does not vary.
_ROUNDING = 1e-12


class Member(NamedTuple):
    """A linear call, and the group whose pattern it uses.

    Attributes:
        name: Of the group: the path of the layer, and the call where calls
            of one layer differ in what is folded in or in the signal.
        signal: When its units count as on.
        fold: What is folded into it where nothing is kept.
    """

    name: str
    signal: str
    fold: Fold


def members(graph: Graph, signal: str) -> dict[int, Member]:
    """Returns `{index of a linear call: Member}` of all on the way.

    Args:
        graph: The recorded run.
        signal: That of the units in front of a nonlinearity; all others are
            linear.
    """
    known, _ = folds(graph)
    found: dict[int, tuple[Call, str, Fold]] = {}
    kinds: dict[str, list[Any]] = {}
    for call in graph.calls:
        if not call.on_path or role_of(call) != "linear":
            continue
        fold = known.get(call.index, Fold())
        used = signal if _is_gated(call, fold, graph) else "linear"
        found[call.index] = call, used, fold
        kind = (id(fold.before), id(fold.behind), used)
        kinds.setdefault(call.path, [])
        if kind not in kinds[call.path]:
            kinds[call.path].append(kind)
    named = {}
    for index, (call, used, fold) in found.items():
        several = kinds[call.path]
        kind = (id(fold.before), id(fold.behind), used)
        number = f":{several.index(kind)}" if len(several) > 1 else ""
        named[index] = Member(call.path + number, used, fold)
    return named


def _is_gated(call: Call, fold: Fold, graph: Graph) -> bool:
    """Whether all that is made of the units goes through a nonlinearity."""
    held = held_activation(call.operation)
    if held is not None:
        name = getattr(held, "__name__", type(held).__name__)
        return name in RELU_FAMILY | SMOOTH_FAMILY and not any(
            c.is_head and c.path == f"{call.path}/activation"
            for c in graph.calls
        )
    if fold.behind is None:
        return _leads_to_gate(call, graph)
    norms = [c for c in graph.readers(call) if c.operation is fold.behind]
    return all(_leads_to_gate(norm, graph) for norm in norms)


def _leads_to_gate(call: Call, graph: Graph) -> bool:
    readers = [c for c in graph.readers(call) if c.on_path]
    return bool(readers) and all(
        role_of(c) == "activation"
        or (role_of(c) in ("moving", "winner") and _leads_to_gate(c, graph))
        for c in readers
    )


def parts(name: str, maps: list[LinearMap]) -> list[str]:
    """Returns the name of the pattern of each map of a layer."""
    if len(maps) == 1:
        return [name]
    return [f"{name}/depthwise", f"{name}/pointwise"]


class Units:
    """The units of an affine map: where they are in its output and kernel.

    Args:
        linear: The map.
        axis: The axis of its output that holds the channels.
    """

    def __init__(self, linear: LinearMap, axis: int):
        self.linear = linear
        self.axis = axis

    def gather(self, z: tf.Tensor, reduce: Any = tf.reduce_sum) -> tf.Tensor:
        """Reduces what has the shape of the output to a value a unit."""
        axis = self.axis % z.shape.rank
        rest = [k for k in range(z.shape.rank) if k != axis]
        return tf.reshape(reduce(z, rest), self.linear.outputs)

    def spread(self, values: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Gives each value of the output that of its unit."""
        return tf.gradients(self.gather(z), z, values)[0]

    def on_kernel(self, values: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
        """Returns a value a unit such that it broadcasts to the kernel."""
        return values

    def owners(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Which units the weights at each place of the kernel belong to."""
        return tf.zeros([0], tf.int32)  # to all of them

    def inside(self, x: tf.Tensor, z: tf.Tensor, kernel: tf.Tensor) -> Any:
        """Where the whole window of a unit is in the picture: ones."""
        number = self.linear.run(
            tf.ones_like(x[:1]), tf.ones_like(kernel), None
        )
        top = self.spread(self.gather(number, tf.reduce_max), number)
        return tf.cast(number > top - 0.5, tf.float32) + tf.zeros_like(z)


class _EinsumUnits(Units):
    """Of an `EinsumDense`: the letters that kernel and output share."""

    def __init__(self, linear: LinearMap, layer: Any):
        super().__init__(linear, -1)
        operands, output = layer.equation.replace(" ", "").split("->")
        kernel = operands.split(",")[1]
        shared = [letter for letter in kernel if letter in output]
        left, dots, right = output.partition("...")
        self.places = [
            left.index(letter) if letter in left
            else right.index(letter) - len(right)
            for letter in shared
        ]  # fmt: skip
        self.shape = [
            size if letter in shared else 1
            for letter, size in zip(kernel, layer.kernel.shape, strict=True)
        ]

    def gather(self, z: tf.Tensor, reduce: Any = tf.reduce_sum) -> tf.Tensor:
        kept = [place % z.shape.rank for place in self.places]
        found = reduce(z, [k for k in range(z.shape.rank) if k not in kept])
        found = tf.transpose(found, [sorted(kept).index(k) for k in kept])
        return tf.reshape(found, self.shape)

    def inside(self, x: tf.Tensor, z: tf.Tensor, kernel: tf.Tensor) -> Any:
        return tf.ones_like(z)


class _PhaseUnits(Units):
    """Of a transposed convolution, which has a set of units per phase.

    With strides, places of the output take turns in which part of the kernel
    makes them; each turn is a unit of its own.
    """

    def __init__(self, linear: LinearMap, axis: int, strides: tuple[int, ...]):
        super().__init__(linear, axis)
        self.strides = strides
        self.phases = math.prod(strides)

    def gather(self, z: tf.Tensor, reduce: Any = tf.reduce_sum) -> tf.Tensor:
        if self.axis == 1:
            z = tf.transpose(z, [0, *range(2, z.shape.rank), 1])
        sizes = tf.unstack(tf.shape(z))
        shape, pads, own = [sizes[0]], [[0, 0]], []
        for size, stride in zip(sizes[1:-1], self.strides, strict=True):
            number = -(-size // stride)
            pads.append([0, number * stride - size])
            own.append(len(shape) + 1)
            shape += [number, stride]
        z = tf.reshape(tf.pad(z, [*pads, [0, 0]]), [*shape, sizes[-1]])
        rest = [k for k in range(len(shape)) if k not in own]
        return tf.reshape(reduce(z, rest), [self.phases, sizes[-1]])

    def on_kernel(self, values: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
        return tf.gather(values, owners)[..., tf.newaxis]

    def owners(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # Seen in how the outputs depend on the weights: which phase each
        # place of the kernel serves.
        path = self.linear.run(tf.ones_like(x[:1]), kernel, None)
        number = tf.range(self.phases, dtype=tf.float32)[:, tf.newaxis]
        number += tf.zeros_like(self.gather(path))
        phase = self.spread(number, path)
        sums, times = (
            tf.gradients(path, kernel, upstream)[0][..., 0, 0]
            for upstream in (phase, tf.ones_like(path))
        )
        return tf.cast(tf.round(tf.math.divide_no_nan(sums, times)), tf.int32)


def units_of(layer: Any, linear: LinearMap) -> Units:
    """Returns the units of one map of a layer."""
    if isinstance(layer, layers.EinsumDense):
        return _EinsumUnits(linear, layer)
    first = getattr(layer, "data_format", "") == "channels_first"
    axis = 1 if first else -1
    if is_transposed(layer):
        return _PhaseUnits(linear, axis, tuple(layer.strides))
    return Units(linear, axis)


class Seen(NamedTuple):
    """What a map was given in one call.

    Attributes:
        name: Of its pattern.
        signal: When its units count as on.
        layer, linear: The layer and its map.
        x: The input.
    """

    name: str
    signal: str
    layer: Any
    linear: LinearMap
    x: tf.Tensor

    def means(self) -> dict[str, tf.Tensor]:
        """Returns the means over this batch that a pattern is made of.

        The sum over samples and places of an input times a value of the
        output is the gradient to the kernel with that value for the
        gradient of the output, whatever the layer.
        """
        x = cut(tf.cast(self.x, tf.float32))
        kernel, bias = map(_cut, self.linear.parameters())
        z = cut(self.linear.run(x, kernel, bias))
        units = units_of(self.layer, self.linear)
        owners = units.owners(x, kernel)
        inside = units.inside(x, z, kernel)
        on = inside * SIGNALS[self.signal](z)
        number = units.gather(inside)
        mean = units.gather(inside * z) / number
        # Away from the mean, so that float32 does not lose the digits.
        away = z - units.spread(mean, z)
        each = on * units.spread(1 / number, z)
        path = self.linear.run(x, kernel, None)
        return {
            "owners": owners,
            "xz": tf.gradients(path, kernel, each * away)[0],
            "x": tf.gradients(path, kernel, each)[0],
            **{
                name: units.on_kernel(value, owners)
                for name, value in {
                    "number": number,
                    "on": units.gather(on),
                    "mean": mean,
                    "rest": units.gather(inside * away) / number,
                }.items()
            },
        }


def _cut(tensor: tf.Tensor | None) -> tf.Tensor | None:
    return None if tensor is None else cut(tensor)


class Moments:
    """The means of all batches of a map, in float64 on the host."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}
        self.owners = np.zeros(0, int)

    def add(self, means: Mapping[str, Any]) -> None:
        """Adds what `Seen.means` returned for a batch."""
        found = {
            name: np.asarray(value, np.float64) for name, value in means.items()
        }
        self.owners = found.pop("owners").astype(int)
        number, mean = found["number"], found["mean"]
        found["xz"] += mean * found["x"]  # undoes the centering
        new = {
            "number": number,
            "on": found["on"],
            "z": number * (mean + found["rest"]),
            "xz": number * found["xz"],
            "x": number * found["x"],
        }
        for name, value in new.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def pattern(self, kernel: np.ndarray) -> np.ndarray:
        """Returns the patterns of all units, in the shape of the kernel."""
        sums = self.sums
        z = sums["z"] / sums["number"]
        top = (sums["xz"] - sums["x"] * z) / np.maximum(sums["on"], 1)
        bottom = self._by_unit(kernel * top)
        # The paper leaves open what a unit that never varies has; the
        # denominator of one leaves it nothing.
        still = np.abs(bottom) <= _ROUNDING * np.square(z)
        return top / np.where(still, 1.0, bottom)

    def _by_unit(self, values: np.ndarray) -> np.ndarray:
        """Sums over the weights of each unit."""
        if not self.owners.size:
            shape = self.sums["number"].shape
            axes = tuple(k for k, size in enumerate(shape) if size == 1)
            return values.sum(axes, keepdims=True)
        each = values.sum(-1)
        total = np.zeros((self.owners.max() + 1, each.shape[-1]))
        np.add.at(total, self.owners, each)
        return total[self.owners][..., np.newaxis]


class Collect:
    """The rule that takes note of what linear layers are given.

    Args:
        members: What the linear calls belong to.
        seen: The notes: a `Seen` for each map of each call.
    """

    splits = True

    def __init__(self, members: Mapping[int, Member], seen: list[Seen]):
        self.members = members
        self.seen = seen

    def prepared(self, place: Place) -> Any:
        member = self.members[place.call.index]
        layer = place.call.operation
        return _Collecting(self, layer, place.fold, False, member, self.seen)


@dataclasses.dataclass(frozen=True)
class _Collecting(PlacedLinearRule):
    rule: Any
    member: Member
    seen: list[Seen]

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> tf.Tensor:
        x = args[0]
        maps = self.maps(function, kwargs)
        names = parts(self.member.name, maps)
        for name, linear in zip(names, maps, strict=True):
            # Between the maps of a layer there is no nonlinearity.
            signal = self.member.signal if linear is maps[-1] else "linear"
            self.seen.append(Seen(name, signal, self.layer, linear, x))
            x = linear.run(x, *linear.parameters())
        return x
