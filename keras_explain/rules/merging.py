"""Rules for what has no kernel: sums, means, moves and products."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.graph import INPUT, Graph
from keras_explain.engine.linear import is_linear
from keras_explain.engine.relevance import (
    Shares,
    checked_epsilon,
    later,
    stabilized,
)
from keras_explain.engine.remaking import note_sum, sum_of
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
    pulled,
)
from keras_explain.rules.lrp import Epsilon, ZPlus


@dataclasses.dataclass(frozen=True)
class Norm(TensorRule):
    """In proportion to what each input adds to a sum or a mean.

    For anything affine without weights of its own: additions, average
    pooling, smooth up-sampling, a layer that scales.

    Args:
        epsilon: Stabilizer, positive.
        positive: Whether only positive inputs count.
    """

    reads = "proportional"
    takes_relu = True

    epsilon: float = 1e-6
    positive: bool = False

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)

    def prepared(self, place: Place) -> Rule | None:
        if is_linear(place.call.operation):
            # Which may hold an activation, that is a call of its own then.
            made = ZPlus if self.positive else Epsilon
            return made(self.epsilon).prepared(place)
        sums = _sums_signals(place)
        plain = sums or place.call.kind.startswith(_POOLINGS)
        adds = sums and place.call.kind == "Add"
        again = _not_held(place) if adds and place.fold.relu else None
        rule = _PlacedNorm(self, place.fold.relu, plain, adds, again)
        return PlacedTensorRule(rule, place.signals)


@dataclasses.dataclass(frozen=True)
class _PlacedNorm(TensorRule):
    """`Norm` at one call.

    Attributes:
        rule: The rule.
        relu: Whether the ReLU behind it is folded in.
        homogeneous: Whether inputs of zero are known to make zero.
        adds: Whether it is the sum of its inputs.
        again: Which of two inputs is found as the difference of the sum
            and the other, or `None`.
    """

    rule: Norm
    relu: bool
    homogeneous: bool
    adds: bool
    again: int | None = None

    def finish(
        self, output: tf.Tensor, inputs: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        found = tf.nn.relu(output) if self.relu else output
        kinds = {(str(x.shape), x.dtype) for x in (output, *inputs)}
        alike = len(kinds) == 1 and output.dtype == tf.float32
        if self.again is not None and alike:
            note_sum(inputs[self.again], inputs[1 - self.again], found)
        return found

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        # What a folded ReLU cuts nobody else holds: to add again takes less
        # memory than to keep it.
        given = tf.cast(relevance, tf.float32)
        options: dict[str, Any] = {
            "epsilon": self.rule.epsilon, "relu": self.relu
        }  # fmt: skip
        if self.adds and len({str(x.shape) for x in at.inputs}) == 1:
            options["positive"] = self.rule.positive
            read, options["again"] = self._read(at)
            tensors = [later(t, relevance) for t in read]
            shares = in_one_pass(
                _divided_sum, given, *tensors, absorbable=True, **options
            )
            # Apart from the others: few ask for it.
            lost = in_one_pass(_lost_of_sum, given, *tensors, **options)
            return Shares(shares, [lost])
        inputs = [later(x, relevance) for x in at.inputs]
        if self.rule.positive:
            inputs = [tf.nn.relu(x) for x in inputs]
        known = at.output.dtype == tf.float32 and not self.rule.positive
        output = later(at.output, relevance)
        if self.relu or not known:
            output = at.again(*inputs)
        share = in_one_pass(_over, given, output, **options)
        shares = [
            None if down is None else x * down
            for x, down in zip(
                inputs, pulled(at.again, inputs, share), strict=True
            )
        ]
        missing = _denominator(output, **options) - output
        if not self.homogeneous:
            missing += at.again(
                *(
                    tf.zeros_like(x) if signal else x
                    for x, signal in zip(inputs, at.signals, strict=True)
                )
            )
        return Shares(shares, [share * missing])

    def _read(self, at: Division) -> tuple[Sequence[tf.Tensor], int | None]:
        """What is read of a sum, and which input has to be found in it."""
        known = None
        if self.again is not None:
            known = sum_of(at.inputs[self.again])
        return (at.inputs, None) if known is None else (known, self.again)


def _summands(
    tensors: Sequence[tf.Tensor], positive: bool, again: int | None
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """What is added, and the sum: what relevance is divided by.

    Args:
        tensors: The inputs; or the sum and one of two inputs.
        positive: Whether only positive inputs count.
        again: Which of two inputs is to be found, if one is.
    """
    parts = list(tensors)
    if again is not None:
        # The sum as it was: added again it could be off by what the
        # difference is, which may be much of a small sum.
        total, other = tensors
        parts = [other, other]
        parts[again] = total - other
        if not positive:
            return parts, total
    if positive:
        parts = [tf.nn.relu(x) for x in parts]
    return parts, tf.add_n(parts)


def _divided_sum(
    relevance: tf.Tensor,
    *tensors: tf.Tensor,
    positive: bool,
    again: int | None,
    **options: Any,
) -> list[tf.Tensor]:
    parts, output = _summands(tensors, positive, again)
    share = _over(relevance, output, **options)
    return [x * share for x in parts]


def _lost_of_sum(
    relevance: tf.Tensor,
    *tensors: tf.Tensor,
    positive: bool,
    again: int | None,
    **options: Any,
) -> tf.Tensor:
    _, output = _summands(tensors, positive, again)
    missing = _denominator(output, **options) - output
    return _over(relevance, output, **options) * missing


def _over(relevance: tf.Tensor, output: tf.Tensor, **options: Any) -> tf.Tensor:
    return relevance / _denominator(output, **options)


def _denominator(output: tf.Tensor, epsilon: float, relu: bool) -> tf.Tensor:
    if relu:
        return tf.nn.relu(output) + epsilon
    return stabilized(output, epsilon)


def _sums_signals(place: Place) -> bool:
    """Whether a call is a sum or a mean of signals and of nothing else."""
    sums = place.call.kind in ("Add", "Subtract", "Average")
    return sums and len(place.signals) > 1 and all(place.signals)


def _not_held(place: Place) -> int | None:
    """Which of two summands nobody but the sum and its own rule reads."""
    call, graph = place.call, place.graph
    if len(call.arguments) != 2:
        return None
    for number, makers in enumerate(call.arguments):
        maker = next(iter(makers))
        if not call.direct[number] or maker == INPUT:
            continue
        made = graph.calls[maker]
        if graph.readers(made) == [call] and made.readers == 1:
            return number
    return None


_POOLINGS = ("AveragePool", "GlobalAverage", "AdaptiveAverage")


class _Moving(TensorRule):
    """For what only moves values: each has the relevance it is given.

    What goes to constants and to padding is lost.
    """

    reads = "transparent"

    def prepared(self, place: Place) -> Rule | None:
        if not place.call.leaf or place.call.linearity != "moving":
            return None
        return PlacedTensorRule(self, place.signals)

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        shares = at.pull(relevance)
        kept = [
            -share
            for share, signal in zip(shares, at.signals, strict=True)
            if signal and share is not None
        ]
        return Shares(shares, [relevance, *kept])


Moving = _Moving()


class Gate(TensorRule):
    """Everything to the signal, nothing to the gate it is multiplied with.

    The gate is the argument that comes from a sigmoid or a softmax, or that
    is the same all over the picture (squeeze and excitation); of two signals
    each gets the same. A product of a signal and a constant is the signal's.

    References:
        Arras et al., 2017. Explaining Recurrent Neural Network Predictions
        in Sentiment Analysis. https://arxiv.org/abs/1706.07206
        Achtibat et al., 2024. AttnLRP (the equal shares).
        https://arxiv.org/abs/2402.05602
    """

    reads = "transparent"

    def prepared(self, place: Place) -> Rule:
        gates = tuple(
            any(_is_gate(maker, place.graph) for maker in makers)
            for makers in place.call.arguments
        )
        return PlacedTensorRule(_PlacedGate(gates), place.signals)


@dataclasses.dataclass(frozen=True)
class _PlacedGate(TensorRule):
    gates: tuple[bool, ...]

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        shares = self._shares(at)
        given: list[Any] = []
        for x, share in zip(at.inputs, shares, strict=True):
            part = tf.cast(relevance, tf.float32) * share
            given.append(_summed_to(part, x) if share else None)
        return Shares(given)

    def _shares(self, at: Division) -> list[float]:
        signals = [k for k, signal in enumerate(at.signals) if signal]
        open_ = [k for k in signals if not self.gates[k]] or signals
        size = max(_static_size(at.inputs[k]) for k in open_)
        open_ = [k for k in open_ if _static_size(at.inputs[k]) == size]
        return [
            1.0 / len(open_) if k in open_ else 0.0
            for k in range(len(at.inputs))
        ]


_GATES = {
    "sigmoid", "Sigmoid", "hard_sigmoid", "HardSigmoid", "softmax", "Softmax",
}  # fmt: skip


def _is_gate(index: int, graph: Graph) -> bool:
    """Whether a value is a gate, handed on by moving or scaling it."""
    if index == INPUT:
        return False
    call = graph.calls[index]
    if call.kind in _GATES:
        return True
    passes = role_of(call) in ("moving", "affine", "rescaling")
    return passes and len(call.parents) == 1 and _is_gate(
        call.parents[0], graph
    )  # fmt: skip


def _static_size(x: tf.Tensor) -> int:
    """Number of values of a sample, an open axis counted as many."""
    size = 1
    for axis in x.shape[1:]:
        size *= 1 << 16 if axis is None else axis
    return size


def _summed_to(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Sums over the axes along which `like` was broadcast."""
    spread = tf.broadcast_to(like, tf.shape(values))
    return tf.gradients(spread, like, tf.cast(values, like.dtype))[0]
