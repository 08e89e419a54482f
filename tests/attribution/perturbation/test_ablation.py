"""Feature ablation against its formula, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.perturbation import FeatureAblation
from tests import zoo
from tests.attribution.perturbation.nets import bilinear, multi_layer


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def slow_ablation(score, x, segments, fill=0.0):
    """Segment by segment in float64; segments of the shape of `x`."""
    x = np.asarray(x, "float64")
    segments = np.broadcast_to(segments, x.shape)
    found = np.zeros_like(x)
    for number in np.unique(segments):
        hidden = np.where(segments == number, fill, x)
        drop = (score(x) - score(hidden)).reshape(-1, *[1] * (x.ndim - 1))
        found = np.where(segments == number, drop, found)
    return found


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((6,), (6,)),
        ((7, 2), (7, 2)),
        ((7, 2), (7,)),
        ((4, 5, 2), (4, 5, 2)),
        ((4, 5, 2), (4, 5)),
        ((4, 5, 2), (4, 5, 1)),
        ((4, 5, 2), (1, 1, 2)),
        ((3, 4, 2, 2), (3, 4, 2)),
    ],
)
def test_formula(shape, sizes):
    model, score = bilinear(shape)
    x = noise(2, *shape)
    # Numbers with gaps, and negative ones.
    segments = np.random.default_rng(0).integers(-1, 4, sizes) * 7
    whole = segments
    if len(sizes) < len(shape):
        whole = segments[..., None]
    expected = slow_ablation(score, x, whole, 0.3)
    found = FeatureAblation(model, segments=segments, fill=0.3, batch_size=3)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sizes", [(3, 4, 5, 2), (3, 4, 5)])
def test_segments_of_each_sample(sizes):
    """Rows follow the batches of `explain`."""
    model, score = bilinear((4, 5, 2))
    x = noise(3, 4, 5, 2)
    segments = np.random.default_rng(1).integers(0, 3, sizes)
    segments[2] += 3
    explainer = FeatureAblation(model, segments=segments)
    found = explainer.explain(x, batch_size=2, verbose=False).attributions
    whole = segments if len(sizes) == 4 else segments[..., None]
    for k in range(3):
        expected = slow_ablation(score, x[k : k + 1], whole[k])
        np.testing.assert_allclose(found[k : k + 1], expected,
                                   rtol=1e-3, atol=1e-4)  # fmt: skip
    np.testing.assert_allclose(explainer(x), found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("segments", "fill", "expected"),
    [
        (None, 0, [80, 200, 120]),
        ([0, 0, 1], 0, [280, 280, 120]),
        ([0, 0, 1], 4, [248, 248, 104]),
    ],
)
def test_numbers_of_captum(segments, fill, expected):
    explainer = FeatureAblation(multi_layer(), segments=segments, fill=fill)
    found = explainer(np.array([[20.0, 50.0, 30.0]]), 0)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_default_is_each_value_of_a_table():
    model, score = bilinear((70,))
    x = noise(2, 70)
    expected = slow_ablation(score, x, np.arange(70))
    np.testing.assert_allclose(
        FeatureAblation(model)(x), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("shape", "cells"),
    [((5, 2), (5,)), ((70, 1), (64,)), ((9, 20, 2), (8, 8)),
     ((3, 4, 9, 1), (3, 4, 4))],
)  # fmt: skip
def test_default_is_a_grid_of_at_most_64(shape, cells):
    model, score = bilinear(shape)
    x = noise(1, *shape)
    lines = [
        np.arange(size) * number // size
        for size, number in zip(shape, cells, strict=False)
    ]
    boxes = np.meshgrid(*lines, indexing="ij")
    segments = np.ravel_multi_index(boxes, cells)[..., None]
    expected = slow_ablation(score, x, segments)
    found = FeatureAblation(model)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert len(np.unique(segments)) <= 64


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
def test_equal_numbers_in_several_inputs_are_one(name):
    specimen = zoo.build(name)
    image, vector = tf.nest.flatten(specimen.inputs)
    top = np.zeros((8, 8), int)
    top[:4] = 5
    values = np.array([5, 5, 9, 9])
    segments = [top, values]
    if name == "inputs_dict":
        segments = {"image": top, "vector": values}
    explainer = FeatureAblation(specimen.model, segments=segments)
    found = tf.nest.flatten(explainer(specimen.inputs, 1))

    def scores(a, b):
        given = tf.nest.pack_sequence_as(specimen.inputs, [a, b])
        return explainer.explain(given, 1, verbose=False).scores

    clean = scores(image, vector)
    both = clean - scores(image * (top != 5)[..., None], vector * (values != 5))
    np.testing.assert_allclose(found[0][:, 0, 0, 0], both, rtol=1e-3)
    np.testing.assert_allclose(found[1][:, 0], both, rtol=1e-3)
    alone = clean - scores(image, vector * (values != 9))
    np.testing.assert_allclose(found[1][:, 3], alone, rtol=1e-3)
    assert np.ptp(np.asarray(found[0])[0, :4]) == 0

    config = json.loads(json.dumps(explainer.get_config()))
    again = FeatureAblation.from_config(specimen.model, config)
    for one, other in zip(
        found, tf.nest.flatten(again(specimen.inputs, 1)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_config_of_two_maps_of_one_shape():
    """A list of lists may be one array, or one for each input."""
    import keras
    from keras import layers

    one, other = keras.Input((3,)), keras.Input((3,))
    joined = layers.Concatenate()([one, other])
    model = keras.Model([one, other], layers.Dense(1)(joined))
    maps = [np.array([0, 0, 1]), np.array([1, 2, 2])]
    explainer = FeatureAblation(model, segments=maps)
    config = json.loads(json.dumps(explainer.get_config()))
    again = FeatureAblation.from_config(model, config)
    inputs = [noise(2, 3), noise(2, 3) + 1]
    for a, b in zip(explainer(inputs), again(inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_of_a_layer():
    specimen = zoo.build("functional")
    segments = np.arange(8)[:, None] // 4 + np.zeros((8, 8), int)
    explainer = FeatureAblation(
        specimen.model, segments=segments, layer="conv2"
    )
    found = np.asarray(explainer(specimen.inputs, 0))
    assert found.shape == (2, 8, 8, 6)
    a = explainer.model.get_layer("conv2").output
    maps = np.asarray(type(specimen.model)(specimen.model.input, a)(
        specimen.inputs))  # fmt: skip
    kernel, _ = specimen.model.get_layer("logits").get_weights()
    drop = (maps[:, :4].sum((1, 2)) / 64) @ kernel[:, 0]
    np.testing.assert_allclose(found[:, 0, 0, 0], drop, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("segments", "error", "text"),
    [
        (np.zeros((8, 8)), TypeError, "numbered with integers.*\n.*float64"),
        (np.zeros((0,), int), TypeError, "numbered with integers"),
        ([[True, False]], TypeError, "numbered with integers.*\n.*bool"),
        (np.zeros((9, 8), int), ValueError,
         r"does not fit \(8, 8, 3\).*\n.*\(9, 8\)"),
        (np.zeros((8, 8, 2), int), ValueError, "does not fit"),
        (np.zeros((3, 8, 8, 3), int), ValueError, "does not fit"),
        ({"image": np.zeros((8, 8), int)}, ValueError, "one map of segments"),
    ],
)  # fmt: skip
def test_refused(model, images, segments, error, text):
    with pytest.raises(error, match=text):
        FeatureAblation(model, segments=segments)(images)


def test_one_map_for_each_input():
    specimen = zoo.build("inputs_dict")
    explainer = FeatureAblation(specimen.model, segments=np.zeros((8, 8), int))
    with pytest.raises(ValueError, match="one map .*\n.*'image', 'vector'"):
        explainer(specimen.inputs)
