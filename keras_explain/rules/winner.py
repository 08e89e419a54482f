"""The rule of maxima: the largest value takes it all, ties share alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import layers

from keras_explain.engine.errors import message
from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.graph import Call
from keras_explain.engine.linearity import NONLINEAR
from keras_explain.engine.missing_rules import describe
from keras_explain.engine.relevance import Shares, later
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
)
from keras_explain.rules.picture_windows import Cells, places
from keras_explain.rules.windows_apart import shared_apart, ties_apart

# `(inputs, output, given) -> shares`: divides what is given to each maximum
# among the inputs that are equal to it.
Divide = Callable[
    [list[tf.Tensor], tf.Tensor, tf.Tensor], list[tf.Tensor | None]
]


class _Winner(TensorRule):
    """Everything to the largest value; ties share alike."""

    reads = "transparent"

    def prepared(self, place: Place) -> Rule:
        if not _is_maximum(place.call):
            raise ValueError(
                message(
                    "`Winner` is for maxima: all goes to the largest value.",
                    describe(place.call),
                    "Select by `rules.role('winner')`; a layer of your own "
                    "tells by `axis` what it is the maximum over. `Norm()` "
                    "is for averages, `Pass` for nonlinearities.",
                )
            )
        rule = _PlacedWinner(winners(place.call.operation))
        return PlacedTensorRule(rule, place.signals)


Winner = _Winner()

# Layers whose subclasses are maxima as well.
_POOLINGS = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.Maximum,
)
_MAXIMA = {"Max", "Maximum", "MaxPool", "MaxPool3D", "MaxPoolV2"}


def _is_maximum(call: Call) -> bool:
    """Whether it can be read from a call where its values come from.

    A layer of somebody else has to say over which `axis` it goes.
    """
    if role_of(call) == "winner" or isinstance(call.operation, _POOLINGS):
        return True
    ours = type(call.operation).__module__.startswith("keras.")
    return (
        not ours
        and hasattr(call.operation, "axis")
        and call.linearity == NONLINEAR
        and not _MAXIMA.isdisjoint(call.op_types)
    )


@dataclasses.dataclass(frozen=True)
class _PlacedWinner(TensorRule):
    winners: Divide

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        given = tf.cast(relevance, tf.float32)
        inputs = [later(x, relevance) for x in at.inputs]
        shares = self.winners(inputs, later(at.output, relevance), given)
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
    if type(operation).__name__ == "Maximum" or isinstance(
        operation, layers.Maximum
    ):
        return _among_inputs
    if hasattr(operation, "axis"):
        return lambda *given: _along(operation.axis, *given)
    first = operation.data_format == "channels_first"
    return lambda *given: _along(_spatial(given[0][0], first), *given)


_WINDOW_OPTIONS = ("pool_size", "strides")


def _each(value: Any, rank: int | None) -> Any:
    if value is None:
        return None
    if isinstance(value, (tuple, list)):
        return tuple(value)
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
        if len(_spatial(x, self.channels_first)) == 2 and not (
            self.channels_first
        ):
            return [self._in_pictures(x, output, given)]
        return [self.shared(x, output, given)]

    def _in_pictures(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        return in_one_pass(
            _shared, x, output, given, otherwise=self._first_unless_tied,
            absorbable=self.lie_apart, windows=self,
        )  # fmt: skip

    def shared_in_pictures(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        """Ties share alike, by sums that would be slow as operations."""
        size, strides = self._each_axis(2)
        cells = Cells(tf.shape(output), size, strides)
        pads = self._pads(x, output)
        padded = self._padded(x, pads)
        each = cells.shared(padded, output, given)
        won = cells.back(cells.won(cells.of(padded), output, each), padded)
        return tf.slice(won, [before for before, _ in pads], tf.shape(x))

    def _first_unless_tied(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        """The same, and fast as long as no two values are equal.

        The op's own gradient gives everything to the first of them.
        """
        x = tf.identity(x)
        size, strides = ([1, *each, 1] for each in self._each_axis(2))
        padded = self._padded(x, self._pads(x, output))

        def pool(values: tf.Tensor) -> tf.Tensor:
            return tf.nn.max_pool2d(values, size, strides, "VALID")

        top = pool(padded)
        (first,) = tf.gradients(top, x, given)
        if size == strides:
            tied = ties_apart(pool, padded, top, given)
        else:
            tied = _ties(pool, padded, top, given, self._covered(output))

        def shared() -> tf.Tensor:
            number = math.prod(size)
            # Then average pooling gathers and spreads values exactly.
            if self.lie_apart and number & (number - 1) == 0:
                return shared_apart(x, output, given, size)
            inside = tf.identity(x)  # of the branch, to differentiate there
            return self.shared(inside, output, given)

        return tf.cond(tied, shared, lambda: first)

    @property
    def lie_apart(self) -> bool:
        """Whether windows on pictures lie side by side."""
        size, strides = self._each_axis(2)
        return not self.same and size == strides

    def shared(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        found = self._places(x, output)
        equal = [tf.cast(place == output, given.dtype) for place in found]
        each = given / tf.add_n(equal)
        return tf.gradients(found, x, [e * each for e in equal])[0]

    def _each_axis(self, rank: int) -> tuple[Any, Any]:
        """Size and strides along each axis of space."""
        size = _each(self.size, rank)
        return size, _each(self.strides, rank) or size

    def _number(self, output: tf.Tensor) -> dict[int, tf.Tensor]:
        """How many windows there are along each axis of space."""
        axes = _spatial(output, self.channels_first)
        return {axis: tf.shape(output)[axis] for axis in axes}

    def _covered(self, output: tf.Tensor) -> tuple[slice, ...]:
        """The part of the padded input that the windows cover."""
        number = self._number(output)
        window = [slice(None)] * output.shape.rank
        for (axis, windows), width, stride in zip(
            number.items(), *self._each_axis(len(number)), strict=True
        ):
            window[axis] = slice(0, (windows - 1) * stride + width)
        return tuple(window)

    def _padded(self, x: tf.Tensor, pads: list[Any]) -> tf.Tensor:
        return tf.pad(x, pads, constant_values=x.dtype.min) if self.same else x

    def _pads(self, x: tf.Tensor, output: tf.Tensor) -> list[Any]:
        """What is padded before and behind, along each axis of the input."""
        number = self._number(output)
        pads: list[Any] = [(0, 0)] * x.shape.rank
        for (axis, windows), width, stride in zip(
            number.items(), *self._each_axis(len(number)), strict=True
        ):
            reach = (windows - 1) * stride + width
            missing = tf.maximum(reach - tf.shape(x)[axis], 0)
            before = missing // 2 if self.same else 0
            pads[axis] = (before, missing - before)
        return pads

    def _places(self, x: tf.Tensor, output: tf.Tensor) -> list[tf.Tensor]:
        """What stands at each place of the windows, in the output's shape."""
        number = self._number(output)
        padded = self._padded(x, self._pads(x, output))
        return places(padded, number, *self._each_axis(len(number)))


def _shared(
    x: tf.Tensor, output: tf.Tensor, given: tf.Tensor, windows: _Windows
) -> tf.Tensor:
    return windows.shared_in_pictures(x, output, given)


def _ties(
    pool: Callable,
    x: tf.Tensor,
    top: tf.Tensor,
    given: tf.Tensor,
    covered: tuple[slice, ...],
) -> tf.Tensor:
    """The same of windows that overlap.

    The op finds the first winner; turned around it finds the last. They are
    counted where something is given: only ties make a difference.
    """
    marked = tf.cast(given != 0, x.dtype)
    turned = tf.reverse(x[covered], [1, 2])
    (first,) = tf.gradients(top, x, marked)
    (last,) = tf.gradients(pool(turned), turned, tf.reverse(marked, [1, 2]))
    return tf.reduce_any(first[covered] != tf.reverse(last, [1, 2]))
