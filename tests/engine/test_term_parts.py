"""Terms with few input channels lie side by side in one convolution."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf
from keras import layers

from keras_explain import rules
from keras_explain.engine import execution
from keras_explain.engine.recording import record
from tests.zoo import Standardized

BACK = "Conv2DBackpropInput"


def convolutions(layer, channels, rule, *, behind_relu=False):
    """How often relevance passes a convolution, on its way through a layer."""
    inputs = keras.Input((6, 6, channels))
    signal = layers.ReLU()(inputs) if behind_relu else inputs
    model = keras.Model(inputs, layer(signal))
    composite = rules.Composite(
        ((rules.linear, rule), (rules.role("activation"), rules.Pass))
    )
    assigned = composite.assign(
        record(model, tf.TensorSpec((None, *inputs.shape[1:])))
    )

    @tf.function(autograph=False)
    def back(x):
        return tf.gradients(execution.run(model, x, rules=assigned), x)[0]

    graph = back.get_concrete_function(tf.TensorSpec((2, 6, 6, channels))).graph
    return sum(op.type == BACK for op in graph.get_operations())


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (rules.Epsilon(), 1),
        (rules.ZPlus(), 1),
        (rules.AlphaBeta(), 2),  # one for what excites, one for the rest
        (rules.ZBox(-1.0, 1.0), 2),  # the bounds are subtracted
    ],
)
def test_one_convolution_for_the_terms_of_a_group(rule, number):
    assert convolutions(layers.Conv2D(4, 3), 3, rule) == number


def test_one_for_each_term_where_there_are_many_channels():
    assert convolutions(layers.Conv2D(4, 3), 8, rules.ZPlus()) == 1
    assert convolutions(layers.Conv2D(4, 3), 9, rules.ZPlus()) == 2


def test_no_term_for_what_cannot_be():
    conv = layers.Conv2D(4, 3)
    assert convolutions(conv, 3, rules.AlphaBeta(), behind_relu=True) == 2


def test_another_class_has_its_kernel_alone():
    assert convolutions(Standardized(4, 3), 3, rules.ZPlus()) == 2
