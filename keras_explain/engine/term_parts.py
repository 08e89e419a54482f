"""The terms of a rule at work: what they are computed from, what flows back.

A convolution of three input channels takes as long as one of sixteen, so
that where an input and its kernel are small, the terms of a rule lie side by
side in one: `x+ w+` and `x- w-` as the input `[x+, x-]` with the kernel
`[w+, w-]`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import tensorflow as tf

from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.plain_convolution import CHANNELS, PlainConvolution
from keras_explain.engine.terms import (
    CONSTANT,
    Bound,
    Group,
    Modifier,
    Stacked,
    Term,
    none,
    positive,
    same,
)
from keras_explain.engine.weights import Pull, Weights


class _Input(NamedTuple):
    """A modified input, and what has the shape that it receives for."""

    values: tf.Tensor
    source: tf.Tensor


class Part(NamedTuple):
    """One term at work, or several of them side by side.

    Attributes:
        values: Its modified input.
        source: Has the shape of what it is differentiated for.
        weights: Modifier of its kernel.
        bias: Its modified bias, or `None`.
        sign: What it counts.
        plain: Whether it is what the layer itself makes.
        number: How many terms it is, along the input channels.
    """

    values: tf.Tensor
    source: tf.Tensor
    weights: Modifier
    bias: tf.Tensor | None
    sign: float
    plain: bool
    number: int = 1


class Parts:
    """Makes the terms of one map's groups, and each input for them once.

    Args:
        weights: The weights of the map.
        x: Its input.
        non_negative: Whether that has no negative value.
        zero_bias: Whether the bias is left out.
    """

    def __init__(
        self,
        weights: Weights,
        x: tf.Tensor,
        *,
        non_negative: bool,
        zero_bias: bool,
    ):
        self.weights = weights
        self.linear = weights.linear
        self.x = x
        self.non_negative = non_negative
        self.zero_bias = zero_bias
        self._inputs: dict[tuple[Modifier, ...], _Input] = {}

    def of(self, group: Group) -> list[Part]:
        """Returns the terms of a group at work."""
        found: list[Part] = []
        for _, alike in itertools.groupby(group.terms, self._kind):
            terms = list(alike)
            if self._stacks(terms):
                found.append(self._part(terms))
            else:
                found += [self._part([term]) for term in terms]
        return found

    def _kind(self, term: Term) -> tuple[float, bool, bool]:
        return term.sign, _is_constant(term.inputs), self.is_plain(term)

    def _stacks(self, terms: Sequence[Term]) -> bool:
        """Whether terms of one kind lie side by side."""
        if self.linear.plain is None:
            return False
        channels = self.x.shape[self.linear.channels] or CHANNELS
        return len(terms) * channels <= CHANNELS

    def _part(self, terms: Sequence[Term]) -> Part:
        weights: Modifier = terms[0].weights
        if len(terms) > 1:
            axis = cast(PlainConvolution, self.linear.plain).input_axis
            weights = Stacked(tuple(term.weights for term in terms), axis)
        return Part(
            *self._input(tuple(term.inputs for term in terms)),
            weights,
            self._bias(terms),
            terms[0].sign,
            self.is_plain(terms[0]),
            len(terms),
        )

    def _bias(self, terms: Sequence[Term]) -> tf.Tensor | None:
        bias = self.weights.bias
        if bias is None or self.zero_bias:
            return None
        found = [term.bias(bias) for term in terms if term.bias is not none]
        return tf.add_n(found) if found else None

    def is_plain(self, term: Term) -> bool:
        """Whether a term is what the layer itself makes."""
        biased = not self.linear.has_bias or (
            term.bias is same and not self.zero_bias
        )
        return term.inputs is same and term.weights is same and biased

    def _input(self, modifiers: tuple[Modifier, ...]) -> _Input:
        if modifiers not in self._inputs:
            each = [self._modified(modifier) for modifier in modifiers]
            axis = self.linear.channels
            values, source = (
                some[0] if len(some) == 1 else tf.concat(some, axis)
                for some in zip(*each, strict=True)
            )
            self._inputs[modifiers] = _Input(values, source)
        return self._inputs[modifiers]

    def _modified(self, modifier: Modifier) -> _Input:
        if _is_constant(modifier):  # one row stands for the batch
            return _Input(modifier(self.x[:1]), self.x)
        keeps = self.non_negative and modifier is positive
        values = self.x if keeps else modifier(self.x)
        return _Input(values, values)


def _is_constant(modifier: Modifier) -> bool:
    return isinstance(modifier, Bound) or modifier in CONSTANT


class Flows:
    """Collects what flows back, to differentiate each input once.

    Args:
        weights: The weights of the map.
    """

    def __init__(self, weights: Weights):
        self.weights = weights
        self._by_input: dict[tuple[int, int, float], list[Any]] = {}

    def add(self, part: Part, given: tf.Tensor) -> None:
        """Adds what the output gives to a part."""
        key = (id(part.values), id(part.source), part.sign)
        self._by_input.setdefault(key, []).append((part, given))

    def total(self) -> tf.Tensor:
        """Returns what the input receives."""
        pulls = [
            Pull(part.source, part.weights, given)
            for found in self._by_input.values()
            for part, given in found
        ]
        pulled = iter(self.weights.pulls(pulls))
        received = []
        for found in self._by_input.values():
            part = found[0][0]
            down = list(itertools.islice(pulled, len(found)))
            share = in_one_pass(
                _product, part.values, *down, number=part.number,
                axis=self.weights.linear.channels,
                absorbable=part.number == 1,
            )  # fmt: skip
            received.append(share if part.sign > 0 else -share)
        return tf.add_n(received)


def _product(
    values: tf.Tensor, *down: tf.Tensor, number: int, axis: int
) -> tf.Tensor:
    found = values * (tf.add_n(down) if len(down) > 1 else down[0])
    return found if number == 1 else tf.add_n(tf.split(found, number, axis))
