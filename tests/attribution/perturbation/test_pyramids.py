"""Blurred and faded pictures, and masks that choose between them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.perturbation.pyramids import (
    between,
    blur_matrix,
    blur_pyramid,
    blurred,
    fade_pyramid,
)
from tests.attribution.perturbation.learned import golden


def channels_last(array):
    return np.moveaxis(np.asarray(array, "float32"), 1, -1)


def test_golden_fade():
    expected = golden("torchray_fade")
    x = channels_last(expected["input"])
    pyramid = fade_pyramid(tf.constant(x), expected["levels"])
    mask = np.broadcast_to(expected["mask_row"], (1, 1, 4, 4))
    found = between(pyramid, tf.constant(mask, tf.float32))[0]
    np.testing.assert_allclose(found, channels_last(expected["out"]), atol=1e-5)


def test_golden_blur():
    expected = golden("torchray_blur")
    x = tf.constant(channels_last(expected["input"]))
    levels, most = expected["levels"], expected["max_blur"]
    found = blur_pyramid(x, levels, [most, most], padding="zero")
    pyramid = channels_last(expected["pyramid"])[:, np.newaxis]
    np.testing.assert_allclose(found, pyramid, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 2.0, 9.0])
def test_matrix_is_a_gaussian_whose_edges_repeat(sigma):
    matrix = blur_matrix(6, sigma)
    np.testing.assert_allclose(matrix.sum(1), 1)
    x = np.random.default_rng(0).normal(size=6)
    reach = int(np.ceil(4 * sigma))
    padded = np.pad(x, reach, mode="edge")
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2)
                     / (2 * max(sigma, 1e-9) ** 2))  # fmt: skip
    expected = np.convolve(padded, weights / weights.sum(), "valid")
    np.testing.assert_allclose(matrix @ x, expected, rtol=1e-9)
    dark = blur_matrix(6, sigma, "zero")
    expected = np.convolve(np.pad(x, reach), weights / weights.sum(), "valid")
    np.testing.assert_allclose(dark @ x, expected, rtol=1e-9)


def test_borders_do_not_darken():
    ones = tf.ones((1, 7, 5, 2))
    np.testing.assert_allclose(blurred(ones, [2.0, 1.0]), ones, rtol=1e-6)
    series = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 3)))
    expected = np.einsum("ij,bjc->bic", blur_matrix(9, 1.5), series)
    np.testing.assert_allclose(blurred(series, [1.5]), expected)


def test_between_levels_and_its_gradient():
    noise = np.random.default_rng(0)
    pyramid = noise.normal(size=(4, 2, 3, 5, 2))
    masks = noise.uniform(size=(3, 2, 3, 5))
    masks[0, 0, 0, :3] = [0, 1, 1 / 3]
    expected = np.empty((3, 2, 3, 5, 2))
    slope = np.empty((3, 2, 3, 5, 2))
    for k, b, i, j in np.ndindex(3, 2, 3, 5):
        low = min(int(masks[k, b, i, j] * 3), 2)
        part = masks[k, b, i, j] * 3 - low
        ends = pyramid[low, b, i, j], pyramid[low + 1, b, i, j]
        expected[k, b, i, j] = (1 - part) * ends[0] + part * ends[1]
        slope[k, b, i, j] = 3 * (ends[1] - ends[0])
    m = tf.constant(masks)
    with tf.GradientTape() as tape:
        tape.watch(m)
        found = between(tf.constant(pyramid), m)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(tape.gradient(found, m), slope.sum(-1))
