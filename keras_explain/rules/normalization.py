"""The rule of normalizations whose statistics depend on the sample."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from keras_explain.engine.relevance import (
    Shares,
    checked_epsilon,
    later,
    stabilized,
)
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
)


@dataclasses.dataclass(frozen=True)
class Normalization(TensorRule):
    """A layer, group, RMS or unit normalization with its scale held fixed.

    With the standard deviation taken for a constant the layer is affine, and
    its relevance is divided as by `Epsilon`.

    Args:
        epsilon: Stabilizer, positive.

    References:
        Ali et al., 2022. XAI for Transformers: Better Explanations through
        Conservative Propagation. https://arxiv.org/abs/2202.07304
    """

    reads = "proportional"

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)

    def prepared(self, place: Place) -> Rule:
        rule = _PlacedNormalization(self.epsilon, place.call.operation)
        return PlacedTensorRule(rule, place.signals)


@dataclasses.dataclass(frozen=True)
class _PlacedNormalization(TensorRule):
    epsilon: float
    layer: Any

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        x = later(at.inputs[0], relevance)
        fixed = fixed_scale(self.layer, x)
        output = fixed(x)
        bottom = stabilized(output, self.epsilon)
        ratio = tf.cast(relevance, tf.float32) / bottom
        share = x * tf.gradients(output, x, ratio)[0]
        offset = fixed(tf.zeros_like(x))
        return Shares([share], [ratio * (bottom - output + offset)])


_LAYER_NORMS = {"LayerNormalization", "LayerNorm"}


def fixed_scale(layer: Any, at: tf.Tensor) -> Any:
    """Returns the layer as an affine map: its scale is that at one point.

    Args:
        layer: The normalization.
        at: The point, in float32.
    """
    kind = type(layer).__name__
    if kind == "GroupNormalization":
        return _grouped(layer, at)
    axis = getattr(layer, "axis", -1)
    axes = [a % at.shape.rank for a in _listed(axis)]
    centered = kind in _LAYER_NORMS and not getattr(layer, "rms_scaling", False)
    scale = _scale(kind, layer, at, axes)
    gamma = _spread(getattr(layer, "gamma", None), axes, at)
    if gamma is None:
        gamma = _spread(getattr(layer, "scale", None), axes, at)
    beta = _spread(getattr(layer, "beta", None), axes, at)

    def fixed(x: tf.Tensor) -> tf.Tensor:
        if centered:
            x -= tf.reduce_mean(x, axes, keepdims=True)
        x *= scale if gamma is None else scale * gamma
        return x if beta is None else x + beta

    return fixed


def _scale(kind: str, layer: Any, x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """What the signal is multiplied with, as a constant."""
    if kind in _LAYER_NORMS:
        # Also with `rms_scaling`, where the signal itself is not centered.
        x = x - tf.reduce_mean(x, axes, keepdims=True)
    square = tf.reduce_mean(x * x, axes, keepdims=True)
    if kind == "UnitNormalization":
        total = tf.reduce_sum(x * x, axes, keepdims=True)
        return tf.stop_gradient(tf.math.rsqrt(tf.maximum(total, 1e-12)))
    return tf.stop_gradient(tf.math.rsqrt(square + layer.epsilon))


def _grouped(layer: Any, at: tf.Tensor) -> Any:
    axis, rank = layer.axis % at.shape.rank, at.shape.rank
    groups = layer.groups
    shape = tf.shape(at)
    size = at.shape[axis] // groups
    split = tf.concat([shape[:axis], [groups, size], shape[axis + 1 :]], axis=0)
    # All but the batch and the groups.
    axes = [k for k in range(1, rank + 1) if k != axis]

    def center(x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(x, split)
        return x - tf.reduce_mean(x, axes, keepdims=True)

    square = tf.reduce_mean(center(at) ** 2, axes, keepdims=True)
    scale = tf.stop_gradient(tf.math.rsqrt(square + layer.epsilon))
    gamma = _spread(layer.gamma if layer.scale else None, [axis], at)
    beta = _spread(layer.beta if layer.center else None, [axis], at)

    def fixed(x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(center(x) * scale, shape)
        x = x if gamma is None else x * gamma
        return x if beta is None else x + beta

    return fixed


def _listed(axis: Any) -> list[int]:
    return list(axis) if isinstance(axis, (list, tuple)) else [axis]


def _spread(variable: Any, axes: list[int], x: tf.Tensor) -> Any:
    """A weight over some axes in a shape that broadcasts to `x`."""
    if variable is None or isinstance(variable, bool):
        return None
    shape = [1] * x.shape.rank
    for axis in axes:
        shape[axis] = x.shape[axis]
    return tf.reshape(tf.cast(tf.convert_to_tensor(variable), x.dtype), shape)
