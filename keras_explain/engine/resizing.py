"""Linear resizing in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Where cell 0 lies on the new axis, and how far the next one is away.
Grid = tuple[Any, Any]


def resize(
    maps: tf.Tensor,
    sizes: Sequence[int | tf.Tensor],
    grids: Sequence[Grid] | None = None,
) -> tf.Tensor:
    """Resizes axes 1, 2, ... of `maps` to `sizes` by linear interpolation.

    Without `grids`, the centers of the outer cells are half a cell from the
    border, so that cell `i` of 7 lands at pixel `(i + 0.5) * 224 / 7 - 0.5` of
    224. Positions beyond the outer centers take the value of the outer cell.
    Values stay within the range of `maps`.

    Args:
        maps: `(batch, *spatial, ...)`.
        sizes: New size of each spatial axis.
        grids: For each axis the position of cell 0, in new positions, and the
            distance from one cell to the next.
    """
    for axis, size in enumerate(sizes, start=1):
        grid = None if grids is None else grids[axis - 1]
        same = maps.shape[axis] is not None and maps.shape[axis] == size
        if same and (grid is None or grid == (0, 1)):
            continue
        weights = _weights(tf.shape(maps)[axis], size, grid, maps.dtype)
        moved = tf.tensordot(maps, weights, [[axis], [0]])
        order = list(range(moved.shape.rank))
        order.insert(axis, order.pop())
        maps = tf.transpose(moved, order)
    return maps


def _weights(
    old: tf.Tensor,
    new: int | tf.Tensor,
    grid: Grid | None,
    dtype: tf.DType,
) -> tf.Tensor:
    """Returns the `(old, new)` interpolation matrix."""
    positions = tf.range(tf.cast(new, tf.float32))
    if grid is None:
        scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
        centers = (positions + 0.5) * scale - 0.5
    else:
        first, distance = grid
        centers = (positions - first) / distance
    centers = tf.clip_by_value(centers, 0.0, tf.cast(old - 1, tf.float32))
    cells = tf.range(tf.cast(old, tf.float32))[:, tf.newaxis]
    return tf.cast(tf.nn.relu(1.0 - tf.abs(cells - centers)), dtype)
