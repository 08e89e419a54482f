"""RISE against its formula, its masks, and what it refuses."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.perturbation import RISE
from keras_explain.attribution.perturbation.random_masks import (
    RandomMasks,
    _weights,
    content_seeds,
)
from tests import zoo
from tests.attribution.perturbation.nets import bilinear


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def drawn(x, number, cells, p=0.5, seeds=(0,)):
    masks = RandomMasks([tf.constant(x)], cells, p)
    seeds = tf.constant(list(seeds))
    draw = tf.function(lambda: masks.draw(seeds, tf.range(number))[0])
    return np.asarray(draw())


def slow_rise(score, x, masks, p):
    """From masks `(k, 1 or batch, ...)`, in float64."""
    x, masks = np.asarray(x, "float64"), np.asarray(masks, "float64")
    k = len(masks)
    f = np.stack([score(x * mask) for mask in masks])
    f = f.reshape(*f.shape, *[1] * (x.ndim - 1))
    masks = np.broadcast_to(masks, (k, *x.shape))
    centered = f - f.mean(0)
    values = f.mean(0) + (centered * masks).sum(0) / (k - 1) / p
    single = centered * masks / p
    errors = np.sqrt(single.var(0, ddof=1) / k)
    return np.broadcast_to(values, x.shape), np.broadcast_to(errors, x.shape)


@pytest.mark.parametrize(
    ("shape", "cells"),
    [((6,), 8), ((9, 2), 4), ((8, 10, 2), 3), ((4, 6, 5, 1), 2)],
)
@pytest.mark.parametrize("shared", [True, False])
def test_formula(shape, cells, shared):
    model, score = bilinear(shape)
    x = noise(2, *shape)
    p = 0.6
    seeds = [0]
    if not shared:
        seeds = np.asarray(content_seeds(tf.constant(x), 0))
        assert seeds[0] != seeds[1]
    masks = drawn(x, 40, cells, p, seeds)
    explainer = RISE(model, num_masks=40, cells=cells, keep_probability=p,
                     shared=shared, batch_size=6)  # fmt: skip
    found = explainer.explain(x, verbose=False)
    values, errors = slow_rise(score, x, masks, p)
    np.testing.assert_allclose(found.attributions, values, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        found.details["standard_errors"], errors, rtol=1e-2, atol=1e-3
    )


def test_weights_are_linear_between_centers():
    """Cells of four positions, cropped one to the right."""
    crop = tf.constant([0.25, 0.0])
    found = np.asarray(_weights(crop, 2, 4, 8))
    centers = (np.arange(3) + 0.5) * 4 - 0.5
    for k, shift in enumerate((1, 0)):
        for cell in range(3):
            expected = np.interp(np.arange(8) + shift, centers,
                                 np.eye(3)[cell])  # fmt: skip
            np.testing.assert_allclose(found[k, cell], expected, atol=1e-6)


def test_masks_are_random_smooth_and_cropped_one_by_one():
    x = noise(1, 24, 24, 1)
    masks = drawn(x, 400, 4, 0.3)[:, 0, ..., 0]
    assert masks.min() >= 0 and masks.max() <= 1
    # The expectation is the same everywhere: there is nothing to mend.
    assert abs(masks.mean() - 0.3) < 0.01
    spread = np.sqrt(0.3 * 0.7 / 400)
    assert np.abs(masks.mean(0) - 0.3).max() < 5 * spread
    # A cell of six positions is crossed in steps of a sixth.
    assert np.abs(np.diff(masks, axis=1)).max() < 1 / 6 + 1e-5
    # Where slopes change tells the crop; all places are taken, in each axis.
    bends = np.abs(np.diff(masks, 2, axis=2)).max(1) > 1e-4
    places = [set(np.flatnonzero(row) % 6) for row in bends]
    assert set().union(*places) == set(range(6))
    assert all(len(place) <= 2 for place in places)


def test_a_mask_does_not_depend_on_its_chunk():
    x = noise(2, 9, 7, 2)
    masks = RandomMasks([tf.constant(x)], 3, 0.5)
    whole = masks.draw(tf.constant([4]), tf.range(10))[0]
    parts = [masks.draw(tf.constant([4]), ids)[0]
             for ids in (tf.range(3), tf.range(3, 10))]  # fmt: skip
    np.testing.assert_array_equal(whole, tf.concat(parts, 0))
    other = masks.draw(tf.constant([5]), tf.range(10))[0]
    assert np.abs(np.asarray(whole - other)).max() > 0.1


def exact(score, x, p):
    """All masks of a table, with their probabilities."""
    masks = np.array(list(itertools.product((0, 1), repeat=x.shape[1])))
    weights = p ** masks.sum(1) * (1 - p) ** (1 - masks).sum(1)
    f = np.stack([score(x * mask) for mask in masks])
    return np.einsum("k,kb,ki->bi", weights, f, masks) / p


def test_unbiased_for_few_masks():
    """The mean over many runs of three masks is the expectation."""
    model, score = bilinear((3,))
    x = noise(2, 3)
    p = 0.6
    masks = drawn(x, 3, 8, p, range(2000))
    runs = np.stack([
        slow_rise(score, x, masks[:, run : run + 1], p)[0]
        for run in range(2000)
    ])  # fmt: skip
    spread = runs.std(0, ddof=1) / np.sqrt(len(runs))
    far = (runs.mean(0) - exact(score, x, p)) / spread
    assert np.abs(far).max() < 4
    # The same for the method itself, with as many masks in one run.
    found = RISE(model, num_masks=6000, keep_probability=p, batch_size=500)
    result = found.explain(x, verbose=False)
    far = result.attributions - exact(score, x, p)
    assert np.abs(far / result.details["standard_errors"]).max() < 4


def test_standard_errors_are_those_of_runs():
    model, score = bilinear((5, 6, 1))
    x = noise(1, 5, 6, 1)
    masks = drawn(x, 60, 2, 0.5, range(300))
    found = [
        slow_rise(score, x, masks[:, run : run + 1], 0.5) for run in range(300)
    ]
    values, errors = map(np.stack, zip(*found, strict=True))
    ratio = values.std(0, ddof=1) / errors.mean(0)
    assert 0.85 < ratio.mean() < 1.2


def test_a_constant_score_gives_a_constant_map():
    model, _ = bilinear((6, 6, 1))
    x = noise(2, 6, 6, 1)
    shifted = keras.Model(model.input, model.output + 1000.0)
    one = np.asarray(RISE(model, num_masks=20, cells=3)(x))
    other = np.asarray(RISE(shifted, num_masks=20, cells=3)(x))
    np.testing.assert_allclose(other - one, 1000.0, atol=0.02)


def test_own_masks_do_not_depend_on_the_batch():
    specimen = zoo.build("series")
    x = np.concatenate([specimen.inputs, specimen.inputs[:1]])
    own = RISE(specimen.model, num_masks=12, cells=3, shared=False)
    found = own.explain(x, 1, verbose=False).attributions
    np.testing.assert_array_equal(found[0], found[2])
    alone = own.explain(x[1:2], 1, verbose=False).attributions
    np.testing.assert_allclose(alone[0], found[1], rtol=1e-4, atol=1e-6)
    shared = RISE(specimen.model, num_masks=12, cells=3)(x, 1)
    assert np.abs(np.asarray(shared) - found).max() > 1e-4


def test_seeds():
    specimen = zoo.build("functional")

    first, again, other = (
        np.asarray(
            RISE(specimen.model, num_masks=12, seed=seed)(specimen.inputs, 1)
        )
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("name", ["inputs_dict", "lstm"])
def test_kinds_of_inputs(name):
    specimen = zoo.build(name)
    explainer = RISE(specimen.model, num_masks=10)
    found = explainer.explain(specimen.inputs, verbose=False)
    for a, e, x in zip(
        tf.nest.flatten(found.attributions),
        tf.nest.flatten(found.details["standard_errors"]),
        tf.nest.flatten(specimen.inputs),
        strict=True,
    ):
        assert a.shape == e.shape == np.shape(x)
        assert np.ptp(a) > 0 and np.all(e >= 0) and np.any(e > 0)


def test_pictures_of_another_size():
    specimen = zoo.build("open_size")
    explainer = RISE(specimen.model, num_masks=10, cells=3)
    explainer(specimen.inputs, 1)
    other = zoo.images(2, size=11)[:, :, :9]
    fresh = RISE(specimen.model, num_masks=10, cells=3)
    np.testing.assert_allclose(
        explainer(other, 1), fresh(other, 1), rtol=1e-4, atol=1e-6
    )


def test_config_has_all_options():
    specimen = zoo.build("tabular")
    explainer = RISE(specimen.model, num_masks=9, fill=0.5, batch_size=4)
    config = explainer.get_config()
    assert config == {
        "num_masks": 9, "cells": 8, "keep_probability": 0.5, "shared": True,
        "seed": 0, "layer": None, "fill": 0.5, "batch_size": 4,
    }  # fmt: skip
    again = RISE.from_config(specimen.model, config)
    np.testing.assert_array_equal(
        again(specimen.inputs), explainer(specimen.inputs)
    )


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"num_masks": 0},
            ValueError,
            "`num_masks` is an integer of at",
        ),
        ({"num_masks": 1}, ValueError, "One mask says nothing"),
        ({"num_masks": 9.5}, TypeError, "`num_masks` is an integer"),
        (
            {"cells": 0},
            ValueError,
            "`cells` is an integer of at.*\n.*=0",
        ),
        ({"cells": "7"}, TypeError, "`cells` is an integer"),
        ({"keep_probability": 0}, ValueError, "between 0 and 1.*\n.*=0"),
        ({"keep_probability": 1.0}, ValueError, "between 0 and 1"),
        ({"keep_probability": float("nan")}, ValueError, "between 0 and 1"),
        ({"fill": float("nan")}, ValueError, "holds NaN"),
        ({"seed": 1.5}, ValueError, "A seed is a non-negative integer"),
        ({"masks": 3}, TypeError, "masks"),
    ],
)
def test_refused(model, options, error, text):
    with pytest.raises(error, match=text):
        RISE(model, **options)
