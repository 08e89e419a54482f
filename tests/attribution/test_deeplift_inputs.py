"""DeepLIFT and its relatives as they are used: what they take and refuse."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.attribution.deeplift import DeepLIFT, DeepSHAP
from keras_explain.attribution.gradient_shap import GradientSHAP
from keras_explain.rules import Norm, Pass, registry
from tests import zoo
from tests.laws.difference_nets import (
    NETS,
    RANDOM,
    background,
    linear_model,
    net,
    pictures,
    randomized,
    sums,
)

pytestmark = RANDOM


class Swoosh(layers.Layer):
    def call(self, x):
        return x * tf.sigmoid(x - 1)


class Slope(layers.Layer):
    def call(self, x):
        return tf.abs(x) * 0 + 3 * x


def test_unknown_operations_are_refused_and_can_be_registered(monkeypatch):
    model = randomized(net(layers.Conv2D(2, 3), Swoosh(), Slope()))
    x = zoo.images(2)
    with pytest.raises(ValueError, match=r"(?s)Swoosh.*Slope.*register"):
        DeepLIFT(model)(x)
    monkeypatch.setitem(registry._RULES, Swoosh, Pass)
    monkeypatch.setitem(registry._RULES, Slope, Norm())
    explanation = DeepLIFT(model, baseline=0.1).explain(x, 1)
    np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)
    assert np.abs(sums(explanation)).min() > 1e-3


class Shortcut(layers.Layer):
    """Affine by itself, with something inside that is not."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inside = Swoosh(name="inside")

    def call(self, x):
        return x + self.inside(x)


def swoosh(x):
    return x * tf.sigmoid(x - 1)


@pytest.mark.parametrize("method", [DeepLIFT, DeepSHAP])
@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(4, activation=swoosh, name="hidden"),
        layers.Dense(4, activation=lambda x: tf.nn.relu(x), name="hidden"),
        layers.Activation(swoosh, name="hidden"),
        Shortcut(name="hidden"),
    ],
    ids=["fused", "lambda", "activation", "inside"],
)
def test_what_an_affine_layer_holds_is_asked_about(method, layer):
    """The layer needs no rule, and what it calls inside does."""
    stack = [keras.Input((5,)), layers.Dense(4), layer, layers.Dense(3)]
    model = keras.Sequential(stack)
    with pytest.raises(ValueError, match=r"(?s)no rule.*'hidden.*register"):
        method(model)(np.ones((1, 5)), 0)


def test_a_function_that_is_affine_needs_no_rule():
    dense = layers.Dense(4, activation=lambda x: 2 * x)
    model = keras.Sequential([keras.Input((5,)), dense, layers.Dense(3)])
    found = DeepLIFT(model).explain(np.ones((1, 5)), 0)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def test_incomplete_contributions_are_told(monkeypatch):
    model = randomized(net(layers.Conv2D(2, 3), Swoosh()))
    # Wrong: it is not affine.
    monkeypatch.setitem(registry._RULES, Swoosh, Norm())
    with pytest.warns(ke.ExplainWarning, match="registered"):
        DeepLIFT(model).explain(zoo.images(2), 1)


def test_wrong_options_are_refused():
    model = linear_model()
    x = background(2)
    with pytest.raises(ValueError, match="'genomics_default'"):
        DeepLIFT(model, rule="rescaled")
    with pytest.raises(ValueError, match=r"samples \[1\]"):
        DeepLIFT(model, baseline=x[1])(x)
    with pytest.raises(ValueError, match="does not fit"):
        DeepLIFT(model, baseline=np.zeros(3))(x)
    for cls in (DeepSHAP, GradientSHAP):
        with pytest.raises(ValueError, match="at least one row"):
            cls(model, background=np.zeros((0, 5)))
        with pytest.raises(ValueError, match="does not fit"):
            cls(model, background=np.zeros((4, 3)))(x)
        with pytest.raises(ValueError, match="equals the input"):
            cls(model, background=x[:1])(x)
    with pytest.raises(ValueError, match="num_samples"):
        GradientSHAP(model, num_samples=0)
    two = zoo.build("inputs_dict")
    with pytest.raises(ValueError, match="one array for each input"):
        DeepLIFT(two.model, baseline={"image": 0.0})(two.inputs)


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
def test_several_inputs(name):
    specimen = zoo.build(name)
    randomized(specimen.model)
    x = specimen.inputs
    half = tf.nest.map_structure(lambda t: 0.5 * t[1], x)
    rows = tf.nest.map_structure(lambda t: t[::-1] + 0.5, x)
    for baseline in (half, rows):
        explanation = DeepLIFT(specimen.model, baseline=baseline).explain(x, 1)
        np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)
    found = DeepSHAP(specimen.model, background=rows).explain(x, 1)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    config = json.loads(json.dumps(DeepLIFT(specimen.model, baseline=half)
                                   .get_config()))  # fmt: skip
    again = DeepLIFT.from_config(specimen.model, config)
    np.testing.assert_array_equal(
        tf.nest.flatten(again(x, 1))[0],
        tf.nest.flatten(DeepLIFT(specimen.model, baseline=half)(x, 1))[0],
    )


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("ties", "mixed_float16"),
        ("ties", "mixed_bfloat16"),
        ("gated", "mixed_float16"),
        ("attention", "mixed_float16"),
        ("sequence", "mixed_float16"),
    ],
)
@pytest.mark.filterwarnings("ignore::keras_explain.ExplainWarning")
def test_half_precision_is_near(name, policy):
    x, r = pictures(), pictures(4)[3]
    full = DeepLIFT(randomized(NETS[name]()), baseline=r)(x, 1)
    keras.config.set_dtype_policy(policy)
    half = DeepLIFT(randomized(NETS[name]()), baseline=r)(x, 1)
    assert half.dtype == tf.float32
    assert np.all(np.isfinite(half))
    least = 0.98 if policy == "mixed_float16" else 0.85
    assert np.corrcoef(np.ravel(full), np.ravel(half))[0, 1] > least
