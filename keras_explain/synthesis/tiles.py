"""The score of a large picture, tile by tile."""

from __future__ import annotations

import tensorflow as tf

from keras_explain.engine.own_gradient import give_gradient
from keras_explain.synthesis.problem import Objective


class TiledObjective:
    """The mean score of the tiles of a picture, in the memory of one tile.

    The picture is continued at its right and lower border by its other side
    until tiles cover it. Where tiles meet, a layer sees an edge: let the
    picture be rolled at random before each step, and no seam stays.

    Args:
        tile: What scores `(rows, height, width, channels)` tiles.
        size: Height and width of a tile.
    """

    def __init__(self, tile: Objective, size: tuple[int, int]):
        self.tile = tile
        self.size = size

    @property
    def scale(self) -> float:
        """As of the tiles."""
        return self.tile.scale

    @property
    def can_open(self) -> bool:
        """Not here: a tile is never silent for long."""
        return False

    def score(self, images: tf.Tensor, *, opened: bool = False) -> tf.Tensor:
        """Returns `(rows,)` scores, under trace."""
        height, width = images.shape[1:3]
        down, across = (
            -(-length // side)
            for length, side in zip((height, width), self.size, strict=True)
        )
        covered = _continued(images, down * self.size[0], 1)
        covered = _continued(covered, across * self.size[1], 2)
        total, gradient = self._sums(tf.stop_gradient(covered), down, across)

        def backward(upstream: tf.Tensor) -> list[tf.Tensor]:
            return [gradient * upstream[:, None, None, None]]

        return give_gradient(total, [covered], backward)

    def _sums(
        self, covered: tf.Tensor, down: int, across: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean score, and its gradient, one tile after the other."""
        high, wide = self.size
        rows, channels = covered.shape[0], covered.shape[-1]
        number = down * across
        found = tf.TensorArray(
            tf.float32, number, element_shape=[rows, high, wide, channels]
        )

        def body(k, total, found):  # type: ignore[no-untyped-def]
            top, left = (k // across) * high, (k % across) * wide
            tile = covered[:, top : top + high, left : left + wide]
            tile = tf.ensure_shape(tile, [rows, high, wide, channels])
            tile = tf.identity(tile)
            score = self.tile.score(tile) / number
            scaled = tf.reduce_sum(score) * self.scale
            (gradient,) = tf.gradients(scaled, [tile])
            if gradient is None:
                gradient = tf.zeros_like(tile)
            found = found.write(k, gradient / self.scale)
            return k + 1, total + score, found

        _, total, found = tf.while_loop(
            lambda k, *_: k < number,
            body,
            (tf.constant(0), tf.zeros([rows]), found),
            parallel_iterations=1,
        )
        tiles = tf.reshape(
            found.stack(), [down, across, rows, high, wide, channels]
        )
        tiles = tf.transpose(tiles, [2, 0, 3, 1, 4, 5])
        return total, tf.reshape(
            tiles, [rows, down * high, across * wide, channels]
        )


def _continued(images: tf.Tensor, length: int, axis: int) -> tf.Tensor:
    """Repeats pictures along an axis up to a length."""
    size = images.shape[axis]
    if size == length:
        return images
    index = tf.range(length) % size
    return tf.gather(images, index, axis=axis)
