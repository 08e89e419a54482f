"""Max pooling whose windows lie side by side on pictures.

Then each place belongs to one window, and what windows share is spread and
gathered by average pooling, in fewer passes than where they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


def shared_apart(
    x: tf.Tensor, output: tf.Tensor, given: tf.Tensor, size: list[int]
) -> tf.Tensor:
    """Ties share alike, in windows that lie side by side."""
    number = float(math.prod(size))
    equal = tf.cast(x == spread_apart(output, x, size), given.dtype)
    count = number * tf.nn.avg_pool2d(equal, size, size, "VALID")
    each = given / tf.cast(count, given.dtype)
    return equal * spread_apart(each, x, size)


def spread_apart(
    values: tf.Tensor, like: tf.Tensor, size: list[int]
) -> tf.Tensor:
    """Gives every place of a window its value.

    Args:
        values: One for each window; the windows lie side by side.
        like: A tensor of the shape of the pictures.
        size: Of a window, for all four axes.
    """
    number = tf.cast(float(math.prod(size)), values.dtype)
    return tf.raw_ops.AvgPoolGrad(
        orig_input_shape=tf.shape(like), ksize=size, strides=size,
        grad=values * number, padding="VALID",
    )  # fmt: skip


def ties_apart(
    pool: Callable, x: tf.Tensor, top: tf.Tensor, given: tf.Tensor
) -> tf.Tensor:
    """Whether a maximum that is given something is there twice.

    Of windows that do not overlap: the winners are taken away, and what then
    wins must be smaller.
    """
    far = tf.fill(tf.shape(top), tf.constant(x.dtype.max / 4, x.dtype))
    second = pool(x - tf.gradients(top, x, far)[0])
    return tf.reduce_any((second >= top) & (given != 0))
