"""Smaller pictures, by one matrix for each axis: what cameras far away see."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.resampling import along_axis

KERNELS = ("lanczos2", "average")


def downsample(images: Any, factor: int, kernel: str = "lanczos2") -> tf.Tensor:
    """Makes pictures smaller by an integer.

    Use it for pictures that `super_resolve` is tried on: it undoes exactly
    this. As products with matrices it is differentiable, and its gradient is
    the exact adjoint.

    `y_i = sum_p k((p - c_i) / factor) x_p / sum_p k(...)`, where `c_i` is the
    center of the `i`-th block of `factor` pixels. Beyond the border the
    outermost pixels continue. Values may leave the range of `images` a little
    with `"lanczos2"`.

    Args:
        images: `(batch, height, width, channels)`, with sides that are
            multiples of the factor.
        factor: How many pixels become one, along each axis.
        kernel: `"lanczos2"`, `k(d) = sinc(d) sinc(d / 2)` for `|d| < 2`, or
            `"average"` of each block.

    Raises:
        ValueError: If there is no such kernel, or the sides are no multiples
            of the factor.

    Example:

    >>> from keras_explain.synthesis.downsampling import downsample
    >>> downsample(np.ones((1, 32, 48, 3)), 4).shape.as_list()
    [1, 8, 12, 3]

    References:
        Duchon, 1979. Lanczos Filtering in One and Two Dimensions.
        https://doi.org/10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2
    """
    if kernel not in KERNELS:
        raise ValueError(
            message(
                "There is no such kernel.",
                f"kernel={kernel!r}",
                f"Pass {' or '.join(map(repr, KERNELS))}.",
            )
        )
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        images = tf.cast(images, tf.float32)
    sides = images.shape[1:3]
    if any(side % factor for side in sides):
        raise ValueError(
            message(
                f"Sides must be multiples of the factor, {factor}.",
                f"sides of {sides[0]} and {sides[1]}",
                "Crop the pictures first.",
            )
        )
    for axis, side in enumerate(sides):
        weights = _weights(side, factor, kernel)
        images = along_axis(images, weights[np.newaxis], axis)
    return images


@functools.lru_cache(maxsize=32)
def _weights(size: int, factor: int, kernel: str) -> np.ndarray:
    """Returns the matrix `(size / factor, size)`; rows sum to one."""
    found = np.zeros((size // factor, size))
    reach = 2 * factor if kernel == "lanczos2" else factor / 2
    for block in range(size // factor):
        center = block * factor + (factor - 1) / 2
        pixels = np.arange(
            np.ceil(center - reach), np.floor(center + reach) + 1
        ).astype(int)
        distance = (pixels - center) / factor
        if kernel == "lanczos2":
            share = np.sinc(distance) * np.sinc(distance / 2)
        else:
            share = np.ones(len(pixels))
        np.add.at(found[block], pixels.clip(0, size - 1), share / share.sum())
    return found
