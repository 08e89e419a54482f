"""Smoothing that keeps edges, for any number of positions, in static shapes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow as tf


def bilateral(
    images: tf.Tensor, sigma_space: float, sigma_range: float
) -> tf.Tensor:
    """Averages neighbors that are alike; see `Bilateral`.

    Args:
        images: `(rows, *positions, channels)`.
        sigma_space: In pixels. Neighbors are within twice of it.
        sigma_range: In units of the pictures.
    """
    shape = images.shape.as_list()
    axes, channels = len(shape) - 2, shape[-1]
    reach = math.ceil(2 * sigma_space)
    if not reach:
        return images
    offsets = np.array(
        list(itertools.product(range(2 * reach + 1), repeat=axes)), np.int32
    )
    apart = ((offsets - reach) ** 2).sum(1) / (2 * sigma_space**2)
    nearness = tf.constant(np.exp(-apart), images.dtype)
    begins = tf.constant(np.pad(offsets, [[0, 0], [1, 1]]))
    # The last channel adds up the weights: it is zero around the picture.
    marked = tf.concat([images, tf.ones_like(images[..., :1])], -1)
    marked = tf.pad(marked, [[0, 0], *[[reach, reach]] * axes, [0, 0]])
    window = [-1, *shape[1:-1], channels + 1]

    def add(k: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        neighbor = tf.slice(marked, begins[k], window)
        unlike = tf.reduce_sum(
            tf.square(neighbor[..., :-1] - images), -1, keepdims=True
        )
        weight = nearness[k] * tf.exp(-unlike / (2 * sigma_range**2))
        total += weight * neighbor
        return k + 1, tf.ensure_shape(total, [shape[0], *window[1:]])

    # A loop, since the window of a volume has hundreds of neighbors.
    total = tf.zeros_like(tf.concat([images, images[..., :1]], -1))
    _, total = tf.while_loop(lambda k, _: k < len(offsets), add, (0, total))
    return total[..., :-1] / total[..., -1:]
