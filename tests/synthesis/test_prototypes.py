"""Prototypes of a network that knows the digits: the classes, and more so."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_explain as ke
from keras_explain.datasets import demo_model, load
from keras_explain.synthesis import class_grid, invert_layers
from tests.synthesis.adversarial.victims import digits


@pytest.fixture(scope="module")
def found():
    model, images, _ = digits()
    made = class_grid(
        model, steps=400, value_range=(0, 1), transforms=None, verbose=False
    )
    return model, images, made


def test_each_is_classified_as_its_class(found):
    model, _, made = found
    probabilities = np.asarray(model(made.images))
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        probabilities = np.exp(probabilities)
        probabilities /= probabilities.sum(1, keepdims=True)
    assert np.diag(probabilities).min() > 0.99


def test_each_scores_above_every_real_digit(found):
    model, _, made = found
    images = (load_digits().images / 16).astype("float32")[..., np.newaxis]
    explainer = ke.Gradient(model)
    for index, score in enumerate(made.score):
        real = explainer.explain(images, index, batch_size=1000).scores
        assert len(real) == 1797
        assert score > real.max()


def test_pictures_fade_with_depth(found):
    """What a layer has lost can only be lost further on."""
    model, images, _ = found
    made = invert_layers(
        model, images[0], value_range=(0, 1), prior=(), steps=300,
        verbose=False,
    )  # fmt: skip
    errors = [np.mean((m.images[0] - images[0]) ** 2) for m in made.values()]
    assert errors[0] < 0.25 * errors[-1]


@pytest.mark.slow
def test_prototypes_of_the_demo_model():
    """More of their class than any picture of the training."""
    model = demo_model()
    made = class_grid(model, steps=128, transforms=None, verbose=False)
    logits = ke.Gradient(model)
    images, labels = load(2000, "train", size=64)
    for index, score in enumerate(made.score):
        probability = np.asarray(model(made.images[index : index + 1]))[0]
        assert probability.sum() == pytest.approx(1, abs=1e-3)
        assert probability[index] > 0.99
        own = images[labels == index]
        assert len(own) > 100
        real = logits.explain(own, index, batch_size=64, verbose=False).scores
        assert score > real.max()
