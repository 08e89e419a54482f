"""Excitation backprop against the paper's formula and a peer's numbers."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from tests import zoo

_DATA = pathlib.Path(__file__).parent / "data" / "excitation_golden.json"
GOLDEN = json.loads(_DATA.read_text())["torchray_ebp"]


def step(x, w, probability):
    """`P_i = sum_j x_i w_ij+ / (sum_i x_i w_ij+) P_j`, for one sample."""
    shares = np.maximum(w, 0) * x[:, None]
    total = shares.sum(0)
    safe = np.where(total > 0, total, 1.0)
    return (shares * np.where(total > 0, probability / safe, 0.0)).sum(1)


def two_layers(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="relu", bias_initializer="normal"),
            layers.Dense(3, activation="softmax", bias_initializer="normal"),
        ]
    )
    x = np.random.default_rng(seed).uniform(0, 1, (2, 6)).astype("float32")
    return model, x


def by_hand(model, x, index, negated=False):
    """The winning probabilities of the inputs, in float64."""
    w1, b1, w2, _ = (w.astype("float64") for w in model.get_weights())
    hidden = np.maximum(x.astype("float64") @ w1 + b1, 0)
    start = np.eye(w2.shape[1])[index]
    w2 = -w2 if negated else w2
    return np.stack(
        [step(a, w1, step(h, w2, start))
         for a, h in zip(x.astype("float64"), hidden, strict=True)]
    )  # fmt: skip


@pytest.mark.parametrize("index", [0, 1, 2])
def test_winning_probability(index):
    """Biases and inhibition do not count."""
    model, x = two_layers()
    found = ke.ExcitationBackprop(model)(x, index)
    np.testing.assert_allclose(found, by_hand(model, x, index), atol=1e-6)


@pytest.mark.parametrize("index", [1, 2])
def test_contrast_is_the_walk_less_that_of_negated_weights(index):
    model, x = two_layers()
    found = ke.ContrastiveExcitationBackprop(model)(x, index)
    contrast = by_hand(model, x, index) - by_hand(model, x, index, True)
    assert contrast.min() < 0 < contrast.max()
    np.testing.assert_allclose(found, np.maximum(contrast, 0), atol=1e-6)


def golden_model():
    """The peer's network, its dense part as the probabilities it gave.

    The weights of that part are not part of the numbers; what reaches the
    two pooled units is (four of the five inputs it gives are one unit's).
    """
    conv = layers.Conv2D(2, 2, activation="relu")
    dense = layers.Dense(1, use_bias=False)
    model = keras.Sequential(
        [
            keras.Input((3, 3, 1)),
            conv,
            layers.MaxPooling2D(2),
            layers.Flatten(),
            dense,
        ]
    )
    kernel = np.transpose(GOLDEN["conv_o_i_h_w"], (2, 3, 1, 0))
    conv.set_weights([kernel, np.array(GOLDEN["conv_bias"])])
    pooled = keras.Model(model.inputs[0], model.layers[2].output)
    x = np.transpose(GOLDEN["x_nchw"], (0, 2, 3, 1)).astype("float32")
    units = np.asarray(pooled(x))[0]
    dense.set_weights([(GOLDEN["at_pooled"] / units)[:, None]])
    return model, x


def test_golden_marginals():
    """Convolution, ReLU and max pooling, as the peer steps through them."""
    model, x = golden_model()
    found = ke.ExcitationBackprop(model)(x, 0)
    expected = np.transpose(GOLDEN["input_marginal"], (0, 2, 3, 1))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["functional", "nested", "ops_nodes", "vision_transformer"]
)
def test_it_is_a_probability(name):
    """Not negative, of sum one less what no unit excites."""
    specimen = zoo.build(name)
    found = ke.ExcitationBackprop(specimen.model).explain(
        np.abs(specimen.inputs), verbose=False
    )
    sums = found.attributions.sum((1, 2, 3))
    assert found.attributions.min() >= 0
    assert np.all(sums <= 1 + 1e-5) and np.all(sums > 0.05)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def test_at_any_layer_the_sum_is_one():
    specimen = zoo.build("functional")
    for layer in ("conv1", "conv2", "pool"):
        explainer = ke.ExcitationBackprop(specimen.model, layer=layer)
        values = explainer(np.abs(specimen.inputs)).numpy()
        sums = values.reshape(2, -1).sum(1)
        np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_contrast_of_the_head_that_is_explained():
    """With two heads it is the weights of that one that are negated."""
    model, images = zoo.two_outputs()
    one = ke.ContrastiveExcitationBackprop(model, layer="pool")
    walk = ke.ExcitationBackprop(model, layer="pool")
    target = ke.Class(3, output="kind")
    found, plain = one(images, target).numpy(), walk(images, target).numpy()
    # Units that excite the opposite are gone, the others are as they were.
    kernel = model.get_layer("kind").kernel.numpy()[:, 3]
    assert np.all(found[:, kernel < 0] == 0)
    np.testing.assert_allclose(
        found[:, kernel > 0], plain[:, kernel > 0], rtol=1e-5
    )


def test_recurrent_layers_are_refused():
    specimen = zoo.build("lstm")
    with pytest.raises(ValueError, match="register.keras.layers.LSTM,"):
        ke.ExcitationBackprop(specimen.model)(specimen.inputs)
