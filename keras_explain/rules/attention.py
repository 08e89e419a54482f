"""Rules for attention: products of two signals, softmax, and the whole.

Two ways are known. CP-LRP takes the attention weights for constants, so that
relevance flows through the values alone, and is conserved. AttnLRP lets it
flow to queries and keys as well, through the softmax by its first-order
expansion; what the expansion leaves over is lost.

References:
    Ali et al., 2022. XAI for Transformers: Better Explanations through
    Conservative Propagation. https://arxiv.org/abs/2202.07304
    Achtibat et al., 2024. AttnLRP: Attention-Aware Layer-Wise Relevance
    Propagation for Transformers. https://arxiv.org/abs/2402.05602
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.interception import AttentionCore
from keras_explain.engine.recording import pre_activation
from keras_explain.engine.relevance import Shares, checked_epsilon, stabilized
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
)

VARIANTS = ("cp_lrp", "attn_lrp")


def check_variant(variant: str) -> str:
    if variant not in VARIANTS:
        raise ValueError(
            message(
                "There are two ways through attention.",
                f"variant={variant!r}",
                f"Pass one of {', '.join(map(repr, VARIANTS))}.",
            )
        )
    return variant


@dataclasses.dataclass(frozen=True)
class Softmax(TensorRule):
    """A softmax inside the network: `R_i = x_i (R_i - s_i sum(R))`.

    Args:
        variant: `"attn_lrp"`; or `"cp_lrp"`, by which nothing passes.
    """

    variant: str = "cp_lrp"

    def __post_init__(self) -> None:
        check_variant(self.variant)

    def prepared(self, place: Place) -> Rule:
        axis = getattr(place.call.operation, "axis", -1)
        return PlacedTensorRule(
            _PlacedSoftmax(self.variant, axis), place.signals
        )


@dataclasses.dataclass(frozen=True)
class _PlacedSoftmax(TensorRule):
    variant: str
    axis: Any

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        x = at.inputs[0]
        if self.variant == "cp_lrp":
            return Shares([tf.zeros_like(x)], [relevance])
        share = softmax_share(x, at.output, relevance, self.axis)
        return Shares([share], [relevance, -share])


def softmax_share(
    x: tf.Tensor, s: tf.Tensor, relevance: tf.Tensor, axis: Any = -1
) -> tf.Tensor:
    """The first-order share of a softmax's input; masked inputs get none."""
    total = tf.reduce_sum(relevance, axis, keepdims=True)
    share = x * (relevance - s * total)
    # A masked score is -inf or a huge negative number, with weight zero.
    return tf.where(s > 0, share, tf.zeros_like(share))


@dataclasses.dataclass(frozen=True)
class Bilinear(TensorRule):
    """A product of two signals, such as of queries and keys.

    Each factor gets half, divided in proportion to what its values add.
    Weights that come from a softmax get nothing under CP-LRP.

    Args:
        variant: `"cp_lrp"` or `"attn_lrp"`.
        epsilon: Stabilizer, positive.
    """

    reads = "proportional"

    variant: str = "cp_lrp"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_variant(self.variant)
        checked_epsilon(self.epsilon)

    def prepared(self, place: Place) -> Rule:
        graph = place.graph
        weights = tuple(
            self.variant == "cp_lrp"
            and any(
                maker >= 0 and _is_weights(graph.calls[maker], graph)
                for maker in makers
            )
            for makers in place.call.arguments
        )
        rule = _PlacedBilinear(weights, self.epsilon)
        return PlacedTensorRule(rule, place.signals)


def _is_weights(call: Any, graph: Any) -> bool:
    """Whether a tensor holds attention weights, dropped out or not."""
    if role_of(call) == "softmax":
        return True
    moved = role_of(call) == "moving" and call.parents
    return bool(moved) and all(
        maker >= 0 and _is_weights(graph.calls[maker], graph)
        for maker in call.parents
    )


