"""Networks whose scores can be written down."""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import layers


def multi_layer():
    """The network of three layers that Captum's tests use."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(3, use_bias=False),
            layers.Dense(4, activation="relu"),
            layers.Dense(2),
        ]
    )
    model.set_weights(
        [
            np.eye(3),
            np.ones((3, 4)),
            np.array([-10.0, 1.0, 1.0, 1.0]),
            np.ones((4, 2)),
            np.array([-1.0, 1.0]),
        ]
    )
    return model


def bilinear(shape, seed=0):
    """A score that is not linear: `(sum a x) (sum b x)`, and its weights."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, *shape)).astype("float32")
    inputs = keras.Input(shape)
    flat = layers.Flatten()(inputs)
    one = layers.Dense(1, use_bias=False, name="a")(flat)
    other = layers.Dense(1, use_bias=False, name="b")(flat)
    model = keras.Model(inputs, layers.Multiply()([one, other]))
    model.get_layer("a").set_weights([a.reshape(-1, 1)])
    model.get_layer("b").set_weights([b.reshape(-1, 1)])

    def score(x):
        x = np.asarray(x, "float64").reshape(len(x), -1)
        return (x @ a.ravel().astype("float64")) * (
            x @ b.ravel().astype("float64")
        )

    return model, score


def slow_occlusion(score, x, window, stride, fill):
    """Window by window in float64; `fill` is of the shape of `x`."""
    x, fill = np.asarray(x, "float64"), np.asarray(fill, "float64")
    sizes = x.shape[1:]
    starts = [
        range(0, size - w + s, s)
        for size, w, s in zip(sizes, window, stride, strict=True)
    ]
    total, count = np.zeros_like(x), np.zeros_like(x)
    for corner in itertools.product(*starts):
        place = (slice(None),) + tuple(
            slice(c, c + w) for c, w in zip(corner, window, strict=True)
        )
        hidden = x.copy()
        hidden[place] = fill[place]
        drop = score(x) - score(hidden)
        total[place] += drop.reshape(-1, *[1] * len(sizes))
        count[place] += 1
    return total / np.maximum(count, 1)
