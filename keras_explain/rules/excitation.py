"""Excitation backprop: relevance as the probability of a walk.

A walker at a unit steps to one of its inputs with the probability of what
that input adds to the unit's excitation, `x w+`; inhibition and biases do not
count. The marginal winning probability of a unit is how likely it is passed.

References:
    Zhang et al., 2016. Top-down Neural Attention by Excitation Backprop.
    https://arxiv.org/abs/1608.00507
"""

from __future__ import annotations

from typing import Any

from keras_explain.engine.composites import Composite, Selector, last, role
from keras_explain.engine.linear_rule import LinearRule
from keras_explain.engine.terms import Group
from keras_explain.rules.attention import Attention
from keras_explain.rules.lrp import EXCITING, INHIBITING, ZPlus
from keras_explain.rules.merging import Gate, Moving, Norm
from keras_explain.rules.recipes import linear
from keras_explain.rules.registry import Registered, is_registered
from keras_explain.rules.relu import Pass
from keras_explain.rules.winner import Winner

# Probabilities may be divided among units of very small activation.
_EPSILON = 1e-12

Excitation = ZPlus(_EPSILON, zero_bias=True)

# From a layer with its weights less the same with its weights negated.
Contrast = LinearRule(
    "Contrast",
    (Group(EXCITING, 1.0), Group(INHIBITING, -1.0)),
    _EPSILON,
    zero_bias=True,
)


def excitation(contrastive: bool = False) -> Composite:
    """The winning probability of each unit.

    Args:
        contrastive: Whether it is less that of the same network with the
            weights of its last layers negated.
    """
    final = ((last(linear), Contrast),) if contrastive else ()
    entries: tuple[tuple[Selector, Any], ...] = (
        (is_registered, Registered),
        *final,
        (linear, Excitation),
        (role("affine"), Norm(_EPSILON, positive=True)),
        (role("winner"), Winner),
        (role("product"), Gate()),
        (role("activation", "rescaling", "batch_normalization"), Pass),
        (role("normalization"), Pass),
        (role("attention"), Attention("cp_lrp", _EPSILON, positive=True)),
        (role("moving"), Moving),
    )
    return Composite(entries, folds=True)
