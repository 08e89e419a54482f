"""Rules for the ReLU family: what passes down through the gate."""

from __future__ import annotations

import tensorflow as tf

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

Pass = ActivationRule("pass", lambda upstream, x, gradient: upstream)


def BetaSmooth(beta: float = 10.0) -> ActivationRule:
    """The gradient of a softplus of sharpness `beta` in place of the step.

    References:
        Dombrowski et al., 2019. Explanations can be manipulated and
        geometry is to blame. https://arxiv.org/abs/1906.07983
    """
    return ActivationRule(
        "beta_smooth",
        lambda upstream, x, gradient: upstream * tf.nn.sigmoid(beta * x),
    )
