"""FGSM and PGD on every kind of classifier."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain
from keras_explain.synthesis import fgsm, pgd
from tests import zoo

CLASSIFIERS = sorted(
    set(zoo.names())
    - {"inputs_list", "inputs_dict", "lstm", "multi_label"}
)  # fmt: skip


def loss(model, found):
    """Cross entropy of the labels before and after, by Keras itself."""
    values = [
        np.asarray(model(x, training=False), "float64")
        for x in (found.originals, found.images)
    ]
    out = []
    for p in values:
        if p.shape[-1] == 1:
            p = np.concatenate([1 - p, p], -1)
        elif not np.allclose(p.sum(-1), 1, atol=1e-3):
            p = np.exp(p) / np.exp(p).sum(-1, keepdims=True)
        out.append(-np.log(p[np.arange(len(p)), found.labels]))
    return out


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_kind_of_classifier(name):
    built = zoo.build(name)
    found = fgsm(built.model, built.inputs, epsilon=0.05, bounds=(-9, 9))
    assert found.images.shape == built.inputs.shape
    before, after = loss(built.model, found)
    assert (after > before).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    built = zoo.build("functional")
    found = pgd(built.model, built.inputs, epsilon=0.3, bounds=(-9, 9))
    assert found.images.dtype == np.float32
    before, after = loss(built.model, found)
    assert (after > before).all()


def test_small_gradients_do_not_underflow_in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    x = inputs = keras.Input((6,))
    for _ in range(3):
        x = layers.Dense(6, use_bias=False)(x)
    outputs = layers.Dense(2, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    small = [0.002 * w for w in model.get_weights()[:3]]
    model.set_weights([*small, *model.get_weights()[3:]])
    images = np.random.default_rng(0).normal(size=(4, 6))
    found = fgsm(model, images, epsilon=0.1, bounds=(-9, 9))
    assert (found.steps == 1).all()


def test_a_recurrent_network():
    x = inputs = keras.Input((5, 3))
    x = layers.Dense(4, activation="softmax")(layers.LSTM(6)(x))
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).normal(size=(3, 5, 3))
    found = pgd(model, images, epsilon=0.3, steps=4, bounds=(-9, 9))
    before, after = loss(model, found)
    assert (after > before).all()


def test_an_average_of_networks_is_attacked_through_its_probabilities():
    inputs = keras.Input((8, 8, 3))
    members = [zoo.build("functional").model, zoo.build("nested").model]
    mean = layers.Average()([member(inputs) for member in members])
    model = keras.Model(inputs, mean)
    found = pgd(model, zoo.images(2), epsilon=0.2, bounds=(-9, 9))
    before, after = loss(model, found)
    assert (after > before).all()
    np.testing.assert_allclose(
        found.confidence, np.asarray(model(found.images)).max(-1), atol=1e-5
    )


def test_a_softmax_that_cannot_be_seen_is_told_about():
    class ByHand(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            z = tf.exp(self.dense(x))
            return z / tf.reduce_sum(z, -1, keepdims=True)

    model = ByHand()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    model(x)
    with pytest.warns(keras_explain.ExplainWarning, match="cannot be seen"):
        found = fgsm(model, x, epsilon=0.1, bounds=(-9, 9))
    before, after = loss(model, found)
    assert (after > before).all()
    fgsm(model, x, epsilon=0.1, bounds=(-9, 9))  # says so once


def test_one_of_several_sigmoids():
    """What the error for independent labels advises."""
    model = zoo.build("multi_label").model
    one = keras.Model(model.inputs, model.outputs[0][:, 3:4])
    found = fgsm(one, zoo.images(2), epsilon=0.05, bounds=(-9, 9))
    before, after = loss(lambda x, training: one([x]), found)
    assert (after > before).all()


@pytest.mark.parametrize("wrap", [lambda x: {"image": x}, lambda x: [x]])
def test_a_model_that_takes_its_one_input_in_a_structure(wrap):
    model = zoo.build("functional").model
    image = keras.Input((8, 8, 3), name="image")
    wrapped = keras.Model(wrap(image), model(image))
    plain = fgsm(model, zoo.images(2), epsilon=0.1, bounds=(-9, 9))
    found = fgsm(wrapped, zoo.images(2), epsilon=0.1, bounds=(-9, 9))
    np.testing.assert_array_equal(found.images, plain.images)
