"""The rule of DeepLIFT for maxima: of those that won and those that had."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.rules import Place
from keras_explain.rules.differences import (
    DifferenceRule,
    Held,
    Step,
    held,
    spread,
)
from keras_explain.rules.windows_apart import Apart, spread_apart
from keras_explain.rules.winner import Divide, winners

# What stands for a difference of none.
_SMALL = 1e-20


class WinnerDifference(DifferenceRule):
    """Maxima: what is won goes to the winner, what is lost to the former.

    Where the maximum rose it is due to the input that is the maximum now,
    where it fell to the one that was the maximum in the reference. Their
    own differences are at least as large, so that no multiplier is larger
    than what comes in. Ties share alike. Each sample stands for itself.
    """

    def prepared(self, place: Place) -> Held:
        call = place.call
        rule = _PlacedWinner(winners(call.operation), _window(call.operation))
        return held(rule, place)


@dataclasses.dataclass(frozen=True)
class _PlacedWinner(DifferenceRule):
    """The rule at one call.

    Attributes:
        winners: Divides what maxima are given.
        window: Size of windows that do not overlap, of which a value is
            spread and gathered exactly by average pooling; else `None`.
    """

    winners: Divide
    window: tuple[int, ...] | None = None

    @property
    def reads_output(self) -> bool:  # type: ignore[override]
        return self.window is None

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        if self.window:
            found = in_one_pass(
                _in_one_pass, upstream, *step.inputs, *step.references,
                size=self.window, otherwise=self._apart,
            )  # fmt: skip
            return [found]
        y, y0 = step.output, spread(step.reference, step.output)
        before = [
            spread(r, x)
            for x, r in zip(step.inputs, step.references, strict=True)
        ]
        up, down = _risen_and_fallen(y - y0)
        won = self.winners(step.inputs, y, upstream * up)
        lost = self.winners(before, y0, upstream * down)
        return [
            (won[k] + lost[k]) / _away(x, r)
            for k, (x, r) in enumerate(zip(step.inputs, before, strict=True))
        ]

    def _apart(
        self, upstream: tf.Tensor, x: tf.Tensor, r: tf.Tensor
    ) -> tf.Tensor:
        """The same in fewer steps; a shared reference stays one row."""
        # Nobody else holds the maxima, which are soon found again.
        y, y0 = self._maxima(x), self._maxima(r)
        up, down = _risen_and_fallen(y - y0)
        gained, fell = upstream * up, upstream * down
        (won,) = self.winners([x], y, gained)
        if r.shape[0] == 1:
            (where,) = self.winners([r], y0, tf.ones_like(y0))
            size = [1, *(self.window or ()), 1]
            lost = where * spread_apart(fell, x, size)
        else:
            (lost,) = self.winners([r], y0, fell)
        return (won + lost) / _away(x, r)

    def _maxima(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.max_pool(x, self.window, self.window, "VALID")


def _risen_and_fallen(difference: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Where nothing changed it is the gradient: both differences are none
    # there, and the same small number stands for them.
    kept = tf.cast(difference == 0, tf.float32) * _SMALL
    return tf.nn.relu(difference) + kept, tf.minimum(difference, 0.0)


def _away(x: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    away = x - r
    return tf.where(away == 0, _SMALL, away)


def _in_one_pass(
    upstream: tf.Tensor, x: tf.Tensor, r: tf.Tensor, size: tuple[int, ...]
) -> tf.Tensor:
    """The same as sums over windows, which are slow as single operations."""
    windows = Apart(tf.shape(x), tf.shape(upstream), size)
    x, r = windows.of(x), windows.of(r)
    y, won = _winning(x, windows.axes)
    y0, lost = _winning(r, windows.axes)
    up, down = _risen_and_fallen(y - y0)
    share = (won * up + lost * down) / _away(x, r)
    return windows.back(windows.one(upstream) * share)


def _winning(
    x: tf.Tensor, axes: tuple[int, ...]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The maxima of windows, and which part of them each value has won."""
    top = tf.reduce_max(x, axes, keepdims=True)
    equal = tf.cast(x == top, x.dtype)
    return top, equal / tf.reduce_sum(equal, axes, keepdims=True)


def _window(operation: Any) -> tuple[int, ...] | None:
    """The windows of a max pooling if they are simple."""
    if not isinstance(operation, keras.layers.MaxPooling2D):
        return None
    size, strides = tuple(operation.pool_size), tuple(operation.strides)
    number = math.prod(size)
    simple = (
        size == strides
        and operation.padding == "valid"
        and operation.data_format == "channels_last"
        and number & (number - 1) == 0
    )
    return size if simple else None
