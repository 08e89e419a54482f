"""A blur of pictures and signals of any length."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Longest axis with a matrix, which is fastest there. At 16000, a second of
# sound, one takes a gigabyte.
_LONGEST = 512


def blur(images: tf.Tensor, sigmas: Sequence[float | tf.Tensor]) -> tf.Tensor:
    """Averages with a Gaussian, cut off at the borders of the picture.

    `y_i = sum_j w(i - j) x_j / sum_j w(i - j)` along each axis in turn, with
    `w(d) = exp(-d^2 / (2 sigma^2))` and `j` inside the picture, so that its
    borders do not darken. By a matrix, or on long axes by the spectrum: the
    same up to rounding.

    Args:
        images: `(batch, *positions, channels)`, float32 or float64. Sizes
            may be open.
        sigmas: Standard deviation in pixels, for each axis of positions;
            0 changes nothing. Numbers or scalar tensors.
    """
    shape = images.shape
    for axis, sigma in enumerate(sigmas, start=1):
        if tf.is_tensor(sigma):
            sigma = tf.cast(sigma, images.dtype)
        sigma = tf.maximum(tf.constant(1e-3, images.dtype), sigma)
        order = [k for k in range(shape.rank) if k != axis] + [axis]
        x = tf.transpose(images, order)
        if shape[axis] is None:
            x = tf.cond(
                tf.shape(x)[-1] <= _LONGEST,
                lambda x=x, sigma=sigma: _by_matrix(x, sigma),
                lambda x=x, sigma=sigma: _by_spectrum(x, sigma),
            )
        elif shape[axis] <= _LONGEST:
            x = _by_matrix(x, sigma)
        else:
            x = _by_spectrum(x, sigma)
        back = [order.index(k) for k in range(shape.rank)]
        images = tf.ensure_shape(tf.transpose(x, back), shape)
    return images


def _by_matrix(x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Blurs the last axis in a product."""
    cells = tf.range(tf.cast(tf.shape(x)[-1], x.dtype))
    weights = _gaussian(cells[:, tf.newaxis] - cells, sigma)
    weights /= tf.reduce_sum(weights, 0, keepdims=True)  # (old, new)
    return tf.tensordot(x, weights, 1)


def _by_spectrum(x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Blurs the last axis around a circle, half of which is empty."""
    size = tf.shape(x)[-1]
    cells = tf.range(2 * size)
    apart = tf.cast(tf.minimum(cells, 2 * size - cells), x.dtype)
    spectrum = tf.signal.rfft(_gaussian(apart, sigma))

    def summed(values: tf.Tensor) -> tf.Tensor:
        around = tf.signal.rfft(values, [2 * size]) * spectrum
        return tf.signal.irfft(around, [2 * size])[..., :size]

    return summed(x) / summed(tf.ones([size], x.dtype))


def _gaussian(apart: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    return tf.exp(-tf.square(apart / sigma) / 2)
