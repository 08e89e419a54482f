"""Targets that are met when a layer's output is a given one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.targets import Target, View, registered


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Match(Target):
    """How near a layer's output is to a given one; zero where it is met.

    `S = -|a - a0|^2 / |a0|^2`

    Args:
        layer: Layer, or its path.
        features: `a0`, the output for one sample.

    Raises:
        ValueError: If the features are zero, or not finite.

    References:
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
    """

    layer: Any
    features: Any

    def __post_init__(self) -> None:
        features = np.asarray(self.features, np.float32)
        object.__setattr__(self, "features", features)
        size = np.sqrt(np.sum(np.square(features, dtype=np.float64)))
        if not 0 < size < np.inf:
            raise ValueError(
                message(
                    "What is to be matched must be finite and not zero "
                    "everywhere.",
                    f"features of length {size:g}",
                    "Invert an earlier layer, or another picture.",
                )
            )

    def signature(self) -> Any:
        return ("Match", str(self.layer), id(self.layer))

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        shape = tf.concat([[batch], self.features.shape], 0)
        return {"wanted": tf.broadcast_to(self.features, shape)}

    def check(self, graph: Graph, batch: int | None = None) -> None:
        shape = graph.find(self.layer).shape
        if (
            shape is None
            or len(shape) != self.features.ndim + 1
            or any(
                size not in (None, given)
                for size, given in zip(
                    shape[1:], self.features.shape, strict=True
                )
            )
        ):
            raise ValueError(
                message(
                    f"The layer's output for one sample has shape "
                    f"{None if shape is None else shape[1:]}.",
                    f"features of shape {self.features.shape}",
                    "Take the features from the same layer, of pictures in "
                    "the same size.",
                )
            )

    def score(self, view: View) -> tf.Tensor:
        wanted = view.parameters()["wanted"]
        activation = tf.cast(view.activations[self.layer], tf.float32)
        axes = list(range(1, activation.shape.rank))
        error = tf.reduce_sum(tf.square(activation - wanted), axes)
        return -error / tf.reduce_sum(tf.square(wanted), axes)

    def _identity(self) -> Any:
        features = self.features
        return ("Match", str(self.layer), features.shape, features.tobytes())
