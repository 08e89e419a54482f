"""What must hold whatever the network: the axioms of the papers."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.engine.resizing import resize
from tests import zoo
from tests.marking import slow_but

SOFTMAXES = ["functional", "subclassed", "softmax_layer", "softmax_activation",
             "ops_nodes", "nested", "nested_twice", "sequential", "shared",
             "grey", "series", "volume", "tabular", "vision_transformer",
             "open_size"]  # fmt: skip


def log_probability_gradient(model, x, index):
    """By a plain tape on the model as it is."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        p = model(x, training=False)
        score = tf.math.log(p[:, index])
    return tape.gradient(score, x).numpy()


@pytest.mark.parametrize("name", SOFTMAXES)
def test_logits_are_found_behind_every_softmax(name):
    """log p_a - log p_b = z_a - z_b: the normalizer cancels."""
    specimen = zoo.build(name)
    model, x = specimen.model, specimen.inputs
    expected = log_probability_gradient(model, x, 3)
    expected = expected - log_probability_gradient(model, x, 5)
    found = ke.Gradient(model)(x, ke.Class(3) - ke.Class(5)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale)
    # A logit is no log probability: the two differ.
    single = ke.Gradient(model)(x, 3).numpy()
    log_p = log_probability_gradient(model, x, 3)
    assert np.abs(single - log_p).max() > 1e-3 * scale


@pytest.mark.parametrize("name", SOFTMAXES)
def test_probability_and_log_probability_on_request(name):
    specimen = zoo.build(name)
    model, x = specimen.model, specimen.inputs
    log_p = log_probability_gradient(model, x, 3)
    found = ke.Gradient(model)(x, ke.Class(3, of="log_probability"))
    scale = np.abs(log_p).max()
    np.testing.assert_allclose(found, log_p, atol=1e-4 * scale)
    p = np.asarray(model(x))[:, 3].reshape(-1, *[1] * (x.ndim - 1))
    found = ke.Gradient(model)(x, ke.Class(3, of="probability"))
    np.testing.assert_allclose(found, p * log_p, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["sigmoid", "multi_label"])
