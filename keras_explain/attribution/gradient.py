"""Methods that read one gradient: what a small change of an input would do."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_explain.engine.catalogue import register
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.score import ScoreFunction

_each = tf.nest.map_structure


class _OneGradient(Explainer):
    """A formula in the point and its gradient."""

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.differentiate()
        return Attribution(_each(self._formula, at.point, at.gradient), at)

    def _formula(self, x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


@register(
    "gradient",
    family="gradient",
    title="Gradient",
    paper="Simonyan et al., 2014",
    cost="1 gradient",
)
class Gradient(_OneGradient):
    """The derivative of the score with respect to each input value.

    Use it as the raw material of other methods, or to ask what a small
    change of a pixel would do. Costs one forward and one backward pass.

        attribution = d score / d x

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Signed; score per
        unit of the input.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> explainer(images, target=3).shape
    TensorShape([2, 8, 8, 3])

    References:
        Simonyan, Vedaldi, Zisserman, 2014. Deep Inside Convolutional
        Networks. https://arxiv.org/abs/1312.6034
    """

    def _formula(self, x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return g


@register(
    "saliency",
    family="gradient",
    title="Saliency map",
    paper="Simonyan et al., 2014",
    cost="1 gradient",
)
class Saliency(_OneGradient):
    """The magnitude of the gradient: where a small change matters at all.

    Use it to see which pixels the score is sensitive to, whatever the
    direction. Costs one forward and one backward pass.

        attribution = |d score / d x|

    Differs from the paper: the maximum over the color channels is left to
    the picture (`Explanation.heatmap`), so that nothing is lost.

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Non-negative; score
        per unit of the input.

    Example:

    >>> explainer = keras_explain.Saliency(model)
    >>> bool((explainer(images).numpy() >= 0).all())
    True

    References:
        Simonyan, Vedaldi, Zisserman, 2014. Deep Inside Convolutional
        Networks. https://arxiv.org/abs/1312.6034
    """

    signed = False

    def _formula(self, x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return tf.abs(g)


@register(
    "sensitivity",
    family="gradient",
    title="Sensitivity analysis",
    paper="Baehrens et al., 2010",
    cost="1 gradient",
)
class Sensitivity(_OneGradient):
    """The squared gradient: a decomposition of its squared length.

    Use it where relevance is to be compared with methods that sum to a
    quantity: the values sum to the squared norm of the gradient. Costs one
    forward and one backward pass.

        attribution = (d score / d x)^2

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Non-negative; squared
        score per squared unit of the input.

    Example:

    >>> explainer = keras_explain.Sensitivity(model)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Baehrens et al., 2010. How to Explain Individual Classification
        Decisions. https://jmlr.org/papers/v11/baehrens10a.html
        Montavon, Samek, Mueller, 2018. Methods for interpreting and
        understanding deep neural networks. https://arxiv.org/abs/1706.07979
    """

    signed = False

    def _formula(self, x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return tf.square(g)


@register(
    "input_x_gradient",
    family="gradient",
    title="Input x gradient",
    paper="Shrikumar et al., 2016",
    cost="1 gradient",
)
class InputXGradient(_OneGradient):
    """The input times its gradient: what each value contributes linearly.

    Use it for a first signed decomposition. On a network of ReLUs without
    biases the values sum to the score. It is zero where the input is, so
    that a black pixel never counts. Costs one forward and one backward pass.

        attribution = x * d score / d x

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        score.

    Example:

    >>> explainer = keras_explain.InputXGradient(model)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Shrikumar et al., 2016. Not Just a Black Box.
        https://arxiv.org/abs/1605.01713
    """

    def _formula(self, x: Any, g: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, tf.float32) * g
