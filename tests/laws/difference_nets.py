"""Networks on which differences from a reference are divided."""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from tests import zoo

# Of random networks some are dead, or sure of themselves.
RANDOM = [
    pytest.mark.filterwarnings("ignore:The map of"),
    pytest.mark.filterwarnings("ignore:The softmax is saturated"),
]


def randomized(model, scale=0.5):
    """Weights, biases and statistics of every kind; zeros hide errors."""
    noise = np.random.default_rng(11)
    for v in model.variables:
        drawn = noise.normal(size=v.shape) * scale
        if "variance" in v.path:
            v.assign(np.abs(drawn) + 0.3)
        elif v.dtype.startswith("float") and "seed" not in v.path:
            fan = math.prod(v.shape[:-1]) if len(v.shape) > 1 else 1
            v.assign(drawn / math.sqrt(fan) * 2)
    return model


def net(*stack, shape=(8, 8, 3), classes=4):
    return keras.Sequential(
        [keras.Input(shape), *stack, layers.Flatten(), layers.Dense(classes)]
    )


def ties():
    """Pixels of few values, so that maxima are often equal."""
    return net(
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.Conv2D(3, 2, activation="relu"),
        layers.MaxPooling2D(),
    )


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    y = layers.Conv2D(2, 1, activation="leaky_relu")(x)
    x = layers.Concatenate()([x, y, ops.relu(x - y[..., :1])])
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def gated():
    """Squeeze and excitation, and products of three."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="silu")(x)
    g = layers.GlobalAveragePooling2D(keepdims=True)(x)
    g = layers.Dense(4, activation="sigmoid")(g)
    x = layers.Multiply()([x, g])
    x = layers.Multiply()([x, ops.tanh(x), g])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def attention():
    return randomized(zoo.build("vision_transformer").model)


def inner_softmax():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(x)
    x = layers.Softmax(axis=[1, 2])(x * 5)
    x = layers.Dense(5, activation="softmax")(layers.Flatten()(x) * 20)
    x = ops.softmax(x * 3, axis=1)
    return keras.Model(inputs, layers.Dense(3)(x))


def tiny_outputs():
    """A score of 1e-4, of functions that are smooth."""
    model = net(
        layers.Conv2D(4, 3, activation="silu"),
        layers.Dense(4, activation="gelu"),
        layers.Dense(4, activation="tanh"),
        layers.Dense(4, activation="mish"),
    )
    model.add(layers.Rescaling(1e-4))
    return model


def kinks():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="elu")(x)
    x = layers.Dense(4, activation="selu")(x)
    x = layers.Dense(4, activation="hard_sigmoid")(x)
    x = layers.Dense(4, activation="relu6")(x)
    x = layers.PReLU()(x)
    x = layers.Dense(4, activation="hard_shrink")(x)
    x = layers.Flatten()(ops.glu(layers.Dense(4)(x)))
    return keras.Model(inputs, layers.Dense(3)(x))


def normalized():
    return net(
        layers.Conv2D(4, 3),
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.RMSNormalization(),
        layers.UnitNormalization(axis=[1, 2]),
        layers.LayerNormalization(axis=[2, 3]),
    )


def arithmetic():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="softplus")(x)
    x = ops.maximum(x, ops.exp(-x)) / (1 + ops.square(x))
    y = ops.max(x, axis=(1, 2))
    z = ops.maximum(ops.mean(x, axis=(1, 2)), 0.5)
    x = layers.Maximum()([y, z * 2, ops.sqrt(z)])
    x = layers.Concatenate()([x, layers.Dot(1)([y, z])])
    return keras.Model(inputs, layers.Dense(3)(x))


def sequence():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 12))(x)
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Dense(8, activation="relu"))(x)
    x = layers.Attention()([x, x])
    x = layers.SimpleRNN(3)(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def masked_attention():
    """Causal, with a mask of its own, and with a row that sees nothing."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((8, 24))(x)
    x = layers.Dense(6)(x)
    mask = np.tril(np.ones((1, 8, 8), bool))
    mask[:, 5] = False
    x += layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    x += layers.MultiHeadAttention(2, 3)(x, x, attention_mask=mask)
    x += layers.GroupQueryAttention(4, 4, 2)(x, x, use_causal_mask=True)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def merged_batch():
    """Rows of a picture become samples of their own, and come back."""
    x = inputs = keras.Input((8, 8, 3))
    x = ops.reshape(x, (-1, 8, 3))
    x = layers.Conv1D(4, 3, activation="relu")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.Dense(4, activation="gelu")(x)
    x = layers.LayerNormalization()(x)
    x = ops.reshape(x, (-1, 96))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


NETS = {
    made.__name__: made
    for made in (
        ties, residual, gated, attention, inner_softmax, tiny_outputs,
        kinks, normalized, arithmetic, sequence, merged_batch,
        masked_attention,
    )
}  # fmt: skip


def pictures(count=3):
    return np.round(zoo.images(count) * 2) / 2  # many equal values


def sums(explanation):
    flat = tf.nest.flatten(explanation.attributions)
    return sum(np.float64(a).reshape(len(a), -1).sum(1) for a in flat)


def score(model, x, target):
    return np.float64(ke.Gradient(model).explain(x, target).scores)


def shapley(f, x, r):
    """Exact Shapley values of a function of few inputs."""
    n = len(x)
    found = np.zeros(n)
    for order in itertools.permutations(range(n)):
        point = r.copy()
        for k in order:
            before = f(point)
            point[k] = x[k]
            found[k] += f(point) - before
    return found / math.factorial(n)


def linear_model():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    return randomized(model)


def background(rows=6):
    noise = np.random.default_rng(4)
    return noise.normal(size=(rows, 5)).astype("float32")
