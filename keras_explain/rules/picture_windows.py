"""Max pooling of pictures in one pass: what each place has of its windows.

A picture is cut into cells of one stride. A window lies on one cell, or
reaches over a few of them, so that a place asks the few windows that reach
its cell; to place what each window gives would write as many pictures as a
window has places.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Windows of so many places are gone through place by place; with more of them
# there would be much to compile.
_FEW_PLACES = 9


class Cells:
    """Windows on pictures, in a compiled pass.

    Args:
        pooled: Shape of what is pooled.
        size: Of a window, along rows and columns.
        strides: From one window to the next.
    """

    def __init__(
        self, pooled: tf.Tensor, size: tuple[int, ...], strides: tuple[int, ...]
    ):
        self.size = size
        self.strides = strides
        self._windows = [pooled[1], pooled[2]]
        # How many cells more than one a window reaches over.
        self._more = [
            -(-k // s) - 1 for k, s in zip(size, strides, strict=True)
        ]

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """`(batch, rows, height, columns, width, channels)` of pictures."""
        height, width = self._covered()
        shape = tf.shape(x)
        x = _fitted(x, [height, width])
        (rows, columns), (down, right) = self._cells(), self.strides
        return tf.reshape(x, [shape[0], rows, down, columns, right, x.shape[3]])

    def back(self, cells: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Pictures of the size of others; what no window reaches is zero."""
        x = tf.reshape(cells, [-1, *self._covered(), cells.shape[-1]])
        return _fitted(x, [tf.shape(like)[1], tf.shape(like)[2]])

    def maxima(self, x: tf.Tensor) -> tf.Tensor:
        """The largest value of each window."""
        if self._goes_through_places():
            return functools.reduce(tf.maximum, self._places(x))
        return tf.reduce_max(self.of(x), (2, 4))

    def shared(
        self, x: tf.Tensor, output: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        """What each window has, for each of the values that are its maximum."""
        if self._goes_through_places():
            equal = [_equal(place, output, given) for place in self._places(x)]
            return given / tf.add_n(equal)
        equal = _equal(self.of(x), output[:, :, None, :, None], given)
        return given / tf.reduce_sum(equal, (2, 4))

    def won(
        self, cells: tf.Tensor, output: tf.Tensor, each: tf.Tensor
    ) -> tf.Tensor:
        """What each place has of all the windows whose maximum it is.

        Args:
            cells: The pictures, see `of`.
            output: The maxima.
            each: What a window has for a place, see `shared`.
        """
        found = []
        for down, right in itertools.product(
            *(range(k + 1) for k in self._more)
        ):
            top, has = (self._moved(v, down, right) for v in (output, each))
            equal = _equal(cells, top, each) * self._inside(down, right)
            found.append(equal * has)
        return tf.add_n(found)

    def _goes_through_places(self) -> bool:
        return math.prod(self.size) <= _FEW_PLACES or self.size != self.strides

    def _cells(self) -> list[tf.Tensor]:
        pairs = zip(self._windows, self._more, strict=True)
        return [number + more for number, more in pairs]

    def _covered(self) -> list[tf.Tensor]:
        pairs = zip(self._cells(), self.strides, strict=True)
        return [number * stride for number, stride in pairs]

    def _places(self, x: tf.Tensor) -> list[tf.Tensor]:
        return places(x, {1: self._windows[0], 2: self._windows[1]},
                      self.size, self.strides)  # fmt: skip

    def _moved(self, values: tf.Tensor, down: int, right: int) -> tf.Tensor:
        """For each cell the window that begins some cells before it."""
        if any(self._more):
            rest = self._more[0] - down, self._more[1] - right
            pads = [(0, 0), (down, rest[0]), (right, rest[1]), (0, 0)]
            values = tf.pad(values, pads)
        return values[:, :, None, :, None]

    def _inside(self, down: int, right: int) -> np.ndarray:
        """Which places of a cell a window that begins before it has."""
        along = (
            first * stride + np.arange(stride) < size
            for first, stride, size in zip(
                (down, right), self.strides, self.size, strict=True
            )
        )
        inside = np.outer(*along).astype("float32")
        return inside[None, None, :, None, :, None]


def places(
    x: tf.Tensor,
    number: dict[int, tf.Tensor],
    size: Sequence[int],
    strides: Sequence[int],
) -> list[tf.Tensor]:
    """What stands at each place of windows.

    Args:
        x: What they lie on.
        number: How many windows there are, along each axis that they have.
        size: Of a window, along these.
        strides: From one window to the next.
    """
    found = []
    for start in itertools.product(*map(range, size)):
        window = [slice(None)] * x.shape.rank
        for (axis, windows), first, stride in zip(
            number.items(), start, strides, strict=True
        ):
            stop = first + (windows - 1) * stride + 1
            window[axis] = slice(first, stop, stride)
        found.append(x[tuple(window)])
    return found


def _equal(x: tf.Tensor, top: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.cast(x == top, like.dtype)


def _fitted(x: tf.Tensor, size: list[tf.Tensor]) -> tf.Tensor:
    """Pictures cut to a size, or filled up with zeros."""
    x = x[:, : size[0], : size[1]]
    missing = [size[k] - tf.shape(x)[k + 1] for k in range(2)]
    return tf.pad(x, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)])
