"""Rules that send a score back through patterns in place of weights.

References:
    Kindermans et al., 2018. Learning how to explain neural networks:
    PatternNet and PatternAttribution. https://arxiv.org/abs/1705.05598
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from keras_explain.engine.folding import Fold, affine
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import FusedActivation
from keras_explain.engine.linear import LinearMap
from keras_explain.engine.linear_rule import PlacedLinearRule
from keras_explain.engine.relevance import Shares, connect, cut
from keras_explain.engine.rules import ActivationRule, Place, ReadyRule
from keras_explain.rules.pattern_statistics import Member, parts

# Each unit gives the whole signal back, so that signals grow with every layer;
# above this they are scaled before they leave the range of float32.
_LARGEST = 1e12


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The rule of layers with a kernel: patterns in place of weights.

    Attributes:
        patterns: By name.
        members: What the linear calls belong to.
        attributes: Whether weights times patterns are taken, which divide
            relevance, in place of the patterns alone.
        narrows: Calls at which a signal may be scaled.
    """

    patterns: Mapping[str, tf.Variable]
    members: Mapping[int, Member]
    attributes: bool
    narrows: frozenset[int] = frozenset()
    splits = True

    def prepared(self, place: Place) -> PlacedPattern:
        member = self.members[place.call.index]
        layer = place.call.operation
        return PlacedPattern(
            self,
            layer,
            place.fold,
            False,
            self.patterns,
            member,
            place.call.index in self.narrows,
        )


@dataclasses.dataclass(frozen=True)
class PlacedPattern(PlacedLinearRule):
    """A `Pattern` at one call."""

    rule: Any
    patterns: Mapping[str, tf.Variable]
    member: Member
    narrow: bool

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
        fitted = self.member.fold
        for number, (name, linear) in enumerate(zip(names, maps, strict=True)):
            # Where the output of a layer is looked at, nothing is folded
            # into it, and its pattern is on another scale.
            before = behind = None
            if number == 0 and self.fold.before is None:
                before = fitted.before
            if number == len(maps) - 1 and self.fold.behind is None:
                behind = fitted.behind
            fold = Fold(before, behind)
            x = self._connected(linear, self.patterns[name], fold, x, sink)
        return x

    def _connected(
        self,
        linear: LinearMap,
        pattern: tf.Variable,
        missing: Fold,
        x: tf.Tensor,
        sink: tf.Tensor | None,
    ) -> tf.Tensor:
        kernel, bias = linear.parameters()
        z = linear.run(cut(x), kernel, bias)

        def backward(upstream: tf.Tensor) -> Shares:
            weights = tf.convert_to_tensor(pattern)
            for norm, shape in (
                (missing.before, linear.inputs),
                (missing.behind, linear.outputs),
            ):
                if norm is not None:
                    weights *= tf.reshape(affine(norm)()[0], shape)
            if self.rule.attributes:
                weights *= kernel
            given = tf.cast(upstream, tf.float32)
            given = _bounded(given) if self.narrow else given
            inside = tf.cast(cut(x), tf.float32)
            path = linear.run(inside, weights, None)
            down = tf.gradients(path, inside, given)
            if not self.rule.attributes:
                return Shares(down)
            # All of it but for padding and units without a pattern.
            kept = linear.run(tf.ones_like(inside[:1]), weights, None)
            return Shares(down, [given * (1 - kept)])

        return connect(z, [x], backward, sink)


@dataclasses.dataclass(frozen=True)
class Plain:
    """The operation's own gradient.

    Attributes:
        narrows: Calls at which a signal may be scaled, see `narrows`.
    """

    narrows: frozenset[int] = frozenset()
    splits = False

    def prepared(self, place: Place) -> _PlacedPlain:
        return _PlacedPlain(place.call.index in self.narrows)


@dataclasses.dataclass(frozen=True)
class _PlacedPlain(ReadyRule):
    narrow: bool

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        y = function(*args, **kwargs)
        if not (self.narrow and tf.is_tensor(y)):
            return y
        return connect(y, [y], lambda upstream: Shares([_bounded(upstream)]))


def _bounded(upstream: tf.Tensor) -> tf.Tensor:
    """Scales the signals of a batch that outgrow float32, each on its own."""
    axes = list(range(1, upstream.shape.rank))
    largest = tf.reduce_max(tf.abs(upstream), axes, keepdims=True)
    limit = min(_LARGEST, float(upstream.dtype.max) / 16)
    limit = tf.constant(limit, upstream.dtype)
    return upstream / tf.where(largest > limit, largest, 1)


def narrows(graph: Graph) -> frozenset[int]:
    """Calls whose output is all that goes on from there to the score.

    A signal may be scaled there as a whole: no other way leads past it.
    """
    ends = {c.index: _owner(c, graph) for c in graph.calls}
    edges = [
        (ends.get(parent, parent), ends[c.index])
        for c in graph.calls
        if c.on_path and (c.leaf or c.linearity != "moving")
        for parent in c.parents
    ]
    # How many ways begin before a call and end behind it.
    change = [0] * (len(graph.calls) + 2)
    for start, end in edges:
        if start < end:
            change[start + 1] += 1
            change[end] -= 1
    past = list(itertools.accumulate(change))
    return frozenset(k for k, end in ends.items() if past[end] == 0)


def _owner(call: Call, graph: Graph) -> int:
    """The call that a fused activation is the end of; else itself."""
    if isinstance(call.operation, FusedActivation):
        for other in graph.calls[call.index + 1 :]:
            if other.operation is call.operation.layer:
                return other.index
    return call.index


# What is behind a closed ReLU is lost.
Gated = ActivationRule(
    "gated",
    lambda upstream, x, gradient: gradient(upstream),
    loses=True,
    whole=True,
)
# The pattern of a unit `z = s x + c` with one input is `1 / s`.
Unscaled = ActivationRule(
    "unscaled",
    lambda upstream, x, gradient: tf.math.divide_no_nan(
        upstream, gradient(tf.ones_like(upstream))
    ),
)
