"""What natural pictures have in common: their spectrum and their colors.

A photograph has little energy in high frequencies (its spectrum falls off
about as `1 / f`), and its three channels are nearly the same picture. Numbers
in which both are undone are independent and equally large, and gradient
ascent treats them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.batching import batches
from keras_explain.engine.errors import message

# Pictures whose spectrum is held at once.
_BATCH = 64
# Square root of the covariance of the colors of ImageNet, in light, blue to
# yellow, and green to magenta; as published with Lucid (Olah et al., 2017).
_COLOR_ROOT = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]
)
# The largest of the three standard deviations is one.
COLORS = _COLOR_ROOT / np.linalg.norm(_COLOR_ROOT, axis=0).max()


def correlate_colors(images: tf.Tensor) -> tf.Tensor:
    """Gives independent channels the correlation of natural colors.

    Pictures with another number of channels than three are left alone.
    """
    if images.shape[-1] != 3:
        return images
    return tf.tensordot(images, tf.constant(COLORS.T, images.dtype), 1)


def half_spectrum(positions: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape of the spectrum of real numbers."""
    return (*positions[:-1], positions[-1] // 2 + 1)


def falloff(positions: Sequence[int], decay: float) -> np.ndarray:
    """Returns `1 / f^decay` on the half spectrum, with a mean square of one.

    Frequencies are in cycles per pixel; the mean of a picture counts as the
    lowest of them. The mean is over the whole spectrum.
    """
    axes = [np.fft.fftfreq(size) for size in positions]
    squares = np.meshgrid(*[f**2 for f in axes], indexing="ij")
    frequency = np.maximum(np.sqrt(sum(squares)), 1 / max(positions))
    weights = frequency ** -float(decay)
    weights /= np.sqrt(np.mean(weights**2))
    return weights[..., : positions[-1] // 2 + 1]


def inverse_fourier(
    real: tf.Tensor, imaginary: tf.Tensor, positions: Sequence[int]
) -> tf.Tensor:
    """Orthonormal real inverse Fourier transform over the last axes.

    Args:
        real, imaginary: `(rows, channels, *half_spectrum(positions))`.
        positions: Shape of the result; one to three sizes.

    Returns:
        `(rows, *positions, channels)`.
    """
    spectrum = tf.complex(real, imaginary)
    rank, size = len(positions), int(np.prod(positions))
    if rank == 1:
        pictures = tf.signal.irfft(spectrum, positions)
    else:
        if rank == 3:  # irfft3d has no gradient
            spectrum = tf.transpose(spectrum, [0, 1, 3, 4, 2])
            spectrum = tf.transpose(tf.signal.ifft(spectrum), [0, 1, 4, 2, 3])
        pictures = tf.signal.irfft2d(spectrum, positions[-2:])
    pictures = tf.ensure_shape(
        pictures, [None, real.shape[1], *positions]
    ) * np.sqrt(size).astype(pictures.dtype.as_numpy_dtype)
    return tf.transpose(pictures, [0, *range(2, 2 + rank), 1])


def natural_magnitude(images: Any, *, decorrelate: bool = True) -> np.ndarray:
    """Mean magnitude of the spectrum of your pictures, for `MACO`.

    Use some hundred pictures that the model knows, at the size of the
    pictures to be made. Each is read once.

    `magnitude(f) = mean |F(x)(f)|`, where `F` is the orthonormal Fourier
    transform. Of the mean color only its deviation from picture to picture
    is counted, since `MACO` makes pictures around mid-gray.

    Args:
        images: `(n, *positions, channels)` with one to three positions, or
            a `tf.data.Dataset` or `PyDataset` of such batches. Of elements
            `(x, y)` the pictures are taken.
        decorrelate: Whether the three channels are made independent before,
            as `MACO` does; keep it the same there.

    Returns:
        float32 `(channels, *frequencies)`.

    Raises:
        ValueError: If there are no pictures, or they differ in shape.

    Example:

    >>> from keras_explain.synthesis.natural_images import natural_magnitude
    >>> natural_magnitude(np.random.rand(20, 16, 16, 3)).shape
    (3, 16, 9)

    References:
        Fel et al., 2023. Unlocking Feature Visualization for Deep Networks
        with MAgnitude Constrained Optimization.
        https://arxiv.org/abs/2306.06805
    """
    total = np.zeros(())
    means: list[np.ndarray] = []
    expected: tuple[int, ...] = ()
    for inputs, _ in batches(images, _BATCH):
        batch = np.asarray(inputs, np.float64)
        expected = expected or batch.shape[1:]
        _check_batch(batch, expected, inputs)
        if decorrelate and batch.shape[-1] == 3:
            batch = batch @ np.linalg.inv(COLORS).T
        means.append(batch.reshape(len(batch), -1, batch.shape[-1]).mean(1))
        axes = tuple(range(2, batch.ndim))
        spectrum = np.fft.rfftn(
            np.moveaxis(batch, -1, 1), axes=axes, norm="ortho"
        )
        total = total + np.abs(spectrum).sum(0)
    mean = np.concatenate(means)
    magnitude = total / len(mean)
    # The orthonormal transform has the sum over the root of the count there.
    root = np.sqrt(np.prod(expected[:-1]))
    lowest: tuple[Any, ...] = (..., *[0] * (len(expected) - 1))
    magnitude[lowest] = root * np.abs(mean - mean.mean(0)).mean(0)
    return magnitude.astype(np.float32)


def _check_batch(
    batch: np.ndarray, expected: tuple[int, ...], inputs: Any
) -> None:
    if isinstance(inputs, (list, dict)) or not 3 <= batch.ndim <= 5:
        raise ValueError(
            message(
                "A spectrum is taken of batches (n, *positions, channels) "
                "with one to three positions.",
                f"a batch of shape {batch.shape}",
                "A single picture needs a batch axis: `image[None]`.",
            )
        )
    if batch.shape[1:] != expected:
        raise ValueError(
            message(
                "The pictures of a mean spectrum have one shape.",
                f"{batch.shape[1:]} after {expected}",
                "Resize them to the size of the pictures to be made.",
            )
        )
    if not np.isfinite(batch).all():
        raise ValueError(
            message("The pictures must be finite.", "NaN or infinite values")
        )
