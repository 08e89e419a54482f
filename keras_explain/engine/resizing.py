"""Linear resizing in any number of dimensions, with centered cells."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def resize(maps: tf.Tensor, sizes: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Resizes axes 1, 2, ... of `maps` to `sizes` by linear interpolation.

    The centers of the outer cells are half a cell from the border, so that
    cell `i` of 7 lands at pixel `(i + 0.5) * 224 / 7 - 0.5` of 224. Positions
    beyond the outer centers take the value of the outer cell. Values stay
    within the range of `maps`.

    Args:
        maps: `(batch, *spatial, ...)`.
        sizes: New size of each spatial axis.
    """
    for axis, size in enumerate(sizes, start=1):
        if maps.shape[axis] is not None and maps.shape[axis] == size:
            continue
        weights = _weights(tf.shape(maps)[axis], size, maps.dtype)
        moved = tf.tensordot(maps, weights, [[axis], [0]])
        order = list(range(moved.shape.rank))
        order.insert(axis, order.pop())
        maps = tf.transpose(moved, order)
    return maps


def _weights(
    old: tf.Tensor, new: int | tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """Returns the `(old, new)` interpolation matrix."""
    scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    centers = (tf.range(tf.cast(new, tf.float32)) + 0.5) * scale - 0.5
    centers = tf.clip_by_value(centers, 0.0, tf.cast(old - 1, tf.float32))
    cells = tf.range(tf.cast(old, tf.float32))[:, tf.newaxis]
    return tf.cast(tf.nn.relu(1.0 - tf.abs(cells - centers)), dtype)