@dataclasses.dataclass(frozen=True)
class _PlacedBilinear(TensorRule):
    weights: tuple[bool, ...]
    epsilon: float

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        held = any(self.weights) and not all(self.weights)
        signals = [
            signal and not (held and weight)
            for signal, weight in zip(at.signals, self.weights, strict=True)
        ]
        bottom = stabilized(at.output, self.epsilon)
        ratio = relevance / bottom / max(sum(signals), 1)
        shares = [
            x * tf.gradients(at.output, x, ratio)[0] if signal else None
            for x, signal in zip(at.inputs, signals, strict=True)
        ]
        return Shares(shares, [relevance * (1 - at.output / bottom)])


@dataclasses.dataclass(frozen=True)
class Attention(TensorRule):
    """All that attention does between its projections.

    Args:
        variant: `"cp_lrp"`: everything to the values. `"attn_lrp"`: half of
            each product to either factor, through the softmax as well.
        epsilon: Stabilizer, positive.
    """

    reads = "proportional"

    variant: str = "cp_lrp"
    epsilon: float = 1e-6
    positive: bool = False

    def __post_init__(self) -> None:
        check_variant(self.variant)
        checked_epsilon(self.epsilon)

    def prepared(self, place: Place) -> Rule:
        core = isinstance(place.call.operation, AttentionCore)
        rule = _PlacedAttention(self.variant, self.epsilon, core, self.positive)
        return PlacedTensorRule(rule, place.signals)


@dataclasses.dataclass(frozen=True)
class _PlacedAttention(TensorRule):
    variant: str
    epsilon: float
    core: bool
    positive: bool

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        if self.positive and self.core:
            inputs = list(at.inputs)
            inputs[2] = tf.nn.relu(inputs[2])
            at = at._replace(inputs=inputs, output=at.again(*inputs))
        parts = attention_parts(at, self.core)
        epsilon = self.epsilon
        bottom = stabilized(at.output, epsilon)
        missing = [relevance * (1 - at.output / bottom)]
        ratio = relevance / bottom
        if self.variant == "cp_lrp":
            output, held = at.output, []
            if not self.core:
                # The key may be the value: only the latter counts.
                _, weights, output = parts.opened()
                held = [weights]
            (down,) = tf.gradients(
                output, parts.value, ratio, stop_gradients=held
            )
            return Shares(parts.placed(at, value=parts.value * down), missing)
        scores, weights, output = parts.opened()
        to_value, to_weights = tf.gradients(
            output, [parts.value, weights], ratio / 2, stop_gradients=[weights]
        )
        at_scores = softmax_share(scores, weights, weights * to_weights)
        missing += [weights * to_weights, -at_scores]
        bottom = stabilized(scores, epsilon)
        missing.append(at_scores * (1 - scores / bottom))
        to_query, to_key = tf.gradients(
            scores, [parts.query, parts.key], at_scores / bottom / 2
        )
        shares = parts.placed(
            at,
            query=parts.query * to_query,
            key=parts.key * to_key,
            value=parts.value * to_value,
        )
        return Shares(shares, missing)


class AttentionParts(NamedTuple):
    """What goes into attention.

    Attributes:
        query, key, value: The projections; of `keras.layers.Attention` the
            inputs, where the key may be the value.
        opened: `() -> (scores, weights, output)`, computed step by step, so
            that each can be differentiated.
    """

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    opened: Callable[[], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]

    def placed(self, at: Division, **shares: tf.Tensor) -> list[Any]:
        """Returns shares in the order of the call's inputs."""
        found: list[Any] = []
        for x in at.inputs:
            mine = [
                share
                for name, share in shares.items()
                if getattr(self, name) is x
            ]
            found.append(tf.add_n(mine) if mine else None)
        return found


def attention_parts(at: Division, core: bool) -> AttentionParts:
    """Reads the arguments of an attention core or of `layers.Attention`."""
    if core:
        query, key, value = at.inputs[:3]
    else:
        query, value = at.inputs[:2]
        key = at.inputs[2] if len(at.inputs) > 2 else value

    def opened() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        output, weights = at.rerun(at.inputs, return_attention_scores=True)
        return pre_activation(weights)[1], weights, output

    return AttentionParts(query, key, value, opened)