def test_logits_are_found_behind_a_sigmoid(name):
    specimen = zoo.build(name)
    model, x = specimen.model, tf.constant(specimen.inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        p = model(x)[:, 0]
        score = tf.math.log(p / (1 - p))
    expected = tape.gradient(score, x)
    found = ke.Gradient(model)(x, 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["nested", "subclassed", "nested_twice",
                                  "shared", "ops_nodes", "series", "volume",
                                  "vision_transformer",
                                  "inputs_list"])  # fmt: skip
@pytest.mark.parametrize(
    "method",
    slow_but(
        {"gauss_legendre"},
        ["gauss_legendre", "left", "right", "middle", "trapezoid"],
    ),
)
def test_integrated_gradients_are_complete(name, method):
    specimen = zoo.build(name)
    explainer = ke.IntegratedGradients(
        specimen.model, num_steps=200, method=method, baseline=0.1
    )
    found = explainer.explain(specimen.inputs, 3)
    total = sum(
        a.reshape(2, -1).sum(1) for a in tf.nest.flatten(found.attributions)
    )
    baseline = tf.nest.map_structure(
        lambda x: np.full_like(x, 0.1), specimen.inputs
    )
    start = ke.Gradient(specimen.model).explain(baseline, 3).scores
    size = np.abs(found.scores - start).max()
    np.testing.assert_allclose(total, found.scores - start, atol=0.02 * size)
    np.testing.assert_allclose(
        found.delta, total - (found.scores - start), atol=1e-4 * size
    )


def test_integrated_gradients_are_complete_at_a_layer():
    specimen = zoo.build("nested")
    explainer = ke.IntegratedGradients(
        specimen.model, num_steps=100, layer="backbone/conv1"
    )
    found = explainer.explain(specimen.inputs, 3)
    assert found.attributions.shape == (2, 8, 8, 4)
    assert np.abs(found.delta).max() < 1e-3 * np.abs(found.scores).max()
    assert np.abs(found.attributions).max() > 0


def test_input_x_gradient_is_complete_without_biases():
    """A network of ReLUs without biases is homogeneous of degree one."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, use_bias=False),
        ]
    )
    found = ke.InputXGradient(model).explain(zoo.images(2), 2)
    np.testing.assert_allclose(
        found.attributions.sum((1, 2, 3)), found.scores, rtol=1e-4
    )


def test_linearity_in_the_target():
    specimen = zoo.build("nested")
    explain = ke.IntegratedGradients(specimen.model, num_steps=8)
    x = specimen.inputs
    mixed = explain(x, 2 * ke.Class(3) - ke.Class(5) / 4)
    apart = 2 * explain(x, 3) - explain(x, 5) / 4
    np.testing.assert_allclose(mixed, apart, atol=1e-6)


def test_dummy_inputs_get_nothing():
    """The second input is multiplied with zero."""
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    hidden = layers.Dense(3, activation="relu")(one)
    both = layers.Concatenate()([hidden, two * 0.0])
    model = keras.Model([one, two], layers.Dense(2)(both))
    data = [np.random.default_rng(k).random((2, 4), "float32") for k in (0, 1)]
    for cls in (ke.Gradient, ke.InputXGradient, ke.IntegratedGradients):
        first, second = cls(model)(data, 0)
        assert np.abs(first).max() > 0
        np.testing.assert_array_equal(second, np.zeros((2, 4)))


def test_symmetric_inputs_get_the_same():
    inputs = keras.Input((2,))
    total = ops.sum(ops.relu(inputs), axis=-1, keepdims=True)
    model = keras.Model(inputs, ops.tanh(total))
    explainer = ke.IntegratedGradients(model)
    found = explainer(np.array([[0.7, 0.7]], "float32"), 0).numpy()
    assert found[0, 0] == found[0, 1] != 0


def test_implementation_invariance():
    """Two networks that compute the same: the sums are split or not."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = layers.Dense(4, activation="relu", name="hidden")
    outputs = layers.Dense(3, name="out")
    whole = keras.Model(inputs, outputs(hidden(inputs)))
    again = keras.Input((5,))
    y = hidden(again)
    halves = layers.Add()([y * 0.25, y * 0.75])
    split = keras.Model(again, outputs(halves))
    x = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    for cls in (ke.Gradient, ke.IntegratedGradients):
        np.testing.assert_allclose(
            cls(whole)(x, 1), cls(split)(x, 1), atol=1e-6
        )


@pytest.mark.parametrize("name", ["functional", "nested", "subclassed",
                                  "ops_nodes", "grey", "series", "volume",
                                  "nested_twice", "multi_label",
                                  "logits"])  # fmt: skip
def test_cam_and_grad_cam_agree_up_to_scale(name):
    """At the size of the layer; the ReLU of Grad-CAM comes before resizing."""
    specimen = zoo.build(name)
    model, x = specimen.model, specimen.inputs
    # On such a model the gradient is the same at all positions.
    weighted = ke.InputXGradient(model, layer=specimen.feature_map)(x, 3)
    raw = tf.reduce_sum(weighted, -1)
    positions = np.prod(raw.shape[1:])
    sizes = x.shape[1:-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ke.ExplainWarning)
        cam = ke.CAM(model, placement="grid").explain(x, 3)
        grad_cam = ke.GradCAM(model, placement="grid")(x, 3)
    assert cam.layer == specimen.feature_map
    scale = np.abs(cam.attributions).max()
    np.testing.assert_allclose(
        cam.attributions, positions * resize(raw, sizes), atol=1e-5 * scale
    )
    np.testing.assert_allclose(
        positions * grad_cam,
        positions * resize(tf.nn.relu(raw), sizes),
        atol=1e-5 * scale,
    )


def test_cam_and_grad_cam_agree_exactly_at_full_size():
    specimen = zoo.build("nested")
    cam = ke.CAM(specimen.model)(specimen.inputs, 3).numpy()
    grad_cam = ke.GradCAM(specimen.model)(specimen.inputs, 3).numpy()
    np.testing.assert_allclose(np.maximum(cam, 0), 64 * grad_cam, atol=1e-5)
    assert grad_cam.max() > 0


def test_cam_averages_to_the_logit():
    specimen = zoo.build("nested")
    found = ke.CAM(specimen.model).explain(specimen.inputs, 3)
    bias = specimen.model.get_layer("logits").get_weights()[1][3]
    np.testing.assert_allclose(
        found.attributions.mean((1, 2)) + bias, found.scores, rtol=1e-4
    )


def test_hires_cam_sums_to_the_logit():
    specimen = zoo.build("nested")
    found = ke.HiResCAM(specimen.model).explain(specimen.inputs, 3)
    bias = specimen.model.get_layer("logits").get_weights()[1][3]
    np.testing.assert_allclose(
        found.attributions.sum((1, 2)) + bias, found.scores, rtol=1e-4
    )


def test_guided_backprop_differs_from_the_gradient_where_relus_hide():
    """Nested, as layers, fused, as keras.ops nodes: none is passed over."""
    for name in ("nested", "subclassed", "ops_nodes", "sequential",
                 "nested_twice", "functional", "shared"):  # fmt: skip
        specimen = zoo.build(name)
        plain = ke.Gradient(specimen.model)(specimen.inputs, 3)
        guided = ke.GuidedBackprop(specimen.model)(specimen.inputs, 3)
        assert np.abs(plain - guided).max() > 1e-4, name


def guided_by_hand(model, x):
    """Two convolutions with ReLUs, backwards in NumPy through the tape."""
    first, second = model.get_layer("conv1"), model.get_layer("conv2")

    @tf.custom_gradient
    def relu(z):
        def backward(up):
            return tf.where(z > 0, tf.maximum(up, 0.0), 0.0)

        return tf.nn.relu(z), backward

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = relu(tf.nn.conv2d(x, first.kernel, 1, "SAME") + first.bias)
        z = relu(tf.nn.conv2d(z, second.kernel, 1, "SAME") + second.bias)
        dense = model.get_layer("logits")
        score = (tf.reduce_mean(z, [1, 2]) @ dense.kernel)[:, 3]
    return tape.gradient(score, x)


def test_guided_backprop_by_hand():
    specimen = zoo.build("functional")
    found = ke.GuidedBackprop(specimen.model)(specimen.inputs, 3)
    np.testing.assert_allclose(
        found, guided_by_hand(specimen.model, specimen.inputs), atol=1e-7
    )
