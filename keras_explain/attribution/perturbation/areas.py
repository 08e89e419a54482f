"""How large a mask is: a loss that asks for an area, and masks that have it.

The loss of Fong, Patrick and Vedaldi (2019) compares the sorted values of a
mask with those of a mask that has the area: zeros, then ones. It does not say
where the ones are, and it pulls every value to zero or one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message

# How far the mean of a mask of `with_area` may be from its area.
TOLERANCE = 1e-4
# Values closer to zero or one can be moved no further apart.
_EDGE = 1e-4
_LARGEST_SHIFT = 30.0
_HALVINGS = 45


def checked_areas(areas: Any) -> tuple[float, ...]:
    """Returns areas as a tuple of numbers between 0 and 1, or raises."""
    given = areas
    if isinstance(areas, (int, float)) and not isinstance(areas, bool):
        areas = [areas]
    if isinstance(areas, str) or not isinstance(areas, (Sequence, np.ndarray)):
        raise TypeError(
            message(
                "`areas` are the shares that are kept or hidden.",
                f"areas={given!r}",
                "Pass a list of numbers between 0 and 1, such as (0.05, 0.1).",
            )
        )
    fits = [
        isinstance(a, (int, float, np.number))
        and not isinstance(a, bool)
        and 0 < a < 1
        for a in areas
    ]
    if not fits or not all(fits):
        raise ValueError(
            message(
                "Each area is a share between 0 and 1, both excluded.",
                f"areas={given!r}",
                "For a tenth of the input pass `areas=(0.1,)`.",
            )
        )
    return tuple(float(a) for a in areas)


def area_loss(masks: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    """The mean squared distance of sorted masks from those of some areas.

        mean_i (sort(m)_i - r_i)^2,  r = 0 ... 0 1 ... 1

    with `N - floor(N (1 - a))` ones for the area `a` of `N` values. Nothing
    is sorted: `r` is one for the values above a rank. Where several values
    are equal there, each gets the same share of what is left for them.

    Args:
        masks: `(areas, rows, N)`, values in [0, 1].
        areas: `(areas,)`, float64: rounded to float32, a third of a hundred
            may be one less.

    Returns:
        `(areas, rows)`; its gradient with respect to `m_i` is
        `2 (m_i - r_i) / N`.
    """
    wanted = tf.stop_gradient(_wanted(masks, areas))
    return tf.reduce_mean(tf.square(masks) + wanted * (1 - 2 * masks), -1)


def _wanted(masks: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    """The zeros and ones of `r`, at the places of their values."""
    size = tf.shape(masks)[-1]
    zeros = tf.cast(size, tf.float64) * (1 - tf.cast(areas, tf.float64))
    ones = size - tf.cast(tf.floor(zeros), tf.int32)
    least = nth_largest(masks, ones)[..., tf.newaxis]
    above = tf.cast(masks > least, masks.dtype)
    equal = tf.cast(tf.equal(masks, least), masks.dtype)
    left = tf.cast(ones, masks.dtype)[:, tf.newaxis, tf.newaxis]
    left -= tf.reduce_sum(above, -1, keepdims=True)
    return above + equal * left / tf.reduce_sum(equal, -1, keepdims=True)


def nth_largest(values: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
    """Returns the value of a rank; 1 is that of the largest.

    Args:
        values: `(k, rows, N)`.
        ranks: `(k,)` int32, one for each `values[j]`.

    Returns:
        `(k, rows)`.
    """
    if tf.config.list_logical_devices("GPU"):  # which sorts quickly
        ordered = tf.sort(values, -1, "DESCENDING")
        return tf.gather(
            tf.transpose(ordered, [0, 2, 1]), ranks - 1, axis=1, batch_dims=1
        )

    def of_one(given: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return tf.raw_ops.NthElement(
            input=given[0], n=given[1] - 1, reverse=True
        )

    return tf.map_fn(of_one, (values, ranks), fn_output_signature=values.dtype)


def with_area(masks: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    """Returns the masks of these areas that are closest to the given ones.

        logit(m'_i) = logit(m_i) + s

    with the one `s` for which the mean of `m'` is the area. Of all masks
    with this mean it is the one of least Kullback-Leibler divergence from
    `m`, values taken as probabilities. Zeros and ones stay what they are (up
    to 1e-4), the order of the values does not change, and what was sharp is
    sharp. `s` is found by bisection.

    Args:
        masks: `(areas, rows, N)`, values in [0, 1].
        areas: `(areas,)`.

    Returns:
        `(areas, rows, N)`, values in [0, 1], each mean within 1e-4 of its
        area.
    """
    inner = tf.clip_by_value(masks, _EDGE, 1 - _EDGE)
    logits = tf.math.log(inner) - tf.math.log1p(-inner)
    areas = tf.cast(areas, masks.dtype)[:, tf.newaxis, tf.newaxis]
    low = tf.zeros_like(masks[..., :1]) - _LARGEST_SHIFT

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple:
        middle = (low + high) / 2
        mean = tf.reduce_mean(tf.sigmoid(logits + middle), -1, keepdims=True)
        is_large = mean > areas
        return (
            tf.where(is_large, low, middle),
            tf.where(is_large, middle, high),
        )

    low, high = tf.while_loop(
        lambda low, high: True,
        halve,
        (low, -low),
        maximum_iterations=_HALVINGS,
    )
    return tf.sigmoid(logits + (low + high) / 2)
