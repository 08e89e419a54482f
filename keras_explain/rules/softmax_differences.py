"""Exact multipliers of softmax, of attention and of normalizations.

Each is taken apart into steps whose multipliers are exact: sums, products of
two, for which both orders are averaged, and functions of one value, which
are rescaled. Nothing is divided by a difference that may vanish.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.rules import Place
from keras_explain.rules.attention import attention_parts, core_of
from keras_explain.rules.differences import (
    DifferenceRule,
    Held,
    Step,
    averaged_gradient,
    held,
    spread,
)

_NODES = 16


def exponential_slope(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns `(exp(a) - exp(b)) / (a - b)`, without its cancellation."""
    away = tf.abs(a - b)
    falls = -tf.math.expm1(-away) / away
    return tf.exp(tf.maximum(a, b)) * tf.where(
        away > 0, falls, tf.ones_like(away)
    )


def log_sum_exp_shares(s: tf.Tensor, s0: tf.Tensor, axis: Any) -> tf.Tensor:
    """Multipliers of `log(sum(exp(s)))`: of exponential, sum and logarithm.

    Args:
        s, s0: Values on the input and on the reference.
        axis: What is summed over.
    """
    top = tf.maximum(
        tf.reduce_max(s, axis, keepdims=True),
        tf.reduce_max(s0, axis, keepdims=True),
    )
    s, s0 = s - top, s0 - top
    e, e0 = tf.exp(s), tf.exp(s0)
    total = tf.reduce_sum(e, axis, keepdims=True)
    before = tf.reduce_sum(e0, axis, keepdims=True)
    larger = tf.maximum(total, before)  # at least 1
    change = tf.abs(tf.reduce_sum(e - e0, axis, keepdims=True))
    part = tf.minimum(change / larger, 1.0)
    # The smaller sum may have underflown, but its logarithm has not.
    log = tf.abs(
        tf.reduce_logsumexp(s, axis, keepdims=True)
        - tf.reduce_logsumexp(s0, axis, keepdims=True)
    )
    near = -tf.math.log1p(-tf.minimum(part, 0.5))
    slope = tf.where(
        part > 0, tf.where(part < 0.5, near, log) / part, tf.ones_like(part)
    )
    return exponential_slope(s, s0) * (slope / larger)


def softmax_multipliers(
    s: tf.Tensor, s0: tf.Tensor, upstream: tf.Tensor, axis: Any = -1
) -> tf.Tensor:
    """Multipliers of the input of a softmax, `exp(s - log(sum(exp(s))))`.

    Args:
        s, s0: Its input in both runs; minus infinity where it is masked.
        upstream: The multipliers of its output.
        axis: Over which it sums to one.
    """
    u = s - tf.reduce_logsumexp(s, axis, keepdims=True)
    u0 = s0 - tf.reduce_logsumexp(s0, axis, keepdims=True)
    given = upstream * exponential_slope(u, u0)
    total = tf.reduce_sum(given, axis, keepdims=True)
    return given - total * log_sum_exp_shares(s, s0, axis)


def masked(
    s: tf.Tensor, weights: tf.Tensor, before: tf.Tensor, axis: Any = -1
) -> tf.Tensor:
    """Returns the input of a softmax with nothing where it gives nothing."""
    gone = (weights == 0) & (before == 0)
    # Where all is masked, weights that are no softmax hand nothing on.
    gone &= ~tf.reduce_all(gone, axis, keepdims=True)
    return tf.where(gone, tf.constant(-float("inf"), s.dtype), s)


class SoftmaxDifference(DifferenceRule):
    """A softmax inside the network."""

    def prepared(self, place: Place) -> Held:
        axis = getattr(place.call.operation, "axis", -1)
        axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        rule = _PlacedSoftmax(axis)
        return held(rule, place)


