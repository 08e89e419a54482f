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

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.interception import AttentionCore, shadow
from keras_explain.engine.recording import pre_activation, producer
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
# A score below this is that of a mask: Keras writes -1e9, and -3e4 in half.
_LOWEST = {tf.float16: -2.5e4}
_LOWEST_OF_FLOATS = -5e8


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

    @property
    def stops(self) -> bool:
        """Whether it passes nothing at all."""
        return self.variant == "cp_lrp"

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
    # A masked score is -inf or a huge negative number, with weight zero; or
    # with the weight of all others, where there is nothing but masked ones.
    seen = (s > 0) & (x > _LOWEST.get(x.dtype, _LOWEST_OF_FLOATS))
    return tf.where(seen, share, tf.zeros_like(share))


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
        core = core_of(place.call)
        rule = _PlacedAttention(self.variant, self.epsilon, core, self.positive)
        return PlacedTensorRule(rule, place.signals)


@dataclasses.dataclass(frozen=True)
class _PlacedAttention(TensorRule):
    variant: str
    epsilon: float
    core: Any
    positive: bool

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        if self.positive and self.core is not None:
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
            if self.core is None:
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


def core_of(call: Any) -> Any:
    """The layer whose core a call is; `None` if it is a layer as a whole."""
    operation = call.operation
    return operation.layer if isinstance(operation, AttentionCore) else None


def attention_parts(at: Division, core: Any) -> AttentionParts:
    """Reads the arguments of an attention core or of `layers.Attention`.

    Args:
        at: The call.
        core: The layer whose core it is, or `None`.
    """
    if core is not None:
        query, key, value = at.inputs[:3]
    else:
        query, value = at.inputs[:2]
        key = at.inputs[2] if len(at.inputs) > 2 else value

    def opened() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with _giving_scores(core):
            output, weights = at.rerun(at.inputs, return_attention_scores=True)
        before = _before_mask(weights)
        kind, scores = pre_activation(before)
        if kind != "softmax":
            raise ValueError(_no_softmax(core, producer(before).op.type))
        if before is weights or core is None:
            return scores, weights, output
        if at.rerun(at.inputs)[1] is None:
            # The kernel that Keras runs where nobody asks for the weights
            # does not set them to zero where everything is masked.
            weights = tf.cast(before, value.dtype)
            output = tf.einsum(core._combine_equation, weights, value)
        return scores, weights, output

    return AttentionParts(query, key, value, opened)


@contextlib.contextmanager
def _giving_scores(core: Any) -> Iterator[None]:
    """Within the context a layer returns its weights, however it is asked."""
    name = "_return_attention_scores"
    if not hasattr(core, name):
        yield  # it takes an argument
        return
    restore = shadow(core, name, True)
    try:
        yield
    finally:
        restore()


def _before_mask(weights: tf.Tensor) -> tf.Tensor:
    """Steps back over the zeros that Keras writes into masked weights."""
    tensor = producer(weights)
    if tensor.op.type in ("Select", "SelectV2"):
        return tensor.op.inputs[1]
    return weights


def _no_softmax(core: Any, found: str) -> str:
    name = getattr(core, "name", "")
    return message(
        "The softmax of an attention layer cannot be found.",
        f"weights made by {found!r}" + (f" in {name!r}" if name else ""),
        "It is known over one axis of places, written as `layers.Softmax` or "
        "`ops.softmax`. `LRP` with `attention='cp_lrp'` does not need it; or "
        "state a rule: `keras_explain.rules.register(LayerType, rule)`.",
    )
