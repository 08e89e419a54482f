"""The one rule for layers with a kernel, of which the papers' are tables.

A rule for a linear layer `z = W x + b` divides the relevance of each output
among the inputs in proportion to terms `i(x) w(W)`, where `i` and `w` are
modifiers: the positive part, the square, one. A `LinearRule` is a table of
them, and the layer's own `call` computes every term.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.folding import Fold, affine
from keras_explain.engine.linear import LinearMap, linear_maps
from keras_explain.engine.relevance import (
    Shares,
    connect,
    cut,
    later,
    stabilized,
)
from keras_explain.engine.roles import feeds_non_negative
from keras_explain.engine.rules import Place

Modifier = Callable[[tf.Tensor], tf.Tensor]


def same(values: tf.Tensor) -> tf.Tensor:
    return values


def positive(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(values)


def negative(values: tf.Tensor) -> tf.Tensor:
    return tf.minimum(values, 0.0)


def ones(values: tf.Tensor) -> tf.Tensor:
    return tf.ones_like(values)


def none(values: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(values)


# These do not depend on the sample: one row stands for the batch.
_CONSTANT = {ones}


@dataclasses.dataclass(frozen=True)
class Bound:
    """An input modifier that puts a bound in place of the input.

    Attributes:
        value: Number or array that broadcasts to the inputs, such as one
            value for each channel.
    """

    value: Any

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        return tf.zeros_like(values) + tf.cast(self.value, values.dtype)


@dataclasses.dataclass(frozen=True)
class Term:
    """One product `i(x) w(W)` of a rule.

    Attributes:
        inputs: Modifier of the input.
        weights: Modifier of the kernel.
        bias: Modifier of the bias.
        sign: What it counts in the sum.
    """

    inputs: Modifier
    weights: Modifier
    bias: Modifier = none
    sign: float = 1.0


@dataclasses.dataclass(frozen=True)
class Group:
    """Terms that share a denominator, their sum.

    Attributes:
        terms: The terms.
        share: Which part of the relevance the group divides.
        gate: `1` or `-1` if only outputs of that sign are divided.
    """

    terms: tuple[Term, ...]
    share: float = 1.0
    gate: int = 0


@dataclasses.dataclass(frozen=True)
class LinearRule:
    """Divides the relevance of a linear layer's outputs by a table of terms.

    Attributes:
        name: What it is called.
        groups: The table.
        epsilon: Stabilizer of the denominators.
        zero_bias: Whether the bias is left out, so that nothing is lost to
            it.
        composed: Whether all terms together make up `z`, which then is
            computed as their sum.
    """

    name: str
    groups: tuple[Group, ...]
    epsilon: float = 1e-6
    zero_bias: bool = False
    composed: bool = False
    splits = True

    def prepared(self, place: Place) -> PlacedLinearRule:
        return PlacedLinearRule(
            self,
            place.call.operation,
            place.fold,
            feeds_non_negative(place.call, place.graph)
            and place.fold.before is None,
        )


@dataclasses.dataclass(frozen=True)
class PlacedLinearRule:
    """A `LinearRule` at one call.

    Attributes:
        rule: The table.
        layer: The layer.
        fold: What is folded into it.
        non_negative: Whether its input is known to have no negative value.
    """

    rule: LinearRule
    layer: Any
    fold: Fold
    non_negative: bool
    splits = True

    def prepared(self, place: Place) -> PlacedLinearRule:
        return self

    def maps(self, function: Callable, kwargs: dict) -> list[LinearMap]:
        """The affine maps of the layer, with what is folded into them."""
        call = functools.partial(function, **kwargs)
        maps = linear_maps(self.layer, call)
        if self.fold.before is not None:
            maps[0] = maps[0].after(affine(self.fold.before))
        if self.fold.behind is not None:
            maps[-1] = maps[-1].then(affine(self.fold.behind))
        return maps

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> tf.Tensor:
        x = args[0]
        for number, linear in enumerate(self.maps(function, kwargs)):
            known = self.non_negative and number == 0
            x = _Division(self.rule, linear, known).apply(x, sink)
        return x


class _Part(NamedTuple):
    """One term at work.

    Attributes:
        term: The term.
        values: Its modified input.
        output: What it makes of it, the bias included.
        path: What is differentiated.
        source: With respect to what.
        bias: Its modified bias, or `None`.
    """

    term: Term
    values: tf.Tensor
    output: tf.Tensor
    path: tf.Tensor
    source: tf.Tensor
    bias: tf.Tensor | None


class _Division:
    """A rule at work on one affine map.

    Args:
        rule: The table.
        linear: The map.
        non_negative: Whether the input has no negative value.
    """

    def __init__(self, rule: LinearRule, linear: LinearMap, non_negative: bool):
        self.rule = rule
        self.linear = linear
        self.kernel, self.bias = linear.parameters()
        self.groups = [
            (group, [t for t in group.terms
                     if not (non_negative and t.inputs is negative)])
            for group in rule.groups
        ]  # fmt: skip

    def apply(self, x: tf.Tensor, sink: tf.Tensor | None) -> tf.Tensor:
        inside = cut(x)
        parts: list[list[_Part]] = []
        if self.rule.composed and x.dtype == tf.float32:
            parts = self._parts(inside)
            z = tf.add_n([p.output for group in parts for p in group])
        else:
            z = self.linear.run(inside, self.kernel, self.bias)

        def backward(upstream: tf.Tensor) -> Shares:
            return self._divide(inside, z, parts, upstream)

        return connect(z, [x], backward, sink)

    def _parts(
        self, x: tf.Tensor, known: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> list[list[_Part]]:
        """The parts of each group.

        Args:
            x: The input.
            known: Input and output of the forward pass, to take where they
                are what a part would be.
        """
        return [
            [self._part(term, x, known) for term in terms]
            for _, terms in self.groups
        ]

    def _part(self, term: Term, x: tf.Tensor, known: Any) -> _Part:
        bias = self.bias
        if bias is not None:
            gone = self.rule.zero_bias or term.bias is none
            bias = None if gone else term.bias(bias)
        if known is not None and self._is_plain(term):
            x, z = known
            return _Part(term, x, z, z, x, bias)
        kernel = term.weights(self.kernel)
        if isinstance(term.inputs, Bound) or term.inputs in _CONSTANT:
            # One row stands for the batch; its path does not depend on it.
            values = term.inputs(x[:1])
            path = self.linear.run(x, kernel, None)
            output = self.linear.run(values, kernel, bias)
            return _Part(term, values, output, path, x, bias)
        values = term.inputs(x)
        output = self.linear.run(values, kernel, bias)
        return _Part(term, values, output, output, values, bias)

    def _is_plain(self, term: Term) -> bool:
        biased = self.bias is None or (
            term.bias is same and not self.rule.zero_bias
        )
        return term.inputs is same and term.weights is same and biased

    def _divide(
        self,
        x: tf.Tensor,
        z: tf.Tensor,
        parts: list[list[_Part]],
        upstream: tf.Tensor,
    ) -> Shares:
        relevance = tf.cast(upstream, tf.float32)
        if not parts:
            known = (x, z) if z.dtype == tf.float32 else None
            parts = self._parts(later(x, upstream), known)
        received, lost = [], []
        for (group, _), found in zip(self.groups, parts, strict=True):
            given = group.share * relevance if group.share != 1 else relevance
            if group.gate:
                given *= tf.cast(group.gate * z > 0, tf.float32)
            shares, missing = self._share(found, given)
            received += shares
            lost.append(missing)
        if any(group.gate for group, _ in self.groups):
            lost.append(relevance * tf.cast(z == 0, tf.float32))
        return Shares([tf.add_n(received)], lost)

    def _share(
        self, parts: list[_Part], given: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Divides relevance in proportion to the parts of one group."""
        total = _signed_sum(parts)
        bottom = stabilized(total, self.rule.epsilon)
        ratio = given / bottom
        received = []
        for part in parts:
            down = tf.gradients(part.path, part.source, ratio)[0]
            share = part.values * down
            received.append(share if part.term.sign > 0 else -share)
        missing = bottom - total
        for part in parts:
            if part.bias is not None:
                bias = self.linear.spread(part.bias, total.shape.rank)
                missing += part.term.sign * bias
        return received, ratio * missing


def _signed_sum(parts: list[_Part]) -> tf.Tensor:
    total = parts[0].output
    for part in parts[1:]:
        more = part.term.sign > 0
        total = total + part.output if more else total - part.output
    return total
