"""Smooth masks against the golden numbers and a slow float64 formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.perturbation import mask_generator as module
from keras_explain.attribution.perturbation.mask_generator import (
    MaskGenerator,
)
from tests.attribution.perturbation.learned import golden


def slow_mask(numbers, sizes, steps, sigmas, edges=False):
    """One pixel and one cell after the other, for a grid of any rank."""
    numbers = np.asarray(numbers, "float64")
    most = [n - 1 for n in numbers.shape]
    mask = np.zeros(sizes)
    for pixel in np.ndindex(*sizes):
        values = []
        home = [x // n for x, n in zip(pixel, steps)]  # noqa: B905
        radii = [1 + int(np.ceil(s / n)) for s, n in zip(sigmas, steps)]  # noqa: B905
        for offset in np.ndindex(*[2 * r + 1 for r in radii]):
            cell = [h + o - r for h, o, r in zip(home, offset, radii)]  # noqa: B905
            inside = all(0 <= c < n for c, n in zip(cell, numbers.shape))  # noqa: B905
            z = np.sqrt(sum(
                ((x - n * c) / s) ** 2
                for x, n, c, s in zip(pixel, steps, cell, sigmas)  # noqa: B905
            ))  # fmt: skip
            weight = np.exp(-2 * max(z - 0.5, 0) ** 2)
            near = tuple(np.clip(cell, 0, most))
            values.append(weight * numbers[near] if inside or edges else 0.0)
        values = np.array(values)
        powers = np.exp(20 * values)
        mask[pixel] = (values * powers).sum() / powers.sum()
    return mask


def test_golden_masks():
    expected = golden("torchray_mask_generator")
    maker = MaskGenerator((14, 14), (7, 7), (7.0, 7.0), "zero")
    assert list(maker.cells) == expected["shape_in"]
    assert list(maker.radii) == [expected["radius"]] * 2
    found = maker(tf.ones((1, 2, 2)))[0]
    np.testing.assert_allclose(
        found[0], expected["mask_all_ones_cropped_row0"], atol=2e-5
    )
    corner = maker(tf.constant([[[1.0, 0.0], [0.0, 0.0]]]))[0]
    np.testing.assert_allclose(
        np.diag(corner), expected["mask_corner_cropped_diag"], atol=2e-5
    )


def test_golden_frame():
    expected = golden("torchray_mask_generator")
    maker = MaskGenerator((14, 14), (7, 7), (7.0, 7.0), "zero")
    framed = maker.framed(tf.ones((1, 2, 2)))[0]
    assert list(framed.shape) == expected["shape_out"]
    np.testing.assert_allclose(
        np.mean(framed), expected["full_area_all_ones"], atol=1e-5
    )
    # The picture is in the middle of its frame.
    np.testing.assert_array_equal(
        framed[7:21, 7:21], maker(tf.ones((1, 2, 2)))[0]
    )


def test_published_lengths_at_224_pixels():
    expected = golden("torchray_mask_generator_224")
    maker = MaskGenerator.of_shares((224, 224), 7 / 224, 21 / 224)
    assert maker.steps == (7, 7) and maker.sigmas == (21.0, 21.0)
    assert list(maker.cells) == expected["shape_in"]
    assert list(maker.radii) == [expected["radius"]] * 2
    framed = maker.framed(tf.ones((1, 32, 32)))
    assert framed.shape[1:] == expected["shape_out"]
    zero = dataclasses.replace(maker, padding="zero")
    mask = zero(tf.ones((1, 32, 32)))
    assert mask.shape == (1, 224, 224)
    np.testing.assert_allclose(np.mean(mask), 0.988, atol=1e-3)


@pytest.mark.parametrize(
    ("sizes", "steps", "sigmas"),
    [
        ((7, 5), (2, 3), (2.5, 4.0)),
        ((9,), (2,), (3.0,)),
        ((2, 3, 4), (1, 2, 2), (0.6, 1.5, 2.0)),
    ],
)
@pytest.mark.parametrize(
    ("padding", "at_once", "unrolled"),
    [("edge", 1 << 16, 0), ("zero", 0, 1000), ("edge", 0, 0)],
)
def test_formula_and_gradient(
    sizes, steps, sigmas, padding, at_once, unrolled, monkeypatch
):
    """In each of the three ways in which the sums are made."""
    monkeypatch.setattr(module, "_MOST_AT_ONCE", at_once)
    monkeypatch.setattr(module, "_MOST_UNROLLED", unrolled)
    maker = MaskGenerator(sizes, steps, sigmas, padding)
    edges = padding == "edge"
    noise = np.random.default_rng(0)
    numbers = noise.uniform(size=(2, *maker.cells))
    upstream = noise.normal(size=(2, *sizes))
    x = tf.constant(numbers, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        masks = maker(x)
        total = tf.reduce_sum(masks * tf.constant(upstream, tf.float32))
    expected = [slow_mask(n, sizes, steps, sigmas, edges) for n in numbers]
    np.testing.assert_allclose(masks, expected, rtol=1e-4, atol=1e-6)

    gradient = np.asarray(tape.gradient(total, x))
    for cell in list(np.ndindex(*numbers.shape))[::5]:
        found = []
        for sign in (1, -1):
            moved = numbers.copy()
            moved[cell] += sign * 1e-5
            row = slow_mask(moved[cell[0]], sizes, steps, sigmas, edges)
            found.append((row * upstream[cell[0]]).sum())
        slope = (found[0] - found[1]) / 2e-5
        np.testing.assert_allclose(gradient[cell], slope, rtol=1e-3, atol=1e-4)


def test_masks_stay_within_zero_and_one():
    maker = MaskGenerator.of_shares((32, 32), 7 / 224, 21 / 224)
    assert maker.steps == (1, 1) and maker.cells == (32, 32)
    noise = np.random.default_rng(0).uniform(size=(3, 32, 32)) > 0.9
    masks = np.asarray(maker(tf.constant(noise, tf.float32)))
    assert masks.min() >= 0 and masks.max() <= 1 + 1e-6
    assert masks.max() > 0.99
    np.testing.assert_array_equal(maker(tf.zeros((1, 32, 32))), 0)


def test_a_grid_of_ones_has_no_borders():
    """With zeros around it, its mask would be largest there."""
    maker = MaskGenerator((36, 36), (3, 3), (9.0, 9.0))
    mask = np.asarray(maker(tf.ones((1, 12, 12))))[0]
    np.testing.assert_allclose(mask, np.tile(mask[:3, :3], (12, 12)), rtol=1e-6)
    zero = dataclasses.replace(maker, padding="zero")
    bare = np.asarray(zero(tf.ones((1, 12, 12))))[0]
    np.testing.assert_allclose(bare[15:21, 15:21], mask[15:21, 15:21])
    assert bare.max() > mask.max() + 1e-3
