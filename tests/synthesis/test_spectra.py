"""Fourier and MACO: the formulas, slowly, and spectra of photographs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.natural_images import (
    COLORS,
    falloff,
    half_spectrum,
    natural_magnitude,
)
from keras_explain.synthesis.parameterizations import MACO, Fourier
from tests.synthesis.picture_formulas import (
    SHAPES,
    correlated,
    inverse_transform,
    logit,
    randomness,
    sigmoid,
    slow_falloff,
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fourier_by_definition(shape):
    for part in (Fourier(stddev=1.0), Fourier(stddev=1.0, decay=1.7,
                                              decorrelate=False)):  # fmt: skip
        (z,) = part.start(shape, randomness())
        x = part.images([z], shape)
        z = np.asarray(z, np.float64)
        weighted = (z[:, 0] + 1j * z[:, 1]) * slow_falloff(
            shape[:-1], part.decay
        )
        expected = np.stack(
            [
                [inverse_transform(c, shape[:-1]) for c in row]
                for row in weighted
            ]
        )
        expected = correlated(np.moveaxis(expected, 1, -1), part)
        np.testing.assert_allclose(x, sigmoid(expected), atol=2e-6)


def test_first_fourier_picture_is_gray_at_every_size():
    contrast = []
    for size in (16, 33, 64, 129, 224):
        for shape in ((size, 1), (size, size, 1), (min(size, 33),) * 3 + (1,)):
            (z,) = Fourier().start(shape, randomness(4))
            x = Fourier().images([z], shape).numpy()
            assert np.abs(x - 0.5).max() < 0.03
            contrast.append(logit(x).std())
    assert 0.009 < min(contrast) < max(contrast) < 0.02


def test_fourier_noise_falls_off_like_photographs():
    """The power spectrum of the first pictures has the slope asked for."""
    for decay in (0.0, 1.0, 2.0):
        part = Fourier(decay=decay, decorrelate=False)
        (z,) = part.start((64, 64, 1), randomness(16))
        x = logit(part.images([z], (64, 64, 1)))[..., 0]
        power = np.mean(np.abs(np.fft.fft2(x)) ** 2, 0)
        f = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
        band = (f > 0.05) & (f < 0.5)
        slope = np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]
        assert slope == pytest.approx(-2 * decay, abs=0.1)


def test_colors_of_three_channels_only():
    (z,) = Fourier(stddev=1.0).start((32, 32, 3), randomness(8))
    x = logit(Fourier().images([z], (32, 32, 3))).reshape(-1, 3)
    share = np.cov(x.T)
    expected = COLORS @ COLORS.T
    np.testing.assert_allclose(
        share / np.trace(share), expected / np.trace(expected), atol=0.03
    )
    two = Fourier().start((8, 8, 2), randomness())
    np.testing.assert_array_equal(
        Fourier().images(two, (8, 8, 2)),
        Fourier(decorrelate=False).images(two, (8, 8, 2)),
    )


@pytest.mark.parametrize("shape", [(12, 1), (8, 9, 3), (4, 5, 6, 2)], ids=str)
def test_maco_by_definition(shape):
    rng = np.random.default_rng(0)
    positions = shape[:-1]
    magnitude = rng.uniform(size=(shape[-1], *half_spectrum(positions)))
    for part in (MACO(), MACO(magnitude=magnitude, decorrelate=False)):
        (p,) = part.start(shape, randomness())
        x = part.images([p], shape)
        m = magnitude if part.magnitude is not None else slow_falloff(
            positions, 1.0
        )  # fmt: skip
        for row in range(2):
            phase = np.asarray(p[row], np.float64)
            phase = (phase - phase.mean()) / phase.std() * np.pi / np.sqrt(3)
            y = [inverse_transform(c, positions)
                 for c in m * np.exp(1j * phase)]  # fmt: skip
            y = np.stack(y, -1)
            y = correlated((y - y.mean()) / y.std(), part)
            np.testing.assert_allclose(x[row], sigmoid(y), atol=1e-5)


def test_maco_keeps_the_magnitude_whatever_the_phases():
    """The spectrum of the picture is the one given, up to one factor."""
    rng = np.random.default_rng(0)
    magnitude = rng.uniform(0.1, 1, size=(1, 8, 5))
    part = MACO(magnitude=magnitude)
    for spread in (0.1, 1.0, 30.0):
        phase = tf.constant(rng.normal(size=(1, 1, 8, 5)) * spread)
        x = logit(part.images([tf.cast(phase, tf.float32)], (8, 8, 1)))
        found = np.abs(np.fft.rfft2(x[0, ..., 0]))[:, 1:4]
        ratio = found / magnitude[0, :, 1:4]
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_maco_starts_with_phases_all_around():
    (p,) = MACO().start((64, 64, 3), randomness(4))
    assert np.min(p) < -3.1 and np.max(p) > 3.1
    p = np.asarray(p).reshape(4, -1)
    p = (p - p.mean(1, keepdims=True)) / p.std(1, keepdims=True)
    resultant = np.abs(np.exp(1j * np.pi / np.sqrt(3) * p).mean(1))
    assert resultant.max() < 0.03
    optimizer = MACO().optimizer()
    assert isinstance(optimizer, keras.optimizers.Nadam)
    assert float(optimizer.learning_rate) == 1.0


def test_natural_magnitude_by_definition():
    x = np.random.default_rng(0).uniform(size=(5, 6, 4, 3))
    for decorrelate in (True, False):
        y = x @ np.linalg.inv(COLORS).T if decorrelate else x
        spectrum = np.fft.rfft2(np.moveaxis(y, -1, 1)) / np.sqrt(24)
        expected = np.abs(spectrum).mean(0)
        mean = spectrum[:, :, 0, 0].real
        expected[:, 0, 0] = np.abs(mean - mean.mean(0)).mean(0)
        for data in (
            x,
            iter([x[:2], x[2:]]),
            tf.data.Dataset.from_tensor_slices(x).batch(3),
            tf.data.Dataset.from_tensor_slices((x, range(5))).batch(2),
        ):
            found = natural_magnitude(data, decorrelate=decorrelate)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    part = MACO(magnitude=natural_magnitude(x))
    assert part.images(part.start((6, 4, 3), randomness()), (6, 4, 3)).shape[
        0
    ] == 2  # fmt: skip
    signals = np.random.default_rng(0).uniform(size=(5, 9, 2))
    assert natural_magnitude(signals).shape == (2, 5)


def test_natural_magnitude_gives_back_the_spectrum_of_fourier_noise():
    """What falls off as `1 / f` is found to fall off as `1 / f`."""
    part = Fourier(stddev=1.0)
    x = logit(part.images(part.start((32, 32, 3), randomness(64)),
                          (32, 32, 3)))  # fmt: skip
    found = natural_magnitude(x)[:, 1:, 1:-1]
    ratio = found / falloff((32, 32), 1.0)[1:, 1:-1]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.4)
