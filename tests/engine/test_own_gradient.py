"""A gradient of one's own: what flows, and that it is forgotten."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

import keras_explain as ke
from keras_explain.engine.own_gradient import give_gradient
from keras_explain.synthesis import deep_dream, maximize, transforms
from tests import zoo


def tripled(x, y):
    """A product whose gradient to `x` is three times too large."""
    return give_gradient(x * y, [x, y], lambda up: [3 * up * y, None])


def of(function, *values):
    inputs = [tf.constant(value) for value in values]
    if tf.executing_eagerly():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = function(*inputs)
        return output, tape.gradient(output, inputs)
    output = function(*inputs)
    return output, tf.gradients(output, inputs)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_what_flows_back(compiled):
    def run():
        output, found = of(tripled, [1.0, 2.0], [5.0, -7.0])
        assert found[1] is None
        return output, found[0]

    output, found = (tf.function(run) if compiled else run)()
    np.testing.assert_array_equal(output, [5, -14])
    np.testing.assert_array_equal(found, [15, -21])


def test_two_in_a_row_are_two():
    @tf.function
    def run(x):
        once = give_gradient(x + 1, [x], lambda up: [2 * up])
        twice = give_gradient(once * 1, [once], lambda up: [5 * up])
        return tf.gradients(twice, x)[0]

    assert run(tf.constant(1.0)) == 10


def test_inside_and_through_a_loop():
    def body(k, x):
        return k + 1, give_gradient(x * 1, [x], lambda up: [3 * up])

    @tf.function
    def through(x):
        _, y = tf.while_loop(lambda k, _: k < 2, body, (tf.constant(0), x))
        return tf.gradients(y, x)[0]

    def step(k, x):
        y = give_gradient(x * x, [x], lambda up: [up + 1])
        return k + 1, x + tf.gradients(y, x)[0]

    @tf.function
    def inside(x):
        return tf.while_loop(lambda k, _: k < 3, step, (tf.constant(0), x))[1]

    assert through(tf.constant(1.0)) == 9
    assert inside(tf.constant(1.0)) == 7


def test_through_a_function_of_its_own():
    @tf.function
    def inner(x):
        return give_gradient(x * 1, [x], lambda up: [4 * up])

    @tf.function
    def outer(x):
        return tf.gradients(inner(x) * 2, x)[0]

    assert outer(tf.constant(1.0)) == 8


def registered():
    return len(ops.gradient_registry.list())


METHODS = {
    "gradient": ke.Gradient,
    "guided_backprop": ke.GuidedBackprop,
    "grad_cam": ke.GradCAM,
    "score_cam": ke.ScoreCAM,
    "integrated_gradients": ke.IntegratedGradients,
    "lrp": ke.LRP,
    "lrp_alpha_beta": lambda m: ke.LRP(m, composite="epsilon_alpha2_beta1"),
    "deep_taylor": lambda m: ke.DeepTaylor(m, low=-6.0, high=6.0),
    "deeplift": ke.DeepLIFT,
    "excitation_backprop": ke.ExcitationBackprop,
    "occlusion": ke.Occlusion,
    "extremal": lambda m: ke.ExtremalPerturbation(m, settings={"num_steps": 2}),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_was_explained_can_go(name):
    """With `tf.custom_gradient` each trace was held for good."""

    def explained():
        made = zoo.build("functional")
        explainer = METHODS[name](made.model)
        explainer(zoo.images(2), 1)
        return weakref.ref(made.model), weakref.ref(explainer)

    explained()
    gc.collect()
    before = registered()
    references = explained()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert registered() == before


@pytest.mark.parametrize("run", [
    lambda m: maximize(
        m, ke.Class(1), steps=2, transforms=[transforms.Jitter(0.2)],
        value_range=(-6, 6), verbose=False,
    ),
    lambda m: deep_dream(
        m, zoo.images(1)[0], ke.Class(1), steps=2, octaves=1,
        value_range=(-6, 6), verbose=False,
    ),
], ids=["maximize", "deep_dream"])  # fmt: skip
def test_a_model_that_was_looked_into_can_go(run):
    def looked_into():
        model = zoo.build("functional").model
        run(model)
        return weakref.ref(model)

    looked_into()
    gc.collect()
    before = registered()
    reference = looked_into()
    gc.collect()
    assert reference() is None
    assert registered() == before
