"""RevealCancel: positive and negative parts of a difference, apart.

In `y = f(z)`, `z = w x + b`, what raises `z` and what lowers it may cancel,
so that its difference says nothing about either. RevealCancel asks what each
part does to `y`, before and after the other.

References:
    Shrikumar, Greenside, Kundaje, 2017. Learning Important Features Through
    Propagating Activation Differences, section 3.5.2.
    https://arxiv.org/abs/1704.02685
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.composites import Composite
from keras_explain.engine.errors import message
from keras_explain.engine.folding import affine, folds
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import (
    FusedActivation,
    held_activation,
    without_activation,
)
from keras_explain.engine.linear import (
    LinearMap,
    is_convolution,
    is_linear,
    linear_maps,
)
from keras_explain.engine.relevance import Shares, connect, cut, later
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import Place, ReadyRule
from keras_explain.engine.terms import negative, positive
from keras_explain.engine.weights import Pull, Run, Weights
from keras_explain.rules.deeplift import difference_composite
from keras_explain.rules.differences import (
    DifferenceRule,
    Held,
    Key,
    References,
    spread,
)

RULES = ("rescale", "reveal_cancel", "genomics_default")


def check_rule(rule: str) -> str:
    """Returns the name of a way through nonlinearities, or raises."""
    if rule not in RULES:
        raise ValueError(
            message(
                "DeepLIFT has three ways through a nonlinearity.",
                f"rule={rule!r}",
                f"Pass one of {', '.join(map(repr, RULES))}.",
            )
        )
    return rule


class Pair(NamedTuple):
    """A layer with a kernel and the nonlinearity that alone reads it.

    Attributes:
        linear: The layer's call.
        norm: The batch normalization between them, or `None`.
        activation: The nonlinearity's call.
    """

    linear: Call
    norm: Call | None
    activation: Call


def deeplift_composite(
    graph: Graph, rule: str, kept: frozenset[int] = frozenset()
) -> Composite:
    """Returns the rules of DeepLIFT for a model.

    Args:
        graph: Its recorded run.
        rule: `"rescale"`; `"reveal_cancel"`, wherever a nonlinearity
            follows a layer with a kernel; `"genomics_default"`, which does
            so for layers that are no convolutions.
        kept: Indices of calls whose output is looked at.
    """
    if rule == "rescale":
        return difference_composite()
    found = [
        pair
        for pair in pairs(graph, kept)
        if rule == "reveal_cancel" or not is_convolution(pair.linear.operation)
    ]
    linear = {pair.linear.index: pair for pair in found}
    passing = {
        call.index
        for pair in found
        for call in (pair.norm, pair.activation)
        if call is not None
    }
    return difference_composite(
        (lambda call, _: call.index in linear, _Reveals(linear)),
        (lambda call, _: call.index in passing, _Passes()),
    )


def pairs(graph: Graph, kept: frozenset[int] = frozenset()) -> list[Pair]:
    """Finds layers whose output nothing but a nonlinearity sees."""
    folded, _ = folds(graph, kept)
    found = []
    for call in graph.calls:
        if not (call.on_path and is_linear(call.operation)):
            continue
        norm = None
        fold = folded.get(call.index)
        if fold is not None and fold.behind is not None:
            norm = graph.reader(call)
        activation = _activation(norm or call, graph)
        if activation is None or role_of(activation) != "activation":
            continue
        between = {call.index} if norm is None else {call.index, norm.index}
        fused = isinstance(activation.operation, FusedActivation)
        own = fused and activation.operation.layer is call.operation
        if activation.shape is None or (between & kept and not own):
            continue
        if activation.kind not in ("Glu", "glu"):
            found.append(Pair(call, norm, activation))
    return found


def _activation(call: Call, graph: Graph) -> Call | None:
    """The nonlinearity that alone reads what a call makes."""
    if held_activation(call.operation) is None:
        return graph.reader(call)
    for other in graph.calls[: call.index]:
        inner = other.operation
        if (
            isinstance(inner, FusedActivation)
            and inner.layer is call.operation
            and other.occurrence == call.occurrence
        ):
            return other
    return None


class _Passes(DifferenceRule):
    """Hands multipliers on as they are, to the layer that reveals."""

    def prepared(self, place: Place) -> Any:
        key = place.call.key
        return Held(key, lambda references: _PlacedPass(key, references))


@dataclasses.dataclass(frozen=True)
class _PlacedPass(ReadyRule):
    key: Key
    references: References

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> tf.Tensor:
        x, *rest = args
        self.references.functions[self.key] = lambda z: function(
            z, *rest, **kwargs
        )
        y = function(cut(x), *rest, **kwargs)
        return connect(y, [x], lambda upstream: Shares([upstream]), sink)


@dataclasses.dataclass(frozen=True)
class _Reveals(DifferenceRule):
    pairs: dict[int, Pair]
    splits = True

    def prepared(self, place: Place) -> Any:
        pair = self.pairs[place.call.index]
        return Held(
            pair.linear.key, lambda references: _PlacedReveal(pair, references)
        )


@dataclasses.dataclass(frozen=True)
class _PlacedReveal(ReadyRule):
    """RevealCancel at one pair.

    Attributes:
        pair: The pair.
        references: What was observed.
    """

    pair: Pair
    references: References
    splits = True

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> tf.Tensor:
        layer, (x, *rest) = self.pair.linear.operation, args
        with without_activation(layer):
            z = function(cut(x), *rest, **kwargs)

        def backward(upstream: tf.Tensor) -> Shares:
            maps = linear_maps(layer, functools.partial(function, **kwargs))
            if self.pair.norm is not None:
                norm = affine(self.pair.norm.operation)
                maps[-1] = maps[-1].then(norm)
            given = tf.cast(upstream, tf.float32)
            return Shares([self._reveal(later(x, upstream), maps, given)])

        return connect(z, [x], backward, sink)

    def _reveal(
        self, x: tf.Tensor, maps: list[LinearMap], upstream: tf.Tensor
    ) -> tf.Tensor:
        """Multipliers of the layer's input."""
        kept, linear = self.references, self.pair.linear.key
        x = cut(x)
        reference = tf.cast(kept.seen[linear].inputs[0], tf.float32)
        inner, before = x, reference
        for linear_map in maps[:-1]:  # of a separable convolution
            inner, before = (
                linear_map.run(t, *linear_map.parameters())
                for t in (inner, before)
            )
        f = kept.functions[self.pair.activation.key]
        z0 = kept.seen[self.pair.activation.key].inputs[0]
        parts = _Parts(maps[-1], inner - kept.like(before, inner))
        z0 = tf.cast(spread(kept.like(z0, parts.rise), parts.rise), tf.float32)
        up, down = parts.multipliers(f, z0)
        found = parts.back(upstream * up, upstream * down)
        return found if inner is x else tf.gradients(inner, x, found)[0]


