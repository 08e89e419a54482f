"""Targets inside a model: neurons, channels, layers and directions."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.recording import linear_part
from keras_explain.engine.targets import (
    Target,
    View,
    one_of_each,
    registered,
)


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

    # Whether it is a unit with an input of its own, which is what is read
    # where a view is linear: the unit is zero wherever a ReLU is shut.
    single: ClassVar[bool] = False

    def signature(self) -> Any:
        # Which unit it is comes in as a parameter: one trace serves all.
        return (type(self).__name__, str(self.layer), id(self.layer))

    def score(self, view: View) -> tf.Tensor:
        parameters = view.parameters()
        activation = view.activations[self.layer]
        if view.linear and self.single:
            activation = linear_part(activation)
        return self._score(tf.cast(activation, tf.float32), **parameters)

    def _score(
        self, activation: tf.Tensor, **parameters: tf.Tensor
    ) -> tf.Tensor:
        raise NotImplementedError


def _positions(activation: tf.Tensor) -> list[int]:
    return list(range(1, activation.shape.rank))


def _every(value: Any, batch: tf.Tensor | int, dtype: Any) -> tf.Tensor:
    """Returns the value for each sample, `(batch, ...)`."""
    value = np.asarray(value, dtype)
    if isinstance(batch, int):
        return tf.constant(np.broadcast_to(value, (batch, *value.shape)))
    return tf.broadcast_to(value, tf.concat([[batch], value.shape], 0))


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

    single: ClassVar[bool] = True

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        return {"index": _every(np.atleast_1d(self.index), batch, np.int32)}

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

    def _score(
        self, activation: tf.Tensor, **parameters: tf.Tensor
    ) -> tf.Tensor:
        sizes = tf.shape(activation)[1:]
        index = tf.math.floormod(parameters["index"], sizes)
        return tf.gather_nd(activation, index, batch_dims=1)


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

    single: ClassVar[bool] = True

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        return {"index": _every(self.index, batch, np.int32)}

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

    def _score(
        self, activation: tf.Tensor, **parameters: tf.Tensor
    ) -> tf.Tensor:
        # The mean of all channels first: choosing one of few numbers costs
        # nothing, on the way back as well.
        axes = _positions(activation)[:-1]
        means = tf.reduce_mean(activation, axes) if axes else activation
        return one_of_each(means, parameters["index"])


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class LayerActivation(_LayerTarget):
    """The mean square of a layer's output: what DeepDream maximizes.

    Args:
        layer: Layer, or its path.
    """

    layer: Any

    def _score(
        self, activation: tf.Tensor, **parameters: tf.Tensor
    ) -> tf.Tensor:
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
        if not 0 < np.linalg.norm(self.vector) < np.inf:
            raise ValueError(
                message(
                    "A direction is a vector that is finite and not zero.",
                    f"a vector of length {np.linalg.norm(self.vector):g}",
                    "Pass such as the difference of two mean activations.",
                )
            )

    def signature(self) -> Any:
        return (*super().signature(), self.cosine_power)

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        return {"vector": _every(self.vector, batch, np.float32)}

    def _score(
        self, activation: tf.Tensor, **parameters: tf.Tensor
    ) -> tf.Tensor:
        vector = parameters["vector"]
        projection = tf.einsum("b...c,bc->b...", activation, vector)
        if self.cosine_power:
            length = tf.norm(vector, axis=-1)
            length = tf.reshape(
                length, [-1] + [1] * (projection.shape.rank - 1)
            )
            cosine = tf.math.divide_no_nan(
                projection, _norm(activation) * length
            )
            cosine = tf.maximum(cosine, self.smallest_cosine)
            projection *= cosine**self.cosine_power
        return tf.reduce_mean(projection, _positions(projection))


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    """The length along the last axis, with gradient 0 where it is 0."""
    squared = tf.reduce_sum(tf.square(vectors), axis=-1)
    is_zero = tf.equal(squared, 0.0)
    root = tf.sqrt(tf.where(is_zero, tf.ones_like(squared), squared))
    return tf.where(is_zero, tf.zeros_like(squared), root)
