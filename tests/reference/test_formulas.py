"""Each method against its paper, written slowly in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.attribution.eigen_cam import principal_component
from keras_explain.engine import sampling
from keras_explain.engine.resizing import resize
from tests import zoo


@pytest.fixture
def features():
    """Feature maps and gradients with negative, zero and dead entries."""
    noise = np.random.default_rng(3)
    a = noise.normal(size=(2, 3, 4, 5))
    g = noise.normal(size=(2, 3, 4, 5))
    g[:, 0, 1] = 0
    a[..., 4] = 0
    return a, g


def grad_cam(a, g):
    height, width, channels = a.shape
    out = np.zeros((height, width))
    for k in range(channels):
        out += g[:, :, k].mean() * a[:, :, k]
    return np.maximum(out, 0)


def grad_cam_plus_plus(a, g):
    height, width, channels = a.shape
    out = np.zeros((height, width))
    for k in range(channels):
        weight = 0.0
        for i in range(height):
            for j in range(width):
                if g[i, j, k] == 0:
                    continue
                below = 2 * g[i, j, k] ** 2
                below += a[:, :, k].sum() * g[i, j, k] ** 3 + 1e-6
                weight += g[i, j, k] ** 2 / below * max(g[i, j, k], 0)
        out += weight * a[:, :, k]
    return np.maximum(out, 0)


def hires_cam(a, g):
    return sum(a[:, :, k] * g[:, :, k] for k in range(a.shape[-1]))


def xgrad_cam(a, g):
    out = np.zeros(a.shape[:2])
    for k in range(a.shape[-1]):
        if a[:, :, k].sum() != 0:
            weight = (g[:, :, k] * a[:, :, k]).sum() / a[:, :, k].sum()
            out += weight * a[:, :, k]
    return np.maximum(out, 0)


def layer_cam(a, g):
    out = sum(np.maximum(g[..., k], 0) * a[..., k] for k in range(a.shape[-1]))
    return np.maximum(out, 0)


def elementwise_grad_cam(a, g):
    return sum(np.maximum(g[..., k] * a[..., k], 0) for k in range(a.shape[-1]))


def eigen(a):
    """First right singular vector of the centered matrix, by SVD."""
    flat = a.reshape(-1, a.shape[-1])
    flat = flat - flat.mean(0)
    _, _, right = np.linalg.svd(flat)
    projection = flat @ right[0]
    if projection @ flat.mean(1) < 0:
        projection = -projection
    return projection.reshape(a.shape[:2])


@pytest.mark.parametrize(
    ("cls", "formula"),
    [
        (ke.GradCAM, grad_cam),
        (ke.GradCAMPlusPlus, grad_cam_plus_plus),
        (ke.HiResCAM, hires_cam),
        (ke.XGradCAM, xgrad_cam),
        (ke.LayerCAM, layer_cam),
        (ke.ElementwiseGradCAM, elementwise_grad_cam),
        (ke.EigenGradCAM, lambda a, g: eigen(a * g)),
    ],
)
def test_cam_formula(cls, formula, features, model):
    a, g = features
    found = cls(model)._combine(
        tf.constant(a, tf.float32), tf.constant(g, tf.float32)
    )
    expected = [formula(x, y) for x, y in zip(a, g, strict=True)]
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 3, 40)])
def test_principal_component_both_ways(shape):
    """More positions than channels, and the other way round."""
    a = np.random.default_rng(0).normal(size=shape) + 1.0
    found = principal_component(tf.constant(a, tf.float32))
    expected = [eigen(x) for x in a]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    open_size = tf.function(
        principal_component,
        input_signature=[tf.TensorSpec([None, None, None, shape[-1]])],
    )
    np.testing.assert_allclose(
        open_size(tf.constant(a, tf.float32)), expected, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(6, 5), (2, 3)])
def test_principal_component_where_no_mean_tells_its_sign(shape):
    """Behind a layer normalization every position has the same mean."""
    noise = np.random.default_rng(0)
    direction = noise.normal(size=12)
    places = np.zeros((1, *shape))
    places[0, 1, 1] = 5.0
    a = places[..., None] * direction + 0.1 * noise.normal(size=(1, *shape, 12))
    a -= a.mean(-1, keepdims=True)
    for sign in (1, -1):
        for error in 1e-7 * noise.normal(size=(6, *a.shape)):
            rounded = tf.constant(sign * a + error, tf.float32)
            found = np.asarray(principal_component(rounded))
            assert np.unravel_index(found.argmax(), found.shape) == (0, 1, 1)
            assert found.max() > 2 * -found.min()


def numeric_gradient(function, x, step=1e-3):
    """Central differences, one value at a time."""
    out = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        out[index] = (function(up) - function(down)) / (2 * step)
    return out


@pytest.fixture
def smooth_net():
    """tanh layers, so that finite differences meet no kink."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 3, activation="tanh"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def numpy_net(model):
    """The same network in float64 NumPy, for one sample."""
    conv, _, dense = model.layers
    kernel, bias = (w.astype("float64") for w in conv.get_weights())
    weights, offset = (w.astype("float64") for w in dense.get_weights())

    def run(x):
        rows = []
        for i in range(2):
            for j in range(2):
                patch = x[i : i + 3, j : j + 3]
                rows.append(np.tanh(np.tensordot(patch, kernel, 3) + bias))
        return np.concatenate(rows) @ weights + offset

    return run


