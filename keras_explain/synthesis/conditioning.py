"""Gradients brought to one size, for plain gradient ascent.

Each row is brought to size on its own. An optimizer such as Adam does this
for each number, and needs none of it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf

from keras_explain.synthesis.parts import Regularizer, registered
from keras_explain.synthesis.pixel_operators import PixelOperator
from keras_explain.synthesis.regularizers import position_sizes

# A level, or a deviation, that is smaller than this share of the largest
# value is rounding, and is not made as large as the others.
_NOISE = 1e-5
# Of five neighbors, in each halving and doubling of a pyramid.
_BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class NormalizedGradient(Regularizer):
    """Divides the gradient of each row by its size.

    Use it with `SGD`, whose learning rate then is a step in pixels, the same
    at the flat start and on the slope. A gradient of zero stays zero.

    `g <- g / |g|`, over all values of a row. Of several tensors of values
    each is divided by its own size.

    Args:
        norm: `"mean_abs"`, the mean magnitude, as DeepDream has it;
            `"rms"`, the root of the mean square; `"l2"`, the root of the sum
            of squares; `"std"`, the standard deviation.

    Example:

    >>> from keras_explain.synthesis.conditioning import NormalizedGradient
    >>> gradient = keras.ops.array([[3.0, 4.0], [0.0, 0.0]])
    >>> NormalizedGradient("l2").gradient(gradient, 0).numpy()
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)

    References:
        Mordvintsev et al., 2015. Inceptionism: Going Deeper into Neural
        Networks. https://github.com/google/deepdream
    """

    norm: str = "mean_abs"

    def __post_init__(self) -> None:
        self._check_choice("norm", ("mean_abs", "rms", "l2", "std"))

    def gradient(self, gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, gradient.shape.rank))
        # Squares of small gradients would underflow.
        unit = _by_largest(gradient)
        if self.norm == "mean_abs":
            size = tf.reduce_mean(tf.abs(unit), axes, keepdims=True)
        elif self.norm == "std":
            size = tf.math.reduce_std(unit, axes, keepdims=True)
            size = tf.maximum(size, _NOISE)
        else:
            square = tf.reduce_mean(tf.square(unit), axes, keepdims=True)
            size = tf.sqrt(square)
        if self.norm == "l2":
            size *= math.sqrt(unit.shape[1:].num_elements())
        return tf.math.divide_no_nan(unit, size)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class LaplacianNormalized(PixelOperator):
    """Gives coarse and fine structure in the gradient the same size.

    Use it with `SGD` on pixels, as in DeepDream: textures become smoother.
    The gradient is split into a Laplacian pyramid, each level is divided by
    its root mean square, and the levels are added up again. Without the
    division the sum is the gradient itself.

    Args:
        levels: Number of times the gradient is halved; fewer for pictures
            that are too small.

    Raises:
        ValueError: If the pictures have no positions.

    Example:

    >>> from keras_explain.synthesis.conditioning import LaplacianNormalized
    >>> LaplacianNormalized().levels
    4

    References:
        Mordvintsev, 2016. DeepDreaming with TensorFlow.
        https://github.com/tensorflow/tensorflow/blob/r1.0/tensorflow/examples/tutorials/deepdream/deepdream.ipynb
        Burt and Adelson, 1983. The Laplacian Pyramid as a Compact Image
        Code. https://doi.org/10.1109/TCOM.1983.1095851
    """

    levels: int = 4

    def __post_init__(self) -> None:
        self._check_count("levels")

    def gradient(self, gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        position_sizes(self, gradient)
        pyramid = split(_by_largest(gradient), self.levels)
        return merge([_by_size(level) for level in pyramid])


def split(images: tf.Tensor, levels: int) -> list[tf.Tensor]:
    """Returns a Laplacian pyramid, from fine to coarse.

    Args:
        images: `(rows, *positions, channels)`.
        levels: Number of halvings, if all positions are large enough.
    """
    smallest = min(images.shape.as_list()[1:-1])
    pyramid = []
    for _ in range(min(levels, int(math.log2(smallest)))):
        low = images
        for axis in range(1, images.shape.rank - 1):
            low = _halved(low, axis)
        pyramid.append(images - _doubled(low, images.shape.as_list()[1:-1]))
        images = low
    return [*pyramid, images]


def merge(pyramid: list[tf.Tensor]) -> tf.Tensor:
    """Adds up the levels of `split`."""
    *finer, images = pyramid
    for level in reversed(finer):
        images = level + _doubled(images, level.shape.as_list()[1:-1])
    return images


def _halved(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Every other pixel of an average, cut off at the borders."""
    averages = _averaged(images, axis, np.ones(images.shape[axis]))
    return averages[_along(axis, slice(None, None, 2))]


def _doubled(images: tf.Tensor, sizes: list[int]) -> tf.Tensor:
    """The same average, of pixels between which there are none."""
    for axis, size in enumerate(sizes, start=1):
        pairs = tf.stack([images, tf.zeros_like(images)], axis + 1)
        spread = images.shape.as_list()
        spread[axis] *= 2
        pairs = tf.reshape(pairs, [-1, *spread[1:]])
        images = _averaged(
            pairs[_along(axis, slice(size))], axis, 1.0 - np.arange(size) % 2
        )
    return images


def _averaged(images: tf.Tensor, axis: int, present: np.ndarray) -> tf.Tensor:
    """The mean of five neighbors, of those that are there.

    Sums of moved pictures: a matrix would take a gigabyte for a long signal.

    Args:
        images: `(rows, *positions, channels)`, zero where there is nothing.
        axis: Of the tensor.
        present: `(size,)`, 1 where there is something, else 0.
    """
    rank, size = images.shape.rank, len(present)
    around = [[2, 2] if k == axis else [0, 0] for k in range(rank)]
    padded = tf.pad(images, around)
    total = tf.add_n(
        [
            tf.cast(weight, images.dtype)
            * padded[_along(axis, slice(k, k + size))]
            for k, weight in enumerate(_BINOMIAL)
        ]
    )
    whole = np.convolve(present, _BINOMIAL)[2:-2]
    whole = whole.reshape(-1, *[1] * (rank - axis - 1))
    return total / tf.constant(whole, images.dtype)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """Picks a part of one axis."""
    return (*[slice(None)] * axis, part)


def _by_largest(values: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, values.shape.rank))
    largest = tf.reduce_max(tf.abs(values), axes, keepdims=True)
    return tf.math.divide_no_nan(values, largest)


def _by_size(level: tf.Tensor) -> tf.Tensor:
    """Divides each row by its root mean square."""
    axes = list(range(1, level.shape.rank))
    square = tf.reduce_mean(tf.square(level), axes, keepdims=True)
    return level / tf.maximum(tf.sqrt(square), _NOISE)
