"""Where the range of values is read, and where it is asked for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.engine.recording import record
from keras_explain.synthesis import value_range as ranges


def model_of(*first, shape=(8, 8, 3), name="own"):
    inputs = keras.Input(shape)
    x = inputs
    for layer in first:
        x = layer(x)
    x = layers.Conv2D(2, 3)(x) if len(shape) == 3 else layers.Dense(2)(x)
    return keras.Model(inputs, x, name=name)


def found(model, **options):
    shape = (1, *model.input_shape[1:])
    graph = record(model, tf.TensorSpec(shape, tf.float32))
    return ranges.find(model, graph, **options)


IMAGENET = {"mean": [123.7, 116.3, 103.5], "variance": [3409.0, 3262.0, 3290.0]}


@pytest.mark.parametrize(
    ("layer", "high"),
    [
        (lambda: layers.Rescaling(1 / 255), 255),
        (lambda: layers.Rescaling(1 / 127.5, -1), 255),
        (lambda: layers.Rescaling(2.0, -1), 1),
        (lambda: layers.Normalization(**IMAGENET), 255),
        (
            lambda: layers.Normalization(
                mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506]
            ),
            1,
        ),
    ],
)
def test_it_is_read_from_the_first_layer(layer, high):
    value_range = found(model_of(layer()))
    assert (value_range.low, value_range.high) == (0, high)
    assert "read from the layer" in value_range.source


@pytest.mark.parametrize(
    "first",
    [
        [],
        [layers.Rescaling(3.7)],  # made for nothing that is known
        [layers.Rescaling(1.0)],  # says nothing
        [layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3)],
        [layers.Conv2D(3, 1), layers.Rescaling(1 / 255)],  # not the first
    ],
)
def test_it_is_never_guessed(first):
    with pytest.raises(ValueError, match="does not say which values"):
        found(model_of(*first))


@pytest.mark.parametrize("function", ["VGG16", "MobileNet", "MobileNetV2"])
def test_applications_are_known_by_their_preprocessing(function):
    build = getattr(keras.applications, function)
    model = build(weights=None, input_shape=(32, 32, 3), include_top=False)
    value_range = found(model)
    assert (value_range.low, value_range.high) == (0, 255)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    pixels = pixels.astype("float32")
    module = {"VGG16": "vgg16", "MobileNet": "mobilenet",
              "MobileNetV2": "mobilenet_v2"}[function]  # fmt: skip
    prepare = getattr(keras.applications, module).preprocess_input
    np.testing.assert_allclose(
        np.asarray(value_range.inputs(tf.constant(pixels))),
        prepare(pixels.copy()),
        atol=1e-4,
    )


def test_what_is_given_goes_first():
    model = model_of(layers.Rescaling(1 / 255))
    value_range = found(model, value_range=(-1, 1))
    assert (value_range.low, value_range.high) == (-1, 1)
    halved = found(model, preprocess=lambda x: x / 2)
    assert (halved.low, halved.high) == (0, 255)
    np.testing.assert_array_equal(halved.inputs(np.array([4.0])), [2.0])


def test_pictures_and_values_are_each_others_inverse():
    value_range = ranges.ValueRange(-2.0, 6.0)
    values = np.array([-2.0, 0.0, 6.0])
    np.testing.assert_allclose(value_range.pictures(values), [0, 0.25, 1])
    np.testing.assert_allclose(
        value_range.values(value_range.pictures(values)), values
    )
    unbounded = ranges.ValueRange(-np.inf, np.inf)
    assert unbounded.values(values) is values


def test_mistakes_are_told():
    model = model_of()
    for wrong in ((1, 0), (0, 0), (np.nan, 1), 3, (1, 2, 3)):
        with pytest.raises(ValueError, match="smaller one first"):
            found(model, value_range=wrong)
    value_range = ranges.ValueRange(0.0, 255.0, source="as given")
    with pytest.raises(ValueError, match=r"from 0 to 255 \(as given\)"):
        value_range.check(np.array([300.0]), "The picture")
    with pytest.raises(ValueError, match="1 values that are"):
        value_range.check(np.array([np.nan]), "The picture")
