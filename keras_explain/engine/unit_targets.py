"""Targets inside a model: neurons, channels, layers and directions."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.targets import Target, View, registered


class _LayerTarget(Target):
    """A target that looks at the output of one layer."""

    layer: Any

    def check(self, graph: Graph, batch: int | None = None) -> None:
        call = graph.find(self.layer)
        if call.shape is None:
            return
        self._check_shape(call.shape[1:])

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        pass

    def signature(self) -> Any:
        return (*self._identity(), id(self.layer))

    def score(self, view: View) -> tf.Tensor:
        view.parameters()
        activation = view.activations[self.layer]
        return self._score(tf.cast(activation, tf.float32))

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


def _positions(activation: tf.Tensor) -> list[int]:
    return list(range(1, activation.shape.rank))


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Neuron(_LayerTarget):
    """One unit of a layer.

    Args:
        layer: Layer, or its path.
        index: Its position in the output of one sample: an int, or a tuple
            such as `(row, column, channel)`.
    """

    layer: Any
    index: Any

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        index = tuple(np.atleast_1d(self.index))
        fits = len(index) == len(shape) and all(
            size is None or -size <= i < size
            for i, size in zip(index, shape, strict=False)
        )
        if not fits:
            raise ValueError(
                message(
                    f"The layer's output for one sample has shape {shape}.",
                    f"Neuron index {self.index!r}",
                    "Give one number in range for each axis.",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        for step in np.atleast_1d(self.index):
            activation = tf.gather(activation, int(step), axis=1)
        return activation


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Channel(_LayerTarget):
    """The mean of one channel of a layer over its positions.

    Args:
        layer: Layer, or its path.
        index: Channel, counted along the last axis.
    """

    layer: Any
    index: int

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        size = shape[-1]
        if size is not None and not 0 <= self.index < size:
            raise ValueError(
                message(
                    f"The layer has {size} channels.",
                    f"Channel index {self.index!r}",
                    f"Pass 0 to {size - 1}.",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        channel = activation[..., self.index]
        return tf.reduce_mean(channel, _positions(channel))


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class LayerActivation(_LayerTarget):
    """The mean square of a layer's output: what DeepDream maximizes.

    Args:
        layer: Layer, or its path.
    """

    layer: Any

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(activation), _positions(activation))


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Direction(_LayerTarget):
    """The mean projection of a layer's output on a vector of channels.

    With `cosine_power > 0` the projection is multiplied by the cosine
    (at least 0.1) to that power, which keeps the direction from being
    drowned by the length (Carter et al., 2019, Activation Atlas).

    Args:
        layer: Layer, or its path.
        vector: `(channels,)`.
        cosine_power: Non-negative number.
    """

    layer: Any
    vector: Any
    cosine_power: float = 0.0

    smallest_cosine: ClassVar[float] = 0.1

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        if np.shape(self.vector) != (shape[-1],):
            raise ValueError(
                message(
                    f"The layer has {shape[-1]} channels.",
                    f"a vector of shape {np.shape(self.vector)}",
                    f"Pass a vector of shape ({shape[-1]},).",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        vector = tf.constant(self.vector, tf.float32)
        projection = tf.linalg.matvec(activation, vector)
        if self.cosine_power:
            lengths = tf.norm(activation, axis=-1) * tf.norm(vector)
            cosine = tf.math.divide_no_nan(projection, lengths)
            cosine = tf.maximum(cosine, self.smallest_cosine)
            projection *= cosine**self.cosine_power
        return tf.reduce_mean(projection, _positions(projection))