def test_gradient_family_by_finite_differences(smooth_net):
    x = np.random.default_rng(0).normal(size=(4, 4, 2))
    net = numpy_net(smooth_net)
    slope = numeric_gradient(lambda v: net(v)[1], x, 1e-6)
    batch = x[None].astype("float32")
    for cls, expected in (
        (ke.Gradient, slope),
        (ke.Saliency, np.abs(slope)),
        (ke.Sensitivity, slope**2),
        (ke.InputXGradient, x * slope),
    ):
        found = cls(smooth_net)(batch, 1)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "method", ["gauss_legendre", "left", "right", "middle", "trapezoid"]
)
def test_integrated_gradients_by_hand(smooth_net, method):
    x = np.random.default_rng(0).normal(size=(4, 4, 2))
    baseline = 0.3
    net = numpy_net(smooth_net)
    nodes, weights = sampling.quadrature(method, 6)
    expected = np.zeros(x.shape)
    for node, weight in zip(nodes, weights, strict=True):
        point = baseline + node * (x - baseline)
        slope = numeric_gradient(lambda v: net(v)[2], point, 1e-6)
        expected += weight * slope
    expected *= x - baseline
    explainer = ke.IntegratedGradients(
        smooth_net, baseline=baseline, num_steps=6, method=method
    )
    explanation = explainer.explain(x[None].astype("float32"), 2)
    np.testing.assert_allclose(explanation.attributions[0], expected, atol=2e-5)
    start = net(np.full(x.shape, baseline))
    missing = expected.sum() - (net(x)[2] - start[2])
    np.testing.assert_allclose(explanation.delta, [missing], atol=2e-5)


@pytest.mark.parametrize(
    "method", ["gauss_legendre", "left", "right", "middle", "trapezoid"]
)
@pytest.mark.parametrize("steps", [2, 7, 50])
def test_quadrature_weights_sum_to_one(method, steps):
    nodes, weights = sampling.quadrature(method, steps)
    assert len(nodes) == len(weights) == steps
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert nodes.min() >= 0 and nodes.max() <= 1


