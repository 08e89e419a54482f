"""Batch normalizations that are one affine map with a linear layer.

At inference a batch normalization is `a * x + c` on each channel. Next to a
layer with a kernel the two are one affine map, and a rule has to see them as
one: relevance that is divided at each of them alone depends on how the map
was written down, and is lost to offsets that cancel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import (
    FusedActivation,
    held_activation,
)
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
        relu: Whether the ReLU behind both is, so that the layer gives what
            the ReLU would. Relevance passes it as it is, and where it is
            closed there is none.
    """

    before: Any = None
    behind: Any = None
    relu: bool = False


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
            known = found.get(source.index, Fold())
            found[source.index] = dataclasses.replace(
                known, behind=call.operation
            )
            gone.add(call.index)
        elif reader is not None and _folds_before(call, reader, kept):
            known = found.get(reader.index, Fold())
            found[reader.index] = dataclasses.replace(
                known, before=call.operation
            )
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


def folds_of_relus(
    graph: Graph,
    rules: Mapping[int, Any],
    known: dict[int, Fold],
    kept: frozenset[int],
) -> tuple[dict[int, Fold], list[int]]:
    """Finds which ReLUs fold into the calls in front of them.

    Where all that read a ReLU give nothing to an input of zero, no relevance
    comes back through a closed one, and its output serves for the layer's.

    Args:
        graph: The recorded run.
        rules: The rule of each call, by index.
        known: The batch normalizations that fold.
        kept: Calls whose output is looked at.

    Returns:
        `known` with the ReLUs, and the indices of the ReLUs folded away.
    """
    known, gone = dict(known), []
    for call in graph.calls:
        linear = _before(call, graph, known)
        if linear is None or not {linear.index, call.index}.isdisjoint(kept):
            continue
        own = rules.get(call.index)
        if own is not None and not getattr(own, "whole", False):
            continue  # it does something else, also where it is open
        takes = getattr(rules.get(linear.index), "takes_relu", False)
        if takes and _vanishes(call, graph, rules):
            fold = known.get(linear.index, Fold())
            known[linear.index] = dataclasses.replace(fold, relu=True)
            gone.append(call.index)
    return known, gone


def _before(call: Call, graph: Graph, known: dict[int, Fold]) -> Call | None:
    """The call, its norm folded in, that a plain ReLU alone reads."""
    if not (call.on_path and is_plain_relu(call)):
        return None
    operation = call.operation
    if isinstance(operation, FusedActivation) and is_linear(operation.layer):
        own = [
            c
            for c in graph.calls[call.index :]
            if c.operation is operation.layer
        ]
        return own[0] if own else None
    source = graph.source(call)
    if source is not None and _is_norm(source):
        before = graph.source(source)
        folded = before is not None and known.get(before.index, Fold()).behind
        if not folded or graph.reader(source) is not call:
            return None
        return before
    if source is None or graph.reader(source) is not call:
        return None
    return source


def is_plain_relu(call: Call) -> bool:
    """Whether a call is `max(x, 0)`, without slope, threshold or cap."""
    if call.kind in ("relu", "Relu"):
        return True
    layer = call.operation
    return call.kind == "ReLU" and (
        not layer.negative_slope
        and not layer.threshold
        and layer.max_value is None
    )


def _vanishes(call: Call, graph: Graph, rules: Mapping[int, Any]) -> bool:
    """Whether a value of zero receives no relevance."""
    found = []
    for reader in graph.readers(call):
        reads = getattr(rules.get(reader.index), "reads", "")
        if reads == "transparent":
            found.append(_vanishes(reader, graph, rules))
        else:
            found.append(reads == "proportional")
    return bool(found) and all(found)


def affine(norm: Any) -> Affine:
    """Returns how to read `a` and `c` of a batch normalization."""

    def parts() -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.math.rsqrt(_float(norm.moving_variance) + norm.epsilon)
        if norm.scale:
            scale *= _float(norm.gamma)
        offset = -_float(norm.moving_mean) * scale
        if norm.center:
            offset += _float(norm.beta)
        return scale, offset

    return parts


def _float(variable: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
