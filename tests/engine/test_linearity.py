"""What raw ops do to a signal, and the part that each call plays."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_explain.engine.linearity import AFFINE, MOVING, NONLINEAR, Signal
from keras_explain.engine.missing_rules import describe
from keras_explain.engine.recording import record
from keras_explain.engine.roles import (
    feeds_non_negative,
    non_negative,
    role_of,
)

W = tf.constant(np.arange(1.0, 10).reshape(3, 3), tf.float32)


class Raw(layers.Layer):
    """Raw TensorFlow."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def recorded(model, dtype="float32"):
    shape = [None, *model.input_shape[1:]]
    return record(model, tf.TensorSpec(shape, dtype))


def call_of(function, shape=(2, 3)):
    model = keras.Sequential([keras.Input(shape), Raw(function, name="raw")])
    return recorded(model).find("raw")


RAW = {
    "identity": (tf.identity, MOVING),
    "reshape": (lambda x: tf.reshape(x, [-1, 6]), MOVING),
    "transpose": (lambda x: tf.transpose(x, [0, 2, 1]), MOVING),
    "slice": (lambda x: x[:, ::-1, 1:], MOVING),
    "concatenated": (lambda x: tf.concat([x, x], 1), MOVING),
    "stacked": (lambda x: tf.stack([x, x], 1), MOVING),
    "padded": (lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0]]), MOVING),
    "gathered": (lambda x: tf.gather(x, [2, 0], axis=2), MOVING),
    "tiled": (lambda x: tf.tile(x, [1, 2, 1]), MOVING),
    "chosen": (lambda x: tf.where([[True, False, True]], x, 0.0), MOVING),
    "cast": (lambda x: tf.cast(x, "float16"), MOVING),
    "of its shape": (lambda x: tf.reshape(x, [tf.shape(x)[0], -1]), MOVING),
    "added": (lambda x: x + 1.0, AFFINE),
    "to itself": (lambda x: x + x[:, ::-1], AFFINE),
    "sum": (lambda x: tf.reduce_sum(x, 1), AFFINE),
    "mean": (lambda x: tf.reduce_mean(x, 1), AFFINE),
    "scaled": (lambda x: 3.0 * x, AFFINE),
    "divided": (lambda x: x / 3.0, AFFINE),
    "minus": (lambda x: -x - 1.0, AFFINE),
    "matmul": (lambda x: tf.matmul(x, W), AFFINE),
    "einsum": (lambda x: tf.einsum("bij,jk->bik", x, W), AFFINE),
    "resized": (lambda x: tf.image.resize(x[..., None], (4, 4)), AFFINE),
    "squared": (tf.square, NONLINEAR),
    "product": (lambda x: x * x, NONLINEAR),
    "bilinear": (lambda x: tf.matmul(x, x, transpose_b=True), NONLINEAR),
    "divides": (lambda x: 1.0 / x, NONLINEAR),
    "exp": (tf.exp, NONLINEAR),
    "relu": (tf.nn.relu, NONLINEAR),
    "maximum": (lambda x: tf.reduce_max(x, 1), NONLINEAR),
    "abs": (tf.abs, NONLINEAR),
    "sorted": (lambda x: tf.sort(x, 1), NONLINEAR),
    "at places of its own": (
        lambda x: tf.gather(x, tf.argmax(x[0], 0) % 2, axis=1), NONLINEAR),
    "where it is positive": (lambda x: tf.where(x > 0, x, 0.0), NONLINEAR),
    "gated by itself": (lambda x: x * tf.cast(x > 0, "float32"), NONLINEAR),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_raw_ops(name):
    """Moved as it is, mixed with constant weights, or bent."""
    function, expected = RAW[name]
    call = call_of(function)
    assert call.linearity == expected
    roles = {MOVING: "moving", AFFINE: "affine", NONLINEAR: "unknown"}
    assert role_of(call) == roles[expected]
    assert bool(call.nonlinear_ops) == (expected == NONLINEAR)


@pytest.mark.parametrize("name", RAW)
def test_raw_ops_are_what_they_are_said_to_be(name):
    """f(ax + by) = a f(x) + b f(y) where a + b = 1, of all but bent ones."""
    function, expected = RAW[name]
    rng = np.random.default_rng(0)
    x, y = (tf.constant(rng.normal(size=(2, 2, 3)), "float32") for _ in "xy")
    mixed = tf.cast(function(3 * x - 2 * y), "float32")
    apart = tf.cast(3.0, "float32") * tf.cast(function(x), "float32")
    apart -= 2 * tf.cast(function(y), "float32")
    same = np.allclose(mixed, apart, atol=2e-2)
    assert same == (expected != NONLINEAR)


def test_constants_do_not_count():
    """What does not depend on the inputs may be bent as it likes."""
    assert call_of(lambda x: x * tf.exp(W[0])).linearity == AFFINE
    assert call_of(lambda x: x + tf.square(W[0])).linearity == AFFINE
    assert call_of(lambda x: tf.matmul(x, tf.nn.relu(W))).linearity == AFFINE


def test_nonlinear_ops_are_named():
    call = call_of(lambda x: tf.exp(tf.square(x)) + 1)
    assert call.nonlinear_ops == ("Square", "Exp")
    assert call.affine_ops == ("AddV2",)
    assert describe(call) == "raw: Raw (Square, Exp)"


