"""Max pooling whose windows lie side by side on pictures.

Then each place belongs to one window, and what windows share is spread and
gathered in fewer passes than where they overlap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import tensorflow as tf

# Windows of so many places are summed place by place in compiled passes.
_FEW_PLACES = 9


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


def shared_in_one_pass(
    x: tf.Tensor, output: tf.Tensor, given: tf.Tensor, size: tuple[int, ...]
) -> tf.Tensor:
    """Ties share alike, by sums that would be slow as single operations."""
    windows = Apart(tf.shape(x), tf.shape(output), size)
    equal = tf.cast(windows.of(x) == windows.one(output), given.dtype)
    if math.prod(size) <= _FEW_PLACES:
        # Place by place: a sum over axes takes half as long again.
        number = tf.add_n(
            [
                equal[:, :, i : i + 1, :, j : j + 1]
                for i, j in itertools.product(*map(range, size))
            ]
        )
    else:
        number = tf.reduce_sum(equal, windows.axes, keepdims=True)
    return windows.back(equal * (windows.one(given) / number))


class Apart:
    """Windows on pictures that lie side by side, with axes of their own.

    Args:
        shape: Of the pictures.
        pooled: Shape of what is pooled.
        size: Of a window.
    """

    axes = (2, 4)

    def __init__(
        self, shape: tf.Tensor, pooled: tf.Tensor, size: tuple[int, ...]
    ):
        self.shape = shape
        self.number = pooled[1], pooled[2]
        self.size = size

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """`(batch, rows, height, columns, width, channels)` of pictures."""
        (m, n), (height, width) = self.number, self.size
        x = x[:, : m * height, : n * width]
        return tf.reshape(x, [tf.shape(x)[0], m, height, n, width, x.shape[3]])

    def one(self, values: tf.Tensor) -> tf.Tensor:
        """What there is one of for each window, to broadcast."""
        return tf.expand_dims(tf.expand_dims(values, 2), 4)

    def back(self, windows: tf.Tensor) -> tf.Tensor:
        """The pictures again; what no window reaches is zero."""
        inside = [self.number[k] * self.size[k] for k in range(2)]
        x = tf.reshape(windows, [-1, *inside, windows.shape[-1]])
        left = [self.shape[k + 1] - inside[k] for k in range(2)]
        return tf.pad(x, [(0, 0), (0, left[0]), (0, left[1]), (0, 0)])


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
