"""Prototypes of a network that knows the digits: the classes, and more so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_explain as ke
from keras_explain.datasets import demo_model, load
from keras_explain.synthesis import (
    CPPN,
    class_grid,
    deep_dream,
    invert_layers,
    maximize,
)
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


@pytest.fixture(scope="module")
def shapes():
    model = demo_model()
    made = class_grid(model, steps=128, transforms=None, verbose=False)
    return model, made


@pytest.mark.slow
def test_shapes_are_classified_as_their_class(shapes):
    model, made = shapes
    probabilities = np.asarray(model(made.images))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-3)
    assert np.diag(probabilities).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("distractors", [0, 3])
def test_shapes_score_above_every_picture_of_the_training(shapes, distractors):
    """Twice 6000, drawn as for `examples/train_demo_model.py`."""
    model, made = shapes
    pooled = keras.Model(model.inputs, model.get_layer("pool").output)
    weights, bias = model.get_layer("predictions").get_weights()
    images, labels = load(6000, seed=distractors, distractors=distractors)
    logits = pooled.predict(images, batch_size=64, verbose=0) @ weights + bias
    assert np.mean(logits.argmax(1) == labels) > 0.95
    assert np.all(made.score > logits.max(0))


@pytest.mark.slow
def test_a_small_network_does_not_end_in_one_color():
    """As this one did with the learning rate of Lucid: its gradient is zero."""
    model = demo_model()
    made = maximize(model, 1, image=CPPN(64), seed=2, transforms=None,
                    verbose=False)  # fmt: skip
    assert np.asarray(model(made.images))[0, 1] > 0.99
    assert made.images.std() > 20


@pytest.mark.slow
def test_a_prototype_grows_in_octaves():
    """A dream that begins with noise, from small to large."""
    model = demo_model()
    gray = np.random.default_rng(0).normal(127, 3, (64, 64, 3))
    made = deep_dream(model, gray, ke.Class(0), octaves=4, steps=16,
                      step_size=2 / 255, jitter=4, verbose=False)  # fmt: skip
    assert made.images.shape == (1, 64, 64, 3)
    assert np.asarray(model(made.images))[0, 0] > 0.99
