"""Class activation maps weighted by gradients."""

from __future__ import annotations

import tensorflow as tf

from keras_explain.attribution.class_activation import (
    GradientActivationMap,
    spatial_axes,
    weighted_sum,
)
from keras_explain.engine.catalogue import register

_COST = "1 forward, and the gradient behind the layer"


@register(
    "grad_cam",
    family="cam",
    title="Grad-CAM",
    paper="Selvaraju et al., 2017",
    cost=_COST,
    needs="a feature map",
)
class GradCAM(GradientActivationMap):
    """The feature map, its channels weighted by their mean gradient.

    Use it first: it is cheap, hard to fool and shows the region that speaks
    for a class. It is as coarse as the layer. Costs one forward pass and the
    backward pass of what comes after the layer.

        map = relu(sum_k w_k A_k),  w_k = mean over positions of d score / d A_k

    Args:
        model, layer: See `Explainer`.
        placement: Where the cells of the map lie on the input.
            `"receptive_field"` puts each on the center of what it sees, as
            the kernels, strides and padding before it tell; `"grid"` spreads
            them evenly, as other libraries do and as is done where a layer on
            the way is not known. They differ by up to half a cell: 15.5
            pixels on ResNet50.

    Output shape:
        `(batch, height, width)`: the spatial axes of the input, one or three
        of them as well. Non-negative, not normalized.

    Raises:
        ValueError: If the layer has no spatial output, or there is no such
            placement.

    Example:

    >>> explainer = keras_explain.GradCAM(model)
    >>> explainer(images).shape
    TensorShape([2, 8, 8])
    >>> explainer.explain(images).layer
    'conv2'

    References:
        Selvaraju et al., 2017. Grad-CAM: Visual Explanations from Deep
        Networks. https://arxiv.org/abs/1610.02391
    """

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        weights = tf.reduce_mean(g, spatial_axes(g))
        return tf.nn.relu(weighted_sum(a, weights))


@register(
    "grad_cam_plus_plus",
    family="cam",
    title="Grad-CAM++",
    paper="Chattopadhyay et al., 2018",
    cost=_COST,
    needs="a feature map",
)
class GradCAMPlusPlus(GradientActivationMap):
    """Grad-CAM that gives each position of a channel a weight of its own.

    Use it where a class appears several times in a picture. Costs as
    `GradCAM`.

        map = relu(sum_k w_k A_k),  w_k = sum_ij alpha_ij relu(g_ij),
        alpha = g^2 / (2 g^2 + g^3 sum_ij A_ij)

    with `g` the gradient of the score. The paper differentiates
    `exp(score)`, which multiplies all weights of a sample by the same
    positive number.

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.GradCAMPlusPlus(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Chattopadhyay et al., 2018. Grad-CAM++: Generalized Gradient-based
        Visual Explanations. https://arxiv.org/abs/1710.11063
    """

    epsilon = 1e-6

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        axes = spatial_axes(a)
        total = tf.reduce_sum(a, axes, keepdims=True)
        # Only positive gradients have a weight, so that alpha is not needed
        # elsewhere.
        positive = tf.nn.relu(g)
        square = tf.square(positive)
        cube = square * positive
        below = 2 * square + total * cube + self.epsilon
        weights = tf.reduce_sum(tf.math.divide_no_nan(cube, below), axes)
        return tf.nn.relu(weighted_sum(a, weights))


@register(
    "hires_cam",
    family="cam",
    title="HiResCAM",
    paper="Draelos & Carin, 2020",
    cost=_COST,
    needs="a feature map",
)
class HiResCAM(GradientActivationMap):
    """The feature map times its gradient, position by position.

    Use it where it matters that the map shows what the model used: on a
    network that ends in one linear layer the values of the feature map sum
    to the logit less its bias. Costs as `GradCAM`.

        map = sum_k A_k * d score / d A_k

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Signed, as in the paper: what is negative speaks
        against the class.

    Example:

    >>> keras_explain.HiResCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Draelos, Carin, 2020. Use HiResCAM instead of Grad-CAM for faithful
        explanations. https://arxiv.org/abs/2011.08891
    """

    signed = True

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a * g, -1)


@register(
    "xgrad_cam",
    family="cam",
    title="XGrad-CAM",
    paper="Fu et al., 2020",
    cost=_COST,
    needs="a feature map",
)
class XGradCAM(GradientActivationMap):
    """Grad-CAM with gradients averaged where the channel is active.

    Use it in place of Grad-CAM where its axioms of sensitivity and
    conservation are wanted. Costs as `GradCAM`.

        map = relu(sum_k w_k A_k),  w_k = sum_ij g_ij A_ij / sum_ij A_ij

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.XGradCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Fu et al., 2020. Axiom-based Grad-CAM.
        https://arxiv.org/abs/2008.02312
    """

    epsilon = 1e-7

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        axes = spatial_axes(a)
        below = tf.reduce_sum(a, axes) + self.epsilon
        weights = tf.math.divide_no_nan(tf.reduce_sum(a * g, axes), below)
        return tf.nn.relu(weighted_sum(a, weights))


@register(
    "layer_cam",
    family="cam",
    title="LayerCAM",
    paper="Jiang et al., 2021",
    cost=_COST,
    needs="a feature map",
)
class LayerCAM(GradientActivationMap):
    """The feature map weighted by its positive gradient at each position.

    Use it on earlier layers, where Grad-CAM's mean washes out: the maps
    stay fine there. Costs as `GradCAM`.

        map = relu(sum_k relu(d score / d A_k) * A_k)

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.LayerCAM(model, layer="conv1")(images).shape
    TensorShape([2, 8, 8])

    References:
        Jiang et al., 2021. LayerCAM: Exploring Hierarchical Class Activation
        Maps. https://doi.org/10.1109/TIP.2021.3089943
    """

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.reduce_sum(tf.nn.relu(g) * a, -1))


@register(
    "elementwise_grad_cam",
    family="cam",
    title="Elementwise Grad-CAM",
    paper="Pillai & Pirsiavash, 2021",
    cost=_COST,
    needs="a feature map",
)
class ElementwiseGradCAM(GradientActivationMap):
    """The positive part of feature map times gradient, summed over channels.

    Use it as HiResCAM where only evidence for the class is to be seen: what
    speaks against it in one channel does not cancel what speaks for it in
    another. Costs as `GradCAM`.

        map = sum_k relu(A_k * d score / d A_k)

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.ElementwiseGradCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Pillai, Pirsiavash, 2021. Explainable Models with Consistent
        Interpretations. https://doi.org/10.1609/aaai.v35i3.16344
    """

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.nn.relu(a * g), -1)
