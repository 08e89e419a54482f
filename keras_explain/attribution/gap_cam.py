"""The class activation map of networks that end in a global average."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_explain.attribution.class_activation import (
    ClassActivationMap,
    weighted_sum,
)
from keras_explain.engine.catalogue import register
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import INPUT, Call, Graph
from keras_explain.engine.interception import FusedActivation
from keras_explain.engine.score import ScoreFunction

_POOLS = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
)
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
# What may stand between the average and the linear layer, and what after it.
_NOTHING = {"Dropout", "Flatten", "Reshape", "Identity"}
_HEADS = _NOTHING | {
    "Activation",
    "Softmax",
    "softmax",
    "Sigmoid",
    "sigmoid",
}


class _Ending(NamedTuple):
    """Feature map -> global average -> linear layer -> output."""

    feature_map: Call
    pool: Call
    linear: Call


def _before(call: Call, graph: Graph) -> Call | None:
    """The call that made the input, models and inactive layers set aside."""
    while len(call.parents) == 1 and call.parents[0] != INPUT:
        call = graph.calls[call.parents[0]]
        if not _skips(call, _NOTHING):
            return call
    return None


def _skips(call: Call, kinds: set[str]) -> bool:
    inner = isinstance(call.operation, keras.Model)
    return inner or not call.path or call.kind in kinds


def _ending(graph: Graph) -> _Ending | None:
    last = [c for c in graph.calls if c.on_path and not _skips(c, _HEADS)]
    linear = last[-1] if last and len(graph.heads) == 1 else None
    if linear is None or not _is_linear(linear):
        return None
    # A layer with a fused activation has its own output after it, so the
    # graph's parents lead through the activation.
    pool = _before(linear, graph)
    if pool is None or not _averages(pool):
        return None
    feature_map = _owner(_before_raw(pool, graph), graph)
    if feature_map is None:
        return None
    return _Ending(feature_map, pool, linear)


def _is_linear(call: Call) -> bool:
    """A Dense layer, or a convolution of one cell as MobileNet has it."""
    if isinstance(call.operation, _CONVOLUTIONS):
        return set(call.operation.kernel_size) == {1}
    return isinstance(call.operation, keras.layers.Dense)


def _averages(call: Call) -> bool:
    if isinstance(call.operation, _POOLS):
        return True
    return call.kind == "Mean" and len(call.shape or ()) == 2


def _before_raw(call: Call, graph: Graph) -> Call | None:
    if len(call.parents) != 1 or call.parents[0] == INPUT:
        return None
    return graph.calls[call.parents[0]]


def _owner(call: Call | None, graph: Graph) -> Call | None:
    """The layer a fused activation is part of."""
    if call is None or not isinstance(call.operation, FusedActivation):
        return call
    layer = call.operation.layer
    return next(c for c in graph.calls[call.index :] if c.operation is layer)


@register(
    "cam",
    family="cam",
    title="CAM",
    paper="Zhou et al., 2016",
    cost="1 forward",
    needs="global average pooling and one linear layer at the end",
)
class CAM(ClassActivationMap):
    """The feature map, its channels weighted by the final linear layer.

    Use it on networks that end in global average pooling and one linear
    layer: there it is exact, as the mean of the map is the logit less its
    bias. Costs one forward pass.

        map = sum_k w_kc A_k

    with `w` the weights of the linear layer and `c` the class. On such a
    network `GradCAM` is the positive part of it divided by the number of
    positions.

    Args:
        model, layer: See `Explainer`; `layer` can only be the one that is
            pooled.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Signed; units of the logit.

    Raises:
        ValueError: If the model ends in another way, or the target is not
            the logit of a class.

    Example:

    >>> keras_explain.CAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Zhou et al., 2016. Learning Deep Features for Discriminative
        Localization. https://arxiv.org/abs/1512.04150
    """

    signed = True

    def _call(self, graph: Graph) -> Call:
        ending = self._ending(graph)
        if self.layer is not None:
            call = graph.find(self.layer)
            if call.key != ending.feature_map.key:
                raise ValueError(
                    message(
                        "CAM reads the layer that is pooled, no other.",
                        f"layer={self.layer!r}",
                        f"Pass {graph.address(ending.feature_map)!r} or "
                        "`layer=None`; `GradCAM` takes any layer.",
                    )
                )
        return ending.feature_map

    def _ending(self, graph: Graph) -> _Ending:
        ending = _ending(graph)
        if ending is None:
            last = [c.path for c in graph.layers if c.on_path][-4:]
            raise ValueError(
                message(
                    "CAM needs a model that ends in global average pooling "
                    "and one Dense layer.",
                    f"a model that ends in {', '.join(map(repr, last))}",
                    "Use `GradCAM`, which needs no such ending.",
                )
            )
        return ending

    def _attribute(self, function: ScoreFunction) -> Attribution:
        target = function.target
        if not isinstance(target, Class) or target.of != "logit":
            raise ValueError(
                message(
                    "CAM explains the logit of a class.",
                    f"target={target!r}",
                    "Pass a class index, or use `GradCAM`.",
                )
            )
        ending = self._ending(function.graph)
        at = function.evaluate()
        kernel = tf.cast(ending.linear.operation.kernel, tf.float32)
        kernel = tf.reshape(kernel, kernel.shape[-2:])
        weights = tf.gather(tf.transpose(kernel), at.indices[0])
        maps = weighted_sum(tf.cast(at.point, tf.float32), weights)
        return Attribution(self._to_inputs(maps, function), at)
