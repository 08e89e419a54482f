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
from keras_explain.engine.roles import feeds_non_negative
from keras_explain.engine.rules import Place, ReadyRule, pulled
from keras_explain.engine.terms import (
    CONSTANT,
    Bound,
    Group,
    Term,
    negative,
    none,
    positive,
    same,
)


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


class _Part(NamedTuple):
    """One term at work.

    Attributes:
        values: Its modified input.
        output: What it makes of it, the bias included.
        kernel: Its modified kernel.
        source: Has the shape of what it is differentiated for.
        bias: Its modified bias, or `None`.
        sign: What it counts.
    """

    values: tf.Tensor
    output: tf.Tensor
    kernel: tf.Tensor
    source: tf.Tensor
    bias: tf.Tensor | None
    sign: float


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

    def _read(self, after: tf.Tensor) -> None:
        """Reads the weights, not before a tensor is there.

        Weights that are folded or modified are made where they are used, one
        layer at a time, and again on the way back: all at once they take as
        much memory as the model.
        """
        with tf.control_dependencies([after]):
            self.kernel, self.bias = self.linear.parameters()

    def apply(self, x: tf.Tensor, sink: tf.Tensor | None) -> tf.Tensor:
        inside = cut(x)
        self._read(inside)
        parts: list[list[_Part]] = []
        if self.rule.composed and x.dtype == tf.float32:
            parts = self._parts(inside)
            outputs = [p.output for group in parts for p in group]
            z = in_one_pass(_sum, *outputs, relu=self.relu)
        else:
            z = self.linear.run(inside, self.kernel, self.bias)
            z = tf.nn.relu(z) if self.relu else z

        def backward(upstream: tf.Tensor) -> Shares:
            return self._divide(inside, z, parts, upstream)

        return connect(z, [x], backward, sink)

    def _parts(
        self, x: tf.Tensor, known: tf.Tensor | None = None
    ) -> list[list[_Part]]:
        """The parts of each group.

        Args:
            x: The input.
            known: Output of the forward pass, to take where it is what a
                part would make.
        """
        return [
            [self._part(group, term, x, known) for term in group.terms]
            for group in self.groups
        ]

    def _part(
        self, group: Group, term: Term, x: tf.Tensor, known: tf.Tensor | None
    ) -> _Part:
        bias = self.bias
        if bias is not None:
            gone = self.rule.zero_bias or term.bias is none
            bias = None if gone else term.bias(bias)
        if known is not None and self._is_plain(term):
            return _Part(x, known, self.kernel, x, bias, term.sign)
        with tf.control_dependencies([x]):
            kernel = term.weights(self.kernel)
        with_epsilon = bias
        if term is group.terms[0] and self._by(group):
            # A stabilizer of known sign costs nothing as part of the bias.
            with_epsilon = self.linear.no_bias() if bias is None else bias
            with_epsilon += self._by(group) * self.rule.epsilon
        if isinstance(term.inputs, Bound) or term.inputs in CONSTANT:
            values = term.inputs(x[:1])  # one row stands for the batch
            output = self.linear.run(values, kernel, with_epsilon)
            return _Part(values, output, kernel, x, bias, term.sign)
        keeps = self.non_negative and term.inputs is positive
        values = x if keeps else term.inputs(x)
        output = self.linear.run(values, kernel, with_epsilon)
        return _Part(values, output, kernel, values, bias, term.sign)

    def _renewed(
        self, parts: list[list[_Part]], upstream: tf.Tensor
    ) -> list[list[_Part]]:
        """Parts of the forward pass, with kernels made on the way back.

        They do not have to be held between. Those of dense layers can be
        larger than all activations, and are not made twice.
        """
        if self.kernel.shape.rank <= 2:
            return parts
        self._read(upstream)
        renewed = []
        for group, found in zip(self.groups, parts, strict=True):
            kernels = [term.weights(self.kernel) for term in group.terms]
            renewed.append(
                [
                    part._replace(kernel=kernel)
                    for part, kernel in zip(found, kernels, strict=True)
                ]
            )
        return renewed

    def _by(self, group: Group) -> int:
        """The sign of the stabilizer if it goes with the bias, else 0."""
        return group.sign if self.linear.takes_bias else 0

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
        if parts:
            parts = self._renewed(parts, upstream)
        else:
            self._read(upstream)
            known = z if z.dtype == tf.float32 else None
            parts = self._parts(later(x, upstream), known)
        lost, flows = [], _Flows(self.linear)
        for group, found in zip(self.groups, parts, strict=True):
            given = relevance
            if group.gate:
                given *= tf.cast(group.gate * z > 0, tf.float32)
            lost.append(self._share(group, found, given, flows))
        if any(group.gate for group in self.groups):
            lost.append(relevance * tf.cast(z == 0, tf.float32))
        return Shares([flows.total()], lost)

    def _share(
        self,
        group: Group,
        parts: list[_Part],
        given: tf.Tensor,
        flows: _Flows,
    ) -> tf.Tensor:
        """Divides relevance in proportion to the parts; returns the rest."""
        total = _signed_sum(parts)
        epsilon = self.rule.epsilon
        if self._by(group):
            share = ratio(given, total, 0.0, share=group.share)
            missing = tf.constant(group.sign * epsilon)
        else:
            # The output of a ReLU has the sign of a positive number.
            plain = self.relu and self._is_plain(group.terms[0])
            share = ratio(
                given, total, epsilon, share=group.share,
                positive=plain and len(parts) == 1,
            )  # fmt: skip
            missing = stabilized(total, epsilon) - total
        for part in parts:
            flows.add(part, share)
            if part.bias is not None:
                bias = self.linear.spread(part.bias, total.shape.rank)
                missing += part.sign * bias
        return share * missing


class _Flows:
    """Collects what flows back, to differentiate each input once."""

    def __init__(self, linear: LinearMap):
        self.linear = linear
        self._by_input: dict[tuple[int, int, float], list[Any]] = {}

    def add(self, part: _Part, given: tf.Tensor) -> None:
        key = (id(part.values), id(part.source), part.sign)
        self._by_input.setdefault(key, []).append((part, given))

    def total(self) -> tf.Tensor:
        received = []
        for found in self._by_input.values():
            part = found[0][0]
            down = [self._pulled(p, given) for p, given in found]
            share = in_one_pass(_product, part.values, *down)
            received.append(share if part.sign > 0 else -share)
        return tf.add_n(received)

    def _pulled(self, part: _Part, given: tf.Tensor) -> tf.Tensor:
        def path(x: tf.Tensor) -> tf.Tensor:
            return self.linear.run(x, part.kernel, None)

        return pulled(path, [part.source], given)[0]


def _sum(*terms: tf.Tensor, relu: bool) -> tf.Tensor:
    total = tf.add_n(terms)
    return tf.nn.relu(total) if relu else total


def _product(values: tf.Tensor, *down: tf.Tensor) -> tf.Tensor:
    return values * (tf.add_n(down) if len(down) > 1 else down[0])


def _signed_sum(parts: list[_Part]) -> tf.Tensor:
    total = parts[0].output
    for part in parts[1:]:
        more = part.sign > 0
        total = total + part.output if more else total - part.output
    return total