class _Parts:
    """What raises and what lowers the outputs of a linear map.

    Args:
        linear: The map.
        away: The difference of its input from the reference.
    """

    def __init__(self, linear: LinearMap, away: tf.Tensor):
        self.weights = Weights(linear, away)
        self.away = away
        self.more, self.less = tf.nn.relu(away), tf.minimum(away, 0.0)
        # Products of the signs of input and weight.
        pp, pn, np, nn = self.weights.runs(
            [
                Run(x, modifier, None)
                for x in (self.more, self.less)
                for modifier in (positive, negative)
            ]
        )
        self.rise, self.fall = pp + nn, pn + np

    def multipliers(
        self, f: Callable, z0: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What `f` makes of either part, before and after the other."""
        p, n = self.rise, self.fall
        start, raised, lowered, both = (
            f(z0),
            f(z0 + p),
            f(z0 + n),
            f(z0 + n + p),
        )
        up = (raised - start + both - lowered) / 2
        down = (lowered - start + both - raised) / 2
        return tf.math.divide_no_nan(up, p), tf.math.divide_no_nan(down, n)

    def back(self, up: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
        """Multipliers of the input; half of either where it is equal."""
        found = self.weights.pulls(
            [
                Pull(self.more, positive, up),
                Pull(self.more, negative, down),
                Pull(self.less, negative, up),
                Pull(self.less, positive, down),
            ]
        )
        if_more, if_less = found[0] + found[1], found[2] + found[3]
        chosen = tf.where(self.away > 0, if_more, if_less)
        return tf.where(self.away == 0, (if_more + if_less) / 2, chosen)
