"""Functions that are models: their scores are known by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers


def linear(weights: Any) -> keras.Model:
    """`f(x) = sum_i w_i x_i`, of tables."""
    weights = np.asarray(weights, "float32")
    model = keras.Sequential(
        [keras.Input((weights.size,)), layers.Dense(1, use_bias=False)]
    )
    model.set_weights([weights[:, None]])
    return model


def of(shape: tuple[int, ...], function: Callable) -> keras.Model:
    """A model of one output from a function of keras ops."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


def total(shape: tuple[int, ...]) -> keras.Model:
    """`f(x)` = the sum of all values, for any shape."""
    x = inputs = keras.Input(shape)
    if len(shape) > 1:
        x = layers.Flatten()(x)
    width = int(np.prod(shape))
    head = layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, head(x))
    model.set_weights([np.ones((width, 1), "float32")])
    return model


def given(maps: Any) -> Callable:
    """A callable that hands out maps that are known, batch by batch."""
    maps, start = np.asarray(maps, "float32"), 0

    def explain(inputs: Any, target: Any) -> np.ndarray:
        nonlocal start
        first, start = start, (start + len(inputs))
        return maps[first:start]

    return explain