def test_signals_are_followed_by_hand():
    """Integers carry no relevance; a lookup begins it."""
    with tf.Graph().as_default() as graph:
        tokens = tf.compat.v1.placeholder(tf.int32, [None])
        signal = Signal([tokens])
        weights = tf.ones([3, 3])
        tf.nn.relu(weights) + tf.cast(tf.shape(tokens + 1)[0], "float32")
        signal.follow(graph.get_operations())
        assert signal.kind(graph.get_operations()) == (MOVING, ())
        known = len(graph.get_operations())
        tf.square(tf.gather(weights, tokens))
        more = graph.get_operations()[known:]
        signal.follow(more)
        assert signal.kind(more) == (NONLINEAR, ("Square",))


ROLES = [
    (lambda x: layers.Dense(2, name="it")(x), "linear"),
    (lambda x: layers.EinsumDense("ab,bc->ac", 2, name="it")(x), "linear"),
    (lambda x: layers.BatchNormalization(name="it")(x), "batch_normalization"),
    (lambda x: layers.LayerNormalization(name="it")(x), "normalization"),
    (lambda x: layers.RMSNormalization(name="it")(x), "normalization"),
    (lambda x: layers.Rescaling(2.0, 1.0, name="it")(x), "rescaling"),
    (lambda x: layers.Dropout(0.5, name="it")(x), "moving"),
    (lambda x: layers.Reshape((2, 2), name="it")(x), "moving"),
    (lambda x: layers.Concatenate(name="it")([x, x]), "moving"),
    (lambda x: layers.Add(name="it")([x, x]), "affine"),
    (lambda x: layers.Average(name="it")([x, x]), "affine"),
    (lambda x: layers.Maximum(name="it")([x, 2 * x]), "winner"),
    (lambda x: layers.Multiply(name="it")([x, x]), "product"),
    (lambda x: layers.LeakyReLU(name="it")(x), "activation"),
    (lambda x: layers.PReLU(name="it")(x), "activation"),
    (lambda x: layers.ELU(name="it")(x), "activation"),
    (lambda x: layers.Activation("gelu", name="it")(x), "inside"),
    (lambda x: layers.Maximum(name="it")([x, x]), "winner"),
]


@pytest.mark.parametrize(("make", "role"), ROLES)
def test_roles_of_layers(make, role):
    inputs = keras.Input((4,))
    x = layers.Flatten()(make(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="end")(x))
    assert role_of(recorded(model).find("it")) == role


def test_roles_of_sequences():
    inputs = keras.Input((4, 3))
    x = layers.LSTM(3, return_sequences=True, unroll=True, name="lstm")(inputs)
    x = layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    x = layers.Softmax(name="inner")(x)
    x = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    model = keras.Model(inputs, layers.Softmax(name="end")(x))
    graph = recorded(model)
    assert role_of(graph.find("lstm")) == "recurrent"
    assert role_of(graph.find("attention/attention")) == "attention"
    assert role_of(graph.find("inner")) == "softmax"
    assert role_of(graph.find("end")) == "head"
    found = {role_of(c) for c in graph.calls if c.kind == "Matmul"}
    assert found == {"bilinear"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3, unroll=True),
        lambda: layers.LSTM(3),
        lambda: layers.GRU(3),
    ],
    ids=["unrolled", "lstm", "gru"],
)
def test_a_signal_is_followed_through_loops(make):
    """What bends the signal behind a recurrent layer is not overlooked."""
    inputs = keras.Input((4, 3))
    x = make()(inputs)
    y = layers.Multiply(name="product")([x, layers.Dense(3)(x)])
    y = layers.Maximum(name="winner")([x, y])
    y = Raw(tf.square, name="raw")(y)
    graph = recorded(keras.Model(inputs, layers.Dense(2)(y)))
    assert role_of(graph.find("product")) == "product"
    assert role_of(graph.find("winner")) == "winner"
    assert role_of(graph.find("raw")) == "unknown"


def last_reads_non_negative(*stack, shape=(6, 6, 2)):
    model = keras.Sequential(
        [keras.Input(shape), *stack, layers.Conv2D(2, 1, name="end")]
    )
    graph = recorded(model)
    return feeds_non_negative(graph.find("end"), graph)


def test_values_known_not_to_be_negative():
    """What a ReLU gives, pooled, padded or moved; never what is guessed."""
    relu = layers.ReLU()
    assert last_reads_non_negative(relu)
    assert last_reads_non_negative(layers.Conv2D(2, 1, activation="relu"))
    assert last_reads_non_negative(relu, layers.MaxPooling2D(2))
    assert last_reads_non_negative(
        relu, layers.ZeroPadding2D(1), layers.AveragePooling2D(2)
    )
    assert last_reads_non_negative(layers.Activation("sigmoid"))
    assert not last_reads_non_negative()
    assert not last_reads_non_negative(layers.Activation("tanh"))
    assert not last_reads_non_negative(layers.ReLU(negative_slope=0.1))
    assert not last_reads_non_negative(layers.LeakyReLU())
    assert not last_reads_non_negative(relu, layers.Rescaling(-1.0))
    assert not last_reads_non_negative(relu, layers.BatchNormalization())
    assert not last_reads_non_negative(relu, Raw(lambda x: x - 1.0))


def test_a_difference_may_be_negative():
    inputs = keras.Input((4,))
    a, b = layers.ReLU()(inputs), layers.Activation("relu")(2 * inputs)
    for merge, known in (
        (layers.Add(name="it"), True),
        (layers.Multiply(name="it"), True),
        (layers.Concatenate(name="it"), True),
        (layers.Subtract(name="it"), False),
    ):
        model = keras.Model(inputs, layers.Dense(2)(merge([a, b])))
        graph = recorded(model)
        assert non_negative(graph.find("it").index, graph) == known
