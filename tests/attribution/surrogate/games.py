"""Games to explain, and Shapley values from their definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

# A map of four blocks.
QUARTERS = np.arange(8)[:, None] // 4 * 2 + np.arange(8) // 4
X = np.array([[1.0, 2.0, 3.0, -1.0], [0.5, -1.5, 2.0, 1.0]], "float32")


class Game(keras.Model):
    """A score that is written down: `function` of `(batch, values)`."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def call(self, x):
        return ops.expand_dims(self.function(x), -1)


def game(function: Callable, x: np.ndarray = X) -> keras.Model:
    model = Game(function)
    model(x)
    return model


def golden(x):
    """That of the file of golden numbers."""
    return x[:, 0] * x[:, 1] + 2 * x[:, 2] - x[:, 3] * x[:, 0]


def bent(x):
    return golden(x) + ops.tanh(x[:, 0] + 2 * x[:, 3]) * x[:, 2]


def shapley(value: Callable[[frozenset], float], features: int) -> np.ndarray:
    """The mean gain over all orders, one after the other."""
    found = np.zeros(features)
    for order in itertools.permutations(range(features)):
        known: frozenset = frozenset()
        for j in order:
            found[j] += value(known | {j}) - value(known)
            known = known | {j}
    return found / math.factorial(features)


def value_of(function: Callable, x: np.ndarray, rows: np.ndarray) -> Callable:
    """v(S): the mean score with the values outside of S from the rows."""

    def value(shown: frozenset) -> float:
        points = np.array(rows, "float64")
        chosen = sorted(shown)
        points[:, chosen] = x[chosen]
        return float(np.mean(np.asarray(function(points))))

    return value


def layered() -> keras.Model:
    """The network of Captum's tests: 4 hidden units, 2 outputs."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    model.set_weights(
        [
            np.ones((3, 4)),
            np.array([-10.0, 1, 1, 1]),
            np.ones((4, 2)),
            np.array([-1.0, 1]),
        ]
    )
    return model


def random_game(features: int, seed: int = 0) -> Callable:
    """Scores of coalitions with pairs and a bend, `(n, features)` masks."""
    noise = np.random.default_rng(seed)
    linear = noise.normal(size=features)
    pairs = noise.normal(size=(features, features)) / np.sqrt(features)
    bend = noise.normal(size=features)

    def score(masks: np.ndarray) -> np.ndarray:
        z = np.asarray(masks, "float64")
        return (
            z @ linear
            + np.einsum("ni,ij,nj->n", z, pairs, z)
            + 2 * np.tanh(z @ bend)
        )

    return score
