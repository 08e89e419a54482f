"""Sequence models: tokens, recurrence, attention."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from tests import zoo


def embedded_gradient(model, tokens, index):
    """The gradient at the embedding by hand: the rest of the model on it."""
    embedding = model.get_layer("embedding")
    values = tf.Variable(embedding(tokens))
    mask = embedding.compute_mask(tokens)
    with tf.GradientTape() as tape:
        x = model.get_layer("lstm")(values, mask=mask)
        dense = model.get_layer("logits")
        score = (x @ dense.kernel + dense.bias)[:, index]
    return tape.gradient(score, values)


def test_lstm_at_the_embedding():
    specimen = zoo.build("lstm")
    explainer = ke.Gradient(specimen.model, layer="embedding")
    found = explainer(specimen.inputs, 3).numpy()
    expected = embedded_gradient(specimen.model, specimen.inputs, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The mask is kept: padding has no influence.
    assert np.abs(found[0, 3:]).max() == 0 < np.abs(found[0, :3]).max()


def test_lstm_integrated_gradients_add_up():
    specimen = zoo.build("lstm")
    explainer = ke.IntegratedGradients(specimen.model, layer="embedding")
    # The baseline of tokens is a token: here the one of padding.
    found = explainer.explain(specimen.inputs[1:], 3)
    assert np.abs(found.delta).max() < 1e-3 * np.abs(found.scores).max()
    assert found.attributions.shape == (1, 6, 4)


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_bidirectional_and_time_distributed(cell):
    x = inputs = keras.Input((5, 3))
    x = layers.TimeDistributed(layers.Dense(4, activation="relu"))(x)
    x = layers.Bidirectional(cell(3, return_sequences=True), name="both")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    data = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    found = ke.GradCAM(model).explain(data, 1, verbose=False)
    assert found.layer == "both" and found.attributions.shape == (2, 5)
    pair = ke.Gradient(model)(data, ke.Class(1) - ke.Class(2))
    with tf.GradientTape() as tape:
        tape.watch(values := tf.constant(data))
        p = model(values)
        score = tf.math.log(p[:, 1] / p[:, 2])
    np.testing.assert_allclose(pair, tape.gradient(score, values), atol=1e-5)


def test_vision_transformer_with_a_class_token():
    """The tokens are laid out as a grid, the class token set aside."""

    class ClassToken(layers.Layer):
        def build(self, shape):
            self.token = self.add_weight(shape=(1, 1, shape[-1]))

        def call(self, x):
            token = tf.repeat(self.token, tf.shape(x)[0], axis=0)
            return tf.concat([token, x], axis=1)

        def compute_output_shape(self, shape):
            return (shape[0], shape[1] + 1, shape[2])

    x = inputs = keras.Input((8, 16, 3))
    x = layers.Conv2D(6, 4, strides=4)(x)
    x = layers.Reshape((8, 6))(x)
    x = ClassToken(name="class_token")(x)
    y = layers.LayerNormalization(name="norm")(x)
    y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    x = layers.Add(name="sum")([x, y])
    outputs = layers.Dense(4, activation="softmax", name="head")(x[:, 0])
    model = keras.Model(inputs, outputs)
    data = np.random.default_rng(0).normal(size=(2, 8, 16, 3))
    found = ke.HiResCAM(model, layer="norm").explain(data, 1)
    assert found.attributions.shape == (2, 8, 16)
    assert np.abs(found.attributions).max() > 0
    # After the last block only the class token matters: say so.
    with pytest.warns(ke.ExplainWarning, match="zero everywhere.*layer"):
        ke.HiResCAM(model).explain(data, 1)
