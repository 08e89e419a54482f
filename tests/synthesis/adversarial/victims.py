"""Classifiers to attack: linear ones, a small one in NumPy, and digits."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits


def linear(weights, bias=None, head="softmax") -> keras.Model:
    """A model `weights.T x + bias`, under any head."""
    features, classes = weights.shape
    model = keras.Sequential(
        [keras.Input((features,)), layers.Dense(classes, activation=head)]
    )
    bias = np.zeros(classes) if bias is None else bias
    model.set_weights([weights, bias])
    return model


@dataclasses.dataclass
class Net:
    """A dense tanh network in float64, and the same in Keras."""

    layers: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def random(cls, sizes=(6, 12, 8, 5), seed=0) -> Net:
        random = np.random.default_rng(seed)
        found = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            weights = random.normal(size=(a, b)) * 1.5 / np.sqrt(a)
            found.append((weights, random.normal(size=b) * 0.1))
        return cls([(w.astype("f4").astype("f8"), b.astype("f4").astype("f8"))
                    for w, b in found])  # fmt: skip

    def keras(self) -> keras.Model:
        first = self.layers[0][0].shape[0]
        model = keras.Sequential([keras.Input((first,))])
        for weights, _ in self.layers[:-1]:
            model.add(layers.Dense(weights.shape[1], activation="tanh"))
        model.add(layers.Dense(self.classes, activation="softmax"))
        model.set_weights([part for layer in self.layers for part in layer])
        return model

    @property
    def classes(self) -> int:
        return self.layers[-1][0].shape[1]

    def logits(self, x: np.ndarray) -> np.ndarray:
        return self.run(x)[0]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits of one input, and their Jacobian `(classes, features)`."""
        jacobian = np.eye(len(x))
        for weights, bias in self.layers[:-1]:
            x = np.tanh(x @ weights + bias)
            jacobian = (1 - x**2)[:, None] * (weights.T @ jacobian)
        weights, bias = self.layers[-1]
        return x @ weights + bias, weights.T @ jacobian

    def loss_gradient(self, x: np.ndarray, label: int) -> np.ndarray:
        """Of the cross entropy: the sum of `(p - y) dz/dx`."""
        logits, jacobian = self.run(x)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        p[label] -= 1
        return p @ jacobian


@functools.cache
def digits() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A small network that knows 97 % of the digits, and 150 of them."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(5e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(images[:1500], labels[:1500], epochs=8, verbose=0)
    return model, images[1500:1650], labels[1500:1650].astype("int32")
