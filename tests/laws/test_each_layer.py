"""Each layer that has a rule, in a little net of its own."""

from __future__ import annotations

import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain import rules
from tests.attribution.test_relevance import chain
from tests.laws.test_relevance_laws import randomized
from tests.marking import slow_but

LINE, PICTURE, VOLUME = (8, 4), (6, 5, 4), (4, 5, 4, 4)
NO_BIAS = {"use_bias": False}


def activation(name):
    return lambda: layers.Activation(name), PICTURE


# `{name: (layer, shape of its input)}`. Whatever law the layer breaks by
# itself, none here does: in a net without biases all relevance arrives.
LAYERS = {
    # With a kernel.
    "Conv1D in groups": (lambda: layers.Conv1D(6, 3, groups=2, **NO_BIAS),
                         LINE),
    "Conv1D dilated": (lambda: layers.Conv1D(3, 3, dilation_rate=2,
                                             **NO_BIAS), LINE),
    "Conv1D causal": (lambda: layers.Conv1D(3, 3, padding="causal",
                                            **NO_BIAS), LINE),
    "Conv3D": (lambda: layers.Conv3D(3, 3, padding="same", **NO_BIAS), VOLUME),
    "Conv3D in groups": (lambda: layers.Conv3D(4, 2, groups=2, **NO_BIAS),
                         VOLUME),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(3, 3, strides=2,
                                                       **NO_BIAS), LINE),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 3, strides=2,
                                                       **NO_BIAS), PICTURE),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(2, 2, strides=2,
                                                       **NO_BIAS), VOLUME),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, **NO_BIAS), LINE),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(3, 3, **NO_BIAS), LINE),
    "SpectralNormalization of dense": (
        lambda: layers.SpectralNormalization(layers.Dense(3, **NO_BIAS)),
        (4,)),
    "SpectralNormalization of conv": (
        lambda: layers.SpectralNormalization(layers.Conv2D(3, 3, **NO_BIAS)),
        PICTURE),
    # That pool.
    "AveragePooling1D": (lambda: layers.AveragePooling1D(2), LINE),
    "AveragePooling3D": (lambda: layers.AveragePooling3D(2), VOLUME),
    "GlobalAveragePooling3D": (layers.GlobalAveragePooling3D, VOLUME),
    "AdaptiveAveragePooling1D": (lambda: layers.AdaptiveAveragePooling1D(3),
                                 LINE),
    "AdaptiveAveragePooling2D": (
        lambda: layers.AdaptiveAveragePooling2D(3), PICTURE),
    "AdaptiveAveragePooling3D": (
        lambda: layers.AdaptiveAveragePooling3D(2), VOLUME),
    "MaxPooling1D": (lambda: layers.MaxPooling1D(3, 2), LINE),
    "MaxPooling3D": (lambda: layers.MaxPooling3D(2), VOLUME),
    "GlobalMaxPooling1D": (layers.GlobalMaxPooling1D, LINE),
    "GlobalMaxPooling3D": (layers.GlobalMaxPooling3D, VOLUME),
    # That move.
    "Cropping1D": (lambda: layers.Cropping1D((1, 2)), LINE),
    "Cropping2D": (lambda: layers.Cropping2D(((1, 0), (2, 1))), PICTURE),
    "Cropping3D": (lambda: layers.Cropping3D(1), VOLUME),
    "ZeroPadding1D": (lambda: layers.ZeroPadding1D((0, 2)), LINE),
    "ZeroPadding2D": (lambda: layers.ZeroPadding2D(1), PICTURE),
    "ZeroPadding3D": (lambda: layers.ZeroPadding3D((1, 0, 2)), VOLUME),
    "UpSampling1D": (lambda: layers.UpSampling1D(2), LINE),
    "UpSampling2D bilinear": (
        lambda: layers.UpSampling2D(2, interpolation="bilinear"), PICTURE),
    "UpSampling3D": (lambda: layers.UpSampling3D(2), VOLUME),
    "Permute": (lambda: layers.Permute((3, 1, 2)), PICTURE),
    "RepeatVector": (lambda: layers.RepeatVector(3), (4,)),
    "Reshape": (lambda: layers.Reshape((-1, 2)), PICTURE),
    "Dropout": (lambda: layers.Dropout(0.5), PICTURE),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), LINE),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.5), PICTURE),
    "SpatialDropout3D": (lambda: layers.SpatialDropout3D(0.5), VOLUME),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), PICTURE),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), PICTURE),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5), PICTURE),
    # That scale.
    "Rescaling": (lambda: layers.Rescaling(2.0), PICTURE),
    "Normalization": (
        lambda: layers.Normalization(mean=[0.0] * 4, variance=[1.0, 2, 3, 4]),
        PICTURE),
    "BatchNormalization": (layers.BatchNormalization, PICTURE),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), PICTURE),
    "RMSNormalization": (layers.RMSNormalization, LINE),
    "UnitNormalization": (layers.UnitNormalization, LINE),
    # That bend.
    "ReLU of one's own": (
        lambda: layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2),
        PICTURE),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.3), PICTURE),
    "PReLU": (lambda: layers.PReLU(shared_axes=[1, 2]), PICTURE),
    "ELU": (layers.ELU, PICTURE),
    "relu6": activation("relu6"),
    "elu": activation("elu"),
    "selu": activation("selu"),
    "gelu": activation("gelu"),
    "silu": activation("silu"),
    "sigmoid": activation("sigmoid"),
    "softplus": activation("softplus"),
    "tanh": activation("tanh"),
    "hard_sigmoid": activation("hard_sigmoid"),
    "hard_silu": activation("hard_silu"),
    "hard_tanh": activation("hard_tanh"),
}  # fmt: skip

