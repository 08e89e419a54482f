"""What was observed of a picture, and how well another one explains it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.value_range import ValueRange


class Observed:
    """Scores pictures by how near an operator takes them to what is known.

    The score is minus the mean of the squared errors, where the range of
    values has length one: `-sum m ((A(x) - y) / (high - low))^2 / sum m`.

    Args:
        values: `(rows, ...)`, what was observed.
        weights: Of the same shape, `m`.
        operator: `A`, which takes pictures in `value_range`.
        value_range: Of the pictures.
    """

    scale = 1.0
    can_open = False

    def __init__(
        self,
        values: np.ndarray,
        weights: np.ndarray,
        operator: Callable[[tf.Tensor], tf.Tensor],
        value_range: ValueRange,
    ):
        self.value_range = value_range
        self._operator = operator
        self._values = tf.constant(values, tf.float32)
        axes = tuple(range(1, weights.ndim))
        share = weights / weights.sum(axis=axes, keepdims=True, dtype=float)
        width = value_range.high - value_range.low
        self._weights = tf.constant(share / width**2, tf.float32)

    def score(self, images: tf.Tensor, *, opened: bool = False) -> tf.Tensor:
        """Returns `(rows,)`.

        Args:
            images: From 0 to 1.
            opened: Nothing is shut here.
        """
        made = self._operator(self.value_range.values(images))
        error = tf.square(tf.cast(made, tf.float32) - self._values)
        axes = list(range(1, error.shape.rank))
        return -tf.reduce_sum(self._weights * error, axes)


def read(
    images: Any,
    mask: Any,
    value_range: tuple[float, float] | None,
    *,
    pictures: bool = True,
) -> tuple[np.ndarray, ValueRange, np.ndarray]:
    """Returns what was observed, its range of values and its weights.

    Args:
        images: `(batch, height, width, channels)` or one picture.
        mask: As for `restore`. What it hides is not looked at: it comes
            back as zero.
        value_range: `(low, high)`, or `None` to go by the type of numbers.
        pictures: Whether values have that range, up to noise; else it is
            that of the pictures only of which they were made.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If something does not fit.
    """
    values = np.asarray(images)
    if values.ndim == 3:
        values = values[np.newaxis]
    if values.ndim != 4 or not values.size:
        raise ValueError(
            message(
                "Pictures have the shape (batch, height, width, channels), "
                "or that of one of them.",
                f"an array of shape {values.shape}",
                "Add the axis of the channels: `images[..., np.newaxis]`.",
            )
        )
    if values.dtype.kind not in "uif":
        raise TypeError(
            message("Pictures are numbers.", f"values of {values.dtype}")
        )
    weights = _weights(mask, values.shape)
    found = _range(values.dtype, value_range)
    seen = np.where(weights > 0, values, found.low).astype(np.float32)
    if value_range is None:
        found.check(seen, "Pictures")
    else:
        _check_noisy(seen, found, pictures)
    return np.where(weights > 0, seen, 0.0), found, weights


def check_operator(
    operator: Callable, shape: tuple[int, ...], made: tuple[int, ...]
) -> None:
    """Raises unless an operator can be used.

    Args:
        operator: Any function of pictures.
        shape: Of the pictures, `(rows, ...)`.
        made: Of what was observed.

    Raises:
        TypeError: If it is no function, or not one of TensorFlow.
        ValueError: If it makes something of another shape, or has no
            gradient.
    """
    if not callable(operator):
        raise TypeError(
            message("The operator is a function of pictures.", f"{operator!r}")
        )
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, shape)
        try:
            found = operator(images)
        except NotImplementedError as error:  # NumPy asked for the numbers
            raise TypeError(
                message(
                    "The operator must be made of TensorFlow's functions.",
                    "one that uses NumPy on the pictures",
                    "Write it with `tf.` or `keras.ops.`.",
                )
            ) from error
        known = tf.is_tensor(found) and found.shape.as_list()
        if known is False or known != list(made):
            received = f"shape {known}" if known else repr(type(found).__name__)
            raise ValueError(
                message(
                    f"The operator makes what was observed, of shape {made}, "
                    f"of pictures of shape {shape}.",
                    f"{received} from the operator",
                    "Pass `shape=(height, width, channels)` of the pictures "
                    "if it is not that of what was observed.",
                )
            )
        (gradient,) = tf.gradients(found, [images])
    if gradient is None:
        raise ValueError(
            message(
                "The operator must have a gradient.",
                "one that has none, such as rounding or a comparison",
            )
        )


def _weights(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a mask in the full shape, or raises."""
    if mask is None:
        return np.ones(shape, np.float32)
    mask = np.asarray(mask)
    rows, height, width, channels = shape
    ways: dict[tuple[int, ...], Any] = {
        (height, width): np.s_[np.newaxis, ..., np.newaxis],
        (rows, height, width): np.s_[..., np.newaxis],
    }
    for depth in (1, channels):
        ways[height, width, depth] = np.s_[np.newaxis]
        ways[rows, height, width, depth] = np.s_[...]
    if mask.shape not in ways:
        raise ValueError(
            message(
                f"A mask for pictures of shape {shape} has shape "
                f"{(height, width)}, with channels and with the batch axis "
                "or without.",
                f"a mask of shape {mask.shape}",
            )
        )
    values = mask[ways[mask.shape]].astype(np.float32)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            message(
                "A mask is 1 where a picture is kept and 0 where it is "
                "hidden, or in between.",
                f"values from {mask.min()} to {mask.max()}",
                "Divide an 8-bit mask by 255.",
            )
        )
    full = np.broadcast_to(values, shape)
    hidden = np.nonzero(~full.reshape(rows, -1).any(axis=1))[0]
    if hidden.size:
        raise ValueError(
            message(
                "A mask must keep something: 1 = kept, 0 = hidden.",
                f"one that hides all of pictures {hidden[:8].tolist()}",
                "Pass `1 - mask` if yours is the other way round.",
            )
        )
    return full


