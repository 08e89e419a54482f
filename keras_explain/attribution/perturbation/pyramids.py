"""A picture at several levels of perturbation, and masks that choose them.

Level 0 is perturbed most, the last level is the picture. A mask value `m` of
a position picks level `m (levels - 1)`, between the two nearest ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


@functools.lru_cache(maxsize=128)
def blur_matrix(size: int, sigma: float, padding: str = "edge") -> np.ndarray:
    """Returns the `(size, size)` matrix of a Gaussian along one axis.

    The Gaussian is cut off at `ceil(4 sigma)` cells and sums to one.

    Args:
        size: Of the axis.
        sigma: Standard deviation in cells; 0 changes nothing.
        padding: What is beyond the borders: `"edge"` for the outer value,
            or `"zero"`, which darkens them.
    """
    if sigma <= 0:
        return np.eye(size)
    reach = math.ceil(4 * sigma)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets / sigma) ** 2) / 2)
    weights /= weights.sum()
    new = np.repeat(np.arange(size), len(offsets))
    old = new + np.tile(offsets, size)
    weights = np.tile(weights, size)
    if padding == "zero":
        inside = (old >= 0) & (old < size)
        new, old, weights = new[inside], old[inside], weights[inside]
    matrix = np.zeros((size, size))
    np.add.at(matrix, (new, np.clip(old, 0, size - 1)), weights)
    return matrix


def along_axes(
    values: tf.Tensor, matrices: Sequence[np.ndarray], first: int = 1
) -> tf.Tensor:
    """Multiplies `(new, old)` matrices to the axes from `first` on."""
    rank = values.shape.rank
    for axis, matrix in enumerate(matrices, start=first):
        moved = tf.tensordot(
            values, tf.constant(matrix, values.dtype), [[axis], [1]]
        )
        order = list(range(rank - 1))
        order.insert(axis, rank - 1)
        values = tf.transpose(moved, order)
    return values


def blurred(
    x: tf.Tensor, sigmas: Sequence[float], padding: str = "edge"
) -> tf.Tensor:
    """Blurs `(batch, *positions, channels)`, a sigma for each axis."""
    sizes = x.shape.as_list()[1:-1]
    return along_axes(
        x,
        [
            blur_matrix(size, float(sigma), padding)
            for size, sigma in zip(sizes, sigmas, strict=True)
        ],
    )


def blur_pyramid(
    x: tf.Tensor,
    num_levels: int,
    max_blur: Sequence[float],
    padding: str = "edge",
) -> tf.Tensor:
    """Returns a picture blurred ever less.

        sigma_l = (1 - l / (L - 1)) max_blur

    Args:
        x: `(batch, *positions, channels)`.
        num_levels: `L`, at least 2.
        max_blur: In pixels, for each axis of positions.
        padding: See `blur_matrix`.

    Returns:
        `(L, batch, *positions, channels)`.
    """
    levels = []
    for level in range(num_levels):
        share = 1 - level / (num_levels - 1)
        levels.append(blurred(x, [share * m for m in max_blur], padding))
    return tf.stack(levels)


def fade_pyramid(x: tf.Tensor, num_levels: int) -> tf.Tensor:
    """Returns a picture that comes out of black, `x l / (L - 1)`.

    Between two of its levels a mask multiplies: `between` them is `m x`.
    """
    shares = tf.linspace(tf.zeros([], x.dtype), 1, num_levels)
    return tf.reshape(shares, [-1] + [1] * x.shape.rank) * x


def between(pyramid: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Returns each position at the level that a mask picks.

    Args:
        pyramid: `(levels, batch, *positions, channels)`.
        masks: `(k, batch, *positions)`, values in [0, 1].

    Returns:
        `(k, batch, *positions, channels)`.
    """
    last = pyramid.shape[0] - 1
    level = masks * last
    low = tf.clip_by_value(tf.floor(level), 0, last - 1)
    place = tf.range(tf.size(masks[0]))
    place = tf.reshape(place, tf.shape(masks)[1:])
    row = tf.cast(low, tf.int32) * tf.size(masks[0]) + place
    flat = tf.reshape(pyramid, [-1, pyramid.shape[-1]])
    lower = tf.gather(flat, row)
    upper = tf.gather(flat, row + tf.size(masks[0]))
    part = tf.stop_gradient(low)
    part = (level - part)[..., tf.newaxis]
    return lower + part * (upper - lower)