# No other test names these; the rest runs with the long tests.
ALONE = {
    "Conv1D in groups", "Conv3D in groups", "Conv1DTranspose",
    "Conv3DTranspose", "SeparableConv1D", "SpectralNormalization of dense",
    "AveragePooling3D", "GlobalAveragePooling3D", "AdaptiveAveragePooling2D",
    "Cropping1D", "Cropping2D", "Cropping3D", "ZeroPadding1D",
    "ZeroPadding3D", "UpSampling1D", "UpSampling3D", "Permute",
    "RepeatVector", "SpatialDropout2D", "GaussianNoise", "Normalization",
    "PReLU", "relu6", "hard_sigmoid", "hard_silu", "hard_tanh",
}  # fmt: skip


def net(name):
    """The layer between two with a kernel, none of them with a bias."""
    make, shape = LAYERS[name]
    model = chain(
        layers.Dense(shape[-1], **NO_BIAS), make(), layers.Flatten(),
        layers.Dense(3, **NO_BIAS), shape=shape,
    )  # fmt: skip
    x, r = np.random.default_rng(3).normal(size=(2, 2, *shape))
    return randomized(model, biases=False), x.astype("float32"), r[0]


def sums(values):
    values = np.asarray(values, "float64").reshape(len(values), -1)
    return values.sum(1), np.abs(values).sum(1)


@pytest.mark.parametrize("name", slow_but(ALONE, LAYERS))
def test_all_relevance_arrives(name):
    """To 1e-5 of it, with a stabilizer that takes less than that."""
    model, x, _ = net(name)
    composite = rules.relevance_composite(
        (rules.linear, rules.Epsilon(1e-12)), epsilon=1e-12
    )
    added, size = sums(ke.LRP(model, composite=composite)(x, 1))
    score = np.asarray(model(x), "float64")[:, 1]
    assert np.isfinite(size).all() and size.min() > 0
    assert np.all(np.abs(added - score) < 1e-5 * size)


@pytest.mark.parametrize("name", slow_but(ALONE, LAYERS))
def test_all_of_the_difference_is_divided(name):
    model, x, r = net(name)
    added, size = sums(ke.DeepLIFT(model, baseline=r)(x, 1))
    scores = np.asarray(model(np.stack([*x, r])), "float64")[:, 1]
    assert np.isfinite(size).all() and size.min() > 0
    assert np.all(np.abs(added - scores[:2] + scores[2]) < 1e-5 * size)
