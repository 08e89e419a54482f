"""The rule of maxima: the largest value takes it all, ties share alike."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.engine.relevance import Shares
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
)

# `(inputs, output, given) -> shares`: divides what is given to each maximum
# among the inputs that are equal to it.
Divide = Callable[
    [list[tf.Tensor], tf.Tensor, tf.Tensor], list[tf.Tensor | None]
]


class _Winner(TensorRule):
    """Everything to the largest value; ties share alike."""

    reads = "transparent"

    def prepared(self, place: Place) -> Rule:
        rule = _PlacedWinner(winners(place.call.operation))
        return PlacedTensorRule(rule, place.signals)


Winner = _Winner()


@dataclasses.dataclass(frozen=True)
class _PlacedWinner(TensorRule):
    winners: Divide

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        given = tf.cast(relevance, at.output.dtype)
        shares = self.winners(at.inputs, at.output, given)
        kept = [
            -share
            for share, signal in zip(shares, at.signals, strict=True)
            if signal
        ]
        return Shares(shares, [given, *kept])


def winners(operation: Any) -> Divide:
    """Returns how an operation's maxima divide what they are given."""
    size = getattr(operation, "pool_size", None)
    if size is not None:
        rank = getattr(operation, "rank", None)  # `keras.ops` has none
        windows = _Windows(
            *(_each(getattr(operation, n), rank) for n in _WINDOW_OPTIONS),
            operation.padding.lower() == "same",
            operation.data_format == "channels_first",
        )
        return windows.divide
    if type(operation).__name__ == "Maximum":
        return _among_inputs
    if hasattr(operation, "axis"):
        return lambda *given: _along(operation.axis, *given)
    first = operation.data_format == "channels_first"
    return lambda *given: _along(_spatial(given[0][0], first), *given)


_WINDOW_OPTIONS = ("pool_size", "strides")


def _each(value: Any, rank: int | None) -> Any:
    if value is None or isinstance(value, (tuple, list)):
        return value
    return (value,) * rank if rank else value


def _spatial(x: tf.Tensor, channels_first: bool) -> list[int]:
    start = 2 if channels_first else 1
    return list(range(start, start + x.shape.rank - 2))


def _among_inputs(
    inputs: list[tf.Tensor], output: tf.Tensor, given: tf.Tensor
) -> list[tf.Tensor | None]:
    spread = [tf.broadcast_to(x, tf.shape(output)) for x in inputs]
    equal = [tf.cast(x == output, given.dtype) for x in spread]
    # A number to compare with is no input: where it wins, none does.
    each = tf.math.divide_no_nan(given, tf.add_n(equal))
    return tf.gradients(spread, inputs, [e * each for e in equal])


def _along(
    axis: Any, inputs: list[tf.Tensor], output: tf.Tensor, given: tf.Tensor
) -> list[tf.Tensor | None]:
    (x,) = inputs
    top = tf.reduce_max(x, axis, keepdims=True)
    equal = tf.cast(x == top, given.dtype)
    number = tf.reduce_sum(equal, axis, keepdims=True)
    return [equal * (tf.reshape(given, tf.shape(top)) / number)]


@dataclasses.dataclass(frozen=True)
class _Windows:
    """The windows of a max pooling.

    Attributes:
        size, strides: Of a window, along each spatial axis; strides of
            `None` are the size.
        same: Whether the borders are padded.
        channels_first: Whether the channels are the second axis.
    """

    size: Any
    strides: Any
    same: bool
    channels_first: bool

    def divide(
        self, inputs: list[tf.Tensor], output: tf.Tensor, given: tf.Tensor
    ) -> list[tf.Tensor | None]:
        (x,) = inputs
        if self._is_simple(x):
            return [self._apart(x, output, given)]
        with tf.control_dependencies([given]):
            x = tf.identity(x)
        places = self._places(x, output)
        equal = [tf.cast(place == output, given.dtype) for place in places]
        each = given / tf.add_n(equal)
        return tf.gradients(places, x, [e * each for e in equal])

    def _is_simple(self, x: tf.Tensor) -> bool:
        """Whether windows do not overlap, in a size that divides exactly."""
        axes = _spatial(x, self.channels_first)
        size = _each(self.size, len(axes))
        number = math.prod(size)
        return (
            len(axes) == 2
            and not (self.same or self.channels_first)
            and (_each(self.strides, 2) or size) == size
            and number & (number - 1) == 0
        )

    def _apart(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        """The same where windows do not overlap.

        The op's own gradient gives everything to the first of equal values,
        which is right and fast as long as no two are equal. They are found
        by taking the winners away: what then wins must be smaller.
        """
        size = [1, *_each(self.size, 2), 1]
        # Not the layer's output, which may come from `x` in other numbers.
        output = tf.nn.max_pool2d(x, size, size, "VALID")
        first = tf.gradients(output, x, given)[0]
        far = tf.constant(x.dtype.max / 4, x.dtype)
        far = tf.fill(tf.shape(output), far)
        rest = x - tf.gradients(output, x, far)[0]
        second = tf.nn.max_pool2d(rest, size, size, "VALID")
        ties = tf.reduce_any((second >= output) & (given != 0))
        return tf.cond(
            ties, lambda: self._shared(x, output, given), lambda: first
        )

    def _shared(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        """Divides among equal values, with no place cut out.

        The adjoint of average pooling spreads a value over its window; in
        a window of 2, 4, 8, ... places that is exact.
        """
        size = [1, *_each(self.size, 2), 1]
        number = float(math.prod(size))

        def spread(values: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.AvgPoolGrad(
                orig_input_shape=tf.shape(x), grad=values, ksize=size,
                strides=size, padding="VALID",
            )  # fmt: skip

        equal = tf.cast(x == spread(output * number), x.dtype)
        ties = tf.nn.avg_pool2d(equal, size, size, "VALID")
        return equal * spread(given / ties)

    def _places(self, x: tf.Tensor, output: tf.Tensor) -> list[tf.Tensor]:
        """What stands at each place of the windows, in the output's shape."""
        axes = _spatial(x, self.channels_first)
        size = _each(self.size, len(axes))
        strides = _each(self.strides, len(axes)) or size
        pads: list[Any] = [(0, 0)] * x.shape.rank
        stops = {}
        for axis, width, stride in zip(axes, size, strides, strict=True):
            have, number = tf.shape(x)[axis], tf.shape(output)[axis]
            stops[axis] = (number - 1) * stride + 1
            missing = tf.maximum(stops[axis] - 1 + width - have, 0)
            before = missing // 2 if self.same else 0
            pads[axis] = (before, missing - before)
        if self.same:
            x = tf.pad(x, pads, constant_values=x.dtype.min)
        places = []
        for start in itertools.product(*map(range, size)):
            window = [slice(None)] * x.shape.rank
            for axis, first, stride in zip(axes, start, strides, strict=True):
                window[axis] = slice(first, first + stops[axis], stride)
            places.append(x[tuple(window)])
        return places