@dataclasses.dataclass(frozen=True)
class _PlacedSoftmax(DifferenceRule):
    axis: Any

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        s, s0 = step.inputs[0], spread(step.references[0], step.inputs[0])
        s, s0 = (
            masked(t, step.output, step.reference, self.axis) for t in (s, s0)
        )
        found = softmax_multipliers(s, s0, upstream, self.axis)
        return [found, *[None] * (len(step.inputs) - 1)]


class AttentionDifference(DifferenceRule):
    """All that attention does between its projections.

    Both products are averaged over their orders; the softmax is exact.
    Additive attention is smooth, and gets the averaged gradient.
    """

    def prepared(self, place: Place) -> Held:
        operation = place.call.operation
        added = place.call.kind == "AdditiveAttention" or (
            getattr(operation, "score_mode", "dot") != "dot"
        )
        rule = _Smooth() if added else _PlacedAttention(core_of(place.call))
        return held(rule, place)


class _Smooth(DifferenceRule):
    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        ends = [
            (x, spread(r, x))
            for x, r in zip(step.inputs, step.references, strict=True)
        ]
        return averaged_gradient(step.at.again, ends, upstream, _NODES)


@dataclasses.dataclass(frozen=True)
class _PlacedAttention(DifferenceRule):
    core: Any

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        at = step.at  # in its number format: layers inside cast to theirs
        references = [
            tf.cast(spread(r, x), given.dtype)
            for r, x, given in zip(
                step.references, step.inputs, at.inputs, strict=True
            )
        ]
        parts = attention_parts(at, self.core)
        before = attention_parts(at._replace(inputs=references), self.core)
        s, w, y = parts.opened()
        s0, w0, y0 = before.opened()
        # A product is linear in each factor: the mean of the gradients at
        # both ends is that of the mean factor.
        given = tf.cast(upstream / 2, y.dtype)
        # Weights are cut off: the values may be the keys as well.
        to_v, to_w = _sum(
            tf.gradients(y, [parts.value, w], given, stop_gradients=[w]),
            tf.gradients(y0, [before.value, w0], given, stop_gradients=[w0]),
        )
        to_s = softmax_multipliers(
            masked(_float(s), w, w0), masked(_float(s0), w, w0), _float(to_w)
        )
        given = tf.cast(to_s / 2, s.dtype)
        to_q, to_k = _sum(
            tf.gradients(s, [parts.query, parts.key], given),
            tf.gradients(s0, [before.query, before.key], given),
        )
        return parts.placed(at, query=to_q, key=to_k, value=to_v)


