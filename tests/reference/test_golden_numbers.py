"""Numbers that other libraries gave on the same weights and inputs."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.rules import BetaSmooth, DeconvNet, GuidedReLU, Pass

GOLDEN = json.loads(
    (pathlib.Path(__file__).parent / "data" / "torch_golden.json").read_text()
)


def channels_last(array) -> np.ndarray:
    return np.moveaxis(np.asarray(array, "float32"), 1, -1)


def arrays(*values) -> list[np.ndarray]:
    return [np.asarray(value, "float32") for value in values]


@pytest.fixture
def cam_net():
    """Conv, ReLU, Flatten in channel order, Dense: of `pgc_cam`."""
    golden = GOLDEN["pgc_cam"]
    model = keras.Sequential(
        [
            keras.Input((3, 3, 1)),
            layers.Conv2D(3, 2, name="conv"),
            layers.ReLU(name="relu"),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )
    kernel = np.moveaxis(np.asarray(golden["conv_w"]), (0, 1), (3, 2))
    model.get_layer("conv").set_weights(arrays(kernel, golden["conv_b"]))
    dense = np.asarray(golden["fc_w"]).T
    model.get_layer("dense").set_weights(arrays(dense, golden["fc_b"]))
    return model, channels_last(golden["x_nchw"])


def test_the_net_is_the_same(cam_net):
    model, x = cam_net
    np.testing.assert_allclose(model(x), GOLDEN["pgc_cam"]["logits"], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("GradCAM", ke.GradCAM),
        ("GradCAMPlusPlus", ke.GradCAMPlusPlus),
        ("LayerCAM", ke.LayerCAM),
    ],
)
def test_cams_as_pytorch_grad_cam(cam_net, name, cls):
    model, x = cam_net
    golden = GOLDEN["pgc_cam"]
    raw = np.asarray(golden["raw_cam_before_relu_scale_resize"][name])
    # It normalizes before it resizes; our maps are not normalized.
    expected = np.asarray(golden["final_3x3"][name]) * raw.max()
    found = cls(model, layer="relu")(x, 0)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def score_cam_weights(model, x, maps, align_corners):
    """Slow Score-CAM weights; `align_corners` is the peer's up-sampling."""
    scores = []
    for k in range(maps.shape[-1]):
        small = maps[0, :, :, k].astype("float64")
        if align_corners:
            centers = np.arange(3) / 2.0
        else:
            centers = np.clip((np.arange(3) + 0.5) * 2 / 3 - 0.5, 0, 1)
        w = np.maximum(0, 1 - np.abs(np.arange(2)[:, None] - centers))
        up = w.T @ small @ w
        up = (up - up.min()) / (up.max() - up.min())
        scores.append(model(x * up[None, :, :, None].astype("float32"))[0, 0])
    scores = np.asarray(scores, "float64")
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def test_score_cam(cam_net):
    model, x = cam_net
    golden = GOLDEN["pgc_cam"]
    maps = channels_last(golden["A_nchw"])
    peer = score_cam_weights(model, x, maps, align_corners=True)
    np.testing.assert_allclose(
        peer, golden["weights"]["ScoreCAM"][0], rtol=1e-4
    )

    # Ours centers the cells when it resizes; the rest is the same.
    weights = score_cam_weights(model, x, maps, align_corners=False)
    small = np.maximum(0, maps[0] @ weights)
    centers = np.clip((np.arange(3) + 0.5) * 2 / 3 - 0.5, 0, 1)
    w = np.maximum(0, 1 - np.abs(np.arange(2)[:, None] - centers))
    found = ke.ScoreCAM(model, layer="relu")(x, 0)
    np.testing.assert_allclose(found[0], w.T @ small @ w, rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("ReLUDeconvNet", DeconvNet),
        ("ReLUGuidedBackprop", GuidedReLU),
        ("ReLUBetaSmooth(10)", BetaSmooth(10.0)),
        ("Pass", Pass),
    ],
)
def test_activation_rules_as_zennit(key, rule):
    golden = GOLDEN["zennit_relu"]
    x = tf.constant(golden["x"])
    upstream = tf.constant(golden["grad_out"])

    @tf.function
    def backward(x):
        y = rule.apply(tf.nn.relu, (x,), {})
        return y, tf.gradients(y, x, upstream)[0]

    y, found = backward(x)
    np.testing.assert_array_equal(y, np.maximum(golden["x"], 0))
    np.testing.assert_allclose(found, golden[key], atol=1e-7)


# The tables of Captum's tests, on the models with literal weights there.


