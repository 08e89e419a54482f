"""The rule of DeepLIFT for maxima: of those that won and those that had."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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
from keras_explain.rules.picture_windows import Cells
from keras_explain.rules.windows_apart import spread_apart
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
        operation = place.call.operation
        rule = _PlacedWinner(winners(operation), *_on_pictures(operation))
        return held(rule, place)


@dataclasses.dataclass(frozen=True)
class _PlacedWinner(DifferenceRule):
    """The rule at one call.

    Attributes:
        winners: Divides what maxima are given.
        size, strides: Those of windows on pictures without padding.
    """

    winners: Divide
    size: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    @property
    def simple(self) -> bool:
        """Whether windows lie side by side, of two to some power of places.

        Then average pooling spreads and gathers their values exactly.
        """
        number = math.prod(self.size)
        apart = bool(self.size) and self.size == self.strides
        return apart and number & (number - 1) == 0

    @property
    def reads_output(self) -> bool:  # type: ignore[override]
        return not self.simple

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        if self.simple:
            return [self._on_pictures(self._apart, step, upstream)]
        if self.size:
            made = step.output, step.reference
            return [
                self._on_pictures(self._step_by_step, step, upstream, *made)
            ]
        before = [
            spread(r, x)
            for x, r in zip(step.inputs, step.references, strict=True)
        ]
        y, y0 = step.output, spread(step.reference, step.output)
        return self._handed_on(step.inputs, before, y, y0, upstream)

    def _on_pictures(
        self,
        otherwise: Callable,
        step: Step,
        upstream: tf.Tensor,
        *made: tf.Tensor | None,
    ) -> tf.Tensor:
        return in_one_pass(
            _in_one_pass, upstream, *step.inputs, *step.references, *made,
            size=self.size, strides=self.strides, otherwise=otherwise,
            long=True,
        )  # fmt: skip

    def _handed_on(
        self,
        inputs: list[tf.Tensor],
        before: list[tf.Tensor],
        y: tf.Tensor,
        y0: tf.Tensor,
        upstream: tf.Tensor,
    ) -> list[tf.Tensor]:
        up, down = _risen_and_fallen(y - y0)
        won = self.winners(inputs, y, upstream * up)
        lost = self.winners(before, y0, upstream * down)
        return [
            (won[k] + lost[k]) / _away(x, r)
            for k, (x, r) in enumerate(zip(inputs, before, strict=True))
        ]

    def _step_by_step(
        self,
        upstream: tf.Tensor,
        x: tf.Tensor,
        r: tf.Tensor,
        y: tf.Tensor,
        y0: tf.Tensor,
    ) -> tf.Tensor:
        """The same by one operation after the other."""
        r, y0 = spread(r, x), spread(y0, y)
        return self._handed_on([x], [r], y, y0, upstream)[0]

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
            size = [1, *self.size, 1]
            lost = where * spread_apart(fell, x, size)
        else:
            (lost,) = self.winners([r], y0, fell)
        return (won + lost) / _away(x, r)

    def _maxima(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.max_pool(x, self.size, self.size, "VALID")


def _risen_and_fallen(difference: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Where nothing changed it is the gradient: both differences are none
    # there, and the same small number stands for them.
    kept = tf.cast(difference == 0, tf.float32) * _SMALL
    return tf.nn.relu(difference) + kept, tf.minimum(difference, 0.0)


def _away(x: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    away = x - r
    return tf.where(away == 0, _SMALL, away)


def _in_one_pass(
    upstream: tf.Tensor,
    x: tf.Tensor,
    r: tf.Tensor,
    *made: tf.Tensor,
    size: tuple[int, ...],
    strides: tuple[int, ...],
) -> tf.Tensor:
    """The same by sums that would be slow as single operations."""
    cells = Cells(tf.shape(upstream), size, strides)
    y, y0 = made or (cells.maxima(x), cells.maxima(r))
    up, down = _risen_and_fallen(y - y0)
    gained = cells.shared(x, y, upstream * up)
    fell = cells.shared(r, y0, upstream * down)
    now, before = cells.of(x), cells.of(r)
    share = cells.won(now, y, gained) + cells.won(before, y0, fell)
    return cells.back(share / _away(now, before), x)


def _on_pictures(operation: Any) -> list[tuple[int, ...]]:
    """Size and strides of a max pooling of pictures, if that has no padding."""
    if not isinstance(operation, keras.layers.MaxPooling2D):
        return []
    if operation.padding != "valid":
        return []
    if operation.data_format != "channels_last":
        return []
    return [tuple(operation.pool_size), tuple(operation.strides)]
