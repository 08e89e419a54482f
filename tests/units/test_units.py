"""Activations and kernels are those of the layer, at any depth."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from keras_explain.engine.unit_targets import LayerActivation
from keras_explain.units import Activations, kernel_layer, kernels


def nested():
    inner_in = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="first")(inner_in)
    x = layers.DepthwiseConv2D(3, name="depth")(x)
    inner = keras.Model(inner_in, x, name="backbone")
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 1, name="top")(inner(inputs))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(3)(x)), inner


def test_activations_of_a_nested_layer(images):
    model, inner = nested()
    first = inner.get_layer("first")
    found = Activations(model, layer="backbone/first")
    np.testing.assert_allclose(found(images), first(images), atol=1e-6)
    before = np.asarray(found(images))
    first.set_weights([2 * w for w in first.get_weights()])
    np.testing.assert_allclose(found(images), 2 * before, atol=1e-5)
    target = LayerActivation("backbone/first")
    kept = found.explain(images, target).attributions
    np.testing.assert_allclose(kept, found(images))


def test_activations_need_a_layer():
    with pytest.raises(ValueError, match="keras-explain layers"):
        Activations(nested()[0])
    with pytest.raises(ValueError, match="Near names"):
        Activations(nested()[0], layer="frist")(np.zeros((1, 8, 8, 3)))


def test_kernels():
    model, inner = nested()
    for name, layer in (
        (None, inner.get_layer("first")),
        ("backbone/depth", inner.get_layer("depth")),
        ("top", model.get_layer("top")),
        (model.get_layer("top"), model.get_layer("top")),
    ):
        found = kernel_layer(model, name)
        assert found is layer
        np.testing.assert_array_equal(kernels(found), layer.kernel.numpy())


@pytest.mark.parametrize("wrong", ["mean", "first", layers.Conv2D(2, 1)])
def test_what_is_no_convolution_of_the_model(wrong):
    with pytest.raises(ValueError, match="backbone/first"):
        kernel_layer(nested()[0], wrong)


def test_a_model_without_convolutions():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="none"):
        kernel_layer(model)
