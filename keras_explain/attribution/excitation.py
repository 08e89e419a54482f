"""Excitation backprop: where a winning unit's excitation comes from."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_explain.attribution.relevance import RelevanceExplainer
from keras_explain.engine.catalogue import register
from keras_explain.engine.composites import Composite
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import ScoreFunction
from keras_explain.rules.excitation import excitation


@register(
    "excitation_backprop",
    family="relevance",
    title="Excitation backprop",
    paper="Zhang et al., 2016",
    cost="1.5 gradients",
    needs="kernels, no recurrence",
)
class ExcitationBackprop(RelevanceExplainer):
    """The probability that a walk from the class ends at each value.

    Use it to point at objects, best at a layer in the middle of the network
    (`layer="block4_pool"`), summed over its channels: a map without sign
    that is smooth by nature. All classes look much the same where they share
    their evidence; `ContrastiveExcitationBackprop` tells them apart. Costs
    two forward passes and one backward pass.

        P(input i | unit j) = x_i w_ij+ / sum_i x_i w_ij+

    The walk starts at the class with probability one. Biases and inhibition
    do not count; max pooling steps to the winner, additions and average
    pooling in proportion to what is positive. The paper states it for
    activations that are not negative; of a negative input what excites is
    `x- w-`. Normalizations are stepped over, attention steps by its weights
    to positive values; recurrent layers are refused.

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Not negative, and of
        sum one for each sample, but for what no unit excites; `delta` is the
        rest that is not explained by that.

    Raises:
        ValueError: If the model has no layer with a kernel, or an operation
            for which no rule is known.

    Example:

    >>> explainer = keras_explain.ExcitationBackprop(model, layer="conv1")
    >>> probability = explainer(images)
    >>> bool(abs(float(keras.ops.sum(probability[0])) - 1) < 1e-3)
    True

    References:
        Zhang et al., 2016. Top-down Neural Attention by Excitation Backprop.
        https://arxiv.org/abs/1608.00507
    """

    signed = False
    weighted = False

    def _composite(self, graph: Graph) -> Composite:
        return excitation()


@register(
    "contrastive_excitation_backprop",
    family="relevance",
    title="Contrastive excitation backprop",
    paper="Zhang et al., 2016",
    cost="1.5 gradients",
    needs="kernels, no recurrence",
)
class ContrastiveExcitationBackprop(RelevanceExplainer):
    """Where the class is excited more than its opposite would be.

    Use it in place of `ExcitationBackprop` to tell classes apart. The
    opposite is the same class with the weights of the last layer negated;
    the two walks differ in that layer only, so that one pass carries their
    difference. Costs two forward passes and one backward pass.

        max(0, P(input | class) - P(input | opposite))

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Not negative.

    Raises:
        ValueError: As `ExcitationBackprop`.

    Example:

    >>> explainer = keras_explain.ContrastiveExcitationBackprop(
    ...     model, layer="conv1")
    >>> bool((explainer(images).numpy() >= 0).all())
    True

    References:
        Zhang et al., 2016. Top-down Neural Attention by Excitation Backprop.
        https://arxiv.org/abs/1608.00507
    """

    signed = False
    weighted = False

    def _composite(self, graph: Graph) -> Composite:
        return excitation(contrastive=True)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        found = super()._attribute(function)
        values: Any = tf.nest.map_structure(tf.nn.relu, found.values)
        # What is left after the cut at zero adds up to nothing of meaning.
        return found._replace(values=values, delta=None)