@pytest.mark.parametrize(
    ("cls", "formula"),
    [
        (ke.SmoothGrad, lambda v: v.mean(0)),
        (ke.SquareGrad, lambda v: (v**2).mean(0)),
        (ke.VarGrad, lambda v: v.var(0)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_noise_wrappers_by_hand(smooth_net, cls, formula, batch_size):
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    explainer = cls(
        smooth_net,
        num_samples=5,
        noise_stddev=0.2,
        seed=11,
        batch_size=batch_size,
    )
    found = explainer(x, 0)

    net = numpy_net(smooth_net)
    noise = sampling.normal(tf.range(5), 11, x.shape[1:], 0).numpy()
    for sample, result in zip(x, found.numpy(), strict=True):
        spread = 0.2 * (sample.max() - sample.min())
        slopes = np.stack(
            [
                numeric_gradient(
                    lambda v: net(v)[0],
                    (sample + spread * e).astype("f8"),
                    1e-6,
                )
                for e in noise
            ]
        )
        np.testing.assert_allclose(result, formula(slopes), atol=2e-5)


def test_noise_has_the_stated_spread():
    noise = sampling.normal(tf.range(200), 0, (20, 20), 0).numpy()
    assert noise.std() == pytest.approx(1.0, abs=0.01)
    assert abs(noise.mean()) < 0.01
    other = sampling.normal(tf.range(200), 0, (20, 20), 1).numpy()
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.02


def test_resize_is_tensorflows_and_centered():
    maps = np.random.default_rng(0).random((2, 7, 5)).astype("float32")
    found = resize(tf.constant(maps), [224, 31])
    expected = tf.image.resize(maps[..., None], (224, 31))[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # The center of mass of one cell of 7 is where the cell is in the image.
    spot = np.zeros((1, 7, 7), "float32")
    spot[0, 1, 1] = 1
    big = resize(tf.constant(spot), [224, 224]).numpy()[0]
    rows = np.arange(224)
    assert (big.sum(1) @ rows) / big.sum() == pytest.approx(47.5, abs=1e-3)


def test_ablation_cam_by_hand():
    specimen = zoo.build("functional")
    model, x = specimen.model, specimen.inputs[:1]
    pool, dense = model.get_layer("pool"), model.get_layer("logits")
    features = keras.Model(model.input, model.get_layer("conv2").output)
    a = np.asarray(features(x), "float64")
    kernel, bias = dense.get_weights()
    score = lambda maps: (maps.mean((1, 2)) @ kernel + bias)[0, 4]  # noqa: E731
    assert pool is not None
    clean = score(a)
    out = np.zeros(a.shape[1:3])
    for k in range(a.shape[-1]):
        without = a.copy()
        without[..., k] = 0
        out += (clean - score(without)) / abs(clean) * a[0, :, :, k]
    for batch_size in (1, 4, 32):
        found = ke.AblationCAM(model, batch_size=batch_size)(x, 4)[0]
        np.testing.assert_allclose(found, np.maximum(out, 0), atol=1e-5)


def test_score_cam_gives_flat_channels_no_weight():
    """A dead channel shows nothing, so that its score says nothing."""
    specimen = zoo.build("functional")
    model, x = specimen.model, specimen.inputs[:1]
    conv = model.get_layer("conv2")
    kernel, bias = conv.get_weights()
    kernel[..., 2], bias[2] = 0, 5  # the same at all positions
    conv.set_weights([kernel, bias])
    features = keras.Model(model.input, conv.output)
    a = np.asarray(features(x), "float64")[0]
    kernel, bias = model.get_layer("logits").get_weights()
    scores = []
    alive = [k for k in range(6) if np.ptp(a[..., k]) > 0]
    assert 2 not in alive
    for k in alive:
        mask = (a[..., k] - a[..., k].min()) / np.ptp(a[..., k])
        maps = np.asarray(features((x * mask[..., None]).astype("float32")))
        scores.append((maps.mean((1, 2)) @ kernel + bias)[0, 3])
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    out = sum(w * a[..., k] for w, k in zip(weights, alive, strict=True))
    found = ke.ScoreCAM(model)(x, 3)[0]
    np.testing.assert_allclose(found, np.maximum(out, 0), rtol=1e-4, atol=1e-5)


def test_fewer_channels_are_those_that_vary_most():
    specimen = zoo.build("functional")
    model, x = specimen.model, specimen.inputs
    for cls in (ke.ScoreCAM, ke.AblationCAM):
        everything = cls(model)(x, 3)
        as_many = cls(model, max_channels=6)(x, 3)
        fewer = cls(model, max_channels=2)(x, 3)
        np.testing.assert_allclose(as_many, everything, atol=1e-5)
        assert np.abs(fewer - everything).max() > 1e-3
