"""Class activation maps from principal components."""

from __future__ import annotations

import tensorflow as tf

from keras_explain.attribution.class_activation import (
    ClassActivationMap,
    GradientActivationMap,
)
from keras_explain.engine.catalogue import register
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.score import ScoreFunction

# A mean of so small a part of what it is taken over is one of rounding.
_ROUNDING = 1e-5


def principal_component(a: tf.Tensor) -> tf.Tensor:
    """Projects each position on the first principal component.

    The sign is fixed by agreement with the mean over the channels: the
    projection is larger where the mean is larger. Where that is the same
    everywhere, as behind a layer normalization, the few places that stand out
    are positive, and not the many that do not.

    Args:
        a: `(batch, *spatial, channels)`.

    Returns:
        `(batch, *spatial)`; its mean over the positions is zero.
    """
    channels, sizes = a.shape[-1], a.shape[1:-1]
    positions = sizes.num_elements()
    flat = tf.reshape(a, [tf.shape(a)[0], positions or -1, channels])
    centered = flat - tf.reduce_mean(flat, 1, keepdims=True)
    # The smaller of the two Gram matrices has the same spectrum.
    if positions is None:
        projection = tf.cond(
            tf.shape(flat)[1] < channels,
            lambda: _by_positions(centered),
            lambda: _by_channels(centered),
        )
    elif positions < channels:
        projection = _by_positions(centered)
    else:
        projection = _by_channels(centered)
    mean = tf.reduce_mean(centered, -1)
    agreement = tf.reduce_sum(projection * mean, 1, keepdims=True)
    size = tf.sqrt(tf.reduce_mean(centered**2, -1))
    most = tf.reduce_sum(tf.abs(projection) * size, 1, keepdims=True)
    skewness = tf.reduce_sum(projection**3, 1, keepdims=True)
    rounding = tf.abs(agreement) < _ROUNDING * most
    sign = tf.where(rounding, skewness, agreement)
    projection *= tf.where(sign < 0, -1.0, 1.0)
    return tf.reshape(projection, tf.shape(a)[:-1])


def _by_positions(centered: tf.Tensor) -> tf.Tensor:
    values, vectors = tf.linalg.eigh(
        tf.matmul(centered, centered, transpose_b=True)
    )
    return vectors[..., -1] * tf.sqrt(tf.nn.relu(values[:, -1:]))


def _by_channels(centered: tf.Tensor) -> tf.Tensor:
    _, vectors = tf.linalg.eigh(tf.matmul(centered, centered, transpose_a=True))
    return tf.linalg.matvec(centered, vectors[..., -1])


@register(
    "eigen_cam",
    family="cam",
    title="Eigen-CAM",
    paper="Muhammad & Yeasin, 2020",
    cost="1 forward",
    needs="a feature map",
)
class EigenCAM(ClassActivationMap):
    """The first principal component of the feature map.

    Use it to see what the layer responds to most, whatever the class: the
    target plays no part. Costs one forward pass and an eigendecomposition.

        map = (A - mean) v_1

    with `A` as a matrix of positions by channels and `v_1` its first right
    singular vector. The sign, which the decomposition leaves open, is that
    which agrees with the mean over the channels; where all positions have the
    same mean, that which makes the few places that stand out positive.

    Differs from the paper: the channels are centered first, so that the
    component is one of variance.

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Signed; zero is the mean of the picture.

    Example:

    >>> keras_explain.EigenCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Muhammad, Yeasin, 2020. Eigen-CAM: Class Activation Map using
        Principal Components. https://arxiv.org/abs/2008.00299
    """

    signed = True

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        maps = principal_component(tf.cast(at.point, tf.float32))
        return Attribution(self._to_inputs(maps, function), at)


@register(
    "eigen_grad_cam",
    family="cam",
    title="EigenGrad-CAM",
    paper="Muhammad & Yeasin, 2020",
    cost="1 forward, and the gradient behind the layer",
    needs="a feature map",
)
class EigenGradCAM(GradientActivationMap):
    """The first principal component of feature map times gradient.

    Use it as Eigen-CAM where the class is to matter. Costs as `GradCAM` and
    an eigendecomposition.

        map = (A g - mean) v_1

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.

    Output shape:
        As `GradCAM`. Signed; zero is the mean of the picture.

    Example:

    >>> keras_explain.EigenGradCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Muhammad, Yeasin, 2020. Eigen-CAM: Class Activation Map using
        Principal Components. https://arxiv.org/abs/2008.00299
    """

    signed = True

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        return principal_component(a * g)