@pytest.fixture
def one_conv():
    """BasicModel_ConvNet_One_Conv."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, name="conv1"),
            layers.ReLU(name="relu1"),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(4, activation="relu", name="fc"),
        ]
    )
    model.get_layer("conv1").set_weights(
        arrays(np.ones((3, 3, 1, 2)), [-50, -75])
    )
    fc = np.concatenate([np.ones((5, 4)), -np.ones((3, 4))])
    model.get_layer("fc").set_weights(arrays(fc, np.zeros(4)))
    return model, np.arange(16, dtype="float32").reshape(1, 4, 4, 1)


def small_map(explainer, x):
    """The map at the size of the layer: resizing undone at 2 x 2 cells."""
    found = np.asarray(explainer(x, 0))[0]
    # With centered cells, pixels 0 and 3 of 4 are the two cells.
    return found[np.ix_([0, 3], [0, 3])]


def test_grad_cam_as_captum(one_conv):
    model, x = one_conv
    conv = small_map(ke.GradCAM(model, layer="conv1"), x)
    np.testing.assert_allclose(conv, [[11.25, 13.5], [20.25, 22.5]])
    relu = small_map(ke.GradCAM(model, layer="relu1"), x)
    np.testing.assert_allclose(relu, [[0, 4], [28, 32.5]])


def test_guided_backprop_as_captum(one_conv):
    model, x = one_conv
    expected = [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]
    found = ke.GuidedBackprop(model)(x, 0)
    np.testing.assert_allclose(found[0, :, :, 0], expected)


def test_deconvnet_as_captum(one_conv):
    model, x = one_conv
    expected = [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]
    found = ke.DeconvNet(model)(x, 0)
    np.testing.assert_allclose(found[0, :, :, 0], expected)


def test_guided_grad_cam_is_captums_product(one_conv):
    model, x = one_conv
    guided = ke.GuidedBackprop(model)(x, 0)[..., 0]
    cam = ke.GradCAM(model, layer="relu1")(x, 0)
    found = ke.GuidedGradCAM(model, layer="relu1")(x, 0)[..., 0]
    np.testing.assert_allclose(found, guided * cam)
    # Captum repeats cells where we interpolate: equal in the corners.
    corners = np.asarray(found)[0][np.ix_([0, 3], [0, 3])]
    np.testing.assert_allclose(corners, [[0, 4], [28, 32.5]])


@pytest.fixture
def multi_layer():
    """BasicModel_MultiLayer."""
    x = inputs = keras.Input((3,))
    for name, units in (("linear0", 3), ("linear1", 4)):
        x = layers.Dense(units, name=name)(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Dense(2, name="linear2")(x)
    model = keras.Model(inputs, x)
    model.get_layer("linear0").set_weights(arrays(np.eye(3), np.zeros(3)))
    model.get_layer("linear1").set_weights(
        arrays(np.ones((3, 4)), [-10, 1, 1, 1])
    )
    model.get_layer("linear2").set_weights(arrays(np.ones((4, 2)), [-1, 1]))
    return model


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        (None, (0, 100, 0), [0, 400, 0]),
        ("linear1", (0, 100, 0), [90, 101, 101, 101]),
        ("linear2", (0, 100, 0), [392, 0]),
        ("relu", (3, 4, 0), [0, 8, 8, 8]),
    ],
)
def test_input_x_gradient_as_captum(multi_layer, layer, x, expected):
    explainer = ke.InputXGradient(multi_layer, layer=layer)
    found = explainer(np.array([x], "float32"), 0)
    np.testing.assert_allclose(found, [expected])


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        ("linear2", (0, 100, 0), [4, 4, 4]),
        ("linear1", (0, 100, 0), [1, 1, 1]),
        ("linear2", (0, 5, 4), [3, 3, 3]),
    ],
)
def test_neuron_gradient_as_captum(multi_layer, layer, x, expected):
    found = ke.Gradient(multi_layer)(
        np.array([x], "float32"), ke.Neuron(layer, 0)
    )
    np.testing.assert_allclose(found, [expected])


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        ("linear2", (0, 100, 0), [0, 390, 0]),
        ("linear1", (0, 100, 0), [0, 100, 0]),
        ("relu", (0, 6, 14), [0, 3, 7]),
    ],
)
def test_neuron_integrated_gradients_as_captum(multi_layer, layer, x, expected):
    explainer = ke.IntegratedGradients(multi_layer, num_steps=500)
    found = explainer(np.array([x], "float32"), ke.Neuron(layer, 0))
    np.testing.assert_allclose(found, [expected], atol=0.1, rtol=2e-3)


def _pair(name):
    """BasicModel2 and BasicModel3: the same function of two inputs."""
    one, two = keras.Input((1,), name="one"), keras.Input((1,), name="two")
    first = ops.relu(one)
    second = ops.relu(two)
    if name == "BasicModel2":
        outputs = ops.relu(first - 1 - second)
    else:
        outputs = ops.relu(ops.relu(one - 1) - second)
    return keras.Model([one, two], outputs)


@pytest.mark.parametrize("name", ["BasicModel2", "BasicModel3"])
def test_integrated_gradients_as_captum(name):
    explainer = ke.IntegratedGradients(_pair(name), num_steps=500)
    inputs = [np.array([[3.0]], "float32"), np.array([[1.0]], "float32")]
    first, second = explainer(inputs, 0)
    np.testing.assert_allclose(
        np.ravel([first, second]), [1.5, -0.5], atol=0.01
    )


@pytest.fixture
def two_input_conv(one_conv):
    """The same model on the sum of two pictures."""
    model, x = one_conv
    one, two = keras.Input((4, 4, 1)), keras.Input((4, 4, 1))
    outputs = layers.Add(name="sum")([one, two])
    for layer in model.layers:
        outputs = layer(outputs)
    both = keras.Model([one, two], outputs)
    return both, [x, np.ones((1, 4, 4, 1), "float32")]


def test_several_inputs_as_captum(two_input_conv):
    model, inputs = two_input_conv
    found = small_map(ke.GradCAM(model, layer="conv1"), inputs)
    np.testing.assert_allclose(found, [[14.5, 19], [32.5, 37]])
    expected = [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    for part in ke.GuidedBackprop(model)(inputs, 0):
        np.testing.assert_allclose(part[0, :, :, 0], expected)
    cam = ke.GuidedGradCAM(model, layer="conv1")(inputs, 0)
    corners = np.asarray(cam[0])[0, :, :, 0][np.ix_([0, 3], [0, 3])]
    np.testing.assert_allclose(corners, [[14.5, 19], [32.5, 37]])
