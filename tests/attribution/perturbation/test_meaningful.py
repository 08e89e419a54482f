"""Meaningful perturbations: a slow restatement, their parts, and laws."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.attribution.perturbation.coarse_masks import (
    adam,
    interpolation,
    total_variation,
)
from keras_explain.attribution.perturbation.meaningful import (
    MeaningfulPerturbation,
)
from keras_explain.attribution.perturbation.pyramids import blurred
from tests import zoo
from tests.attribution.perturbation.learned import corners, linear_model

_STEADY = {"jitter": 0, "smoothing": 0, "blur": 0.2}


def slow_variation(grid, power):
    total = 0.0
    for cell in np.ndindex(*grid.shape):
        square = 0.0
        for axis in range(grid.ndim):
            ahead = list(cell)
            ahead[axis] += 1
            if ahead[axis] < grid.shape[axis]:
                square += (grid[tuple(ahead)] - grid[cell]) ** 2
        total += square ** (power / 2)
    return total


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 3)])
@pytest.mark.parametrize("power", [3.0, 1.0])
def test_total_variation(shape, power):
    grids = np.random.default_rng(0).uniform(size=(1, 2, *shape))
    found = total_variation(tf.constant(grids), power)
    expected = [[slow_variation(grid, power) for grid in grids[0]]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    flat = tf.ones((1, 1, *shape))
    with tf.GradientTape() as tape:
        tape.watch(flat)
        value = total_variation(flat, power)
    assert np.all(np.asarray(tape.gradient(value, flat)) == 0)


def test_upsampling_is_centered_and_linear():
    found = interpolation(8, 4)
    expected = np.interp((np.arange(8) + 0.5) / 2 - 0.5, range(4), range(4))
    np.testing.assert_allclose(found @ np.arange(4), expected)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(interpolation(5, 5), np.eye(5))


def slow_adam(slope, start, steps, rate=0.1):
    numbers, mean, square = start.copy(), 0.0, 0.0
    for step in range(1, steps + 1):
        g = slope(numbers)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        move = mean / (1 - 0.9**step)
        move /= np.sqrt(square / (1 - 0.999**step)) + 1e-8
        numbers = np.clip(numbers - rate * move, 0, 1)
    return numbers


def test_adam():
    noise = np.random.default_rng(0)
    start, center = noise.uniform(0.3, 0.7, (2, 3)), noise.normal(size=(2, 3))
    numbers = (tf.constant(start, tf.float32),)
    moments = ((tf.zeros((2, 3)), tf.zeros((2, 3))),)
    for step in range(4):
        slopes = [numbers[0] - tf.constant(center, tf.float32)]
        numbers, moments = adam(
            numbers, slopes, moments, tf.constant(step), 0.01
        )
    expected = slow_adam(lambda n: n - center, start, 4, 0.01)
    np.testing.assert_allclose(numbers[0], expected, rtol=1e-5)


@pytest.mark.parametrize("variant", ["delete", "preserve"])
def test_steps_are_those_of_the_formula(variant):
    noise = np.random.default_rng(3)
    kernel = noise.normal(size=(4, 3, 2, 3))
    x = noise.normal(size=(1, 4, 3, 2)).astype("float32")
    null = np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)
    explainer = MeaningfulPerturbation(
        linear_model(kernel), variant=variant, perturbation="constant",
        settings={**_STEADY, "num_steps": 4, "l1_weight": 0.05,
                  "tv_weight": 0.1},
    )  # fmt: skip
    found = explainer.explain(x, 1)

    def score(kept):
        seen = null + kept[..., None] * (x - null)
        return float(np.einsum("nijc,ijck->nk", seen, kernel)[0, 1])

    ones = np.ones((4, 3))
    effect = abs(score(ones) - score(0 * ones))

    def reward(u):
        return score(u) if variant == "preserve" else -score(1 - u)

    def slope(u):
        """Of differences, but for the size of the mask, which is linear."""
        result = np.empty((4, 3))
        for cell in np.ndindex(4, 3):
            ends = []
            for sign in (1, -1):
                moved = u.copy()
                moved[cell] += sign * 1e-5
                ends.append(
                    0.1 * slow_variation(moved, 3) - reward(moved) / effect
                )
            result[cell] = (ends[0] - ends[1]) / 2e-5
        return result + 0.05

    start = _first_disc(reward, (4, 3))
    expected = slow_adam(slope, start, 4)
    np.testing.assert_allclose(found.attributions[0, ..., 0], expected,
                               atol=2e-3)  # fmt: skip
    kept = expected if variant == "preserve" else 1 - expected
    np.testing.assert_allclose(found.details["masks"][0], kept, atol=2e-3)
    np.testing.assert_allclose(
        found.details["history"][0, 0], reward(start), rtol=1e-4
    )
    np.testing.assert_allclose(
        found.details["reward"][0], reward(expected), rtol=1e-2, atol=1e-2
    )


def _first_disc(reward, shape):
    """The smallest of ten discs with 99 % of the effect of all."""
    y, x = [(2 * np.arange(n) + 1) / n - 1 for n in shape]
    radius = np.sqrt((y[:, None] ** 2 + x**2) / 2)
    least, most = reward(np.zeros(shape)), reward(np.ones(shape))
    for k in range(11):
        disc = (radius < k / 10) * 1.0
        if k == 10 or (reward(disc) - least) / (most - least) >= 0.99:
            return disc


@pytest.mark.parametrize("variant", ["delete", "preserve"])
def test_the_mask_lies_on_what_matters(variant):
    model, picture = corners()
    explainer = MeaningfulPerturbation(
        model, variant=variant, perturbation="constant",
        settings={"num_steps": 60, "l1_weight": 1e-3},
    )  # fmt: skip
    # The upper left is brighter than the mean.
    picture[:, :14, :14] += 1
    found = explainer.explain(picture, 0)
    importance = found.attributions[0, ..., 0]
    assert importance[:14, :14].mean() > 0.8
    assert importance[14:, 14:].mean() < 0.1
    assert importance.min() >= 0 and importance.max() <= 1 + 1e-6
    history = found.details["history"][0]
    assert history.shape == (60,)
    assert found.details["reward"][0] > history[0] - 0.1 * abs(history[0])


@pytest.mark.parametrize("perturbation", ["blur", "constant", "noise"])
def test_what_hides(perturbation):
    """With everything hidden, to preserve nothing."""
    specimen = zoo.build("functional")
    settings = {"num_steps": 15, "l1_weight": 1e4, "jitter": 0}
    found, other = (
        MeaningfulPerturbation(
            specimen.model,
            variant="preserve",
            perturbation=perturbation,
            seed=seed,
            settings=settings,
        )
        for seed in (0, 1)
    )
    with pytest.warns(ke.ExplainWarning, match="zero everywhere"):
        found = found.explain(specimen.inputs, 1)
    with pytest.warns(ke.ExplainWarning, match="zero everywhere"):
        other = other.explain(specimen.inputs, 1)
    assert np.all(found.attributions < 0.01)  # nothing is kept
    same = np.allclose(found.details["reward"], other.details["reward"])
    assert same == (perturbation != "noise")
    if perturbation != "noise":
        blank = np.broadcast_to(
            specimen.inputs.mean((1, 2), keepdims=True), specimen.inputs.shape
        )
        if perturbation == "blur":
            blank = blurred(tf.constant(specimen.inputs), [10 / 28] * 2)
        scores = ke.Gradient(specimen.model).explain(blank, 1).scores
        np.testing.assert_allclose(found.details["reward"], scores, atol=1e-3)


def test_inputs_are_shifted_under_the_mask():
    specimen = zoo.build("functional")
    still, moved, again = (
        MeaningfulPerturbation(
            specimen.model, settings={"num_steps": 3, "jitter": jitter}
        ).explain(specimen.inputs, 1).details["history"]
        for jitter in (0, 0.3, 0.3)
    )  # fmt: skip
    np.testing.assert_array_equal(moved, again)
    assert not np.allclose(still, moved)


def test_channels_of_a_layer():
    specimen = zoo.build("functional")
    explainer = MeaningfulPerturbation(
        specimen.model, layer="conv2", settings={"num_steps": 20}
    )
    found = explainer.explain(specimen.inputs, 2)
    channels = found.details["channels"]
    assert channels.shape == (2, 6)
    np.testing.assert_allclose(
        found.attributions,
        np.broadcast_to(1 - channels[:, None, None], (2, 8, 8, 6)),
        atol=1e-6,
    )
    for name in ("before", "after", "diff"):
        assert found.details[name].shape == (2, 8, 8)
    np.testing.assert_allclose(
        found.details["diff"],
        found.details["after"] - found.details["before"],
        atol=1e-6,
    )
    # A channel is hidden if it speaks for the class.
    weights = specimen.model.get_layer("logits").get_weights()[0][:, 2]
    hidden = channels < 0.5
    assert np.all(hidden[:, weights > 0.1])
    assert not np.any(hidden[:, weights < -0.1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variant": "dual"}, "`variant` is one of a few.*'delete'"),
        ({"perturbation": "nois"}, "`perturbation` is one of a few.*'noise'"),
        ({"settings": {"num_steps": 0}}, "`num_steps`, at least 1"),
        ({"settings": {"jitters": 1}}, "`settings` is one of a few.*'jitter'"),
        ({"settings": {"cells": 0}}, "`cells`, at least 1"),
        ({"settings": {"tv_power": 0.5}}, "`tv_power`, from 1"),
        ({"settings": {"jitter": 2}}, "`jitter`, from 0 to 1"),
    ],
)
def test_refused_values(model, options, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        MeaningfulPerturbation(model, **options)


def test_tokens_need_a_layer():
    specimen = zoo.build("lstm")
    with pytest.raises(ValueError, match="hold integers.*\n.*'embedding'"):
        MeaningfulPerturbation(specimen.model)(specimen.inputs)
