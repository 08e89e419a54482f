"""An explanation tells the probability of the class that it explains."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.engine.explanation import Explanation
from tests import zoo

METHODS = {
    "gradient": ke.Gradient,
    "grad_cam": ke.GradCAM,
    "integrated_gradients": lambda m: ke.IntegratedGradients(m, num_steps=3),
    "smooth_grad": lambda m: ke.SmoothGrad(ke.Gradient(m), num_samples=3),
    "score_cam": ke.ScoreCAM,
    "lrp": ke.LRP,
    "deep_lift": lambda m: ke.DeepLIFT(m, baseline=zoo.images(5)[4]),
    "excitation_backprop": ke.ExcitationBackprop,
}


def headed(units, activation, layer=None):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(units, activation=activation)(x)
    return keras.Model(inputs, x if layer is None else layer(x))


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("name", METHODS)
def test_every_kind_of_method(name, target, images):
    model = headed(4, "softmax")
    found = METHODS[name](model).explain(images, target)
    outputs = np.asarray(model(images))
    index = outputs.argmax(-1) if target is None else [2, 2]
    np.testing.assert_allclose(
        found.probabilities, outputs[[0, 1], index], rtol=1e-5
    )


@pytest.mark.parametrize("head", ["layer", "logits", "sigmoid", "single"])
def test_every_kind_of_head(head, images):
    model = {
        "layer": lambda: headed(4, None, layers.Softmax()),
        "logits": lambda: headed(4, None),
        "sigmoid": lambda: headed(3, "sigmoid"),
        "single": lambda: headed(1, "sigmoid"),
    }[head]()
    outputs = np.asarray(model(images))
    if head == "logits":
        outputs = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
    found = ke.Gradient(model).explain(images, 0)
    np.testing.assert_allclose(found.probabilities, outputs[:, 0], rtol=1e-5)


def test_a_regression_and_other_targets_have_none(images):
    assert ke.Gradient(headed(1, None)).explain(images).probabilities is None
    model = headed(4, "softmax")
    both = ke.Class(1) - ke.Class(2)
    assert ke.Gradient(model).explain(images, both).probabilities is None


def test_it_is_kept(images, tmp_path):
    found = ke.Gradient(headed(4, "softmax")).explain(images, batch_size=1)
    assert found[1].probabilities.shape == (1,)
    found.save(tmp_path / "found.npz")
    again = Explanation.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
