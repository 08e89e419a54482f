"""Restoration: the masks, pictures and options it takes, and mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis import Pixels
from keras_explain.synthesis.downsampling import downsample
from keras_explain.synthesis.observed import check_operator, read
from keras_explain.synthesis.restoration import (
    denoise,
    inpaint,
    restore,
    super_resolve,
)
from tests.synthesis.scenes import SMALL, quiet, scene


def test_masks_of_all_shapes():
    image = np.stack([scene(), scene(seed=1)])
    mask = np.random.default_rng(0).random((2, 16, 16, 3)) < 0.7
    for given in (mask[0, ..., 0], mask[0, ..., :1], mask[0], mask[..., 0],
                  mask[..., :1], mask, mask[..., :1] * 0.5):  # fmt: skip
        _, _, weights = read(image, given, None)
        full = given if given.ndim > 2 else given[..., np.newaxis]
        if given.shape == (2, 16, 16):
            full = given[..., np.newaxis]
        np.testing.assert_array_equal(weights, np.broadcast_to(
            full, image.shape))  # fmt: skip


WRONG_MASKS = [
    (np.zeros((16, 16)), "keep something"),
    (np.stack([np.ones((16, 16)), np.zeros((16, 16))]), r"pictures \[1\]"),
    (np.ones((8, 8)), r"has shape \(16, 16\)"),
    (np.ones((3, 16, 16)), r"has shape \(16, 16\)"),
    (255 * np.ones((16, 16)), "8-bit mask by 255"),
    (-np.ones((16, 16)), "1 where a picture is kept"),
    (np.full((16, 16), np.nan), "1 where a picture is kept"),
]


@pytest.mark.parametrize("mask, text", WRONG_MASKS)
def test_wrong_masks(mask, text):
    with pytest.raises(ValueError, match=text):
        quiet(inpaint, np.stack([scene(), scene()]), mask)


WRONG_PICTURES = [
    (255 * scene(), {}, ValueError, "from 0 to 1"),
    (scene() - 0.5, {}, ValueError, "from 0 to 1"),
    (np.full((16, 16, 3), np.nan), {}, ValueError, "must be finite"),
    (np.full((16, 16, 3), np.inf), {"value_range": (0, 1)}, ValueError,
     "must be finite"),
    (255 * scene(), {"value_range": (0, 1)}, ValueError, "from 0 to 1 were"),
    (scene(), {"value_range": (1, 0)}, ValueError, "the smaller one first"),
    (scene(), {"value_range": (0, np.inf)}, ValueError, "finite numbers"),
    (np.ones((16, 16, 3), np.uint16), {}, ValueError, "not of 8 bits"),
    (np.ones((16, 16, 3), bool), {}, TypeError, "are numbers"),
    (scene()[..., 0], {}, ValueError, "Add the axis"),
    (np.zeros((0, 16, 16, 3)), {}, ValueError, "have the shape"),
    (scene(3), {"prior": SMALL}, ValueError, "sides of at least 4"),
]  # fmt: skip


@pytest.mark.parametrize("image, options, kind, text", WRONG_PICTURES)
def test_wrong_pictures(image, options, kind, text):
    with pytest.raises(kind, match=text):
        quiet(denoise, image, **options)


def test_noise_may_leave_a_range_that_was_given():
    noisy = scene() + np.random.default_rng(0).normal(0, 0.2, (16, 16, 3))
    values, found, _ = read(noisy, None, (0, 1))
    np.testing.assert_allclose(values[0], noisy, rtol=1e-6)
    assert (found.low, found.high) == (0, 1)
    read(1000 * noisy, None, (0, 1), pictures=False)


WRONG_OPTIONS = [
    ({"stop": "early"}, ValueError, "stop='variance'"),
    ({"steps": -1}, ValueError, "not negative"),
    ({"averaging": 1.0}, ValueError, "at least 0 and less than 1"),
    ({"window": 5}, ValueError, "at least 20"),
    ({"patience": 0}, ValueError, "at least 1"),
    ({"backtrack": -3}, ValueError, "at least 0"),
    ({"prior": "network"}, TypeError, "between two values"),
    ({"prior": Pixels(bounds=None)}, TypeError, "between two values"),
    ({"optimizer": "lbfgs"}, TypeError, "optimizer of Keras"),
    ({"averging": 0.9}, TypeError, "Did you mean 'averaging'"),
    ({"snapshots": [99]}, ValueError, "from 0 to 8"),
]


@pytest.mark.parametrize("options, kind, text", WRONG_OPTIONS)
def test_wrong_options(options, kind, text):
    options = {"prior": Pixels(), "steps": 8, **options}
    with pytest.raises(kind, match=text):
        denoise(scene(), verbose=False, **options)


@pytest.mark.parametrize("factor", [1, 0, 2.0, "4", True])
def test_wrong_factors(factor):
    with pytest.raises(ValueError, match="integer of at least 2"):
        quiet(super_resolve, scene(), factor)


def test_wrong_downsampling():
    with pytest.raises(ValueError, match="'lanczos2' or 'average'"):
        quiet(super_resolve, scene(), 2, kernel="bicubic")
    with pytest.raises(ValueError, match="multiples of the factor, 3"):
        downsample(scene()[np.newaxis], 3)


WRONG_OPERATORS = [
    (None, TypeError, "is a function"),
    (lambda x: x[:, ::2], ValueError, r"Received: shape \[1, 8, 16, 3\]"),
    (lambda x: [x], ValueError, "'list' from the operator"),
    (lambda x: tf.convert_to_tensor(np.fft.fft(x)), TypeError, "uses NumPy"),
    (tf.round, ValueError, "must have a gradient"),
    (lambda x: tf.ones_like(x), ValueError, "must have a gradient"),
]


@pytest.mark.parametrize("operator, kind, text", WRONG_OPERATORS)
def test_wrong_operators(operator, kind, text):
    with pytest.raises(kind, match=text):
        check_operator(operator, (1, 16, 16, 3), (1, 16, 16, 3))


def test_help_shows_all_options():
    import inspect

    for method in (restore, denoise, inpaint, super_resolve):
        names = inspect.signature(method).parameters
        assert {"prior", "stop", "seed", "mask"} <= set(names)
        assert "options" not in names
