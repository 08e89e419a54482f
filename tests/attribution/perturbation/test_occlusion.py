"""Occlusion against its formula, and what it refuses."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.attribution.perturbation import Occlusion
from tests import zoo
from tests.attribution.perturbation.nets import (
    bilinear,
    multi_layer,
    slow_occlusion,
)


def noise(*shape):
    return np.random.default_rng(3).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("shape", "window", "stride", "full", "steps"),
    [
        ((6,), 1, None, (1,), (1,)),
        ((7,), 3, 2, (3,), (2,)),
        ((9, 2), 4, 3, (4, 2), (3, 2)),
        ((5, 7, 2), 2, None, (2, 2, 2), (2, 2, 2)),
        ((5, 7, 2), (3, 2), (1, 2), (3, 2, 2), (1, 2, 2)),
        ((4, 5, 3), (2, 2, 1), 2, (2, 2, 1), (2, 2, 1)),
        ((4, 5, 3), (2, 2, 2), (2, 1, 1), (2, 2, 2), (2, 1, 1)),
        ((3, 4, 5, 1), (2, 3, 2), None, (2, 3, 2, 1), (2, 3, 2, 1)),
    ],
)
def test_formula(shape, window, stride, full, steps):
    model, score = bilinear(shape)
    x = noise(2, *shape)
    axes = tuple(range(1, len(shape))) or (1,)
    fill = np.broadcast_to(x.mean(axes, keepdims=True), x.shape)
    expected = slow_occlusion(score, x, full, steps, fill)
    found = Occlusion(model, window=window, stride=stride, batch_size=5)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_no_window_hides_gets_zero():
    model, score = bilinear((8,))
    x = noise(2, 8)
    found = np.asarray(Occlusion(model, window=2, stride=3, fill=1.5)(x))
    expected = slow_occlusion(score, x, (2,), (3,), 0 * x + 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found[:, [2, 5]], 0)
    assert np.all(found[:, 0] != 0)


@pytest.mark.parametrize(
    ("window", "stride", "fill", "expected"),
    [
        (1, None, 0, [80, 200, 120]),
        (2, 1, 10, [200, 220, 240]),
        (2, 2, 0, [280, 280, 120]),
    ],
)
def test_numbers_of_captum(window, stride, fill, expected):
    explainer = Occlusion(
        multi_layer(), window=window, stride=stride, fill=fill
    )
    found = explainer(np.array([[20.0, 50.0, 30.0]]), 0)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_numbers_of_captum_for_two_samples():
    found = Occlusion(multi_layer(), fill=0)(
        np.array([[2.0, 10.0, 3.0], [20.0, 50.0, 30.0]]), 0
    )
    np.testing.assert_allclose(found, [[8, 35, 12], [80, 200, 120]], rtol=1e-5)


def test_default_window_is_an_eighth():
    model, _ = bilinear((16, 20, 1))
    x = noise(1, 16, 20, 1)
    explicit = Occlusion(model, window=(2, 3), stride=(2, 3))
    np.testing.assert_array_equal(Occlusion(model)(x), explicit(x))


@pytest.mark.parametrize("fill", ["mean", "zero", "blur", 0.5, "array"])
def test_fills(fill):
    from keras_explain.engine.fills import filled

    model, score = bilinear((6, 5, 2))
    x = noise(2, 6, 5, 2)
    if fill == "array":
        fill = noise(2, 6, 5, 2)[1] + 0.5
        values = np.broadcast_to(fill, x.shape)
    else:
        values = np.asarray(filled(fill, tf.constant(x)))
    expected = slow_occlusion(score, x, (2, 2, 2), (1, 1, 2), values)
    found = Occlusion(model, window=2, stride=1, fill=fill)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
def test_a_window_for_each_input(name):
    """Each input in turn, the other as it is."""
    specimen = zoo.build(name)
    image, vector = tf.nest.flatten(specimen.inputs)
    window, stride = [(4, 3), 2], [2, 1]
    if name == "inputs_dict":
        window = dict(zip(("image", "vector"), window, strict=True))
        stride = dict(zip(("image", "vector"), stride, strict=True))
    found = Occlusion(specimen.model, window=window, stride=stride, fill=0.0)(
        specimen.inputs, 3
    )
    tf.nest.assert_same_structure(found, specimen.inputs)

    logits = keras.Model(
        specimen.model.inputs, specimen.model.get_layer("logits").input
    )
    kernel, bias = specimen.model.get_layer("logits").get_weights()

    def score(a, b):
        a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
        return (np.asarray(logits([a, b])) @ kernel + bias)[:, 3]

    on_image = slow_occlusion(
        lambda x: score(x, vector), image, (4, 3, 3), (2, 2, 3), 0 * image
    )
    on_vector = slow_occlusion(
        lambda x: score(image, x), vector, (2,), (1,), 0 * vector
    )
    for one, expected in zip(
        tf.nest.flatten(found), (on_image, on_vector), strict=True
    ):
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-5)


def test_of_a_layer():
    """Windows over the output of a layer, with all of its channels."""
    specimen = zoo.build("functional")
    model = specimen.model
    a = np.asarray(keras.Model(model.input, model.get_layer("conv2").output)(
        specimen.inputs))  # fmt: skip
    kernel, bias = model.get_layer("logits").get_weights()

    def score(maps):
        return (maps.mean((1, 2)) @ kernel + bias)[:, 2]

    expected = slow_occlusion(score, a, (3, 3, 6), (2, 2, 6), 0 * a)
    explainer = Occlusion(model, window=3, stride=2, fill="zero", layer="conv2")
    np.testing.assert_allclose(
        explainer(specimen.inputs, 2), expected, rtol=1e-3, atol=1e-6
    )


def test_tokens_are_hidden_by_another():
    x = inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 1, name="table")(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    table = np.arange(9.0)[:, None] ** 2
    model.get_layer("table").set_weights([table])
    weights = np.arange(1.0, 6.0)
    model.layers[-1].set_weights([weights[:, None], np.zeros(1)])
    tokens = np.array([[1, 2, 3, 4, 5], [8, 0, 0, 2, 1]])
    found = Occlusion(model, fill=2)(tokens)
    expected = (tokens**2 - 4) * weights
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="no mean and no blur"):
        Occlusion(model)(tokens)


def test_pictures_of_another_size():
    """The compiled function is opened for any size, with the same result."""
    specimen = zoo.build("open_size")
    explainer = Occlusion(specimen.model)
    explainer(specimen.inputs)
    other = zoo.images(2, size=12)[:, :, :9]
    fresh = Occlusion(specimen.model, window=(2, 2), stride=(2, 2))
    np.testing.assert_allclose(
        explainer(other, 1), fresh(other, 1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_chunks_do_not_matter(batch_size):
    specimen = zoo.build("functional")
    whole = Occlusion(specimen.model, window=3, batch_size=1000)
    parts = Occlusion(specimen.model, window=3, batch_size=batch_size)
    np.testing.assert_allclose(
        parts(specimen.inputs), whole(specimen.inputs), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("window", [3, (2, 3), [2, 3, 1], np.int64(2)])
def test_config(window):
    specimen = zoo.build("functional")
    explainer = Occlusion(specimen.model, window=window, stride=2, fill="zero")
    config = json.loads(json.dumps(explainer.get_config()))
    again = Occlusion.from_config(specimen.model, config)
    np.testing.assert_array_equal(
        again(specimen.inputs), explainer(specimen.inputs)
    )


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"window": 2.5}, TypeError, "A window is a whole number.*\n.*2.5"),
        ({"window": True}, TypeError, "A window is a whole number"),
        ({"window": "8"}, TypeError, "A window is a whole number"),
        ({"window": ()}, TypeError, "A window is a whole number"),
        ({"window": 0}, ValueError, "hides at least one cell.*\n.*window=0"),
        ({"window": (2, -1)}, ValueError, "hides at least one cell"),
        ({"stride": 0}, ValueError, "moves the window by at least.*\n.*=0"),
        ({"stride": 1.5}, TypeError, "A stride is a whole number"),
        ({"fill": float("nan")}, ValueError, "holds NaN"),
        ({"fill": np.full((8, 8, 3), np.inf)}, ValueError, "holds NaN"),
        ({"fill": "men"}, ValueError, "no such fill"),
        ({"fill": ["mean", 0.0]}, TypeError, "One name stands for"),
        (
            {"batch_size": 0},
            ValueError,
            "`batch_size` is an integer of at",
        ),
        ({"batch_size": 2.0}, TypeError, "`batch_size` is an integer"),
        ({"incremental": "yes"}, ValueError, "no such way to run"),
    ],
)
def test_refused_options(model, options, error, text):
    with pytest.raises(error, match=text):
        Occlusion(model, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": 9}, r"larger than what.*\n.*window=9 .*\(8, 8, 3\)"),
        ({"window": (2, 9)}, "larger than what"),
        ({"window": (2, 2, 4)}, "larger than what"),
        ({"window": (2,)}, r"one size for each axis.*\n.*window=\(2,\)"),
        ({"stride": (2, 2, 2, 2)}, "A stride has one size for each axis"),
        ({"window": {"image": 2}}, "one window for each input"),
        ({"window": 9, "layer": "conv1"}, "larger than .*\n.*layer's output"),
    ],
)
def test_windows_that_do_not_fit(model, images, options, text):
    with pytest.raises(ValueError, match=text):
        Occlusion(model, **options)(images)


@pytest.mark.parametrize(
    ("name", "window", "text"),
    [
        ("inputs_list", [2, 2, 2], "one window for each input, or a number"),
        ("inputs_dict", {"image": 2}, "one window for each input.*\n.*vector"),
        ("inputs_list", 5, "larger than what .*\n.*input 1 of shape"),
    ],
)
def test_windows_for_several_inputs_that_do_not_fit(name, window, text):
    specimen = zoo.build(name)
    with pytest.raises(ValueError, match=text):
        Occlusion(specimen.model, window=window)(specimen.inputs)
