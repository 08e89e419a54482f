"""The rules of layer-wise relevance propagation, as tables.

Each divides the relevance of a unit among its inputs; `x` is the input, `w`
and `b` are weights and bias, `z = w x + b`, and `+` and `-` are positive and
negative parts. Denominators are moved away from zero by `epsilon` with their
own sign.

References:
    Bach et al., 2015. On Pixel-Wise Explanations for Non-Linear Classifier
    Decisions by Layer-Wise Relevance Propagation.
    https://doi.org/10.1371/journal.pone.0130140
    Montavon et al., 2017. Explaining nonlinear classification decisions with
    deep Taylor decomposition. https://doi.org/10.1016/j.patcog.2016.11.008
    Montavon et al., 2019. Layer-Wise Relevance Propagation: An Overview.
    https://doi.org/10.1007/978-3-030-28954-6_10
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import checked_number
from keras_explain.engine.errors import message
from keras_explain.engine.linear_rule import LinearRule
from keras_explain.engine.relevance import checked_epsilon
from keras_explain.engine.terms import (
    Bound,
    Group,
    Term,
    negative,
    none,
    ones,
    positive,
    same,
)


def Epsilon(epsilon: float = 1e-6, *, zero_bias: bool = False) -> LinearRule:
    """In proportion to `w x`; what is due to the bias is lost to it.

    Args:
        epsilon: Stabilizer, positive. Larger values absorb weak relevance.
        zero_bias: Whether to leave the bias out of the denominator.
    """
    groups = (Group((Term(same, same, same),)),)
    return LinearRule("Epsilon", groups, checked_epsilon(epsilon), zero_bias)


def ZPlus(epsilon: float = 1e-6, *, zero_bias: bool = False) -> LinearRule:
    """In proportion to the positive part of `w x`.

    Negative inputs count with negative weights: `x+ w+` and `x- w-`.
    """
    rule = AlphaBeta(1.0, 0.0, epsilon=epsilon, zero_bias=zero_bias)
    return dataclasses.replace(rule, name="ZPlus")


_WEIGHTS_ADVICE = "Pass `alpha=2, beta=1` or `alpha=1, beta=0`."


def AlphaBeta(
    alpha: float = 2.0,
    beta: float = 1.0,
    *,
    epsilon: float = 1e-6,
    zero_bias: bool = False,
) -> LinearRule:
    """`alpha` times by what excites, less `beta` times by what inhibits.

    Args:
        alpha, beta: Weights, not negative; `alpha - beta` must be 1, so
            that relevance is conserved.
        epsilon: Stabilizer, positive.
        zero_bias: Whether to leave the bias out of the denominators.

    Raises:
        TypeError: If they are no numbers.
        ValueError: For other `alpha` and `beta`.
    """
    up = checked_number("alpha", alpha, _WEIGHTS_ADVICE)
    down = checked_number("beta", beta, _WEIGHTS_ADVICE)
    if not (up >= 0 and down >= 0 and abs(up - down - 1) <= 1e-6):
        raise ValueError(
            message(
                "AlphaBeta conserves relevance only with alpha - beta = 1, "
                "neither of them negative.",
                f"alpha={alpha}, beta={beta}",
                _WEIGHTS_ADVICE,
            )
        )
    groups = [Group(EXCITING, up)]
    if down:
        groups.append(Group(INHIBITING, -down))
    return LinearRule(
        "AlphaBeta",
        tuple(groups),
        checked_epsilon(epsilon),
        zero_bias,
        composed=bool(down) and not zero_bias,
    )


# What raises a unit and what lowers it; together they are the unit.
EXCITING = (Term(positive, positive, positive), Term(negative, negative))
INHIBITING = (Term(positive, negative, negative), Term(negative, positive))


@dataclasses.dataclass(frozen=True)
class _Leaning:
    """The weights with those of one sign made `gamma` times stronger."""

    gamma: float
    part: Any

    def __call__(self, weights: tf.Tensor) -> tf.Tensor:
        return weights + self.gamma * self.part(weights)


_GAMMA_ADVICE = "Pass a number of at least 0; 0.25 is usual."


def Gamma(
    gamma: float = 0.25, *, epsilon: float = 1e-6, zero_bias: bool = False
) -> LinearRule:
    """In proportion to `w x` with what speaks for the output made stronger.

    In the generalized form, for inputs and outputs of any sign: of a
    positive output positive contributions count `1 + gamma` times, of a
    negative one negative contributions. With large `gamma` it is `ZPlus`,
    with zero `Epsilon`. An output of exactly zero passes nothing.

    Args:
        gamma: How much stronger, not negative.
        epsilon: Stabilizer, positive.
        zero_bias: Whether to leave the bias out of the denominator.
    """
    strength = checked_number("gamma", gamma, _GAMMA_ADVICE)
    if not 0 <= strength < np.inf:
        raise ValueError(
            message(
                "Gamma strengthens contributions.",
                f"gamma={gamma}",
                _GAMMA_ADVICE,
            )
        )
    up, down = _Leaning(strength, positive), _Leaning(strength, negative)
    for_positive = (Term(positive, up, up), Term(negative, down))
    for_negative = (Term(positive, down, down), Term(negative, up))
    groups = (Group(for_positive, gate=1), Group(for_negative, gate=-1))
    return LinearRule("Gamma", groups, checked_epsilon(epsilon), zero_bias)


def ZBox(
    low: Any = None,
    high: Any = None,
    *,
    epsilon: float = 1e-6,
    zero_bias: bool = False,
) -> LinearRule:
    """For the first layer on values known to lie in a box, such as pixels.

    In proportion to `w x - w+ low - w- high`.

    Args:
        low, high: Bounds of the layer's input: numbers, or arrays that
            broadcast to it (one value for each channel). `None` leaves them
            to the explainer, which knows those of the model's inputs.
        epsilon: Stabilizer, positive.
        zero_bias: Whether to leave the bias out of the denominator.

    Raises:
        TypeError: If bounds are no numbers.
        ValueError: If one of them is missing or not finite, or a lower bound
            is not below its upper bound.
    """
    check_box(low, high)
    terms = (
        Term(same, same, same),
        Term(Bound(low), positive, positive, -1.0),
        Term(Bound(high, upper=True), negative, negative, -1.0),
    )
    return LinearRule(
        "ZBox", (Group(terms),), checked_epsilon(epsilon), zero_bias
    )


_BOX_ADVICE = (
    "Pass the smallest and the largest value the inputs can have: `low=0, "
    "high=255`."
)


def check_box(low: Any, high: Any) -> None:
    """Raises `ValueError` if bounds are no box, `TypeError` if no numbers."""
    if low is None and high is None:
        return
    if low is None or high is None:
        raise ValueError(
            message(
                "A box has two sides.",
                f"low={low}, high={high}",
                "Pass both bounds, or neither.",
            )
        )
    for bound in (low, high):
        if tf.is_tensor(bound) and not hasattr(bound, "numpy"):
            return  # inside a `tf.function`, where its values are not known
    sides = [np.asarray(low), np.asarray(high)]
    if any(side.dtype.kind not in "iuf" for side in sides):
        raise TypeError(
            message(
                "The bounds of the z-B rule are numbers.",
                f"low={low!r}, high={high!r}",
                _BOX_ADVICE,
            )
        )
    try:
        below = sides[0] < sides[1]
    except ValueError as error:
        shapes = f"low of shape {sides[0].shape}, high of shape "
        raise ValueError(
            message(
                "The bounds of the z-B rule do not fit each other.",
                f"{shapes}{sides[1].shape}",
                "Pass numbers, or one value for each channel.",
            )
        ) from error
    if not np.all(np.isfinite(sides[0])) or not np.all(np.isfinite(sides[1])):
        raise ValueError(
            message(
                "The bounds of the z-B rule must be finite.",
                f"low={low}, high={high}",
                "Without bounds use `WSquare` or `Flat` for the first layer.",
            )
        )
    if not np.all(below):
        raise ValueError(
            message(
                "Each lower bound of the z-B rule must be below its upper "
                "bound.",
                f"low={low}, high={high}",
                _BOX_ADVICE,
            )
        )


def WSquare(epsilon: float = 1e-6, *, zero_bias: bool = False) -> LinearRule:
    """In proportion to the squared weights, whatever the input.

    For the first layer on unbounded inputs.
    """
    groups = (Group((Term(ones, tf.square, tf.square),)),)
    return LinearRule("WSquare", groups, checked_epsilon(epsilon), zero_bias)


def Flat(epsilon: float = 1e-6) -> LinearRule:
    """The same to every input in reach. For the first layer."""
    groups = (Group((Term(ones, ones, none),)),)
    return LinearRule("Flat", groups, checked_epsilon(epsilon), zero_bias=True)
