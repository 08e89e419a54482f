"""Smooth masks from few numbers, without a bound on how sharp they may be.

Fong, Patrick and Vedaldi (2019) lay a coarse grid of numbers over a picture.
A pixel takes the largest number of the cells around it, each weighted by how
near it is; with a smooth maximum in place of the largest, a gradient goes
to all of them. A mean in its place, as of an upsampling, could give no mask
that is one somewhere and zero close by.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.own_gradient import give_gradient

# Of the smooth maximum, `sum_k v_k softmax(20 v)_k`.
SHARPNESS = 20.0
# Up to this many values for each row, all cells around go into one tensor.
_MOST_AT_ONCE = 1 << 16
# With more cells around a pixel, a loop takes the place of as many ops.
_MOST_UNROLLED = 128


def kernel(distance: np.ndarray) -> np.ndarray:
    """The weight of a cell: `exp(-2 max(z - 1/2, 0)^2)`.

    Args:
        distance: `z`, from the pixel to the cell, in units of sigma.
    """
    return np.exp(-2 * np.maximum(distance - 0.5, 0) ** 2)


@dataclasses.dataclass(frozen=True)
class MaskGenerator:
    """Makes smooth masks of some size from a coarse grid of numbers.

    Cell `i` of an axis lies at pixel `i * step`. A pixel looks at the cells
    up to `1 + ceil(sigma / step)` from the one at or before it.

    Args:
        sizes: Of the masks, one for each axis.
        steps: Distance of the cells in pixels, for each axis.
        sigmas: How far a cell reaches in pixels, for each axis.
        padding: What is outside of the grid: `"edge"` for the outer cells
            once more; or `"zero"`, as the authors have it, with which a grid
            of ones gives a mask that is largest at the borders.
    """

    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    sigmas: tuple[float, ...]
    padding: str = "edge"

    @classmethod
    def of_shares(
        cls, sizes: Sequence[int], step: float, sigma: float
    ) -> MaskGenerator:
        """Returns one whose step and reach are shares of each axis."""
        steps = tuple(max(1, round(step * size)) for size in sizes)
        return cls(tuple(sizes), steps, tuple(sigma * n for n in sizes))

    @property
    def cells(self) -> tuple[int, ...]:
        """Sizes of the grid."""
        return tuple(
            math.ceil(size / step)
            for size, step in zip(self.sizes, self.steps, strict=True)
        )

    @property
    def radii(self) -> tuple[int, ...]:
        """How many cells to each side a pixel looks at, for each axis."""
        return tuple(
            1 + math.ceil(sigma / step)
            for sigma, step in zip(self.sigmas, self.steps, strict=True)
        )

    def __call__(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns masks `(..., *sizes)` of numbers `(..., *cells)`."""
        around = list(self.radii)
        if self.padding == "edge":
            numbers = _repeated_edges(numbers, around)
            around = [0] * len(around)
        return self._masks(numbers, around, around, self.sizes)

    def framed(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns masks with a frame of sigma around the picture.

        The authors' code measures the area on them. Outside of the grid all
        is zero.
        """
        axes = list(zip(self.steps, self.sigmas, strict=True))
        before = [math.ceil(sigma / step) for step, sigma in axes]
        beyond = [
            1 + math.ceil(2 * sigma / step) - radius
            for (step, sigma), radius in zip(axes, self.radii, strict=True)
        ]
        sizes = [
            step * (cells + 2 * more - 1) + 1
            for step, cells, more in zip(
                self.steps, self.cells, beyond, strict=True
            )
        ]
        after = [
            more + math.ceil(size / step) - ahead - cells
            for size, step, ahead, cells, more in zip(
                sizes, self.steps, before, self.cells, self.radii, strict=True
            )
        ]
        ahead = [a + r for a, r in zip(before, self.radii, strict=True)]
        return self._masks(numbers, ahead, after, sizes)

    def _masks(
        self,
        numbers: tf.Tensor,
        before: Sequence[int],
        after: Sequence[int],
        sizes: Sequence[int],
    ) -> tf.Tensor:
        """Masks of `sizes` pixels of a grid with zeros before and after."""
        axes = len(sizes)
        lead = tf.shape(numbers)[:-axes]
        grid = numbers.shape[-axes:].as_list()
        rows = tf.reshape(numbers, tf.concat([[-1], grid], 0))
        rows = tf.pad(rows, [[0, 0], *zip(before, after, strict=True)])
        weights = _weights(self.steps, self.sigmas, self.radii)
        found = smooth_maximum(rows, weights, self.radii)
        pixels = _interleaved(found, self.steps)
        pixels = pixels[(slice(None), *(slice(size) for size in sizes))]
        static = numbers.shape[:-axes].concatenate(list(sizes))
        return tf.ensure_shape(
            tf.reshape(pixels, tf.concat([lead, sizes], 0)), static
        )


@dataclasses.dataclass(frozen=True)
class PlainMask:
    """A mask of one number for each value: nothing is smoothed."""

    sizes: tuple[int, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        return self.sizes

    def __call__(self, numbers: tf.Tensor) -> tf.Tensor:
        return numbers

    framed = __call__


@functools.lru_cache(maxsize=64)
def _weights(
    steps: tuple[int, ...],
    sigmas: tuple[float, ...],
    radii: tuple[int, ...],
) -> np.ndarray:
    """Of each cell around for each pixel of a cell, `(around, pixels)`."""
    squares = []
    for step, sigma, radius in zip(steps, sigmas, radii, strict=True):
        around = np.arange(-radius, radius + 1)[:, np.newaxis]
        squares.append(((np.arange(step) - step * around) / sigma) ** 2)
    axes = len(steps)
    total: Any = 0.0
    for axis, square in enumerate(squares):
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = square.shape
        total = total + square.reshape(shape)
    around = math.prod(2 * radius + 1 for radius in radii)
    return kernel(np.sqrt(total)).reshape(around, math.prod(steps))


def _repeated_edges(numbers: tf.Tensor, radii: Sequence[int]) -> tf.Tensor:
    """Repeats the outer cells of the last axes."""
    first = numbers.shape.rank - len(radii)
    for axis, radius in enumerate(radii, start=first):
        size = numbers.shape[axis]
        places = np.clip(np.arange(-radius, size + radius), 0, size - 1)
        numbers = tf.gather(numbers, places, axis=axis)
    return numbers


def smooth_maximum(
    numbers: tf.Tensor, weights: np.ndarray, radii: Sequence[int]
) -> tf.Tensor:
    """The smooth maximum of the weighted numbers around each cell.

        sum_k v_k exp(20 v_k) / sum_k exp(20 v_k),  v_k = w_k p_k

    Args:
        numbers: `(rows, *grid)` in [0, 1].
        weights: `(around, pixels)`, where `around` counts the cells within
            the radii, the last axis fastest.
        radii: For each axis.

    Returns:
        `(rows, pixels, *cells)`, without the cells of the grid that are
        nearer to its borders than a radius.
    """
    around = _Around(numbers, weights, radii)
    if weights.size * math.prod(around.cells) <= _MOST_AT_ONCE:
        return around.at_once(numbers)

    above, below = around.sums(numbers)
    maximum = above / (SHARPNESS * below)

    def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
        return [around.gradient(numbers, maximum, upstream / below)]

    return give_gradient(maximum, [numbers], gradient)


class _Around:
    """Sums over the cells around each cell.

    It takes one neighbor after the other: for a large mask, all of them at
    once would be a tensor that no cache holds.
    """

    def __init__(
        self, numbers: tf.Tensor, weights: np.ndarray, radii: Sequence[int]
    ):
        grid = numbers.shape[1:].as_list()
        self.cells = [n - 2 * r for n, r in zip(grid, radii, strict=True)]
        self.reach = np.array([2 * r for r in radii], np.int32)
        self.pixels = weights.shape[1]
        shape = [*weights.shape, *([1] * len(grid))]
        self.weights = tf.constant(weights.reshape(shape), numbers.dtype)
        self.starts = np.array(
            list(itertools.product(*(range(n + 1) for n in self.reach))),
            np.int32,
        )

    def at_once(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the smooth maximum of a small grid, in few ops."""
        grid = numbers.shape[1:].as_list()
        home = np.indices(self.cells).reshape(len(grid), 1, -1)
        seen = home + self.starts.T[:, :, np.newaxis]
        places = np.ravel_multi_index(tuple(seen), grid)  # (around, cells)
        flat = tf.reshape(numbers, [-1, math.prod(grid)])
        near = tf.gather(flat, places, axis=1)[:, :, tf.newaxis]
        weights = tf.reshape(self.weights, [len(places), self.pixels, 1])
        v = near * weights
        e = tf.exp(SHARPNESS * v)
        maximum = tf.reduce_sum(v * e, 1) / tf.reduce_sum(e, 1)
        return tf.reshape(maximum, [-1, self.pixels, *self.cells])

    def sums(self, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`sum_k x_k exp(x_k)` and `sum_k exp(x_k)`, `x = 20 v`."""
        grid = numbers[:, tf.newaxis]

        def add(k: Any, start: Any, sums: Any) -> tuple:
            x = self._seen(grid, start) * (SHARPNESS * self.weights[k])
            e = tf.exp(x)
            return sums[0] + x * e, sums[1] + e

        shape = [tf.shape(numbers)[0], self.pixels, *self.cells]
        zeros = tf.zeros(shape, numbers.dtype)
        return self._over(add, (zeros, zeros))

    def gradient(
        self, numbers: tf.Tensor, maximum: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """`sum_k w_k exp(x_k) (1 + x_k - 20 m) g / sum exp`, at the grid.

        Args:
            numbers: As for `smooth_maximum`.
            maximum: `m`.
            share: `g / sum exp`, of the upstream gradient `g`.
        """
        rest = share * (1 - SHARPNESS * maximum)
        grid = numbers[:, tf.newaxis]

        def add(k: Any, start: Any, sums: Any) -> tuple:
            weight = self.weights[k]
            x = self._seen(grid, start) * (SHARPNESS * weight)
            part = tf.reduce_sum(weight * tf.exp(x) * (x * share + rest), 1)
            ends = tf.stack([start, self.reach - start], 1)
            return (sums[0] + tf.pad(part, tf.concat([[[0, 0]], ends], 0)),)

        return self._over(add, (tf.zeros_like(numbers),))[0]

    def _seen(self, padded: tf.Tensor, start: Any) -> tf.Tensor:
        begin = tf.concat([[0, 0], start], 0)
        return tf.slice(padded, begin, [-1, -1, *self.cells])

    def _over(self, add: Callable, sums: tuple) -> tuple:
        if len(self.starts) <= _MOST_UNROLLED:
            for k, start in enumerate(self.starts):
                sums = add(k, start, sums)
            return sums
        starts = tf.constant(self.starts)
        return tf.while_loop(
            lambda k, _: k < len(self.starts),
            lambda k, sums: (k + 1, add(k, starts[k], sums)),
            (tf.constant(0), sums),
            parallel_iterations=1,
        )[1]


def _interleaved(found: tf.Tensor, steps: Sequence[int]) -> tf.Tensor:
    """`(rows, pixels of a cell, *cells)` as `(rows, *pixels)`."""
    axes = len(steps)
    cells = found.shape[2:].as_list()
    split = tf.reshape(found, [-1, *steps, *cells])
    order = [0]
    for axis in range(axes):
        order += [1 + axes + axis, 1 + axis]
    pixels = [n * step for n, step in zip(cells, steps, strict=True)]
    return tf.reshape(tf.transpose(split, order), [-1, *pixels])
