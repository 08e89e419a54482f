"""Rules and composites, and that the layout carries more than ReLUs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.engine.composites import (
    Composite,
    first,
    kinds,
    layer_type,
    path,
)
from keras_explain.engine.recording import record
from keras_explain.rules import BetaSmooth, DeconvNet, GuidedReLU, Pass
from tests import zoo


def graph_of(specimen):
    spec = tf.TensorSpec([None, *specimen.inputs.shape[1:]], tf.float32)
    return record(specimen.model, spec)


def test_the_first_match_wins_and_none_leaves_alone():
    specimen = zoo.build("nested")
    graph = graph_of(specimen)
    composite = Composite(
        (
            (path("backbone/relu1"), None),
            (kinds("relu"), Pass),
            (kinds("ReLU", "relu"), GuidedReLU),
        )
    )
    assert composite.assign(graph) == {
        ("backbone/conv5/activation", 0): Pass,
    }


def test_first_means_first_in_execution():
    """The order of the calls, not that in which layers were made."""
    last, start = layers.Dense(3, name="made_first"), layers.Dense(4)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, last(layers.ReLU()(start(inputs))))
    graph = record(model, tf.TensorSpec([None, 5]))
    composite = Composite(((first(layer_type(layers.Dense)), Pass),))
    assert list(composite.assign(graph)) == [(start.name, 0)]


@pytest.mark.parametrize(
    "rule", [GuidedReLU, DeconvNet, Pass, BetaSmooth(10.0)]
)
@pytest.mark.parametrize(
    ("function", "slope", "cap"),
    [
        (layers.ReLU(), 0.0, np.inf),
        (layers.ReLU(max_value=6), 0.0, 6.0),
        (layers.LeakyReLU(negative_slope=0.3), 0.3, np.inf),
        (layers.PReLU(alpha_initializer="ones"), 1.0, np.inf),
    ],
    ids=["relu", "relu6", "leaky", "prelu"],
)
def test_relu_family_by_hand(rule, function, slope, cap):
    """The forward pass is that of the layer, slopes and caps included."""
    x = np.array([[-2.0, -0.5, 0.5, 3.0, 7.0]], "float32")
    up = np.array([[1.0, -1.0, -2.0, 3.0, 4.0]], "float32")
    function(x)

    @tf.function
    def run(x):
        y = rule.apply(function, (x,), {})
        return y, tf.gradients(y, x, up)[0]

    y, found = run(tf.constant(x))
    np.testing.assert_allclose(y, function(x))
    local = np.where(x > 0, 1.0, slope) * (x < cap)
    expected = {
        "guided": np.maximum(up, 0) * local,
        "deconvnet": np.maximum(up, 0),
        "pass": up,
        "beta_smooth": up / (1 + np.exp(-10 * x)),
    }[rule.name]
    np.testing.assert_allclose(found, expected, atol=1e-6)
