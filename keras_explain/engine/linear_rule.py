"""The one rule for layers with a kernel, of which the papers' are tables.

A rule for a linear layer `z = W x + b` divides the relevance of each output
among the inputs in proportion to terms `i(x) w(W)`, where `i` and `w` are
modifiers: the positive part, the square, one. A `LinearRule` is a table of
them, and the layer's own `call` computes every term.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_explain.engine.folding import Fold, affine
from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.linear import LinearMap, linear_maps
from keras_explain.engine.relevance import (
    Shares,
    connect,
    cut,
    later,
    ratio,
    stabilized,
)
from keras_explain.engine.remaking import let_go, remade
from keras_explain.engine.roles import feeds_non_negative
from keras_explain.engine.rules import Place, ReadyRule
from keras_explain.engine.term_parts import Flows, Part, Parts
from keras_explain.engine.terms import (
    Group,
    Term,
    negative,
    positive,
    same,
)
from keras_explain.engine.weights import Run, Weights

# Groups of a rule, each with its terms at work.
_Groups = list[tuple[Group, list[Part]]]

# Sums of so few products are made again on the way back where both parts of
# them are needed. To hold one of the parts saves a pass through the layer,
# but takes a tensor that is large for what the pass costs, and forward the
# kernel in two parts.
FEW_TERMS = 256


@dataclasses.dataclass(frozen=True)
class LinearRule:
    """Divides the relevance of a linear layer's outputs by a table of terms.

    Attributes:
        name: What it is called.
        groups: The table.
        epsilon: Stabilizer of the denominators.
        zero_bias: Whether the bias is left out, so that nothing is lost to
            it.
        composed: Whether its two groups, the first of what is positive and
            the second of what is negative, together make up `z`, which can
            be computed as their sum.
    """

    name: str
    groups: tuple[Group, ...]
    epsilon: float = 1e-6
    zero_bias: bool = False
    composed: bool = False
    splits = True
    takes_relu = True

    @property
    def reads(self) -> str:
        """Whether an input of zero receives nothing."""
        kept = {same, positive, negative}
        terms = [term for group in self.groups for term in group.terms]
        return "proportional" if all(t.inputs in kept for t in terms) else ""

    def prepared(self, place: Place) -> PlacedLinearRule:
        return PlacedLinearRule(
            self,
            place.call.operation,
            place.fold,
            feeds_non_negative(place.call, place.graph)
            and place.fold.before is None,
        )


@dataclasses.dataclass(frozen=True)
class PlacedLinearRule(ReadyRule):
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
        maps = self.maps(function, kwargs)
        for number, linear in enumerate(maps):
            known = self.non_negative and number == 0
            last = number == len(maps) - 1
            relu = self.fold.relu and last
            x = _Division(self.rule, linear, known, relu).apply(x, sink)
        return x


class _Division:
    """A rule at work on one affine map.

    Args:
        rule: The table.
        linear: The map.
        non_negative: Whether the input has no negative value.
        relu: Whether a ReLU is folded in.
    """

    def __init__(
        self,
        rule: LinearRule,
        linear: LinearMap,
        non_negative: bool,
        relu: bool,
    ):
        self.rule = rule
        self.linear = linear
        self.non_negative = non_negative
        self.relu = relu
        # Behind a closed ReLU no relevance comes back.
        self.groups = [
            dataclasses.replace(group, terms=self._present(group))
            for group in rule.groups
            if not (relu and group.gate < 0)
        ]

    def _present(self, group: Group) -> tuple[Term, ...]:
        """The terms that are not zero whatever the input."""
        absent = negative if self.non_negative else None
        return tuple(t for t in group.terms if t.inputs is not absent)

    def apply(self, x: tf.Tensor, sink: tf.Tensor | None) -> tf.Tensor:
        inside = cut(x)
        weights = Weights(self.linear, inside)
        parts = self._parts(weights, inside)
        plain = Run(inside, same, weights.bias, self.relu)
        held: tf.Tensor | list[tf.Tensor] | None = None
        composed = self._holds_parts(x)
        if composed:
            groups = self._at_work(parts)
            totals = self._sums(groups, weights.runs(self._runs(groups)))
            z, held = in_one_pass(joined, *totals, relu=self.relu)
        elif self._looks_once(x, weights):
            groups = self._at_work(parts)
            runs = self._runs(groups, known=True)
            z, *made = weights.runs([plain, *runs])
            held = self._sums(groups, made, z)
        else:
            (z,) = weights.runs([plain])
        if composed or not self._reads_output(parts):
            let_go(z)

        def backward(upstream: tf.Tensor) -> Shares:
            return self._divide(inside, z, held, upstream)

        return connect(z, [x], backward, sink)

    def _holds_parts(self, x: tf.Tensor) -> bool:
        """Whether both groups are made forward, and `z` of them."""
        if not self.rule.composed or not self.linear.takes_bias:
            return False
        return x.dtype == tf.float32 and self.linear.terms > FEW_TERMS

    def _looks_once(self, x: tf.Tensor, weights: Weights) -> bool:
        """Whether all that is divided by is made forward, and held.

        Where a kernel is large, and what it makes is small.
        """
        if x.dtype != tf.float32 or x.shape.rank != 2:
            return False
        terms = [term for group in self.groups for term in group.terms]
        return weights.looks_once([term.weights for term in terms])

    def _reads_output(self, parts: Parts) -> bool:
        """Whether what it divides by is the output, or hangs on its sign."""
        return any(
            group.gate or any(parts.is_plain(term) for term in group.terms)
            for group in self.groups
        )

    def _at_work(self, parts: Parts) -> _Groups:
        return [(group, parts.of(group)) for group in self.groups]

    def _parts(self, weights: Weights, x: tf.Tensor) -> Parts:
        return Parts(
            weights, x,
            non_negative=self.non_negative, zero_bias=self.rule.zero_bias,
        )  # fmt: skip

    def _runs(self, groups: _Groups, known: bool = False) -> list[Run]:
        """What the parts of all groups are made by.

        Args:
            groups: With their parts.
            known: Whether the output of the layer is, which is what a plain
                part would make.
        """
        return [
            Run(part.values, part.weights, self._offset(group, part, number))
            for group, parts in groups
            for number, part in enumerate(parts)
            if not (known and part.plain)
        ]

    def _offset(self, group: Group, part: Part, number: int) -> Any:
        """The bias of a part of a group, with the stabilizer of the group."""
        if number or not self._by(group):
            return part.bias
        # A stabilizer of known sign costs nothing there.
        bias = self.linear.no_bias() if part.bias is None else part.bias
        return bias + self._by(group) * self.rule.epsilon

    def _sums(
        self,
        groups: _Groups,
        made: Sequence[tf.Tensor],
        known: tf.Tensor | None = None,
    ) -> list[tf.Tensor]:
        """What the parts of each group make together.

        Args:
            groups: With their parts.
            made: By the runs of the parts.
            known: Output of the layer, if that was.
        """
        more = iter(made)
        return [
            _signed_sum(
                [
                    known if part.plain and known is not None else next(more)
                    for part in parts
                ],
                [part.sign for part in parts],
            )
            for _, parts in groups
        ]

    def _by(self, group: Group) -> int:
        """The sign of the stabilizer if it goes with the bias, else 0."""
        return group.sign if self.linear.takes_bias else 0

    def _divide(
        self,
        x: tf.Tensor,
        z: tf.Tensor,
        held: tf.Tensor | list[tf.Tensor] | None,
        upstream: tf.Tensor,
    ) -> Shares:
        """Divides what is given.

        Args:
            x: The input.
            z: The output.
            held: The smaller part of it, or what each group divides by, or
                nothing.
            upstream: What is given.
        """
        given = tf.cast(upstream, tf.float32)
        exact = z.dtype == tf.float32
        x, z = later(x, upstream), remade(z, upstream)
        weights = Weights(self.linear, x)
        made = self._parts(weights, x)
        groups = self._at_work(made)
        lost: list[tf.Tensor] = []
        if tf.is_tensor(held):
            shares = in_one_pass(
                divided_by_parts, given, z, later(held, upstream),
                shares=tuple(group.share for group, _ in groups),
            )  # fmt: skip
            added = [group.sign * self.rule.epsilon for group, _ in groups]
            found = list(zip(shares, added, strict=True))
        else:
            if held is None:
                known = z if exact else None
                runs = self._runs(groups, known is not None)
                totals = self._sums(groups, weights.runs(runs), known)
            else:
                totals = [later(total, upstream) for total in held]
            found = [
                self._share(group, parts, total, given, z)
                for (group, parts), total in zip(groups, totals, strict=True)
            ]
        flows = Flows(weights)
        for (_, parts), (share, missing) in zip(groups, found, strict=True):
            for part in parts:
                flows.add(part, share)
                if part.bias is not None:
                    bias = self.linear.spread(part.bias, z.shape.rank)
                    missing += part.sign * bias
            lost.append(share * missing)
        if any(group.gate for group in self.groups):
            lost.append(given * tf.cast(z == 0, tf.float32))
        return Shares([flows.total()], lost)

    def _share(
        self,
        group: Group,
        parts: list[Part],
        total: tf.Tensor,
        given: tf.Tensor,
        z: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What is given over the denominator, and what that has too much."""
        if group.gate:
            given *= tf.cast(group.gate * z > 0, tf.float32)
        epsilon = self.rule.epsilon
        if self._by(group):
            share = ratio(given, total, 0.0, share=group.share)
            return share, tf.constant(group.sign * epsilon)
        # The output of a ReLU has the sign of a positive number.
        plain = len(parts) == 1 and parts[0].plain
        share = ratio(
            given, total, epsilon, share=group.share,
            positive=self.relu and plain,
        )  # fmt: skip
        return share, stabilized(total, epsilon) - total


def _signed_sum(terms: list[tf.Tensor], signs: list[float]) -> tf.Tensor:
    total = terms[0]
    for term, sign in zip(terms[1:], signs[1:], strict=True):
        total = total + term if sign > 0 else total - term
    return total


def joined(
    above: tf.Tensor, below: tf.Tensor, relu: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The sum of a positive and a negative number, and the smaller of both.

    From these two, of which a model holds the first in any case, both
    numbers come back without a difference of large ones, see
    `divided_by_parts`. With a ReLU so it is where that is open.
    """
    z = above + below
    return tf.nn.relu(z) if relu else z, tf.minimum(above, -below)


def divided_by_parts(
    given: tf.Tensor,
    z: tf.Tensor,
    smaller: tf.Tensor,
    shares: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
    """What is given, over each of two numbers that were `joined`."""
    above = tf.nn.relu(z) + smaller
    below = tf.minimum(z, 0.0) - smaller
    return shares[0] * given / above, shares[1] * given / below
