"""The rules of DeepLIFT: how multipliers pass what is not affine.

References:
    Shrikumar, Greenside, Kundaje, 2017. Learning Important Features Through
    Propagating Activation Differences. https://arxiv.org/abs/1704.02685
    Lundberg, Lee, 2017. A Unified Approach to Interpreting Model
    Predictions. https://arxiv.org/abs/1705.07874
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.composites import Composite, Selector, kinds, role
from keras_explain.engine.folding import is_plain_relu
from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.linear_rule import LinearRule
from keras_explain.engine.relevance import later
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import (
    ActivationRule,
    Place,
    Rule,
    TensorRule,
)
from keras_explain.rules import registry
from keras_explain.rules.differences import (
    DifferenceRule,
    Held,
    Step,
    averaged_gradient,
    held,
    spread,
)
from keras_explain.rules.merging import Moving, Norm
from keras_explain.rules.plain_gradient import PlainGradient, QuickGradient
from keras_explain.rules.softmax_differences import (
    AttentionDifference,
    NormalizationDifference,
    SoftmaxDifference,
)
from keras_explain.rules.winner_differences import WinnerDifference

# Nonlinearities with a bounded third derivative: where the difference of the
# inputs is small, the slope in the middle is better than a quotient of
# rounded numbers.
_SMOOTH = {
    "Gelu", "gelu", "Silu", "silu", "swish", "Sigmoid", "sigmoid", "Tanh",
    "tanh", "Softplus", "softplus", "Softsign", "softsign", "Mish", "mish",
    "LogSigmoid", "log_sigmoid", "SquarePlus", "squareplus", "TanhShrink",
    "tanh_shrink",
}  # fmt: skip
_NEAR = 3e-3
# Activations whose output is not of the shape of their input.
_NOT_ELEMENTWISE = {"Glu", "glu"}
# Functions of `keras.ops` that act on each value alone.
_ELEMENTWISE = (
    "Abs", "Absolute", "Arctan", "Clip", "Cos", "Erf", "Exp", "Expm1", "Log",
    "Log10", "Log1p", "Log2", "Masking", "Reciprocal", "Rsqrt", "Sin", "Sinh",
    "Cosh", "Sqrt", "Square", "ReLU6",
)  # fmt: skip
_NODES = 16
# Next to nothing, and yet a divisor.
_TINY = 1e-37


@dataclasses.dataclass(frozen=True)
class _Rescale(DifferenceRule):
    """`m (y - y0) / (x - r)`, for what acts on each value alone.

    Where input and reference are equal it is the gradient.

    Args:
        near: Differences up to here count as none, and the gradient is that
            in the middle.
    """

    near: float = 0.0

    def prepared(self, place: Place) -> Held:
        kind = place.call.kind
        if kind in _NOT_ELEMENTWISE:
            return AveragedGradient().prepared(place)
        rule: DifferenceRule = _Rescale(_NEAR) if kind in _SMOOTH else self
        if is_plain_relu(place.call):
            rule = _RescaleReLU()
        return held(rule, place)

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        x, r = step.inputs[0], step.references[0]
        difference = x - r
        quotient = (step.output - step.reference) / difference
        if self.near:
            middle = (x + r) / 2
            output = step.at.again(middle, *step.inputs[1:])
            plain = tf.gradients(output, middle, upstream)[0]
            far = tf.abs(difference) > self.near
        else:
            given = tf.cast(upstream, step.at.output.dtype)
            plain = tf.gradients(step.at.output, step.at.inputs[0], given)[0]
            plain = tf.cast(plain, tf.float32)
            far = tf.not_equal(difference, 0.0)
        found = tf.where(far, upstream * quotient, plain)
        return [found, *[None] * (len(step.inputs) - 1)]


Rescale = _Rescale()


class _RescaleReLU(DifferenceRule):
    """`Rescale` of `max(x, 0)`, in few steps and without a difference.

    With positive parts in the numerator, and both parts in the denominator,
    it is 1 where both are positive, 0 where none is, and else the part of
    the way that lies above zero. Where both are zero it is 0, as TensorFlow
    has the gradient there.
    """

    early = True
    reads_output = False  # ReLUs are cheaper to compute again than to read

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        x, r = step.inputs[0], step.references[0]
        if step.kept.shared:
            # Absorbing nothing it holds less.
            return [
                in_one_pass(
                    _rescaled, upstream, x, r, absorbing=False, long=True
                )
            ]
        # Not before both runs are there, lest something is held for it.
        x = later(x, r)
        slope = in_one_pass(_slope, x, r, absorbing=False, long=True)
        return [upstream * slope]


def _slope(x: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    return (tf.nn.relu(x) + tf.nn.relu(r)) / (tf.abs(x) + (tf.abs(r) + _TINY))


def _rescaled(upstream: tf.Tensor, x: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    return upstream * _slope(x, r)


@dataclasses.dataclass(frozen=True)
class AveragedGradient(DifferenceRule):
    """The gradient averaged between reference and input (Aumann, Shapley).

    For smooth functions of any kind. Of a product of `n` signals it is
    exact with `n / 2` points, and of two signals it is the average over both
    orders; else contributions are complete up to the quadrature.

    Args:
        num_nodes: Number of points; `None` for a product of its arguments.
    """

    num_nodes: int | None = _NODES

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        signals = step.at.signals
        nodes = self.num_nodes or max(1, (sum(signals) + 1) // 2)
        ends = [
            (x, spread(r, x) if signal else x)
            for x, r, signal in zip(
                step.inputs, step.references, signals, strict=True
            )
        ]
        return averaged_gradient(step.at.again, ends, upstream, nodes)


class _Bilinear(DifferenceRule):
    """A product of signals, exactly."""

    def prepared(self, place: Place) -> Held:
        # A normalized scalar product is no polynomial.
        cosine = getattr(place.call.operation, "normalize", False)
        return AveragedGradient(_NODES if cosine else None).prepared(place)


class _Quotient(DifferenceRule):
    """`a / b`, as the product of `a` and `1 / b`."""

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        if len(step.inputs) < 2:  # of a number
            return Rescale.multiply(step, upstream)
        (a, b), (a0, b0) = step.inputs, step.references
        to_a = upstream * (1 / b + 1 / b0) / 2
        to_b = -upstream * (a + a0) / (2 * b * b0)
        return [
            tf.gradients(spread(x, given), x, given)[0]
            for x, given in ((a, to_a), (b, to_b))
        ]


class _Registered(DifferenceRule):
    """Stands for the rule that was registered for a layer.

    `Pass` says that the layer acts on each value alone, and a rule for
    kernels or `Norm` that it is affine. Other rules of relevance become the
    averaged gradient; what is none is used as it is.
    """

    def prepared(self, place: Place) -> Any:
        rule: Any = registry.found(place.call.operation)
        if isinstance(rule, LinearRule):
            return PlainGradient(place.call.operation, splits=True)
        if isinstance(rule, Norm) or rule is Moving:
            return PlainGradient(place.call.operation)
        if isinstance(rule, ActivationRule):
            return Rescale.prepared(place)
        if isinstance(rule, TensorRule):
            return AveragedGradient().prepared(place)
        return rule.prepared(place)


def difference_composite(*entries: tuple[Selector, Rule | None]) -> Composite:
    """Returns a composite with rules for all that is not affine.

    Of what is, convolutions have one that is quicker than TensorFlow's.

    Args:
        entries: Pairs of a selector and a rule that go before the others.
    """
    rest: tuple[tuple[Selector, Any], ...] = (
        (role("activation"), Rescale),
        (kinds(*_ELEMENTWISE), Rescale),
        (_with_a_number, Rescale),
        (role("winner"), WinnerDifference()),
        (role("product", "bilinear"), _Bilinear()),
        (_quotient, _Quotient()),
        (role("softmax"), SoftmaxDifference()),
        (role("normalization"), NormalizationDifference()),
        (role("attention"), AttentionDifference()),
        (role("recurrent"), AveragedGradient()),
        (role("linear"), QuickGradient()),
    )
    return Composite(((registry.is_registered, _Registered()), *entries, *rest))


def _with_a_number(call: Call, graph: Graph) -> bool:
    """Selects the larger of a signal and a number."""
    return call.kind == "Maximum" and len(call.arguments) == 1


def _quotient(call: Call, graph: Graph) -> bool:
    names = ("Divide", "TrueDivide")
    return call.kind in names and call.linearity == "nonlinear"


_AFFINE_ROLES = {
    "affine", "batch_normalization", "head", "inside", "linear", "moving",
    "rescaling",
}  # fmt: skip


def is_affine(call: Call) -> bool:
    """Whether multipliers pass a call rightly by its plain gradient."""
    # A grouped convolution is a compiled function of its own in TensorFlow,
    # which cannot be looked into: the class says that it is affine.
    if role_of(call) in _AFFINE_ROLES:
        return True
    return call.linearity != "nonlinear" and not isinstance(
        call.operation, keras.layers.RNN
    )
