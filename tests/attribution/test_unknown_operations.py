"""What no rule of relevance is known for, and how to state one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests.attribution.test_relevance import chain, vectors


class Square(layers.Layer):
    """Bends the signal by a raw op."""

    def call(self, x):
        return tf.square(x)


class Scale(layers.Layer):
    """Affine, of raw ops and a weight."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], name="gain")

    def call(self, x):
        return x * self.gain


class Affine(layers.Layer):
    """A dense layer of one's own, that Keras knows nothing of."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")
        self.bias = self.add_weight(shape=(4,), name="bias")

    def call(self, x):
        return tf.matmul(x, self.kernel) + self.bias


class Raw(keras.Model):
    """A subclassed model with something raw between its layers."""

    def __init__(self, between):
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu", name="hidden")
        self.out = layers.Dense(3, name="out")
        self.between = between

    def call(self, x):
        return self.out(self.between(x, self.hidden(x)))


@pytest.fixture
def registered():
    """Takes back what a test registers."""
    kinds = []

    def register(kind, rule):
        kinds.append(kind)
        rules.register(kind, rule)

    yield register
    for kind in kinds:
        rules.unregister(kind)


# What no rule is known for.


def test_a_raw_op_in_a_layer(registered):
    """Refused by name; a registered rule lets it pass, until taken back."""
    model = chain(layers.Dense(4), Square(name="bend"), layers.Dense(3))
    words = r"(?s)no rule.*'bend: Square \(Square\)'.*register\(Square, rule\)"
    with pytest.raises(ValueError, match=words):
        ke.LRP(model)(vectors(), 0)
    registered(Square, rules.Pass)
    found = ke.LRP(model, composite="epsilon").explain(vectors(), 0)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    rules.unregister(Square)
    with pytest.raises(ValueError, match=words):
        ke.LRP(model)(vectors(), 0)


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda x, y: x + y, "the model itself"),
        (lambda x, y: tf.square(y), r"the model itself.*\(Square\)"),
        (lambda x, y: tf.nn.relu(y), r"the model itself.*\(Relu\)"),
        (lambda x, y: ops.exp(y), r"the model itself.*\(Exp\)"),
    ],
    ids=["residual", "square", "relu", "exp"],
)
def test_a_raw_op_in_the_call_of_a_model(between, words):
    model = Raw(between)
    model(vectors())
    with pytest.raises(ValueError, match=f"(?s)no rule.*{words}"):
        ke.LRP(model)(vectors(), 0)


def test_a_subclassed_model_that_only_moves():
    """Raw reshapes and slices hand relevance on."""
    model = Raw(lambda x, y: tf.reshape(y[:, ::-1], [-1, 5]))
    model(vectors())
    found = ke.LRP(model, composite="epsilon").explain(vectors(), 0)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    assert np.abs(found.attributions).max() > 0


def test_an_op_without_a_rule():
    inputs = keras.Input((5,))
    x = ops.exp(layers.Dense(4)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match=r"(?s)'exp: Exp.*keras\.ops\.exp"):
        ke.LRP(model)(vectors(), 0)


def test_a_layer_that_is_affine_needs_no_rule():
    """Raw ops that scale are divided in proportion: it is the dense layer."""
    model = chain(layers.Dense(4, use_bias=False), Scale(), layers.Dense(3))
    merged = chain(layers.Dense(4, use_bias=False), layers.Dense(3))
    gain = np.array([0.5, -2, 3, 1])
    model.layers[1].set_weights([gain])
    kernel = model.layers[0].get_weights()[0]
    merged.set_weights([kernel * gain, *model.layers[2].get_weights()])
    a, b = (
        ke.LRP(m, composite="epsilon")(vectors(), 1) for m in (model, merged)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_unknown_recurrent_cells():
    class Cell(layers.Layer):
        state_size = 3

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))

        def call(self, x, states, training=False):
            h = tf.tanh(x @ self.kernel + states[0])
            return h, [h]

    x = np.ones((1, 4, 2), "float32")
    model = chain(layers.RNN(Cell(), name="own"), layers.Dense(2), shape=(4, 2))
    with pytest.raises(ValueError, match="(?s)recurrent cell.*Cell in 'own'"):
        ke.LRP(model)(x, 0)
    model = chain(layers.ConvLSTM2D(2, 2, name="film"), layers.Flatten(),
                  layers.Dense(2), shape=(3, 4, 4, 1))  # fmt: skip
    with pytest.raises(
        ValueError, match="(?s)ConvLSTMCell in 'film'.*register"
    ):
        ke.LRP(model)(np.ones((1, 3, 4, 4, 1), "float32"), 0)


def test_nothing_is_asked_of_what_lies_before_the_layer():
    """At `layer=` rules are needed behind it alone."""
    model = chain(
        Square(), layers.Dense(4, activation="relu", name="hidden"),
        layers.Dense(3),
    )  # fmt: skip
    with pytest.raises(ValueError, match="no rule"):
        ke.LRP(model)(vectors(), 0)
    found = ke.LRP(model, composite="epsilon", layer="hidden")(vectors(), 2)
    kernel, _ = model.layers[-1].get_weights()
    hidden = np.asarray(model.layers[1](model.layers[0](vectors())))
    np.testing.assert_allclose(found, hidden * kernel[:, 2], atol=1e-5)


def test_a_failed_call_leaves_no_trace():
    """Afterwards the user's own `fit` and tape work as before."""
    model = chain(layers.Dense(4), Square(), layers.Dense(3))
    x, y = vectors(), np.zeros((2, 3))
    before = {id(layer): dict(layer.__dict__) for layer in model.layers}
    with pytest.raises(ValueError, match="no rule"):
        ke.LRP(model)(x, 0)
    for layer in model.layers:
        assert set(layer.__dict__) == set(before[id(layer)])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.constant(x)))
    assert all(
        g is not None for g in tape.gradient(loss, model.trainable_weights)
    )
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)


# Registration.


def test_nonsense_is_not_registered():
    with pytest.raises(TypeError, match="class of layers.*\n.*layer_type=3"):
        rules.register(3, rules.Pass)
    for wrong in ("pass", None, rules.Epsilon):
        with pytest.raises(TypeError, match="(?s)no rule.*Received: rule="):
            rules.register(Square, wrong)
    rules.unregister(Square)  # of what has none nothing is said


@pytest.mark.parametrize("rule", [rules.Epsilon(), rules.AlphaBeta(),
                                  rules.Norm()],
                         ids=["epsilon", "alpha", "norm"])  # fmt: skip
def test_rules_of_kernels_for_layers_of_ones_own(registered, rule):
    """A registered dense layer is divided as one of Keras."""
    model = chain(Affine(), layers.ReLU(), layers.Dense(3))
    twin = chain(layers.Dense(4), layers.ReLU(), layers.Dense(3))
    twin.set_weights(model.get_weights())
    registered(Affine, rule)
    linear = rules.Epsilon() if isinstance(rule, rules.Norm) else rule
    composite = rules.relevance_composite(
        (rules.first(rules.linear), linear), (rules.linear, rules.Epsilon())
    )
    found = ke.LRP(model, composite="epsilon")(vectors(), 1)
    expected = ke.LRP(twin, composite=composite)(vectors(), 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
