"""The area of masks: its loss, and masks that have it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.perturbation import areas as module
from keras_explain.attribution.perturbation.areas import (
    TOLERANCE,
    area_loss,
    checked_areas,
    nth_largest,
    with_area,
)

AREAS = (0.1, 0.3, 0.77)
EXACT = tf.constant(AREAS, tf.float64)


def sorted_loss(mask, area):
    """As the paper writes it: sorted values minus zeros, then ones."""
    wanted = np.ones(len(mask))
    wanted[: int(len(mask) * (1 - area))] = 0
    return np.mean((np.sort(mask) - wanted) ** 2)


@pytest.mark.parametrize("ties", [False, True])
def test_loss_is_that_of_the_sorted_mask(ties):
    masks = np.random.default_rng(0).uniform(size=(3, 2, 40))
    if ties:
        masks = np.round(masks, 1)
    found = area_loss(tf.constant(masks), EXACT)
    expected = [
        [sorted_loss(row, area) for row in rows]
        for rows, area in zip(masks, AREAS, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_gradient_of_the_loss():
    masks = np.random.default_rng(1).uniform(size=(3, 1, 12))
    x = tf.constant(masks)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = area_loss(x, EXACT)
    gradient = np.asarray(tape.gradient(loss, x))
    for k, area in enumerate(AREAS):
        for i in range(12):
            up, down = masks[k, 0].copy(), masks[k, 0].copy()
            up[i] += 1e-6
            down[i] -= 1e-6
            slope = (sorted_loss(up, area) - sorted_loss(down, area)) / 2e-6
            np.testing.assert_allclose(gradient[k, 0, i], slope, atol=1e-6)


def test_equal_values_share_the_ones():
    x = tf.ones((1, 1, 10))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = area_loss(x, tf.constant([0.3], tf.float64))
    np.testing.assert_allclose(loss, [[0.7]], rtol=1e-6)
    gradient = tape.gradient(loss, x)
    np.testing.assert_allclose(gradient, 0 * gradient + 0.14, rtol=1e-5)


@pytest.mark.parametrize("sorts", [False, True])
def test_nth_largest(sorts, monkeypatch):
    devices = ["one"] if sorts else []
    monkeypatch.setattr(
        module.tf.config, "list_logical_devices", lambda kind: devices
    )
    values = np.random.default_rng(0).integers(0, 9, (3, 4, 20)).astype("f4")
    ranks = np.array([1, 7, 20], "int32")
    found = nth_largest(tf.constant(values), tf.constant(ranks))
    expected = [
        np.sort(v, -1)[:, ::-1][:, n - 1]
        for v, n in zip(values, ranks, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["soft", "binary", "zeros", "ones", "large"])
def test_masks_get_their_area(kind):
    noise = np.random.default_rng(0)
    masks = {
        "soft": noise.uniform(size=(3, 2, 500)),
        "binary": (noise.uniform(size=(3, 2, 500)) > 0.6) * 1.0,
        "zeros": np.zeros((3, 2, 500)),
        "ones": np.ones((3, 2, 500)),
        "large": noise.uniform(size=(3, 1, 60000)) ** 8,
    }[kind].astype("float32")
    found = np.asarray(with_area(tf.constant(masks), EXACT))
    assert found.min() >= 0 and found.max() <= 1
    means = found.astype("float64").mean(-1)
    np.testing.assert_allclose(
        means, np.transpose([AREAS] * means.shape[1]), atol=TOLERANCE
    )
    # The order stays.
    order = np.argsort(masks, -1)
    assert np.all(np.diff(np.take_along_axis(found, order, -1)) >= -1e-6)


def test_of_masks_with_the_area_it_is_the_closest():
    p = np.random.default_rng(0).uniform(0.05, 0.95, 6)
    found = np.asarray(
        with_area(tf.constant(p[None, None], tf.float32), tf.constant([0.3]))
    )[0, 0].astype("float64")

    def divergence(q):
        return np.sum(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)))

    for direction in np.random.default_rng(1).normal(size=(20, 6)):
        move = 0.01 * (direction - direction.mean())
        assert divergence(found) < divergence(found + move)


def test_a_mask_that_has_its_area_stays():
    mask = np.zeros((1, 1, 100), "float32")
    mask[..., :20] = 1
    found = with_area(tf.constant(mask), tf.constant([0.2]))
    np.testing.assert_allclose(found, mask, atol=2e-4)


@pytest.mark.parametrize("areas", [(0.0,), (1.0, 0.5), (-0.1,), (), ("a",),
                                   (float("nan"),), (True,), 1.5])  # fmt: skip
def test_refused_areas(areas):
    with pytest.raises(ValueError, match="share between 0 and 1.*\n.*areas="):
        checked_areas(areas)


@pytest.mark.parametrize("areas", ["0.1", None, {0.1}])
def test_areas_that_are_no_list(areas):
    with pytest.raises(TypeError, match="`areas` are the shares.*\n.*Received"):
        checked_areas(areas)


def test_one_area_and_arrays_are_lists_of_areas():
    assert checked_areas(0.25) == (0.25,)
    assert checked_areas(np.array([0.25, 0.5])) == (0.25, 0.5)
