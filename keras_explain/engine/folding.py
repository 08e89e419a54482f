"""Batch normalizations that are one affine map with a linear layer.

At inference a batch normalization is `a * x + c` on each channel. Next to a
layer with a kernel the two are one affine map, and a rule has to see them as
one: relevance that is divided at each of them alone depends on how the map
was written down, and is lost to offsets that cancel.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import held_activation
from keras_explain.engine.linear import (
    Affine,
    is_linear,
    is_transposed,
    linear_maps,
)


@dataclasses.dataclass(frozen=True)
class Fold:
    """What is folded into a linear call.

    Attributes:
        before: The batch normalization in front of it, or `None`.
        behind: The one behind it, or `None`.
    """

    before: Any = None
    behind: Any = None


def folds(
    graph: Graph, kept: frozenset[int] = frozenset()
) -> tuple[dict[int, Fold], frozenset[int]]:
    """Finds which batch normalizations fold into which linear calls.

    Args:
        graph: The recorded run.
        kept: Calls whose output is looked at, and must be what it is.

    Returns:
        `{index of a linear call: Fold}`, and the indices of the batch
        normalizations that are folded away.
    """
    found: dict[int, Fold] = {}
    gone = set()
    for call in graph.calls:
        if not (call.on_path and _is_norm(call)):
            continue
        source, reader = graph.source(call), graph.reader(call)
        if source is not None and _folds_behind(source, call, graph, kept):
            found[source.index] = Fold(behind=call.operation)
            gone.add(call.index)
        elif reader is not None and _folds_before(call, reader, kept):
            found[reader.index] = Fold(before=call.operation)
            gone.add(call.index)
    return found, frozenset(gone)


def _is_norm(call: Call) -> bool:
    return isinstance(call.operation, keras.layers.BatchNormalization)


def _folds_behind(
    linear: Call, norm: Call, graph: Graph, kept: frozenset[int]
) -> bool:
    return (
        is_linear(linear.operation)
        and linear.index not in kept
        and held_activation(linear.operation) is None
        and graph.reader(linear) is norm
        and _same_axis(norm, linear, "outputs")
    )


def _folds_before(norm: Call, linear: Call, kept: frozenset[int]) -> bool:
    layer = linear.operation
    # Behind padding, the offset would be missing at the border.
    return (
        is_linear(layer)
        and norm.index not in kept
        and getattr(layer, "padding", "valid") == "valid"
        and not is_transposed(layer)
        and _same_axis(norm, linear, "inputs")
    )


def _same_axis(norm: Call, linear: Call, side: str) -> bool:
    """Whether both have their channels along the same axis."""
    layer = linear.operation
    maps = linear_maps(layer, layer.call)
    shape = getattr(maps[-1 if side == "outputs" else 0], side)
    if shape is None or norm.shape is None:
        return False
    rank = len(norm.shape)
    first = getattr(layer, "data_format", "") == "channels_first"
    return norm.operation.axis % rank == (1 if first else rank - 1)


def affine(norm: Any) -> Affine:
    """Returns how to read `a` and `c` of a batch normalization."""

    def parts() -> tuple[tf.Tensor, tf.Tensor]:
        variance = tf.convert_to_tensor(norm.moving_variance)
        scale = tf.math.rsqrt(variance + norm.epsilon)
        if norm.scale:
            scale *= tf.convert_to_tensor(norm.gamma)
        offset = -tf.convert_to_tensor(norm.moving_mean) * scale
        if norm.center:
            offset += tf.convert_to_tensor(norm.beta)
        return scale, offset

    return parts
