"""Composites: which rule for which part of a network, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_explain.engine.composites import (
    Composite,
    Selector,
    first,
    role,
)
from keras_explain.engine.errors import message, near
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.linear import is_convolution
from keras_explain.engine.rules import Rule
from keras_explain.rules.attention import Attention, Bilinear, Softmax
from keras_explain.rules.lrp import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZBox,
    ZPlus,
)
from keras_explain.rules.merging import Gate, Moving, Norm
from keras_explain.rules.normalization import Normalization
from keras_explain.rules.recurrent import SignalTakesAll
from keras_explain.rules.registry import Registered, is_registered
from keras_explain.rules.relu import Pass
from keras_explain.rules.winner import Winner


def linear(call: Call, graph: Graph) -> bool:
    """Selects layers with a kernel."""
    return role("linear")(call, graph)


def convolution(call: Call, graph: Graph) -> bool:
    """Selects convolutions of every kind."""
    return is_convolution(call.operation)


def relevance_composite(
    *entries: tuple[Selector, Rule | None],
    epsilon: float = 1e-6,
    attention: str = "cp_lrp",
) -> Composite:
    """Returns a composite with rules for all that has no kernel.

    Sums and means are divided in proportion (`Norm`), maxima go to the
    winner, gates get nothing, nonlinearities and rescalings hand relevance
    on, normalizations keep their scale, recurrent layers pass it by their
    signal.

    Args:
        entries: Pairs of a selector and a rule, first match first; at least
            one for the layers with a kernel. They go before all others.
        epsilon: Stabilizer of the others.
        attention: `"cp_lrp"` or `"attn_lrp"`, see `rules.attention`.

    Example:

    >>> from keras_explain import rules
    >>> composite = rules.relevance_composite(
    ...     (rules.first(rules.linear), rules.WSquare()),
    ...     (rules.linear, rules.Gamma(0.1)),
    ... )
    >>> keras_explain.LRP(model, composite=composite)(images).shape
    TensorShape([2, 8, 8, 3])
    """
    rest: tuple[tuple[Selector, Any], ...] = (
        (role("affine"), Norm(epsilon)),
        (role("winner"), Winner),
        (role("product"), Gate()),
        (role("activation", "rescaling", "batch_normalization"), Pass),
        (role("normalization"), Normalization(epsilon)),
        (role("softmax"), Softmax(attention)),
        (role("bilinear"), Bilinear(attention, epsilon)),
        (role("attention"), Attention(attention, epsilon)),
        (role("recurrent"), SignalTakesAll(epsilon)),
        (role("moving"), Moving),
    )
    return Composite(((is_registered, Registered), *entries, *rest), folds=True)


def epsilon(bounded: bool = False) -> Composite:
    """`Epsilon` everywhere: input x gradient on a ReLU network."""
    return relevance_composite(
        (linear, Epsilon()), (role("batch_normalization"), Norm())
    )


def epsilon_plus(bounded: bool = False) -> Composite:
    """`ZPlus` for convolutions, `Epsilon` for dense layers."""
    return relevance_composite((convolution, ZPlus()), (linear, Epsilon()))


def epsilon_plus_flat(bounded: bool = False) -> Composite:
    """`epsilon_plus` with `Flat` for the first layer."""
    return relevance_composite(
        (first(linear), Flat()), (convolution, ZPlus()), (linear, Epsilon())
    )


def epsilon_alpha2_beta1(bounded: bool = False) -> Composite:
    """`AlphaBeta(2, 1)` for convolutions, `Epsilon` for dense layers."""
    return relevance_composite(
        (convolution, AlphaBeta(2, 1)), (linear, Epsilon())
    )


def epsilon_alpha2_beta1_flat(bounded: bool = False) -> Composite:
    """`epsilon_alpha2_beta1` with `Flat` for the first layer."""
    return relevance_composite(
        (first(linear), Flat()),
        (convolution, AlphaBeta(2, 1)),
        (linear, Epsilon()),
    )


def epsilon_gamma_box(bounded: bool = False) -> Composite:
    """`ZBox` first, `Gamma` for convolutions, `Epsilon` for dense layers."""
    return relevance_composite(
        (first(linear), ZBox()),
        (convolution, Gamma(0.25)),
        (linear, Epsilon()),
    )


def alpha1_beta0(bounded: bool = False) -> Composite:
    """`AlphaBeta(1, 0)` everywhere."""
    return relevance_composite((linear, AlphaBeta(1, 0)))


def alpha2_beta1(bounded: bool = False) -> Composite:
    """`AlphaBeta(2, 1)` everywhere."""
    return relevance_composite((linear, AlphaBeta(2, 1)))


def z_plus(bounded: bool = False) -> Composite:
    """`ZPlus` without biases everywhere."""
    return relevance_composite((linear, ZPlus(zero_bias=True)))


def deep_taylor(bounded: bool = False) -> Composite:
    """`ZPlus` inside; `ZBox` first on bounded inputs, else `WSquare`."""
    start = ZBox(zero_bias=True) if bounded else WSquare(zero_bias=True)
    return relevance_composite(
        (first(linear), start),
        (linear, ZPlus(zero_bias=True)),
        (role("affine"), Norm(positive=True)),
    )


NAMED: dict[str, Callable[..., Composite]] = {
    made.__name__: made
    for made in (
        epsilon,
        epsilon_plus,
        epsilon_plus_flat,
        epsilon_alpha2_beta1,
        epsilon_alpha2_beta1_flat,
        epsilon_gamma_box,
        alpha1_beta0,
        alpha2_beta1,
        z_plus,
        deep_taylor,
    )
}


def as_composite(
    composite: str | Composite, bounded: bool = False
) -> Composite:
    """Returns a composite for its name.

    Args:
        composite: A name, or a composite, which is handed back.
        bounded: Whether bounds of the inputs are known.

    Raises:
        ValueError: If there is none of the name.
        TypeError: If it is neither a name nor a composite.
    """
    if isinstance(composite, Composite):
        return composite
    if not isinstance(composite, str):
        raise TypeError(
            message(
                "A composite is a name or a `keras_explain.rules.Composite`.",
                repr(composite),
                f"Names: {', '.join(map(repr, NAMED))}.",
            )
        )
    if composite not in NAMED:
        raise ValueError(
            message(
                "There is no composite of this name.",
                f"composite={composite!r}",
                f"Near names: {near(composite, NAMED)}.",
            )
        )
    return NAMED[composite](bounded)
