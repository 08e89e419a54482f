"""Terms: the products of modified inputs and weights that rules divide by.

A modifier maps an input or a weight to what stands in its place in a term,
such as its positive part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

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
CONSTANT = {ones}
# These make `s` times as much of what is `s` times as large, for `s >= 0`.
SCALED_ALIKE = {same, positive, negative}
# What is known of the sign of what a modifier returns.
_SIGNS: dict[Any, int] = {positive: 1, negative: -1, ones: 1, tf.square: 1}


@dataclasses.dataclass(frozen=True, eq=False)  # it may hold a tensor
class Bound:
    """An input modifier that puts a bound in place of the input.

    Attributes:
        value: Number or array that broadcasts to the inputs, such as one
            value for each channel; `None` while it is not known.
        upper: Whether it is the upper bound.
    """

    value: Any
    upper: bool = False

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        return tf.zeros_like(values) + tf.cast(self.value, values.dtype)


@dataclasses.dataclass(frozen=True)
class Stacked:
    """A modifier of kernels that puts several of them side by side.

    Attributes:
        modifiers: What is done to each.
        axis: That of the input channels.
    """

    modifiers: tuple[Modifier, ...]
    axis: int

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.concat([made(kernel) for made in self.modifiers], self.axis)


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


def _sign(modifier: Modifier) -> int:
    return _SIGNS.get(modifier, 0)


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

    @property
    def sign(self) -> int:
        """The sign of the denominator if it is always the same, else 0."""
        found = {_sign(t.inputs) * _sign(t.weights) for t in self.terms}
        found |= {_sign(t.bias) for t in self.terms if t.bias is not none}
        return found.pop() if len(found) == 1 else 0