def _range(dtype: np.dtype, given: tuple[float, float] | None) -> ValueRange:
    """The range that was given, or that of the type of numbers."""
    if given is not None:
        pair = np.asarray(given, np.float64)
        if not (pair.shape == (2,) and math.isfinite(pair[1] - pair[0])
                and pair[0] < pair[1]):  # fmt: skip
            raise ValueError(
                message(
                    "A value range is a pair of finite numbers, the smaller "
                    "one first.",
                    f"value_range={given!r}",
                )
            )
        return ValueRange(float(pair[0]), float(pair[1]), None, "as given")
    if dtype == np.uint8:
        return ValueRange(0.0, 255.0, None, "as 8-bit pictures do")
    if np.issubdtype(dtype, np.floating):
        return ValueRange(0.0, 1.0, None, "as floats do")
    raise ValueError(
        message(
            "The range of integers that are not of 8 bits is not known.",
            f"pictures of {dtype}",
            "Pass it, such as `value_range=(0, 65535)`.",
        )
    )


def _check_noisy(
    values: np.ndarray, value_range: ValueRange, pictures: bool
) -> None:
    """Raises for values that noise cannot have taken out of a range."""
    wrong = int(np.sum(~np.isfinite(values)))
    if wrong:
        raise ValueError(
            message(
                "Pictures must be finite.",
                f"{wrong} values that are NaN or infinite",
                "Hide them with a mask: `inpaint(images, mask)`.",
            )
        )
    low, high = value_range.low, value_range.high
    width = high - low
    least, most = float(values.min()), float(values.max())
    if pictures and not (low - width <= least and most <= high + width):
        raise ValueError(
            message(
                f"Pictures from {low:g} to {high:g} were said to be given; "
                "noise takes them out of it by less than that.",
                f"values from {least:g} to {most:g}",
                "Pass the `value_range` they have.",
            )
        )
