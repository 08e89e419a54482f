"""Affine layers hand multipliers on by their gradient, the quick way too."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain import DeepLIFT
from keras_explain.engine import execution
from keras_explain.engine.recording import record
from keras_explain.rules.deeplift import difference_composite
from tests.zoo import Standardized

BACK = "Conv2DBackpropInput"
SHAPE = (16, 16, 3)


def affine_model(dtype="float32", kind=layers.Conv2D):
    keras.utils.set_random_seed(0)
    options = {"bias_initializer": "normal", "dtype": dtype}
    inputs = keras.Input(SHAPE, dtype="float32")
    signal = kind(4, 7, 2, **options)(inputs)
    signal = kind(6, 1, 2, **options)(signal)
    signal = layers.Conv2D(3, 2, groups=1, **options)(signal)
    signal = layers.Flatten(dtype=dtype)(signal)
    return keras.Model(inputs, layers.Dense(2, **options)(signal))


def pictures(rows=3):
    noise = np.random.default_rng(1).normal(size=(rows, *SHAPE))
    return noise.astype("float32")


def expected(model, x, baseline):
    at = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(at)
        score = tf.reduce_sum(model(at)[:, 1])
    return tape.gradient(score, at) * (x - baseline)


@pytest.mark.parametrize("kind", [layers.Conv2D, Standardized])
@pytest.mark.parametrize("shared", [False, True])
def test_of_an_affine_model_it_is_gradient_times_difference(kind, shared):
    model, x = affine_model(kind=kind), pictures()
    baseline = 0.3 if shared else np.roll(pictures(), 1, 0)
    found = DeepLIFT(model, baseline=baseline).explain(x, 1).attributions
    wanted = expected(model, x, baseline)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, atol=1e-6 * scale)


def test_in_half_precision_the_layer_does_it_itself():
    model, x = affine_model("mixed_float16"), pictures()
    found = DeepLIFT(model, baseline=0.0).explain(x, 1).attributions
    wanted = expected(model, x, 0.0)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, atol=1e-2 * scale)


@pytest.mark.parametrize(
    ("kind", "channels"),
    # The first one is taken apart by its strides, the second is a product.
    [(layers.Conv2D, [6, 12]), (Standardized, [3, 4, 6])],
)
def test_the_way_back_is_the_quick_one(kind, channels):
    model = affine_model(kind=kind)
    graph = record(model, tf.TensorSpec((None, *SHAPE)))
    assigned = difference_composite().assign(graph)

    @tf.function(autograph=False)
    def back(x):
        return tf.gradients(execution.run(model, x, rules=assigned), x)[0]

    made = back.get_concrete_function(tf.TensorSpec((None, *SHAPE))).graph
    kernels = [
        op.inputs[1].shape[-2]
        for op in made.get_operations()
        if op.type == BACK
    ]
    assert sorted(kernels) == channels
