"""Rules for the ReLU family: what passes down through the gate."""

from __future__ import annotations

import math

import tensorflow as tf

from keras_explain.engine.checks import checked_number
from keras_explain.engine.errors import message
from keras_explain.engine.rules import ActivationRule

# Springenberg et al., 2015. Striving for Simplicity.
# https://arxiv.org/abs/1412.6806
GuidedReLU = ActivationRule(
    "guided", lambda upstream, x, gradient: gradient(tf.nn.relu(upstream))
)

# Zeiler and Fergus, 2014. Visualizing and Understanding Convolutional
# Networks. https://arxiv.org/abs/1311.2901
DeconvNet = ActivationRule(
    "deconvnet", lambda upstream, x, gradient: tf.nn.relu(upstream)
)

Pass = ActivationRule(
    "pass", lambda upstream, x, gradient: upstream, whole=True
)


_BETA_ADVICE = "Pass such as 10; the larger, the nearer to a ReLU."


def BetaSmooth(beta: float = 10.0) -> ActivationRule:
    """The gradient of a softplus of sharpness `beta` in place of the step.

    Args:
        beta: Sharpness, above zero; the larger, the nearer to a ReLU.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not positive, or not finite.

    References:
        Dombrowski et al., 2019. Explanations can be manipulated and
        geometry is to blame. https://arxiv.org/abs/1906.07983
    """
    sharpness = checked_number("beta", beta, _BETA_ADVICE)
    if not 0 < sharpness < math.inf:
        raise ValueError(
            message(
                "BetaSmooth takes the sharpness of a softplus, above zero.",
                f"beta={beta}",
                _BETA_ADVICE,
            )
        )
    return ActivationRule(
        "beta_smooth",
        lambda upstream, x, gradient: upstream * tf.nn.sigmoid(sharpness * x),
    )