def _float(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def _sum(first: list, second: list) -> list[tf.Tensor]:
    return [a + b for a, b in zip(first, second, strict=True)]


class NormalizationDifference(DifferenceRule):
    """A layer, group, RMS or unit normalization.

    What is centered is linear, the squares and their inverse root are
    functions of one value, and the product of both is averaged over its
    orders.
    """

    def prepared(self, place: Place) -> Held:
        layer = place.call.operation
        known = len(place.signals) == 1 and place.call.kind in (
            "LayerNormalization", "RMSNormalization", "GroupNormalization",
            "UnitNormalization",
        )  # fmt: skip
        rule = _PlacedNormalization(layer) if known else _Smooth()
        return held(rule, place)


@dataclasses.dataclass(frozen=True)
class _PlacedNormalization(DifferenceRule):
    layer: Any

    def multiply(self, step: Step, upstream: tf.Tensor) -> list[Any]:
        (x,), (r,) = step.inputs, step.references
        form = _form(self.layer, x)
        gamma = _gamma(self.layer, x.shape.rank, form.over)
        given = upstream if gamma is None else upstream * gamma
        given = form.split(given)
        a, a0 = form.split(x), form.split(spread(r, x))
        c, c0 = form.center(a), form.center(a0)
        if form.centers:
            a, a0 = c, c0
        q, q0 = form.square(c), form.square(c0)
        sigma, sigma0 = tf.math.rsqrt(q), tf.math.rsqrt(q0)
        to_scale = tf.reduce_sum(given * (a + a0) / 2, form.axes, keepdims=True)
        # (sigma - sigma0) / (q - q0), without a difference.
        to_square = -to_scale * (sigma * sigma0) ** 2 / (sigma + sigma0)
        to_square *= form.weight(c, c0)
        # (c^2 - c0^2) / (c - c0) is the sum.
        from_scale = to_square * (c + c0)
        direct = given * (sigma + sigma0) / 2
        if form.centers:
            found = form.center(direct + from_scale)
        else:
            found = direct + form.center(from_scale)
        return [tf.reshape(found, tf.shape(x))]


class _Form(NamedTuple):
    """What a normalization is made of.

    Attributes:
        shape: That in which groups are an axis, or `None`.
        axes: Over which it takes its statistics.
        over: Axes of its weights, in the shape of the input.
        deviates: Whether the mean is taken off for the statistics.
        centers: Whether it is taken off the signal as well.
        sums: Whether squares are summed, in place of a mean.
        epsilon: Added to the mean, or the least sum.
    """

    shape: tf.Tensor | None
    axes: list[int]
    over: list[int]
    deviates: bool
    centers: bool
    sums: bool
    epsilon: float

    def split(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.shape is None else tf.reshape(x, self.shape)

    def center(self, x: tf.Tensor) -> tf.Tensor:
        if not self.deviates:
            return x
        return x - tf.reduce_mean(x, self.axes, keepdims=True)

    def square(self, c: tf.Tensor) -> tf.Tensor:
        if self.sums:
            return tf.maximum(self._sum(c), self.epsilon)
        return tf.reduce_mean(c * c, self.axes, keepdims=True) + self.epsilon

    def weight(self, c: tf.Tensor, c0: tf.Tensor) -> tf.Tensor:
        """What a squared value counts in `square`."""
        if self.sums:
            sums, before = self._sum(c), self._sum(c0)
            rise = self.square(c) - self.square(c0)
            quotient = rise / (sums - before)
            open_ = tf.cast(sums > self.epsilon, c.dtype)
            return tf.where(sums != before, quotient, open_)
        number = tf.size(c) // tf.size(tf.reduce_sum(c, self.axes))
        return 1 / tf.cast(number, c.dtype)

    def _sum(self, c: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(c * c, self.axes, keepdims=True)


def _form(layer: Any, x: tf.Tensor) -> _Form:
    rank, kind = x.shape.rank, type(layer).__name__
    axis = getattr(layer, "axis", -1)
    listed = axis if isinstance(axis, (list, tuple)) else [axis]
    over = [a % rank for a in listed]
    if kind == "GroupNormalization":
        (axis,) = over
        shape, size = tf.shape(x), x.shape[axis] // layer.groups
        split = [shape[:axis], [layer.groups, size], shape[axis + 1 :]]
        axes = [k for k in range(1, rank + 1) if k != axis]
        return _Form(
            tf.concat(split, 0), axes, over, True, True, False, layer.epsilon
        )
    if kind == "UnitNormalization":
        return _Form(None, over, over, False, False, True, 1e-12)
    deviates = kind == "LayerNormalization"
    # The scale of `rms_scaling` is that of the deviations all the same.
    centers = deviates and not getattr(layer, "rms_scaling", False)
    return _Form(None, over, over, deviates, centers, False, layer.epsilon)


def _gamma(layer: Any, rank: int, over: list[int]) -> tf.Tensor | None:
    """The weights that scale the output, as they broadcast to it."""
    gamma = getattr(layer, "gamma", None)
    if gamma is None:
        gamma = getattr(layer, "scale", None)
    if gamma is None or isinstance(gamma, bool):
        return None
    gamma = tf.cast(tf.convert_to_tensor(gamma), tf.float32)
    shape = [1] * rank
    for axis, size in zip(sorted(over), gamma.shape, strict=True):
        shape[axis] = size
    return tf.reshape(gamma, shape)
