"""Patterns against the numbers of others, and against the slow formula."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.attribution.pattern import PatternAttribution, PatternNet

GOLDEN = json.loads(
    (pathlib.Path(__file__).parent / "data" / "pattern_golden.json").read_text()
)["patternnet_stats"]
ON = {
    "relu_positive": lambda z: z > 0,
    "relu_negative": lambda z: z < 0,
    "linear": lambda z: z > -np.inf,
}


@pytest.mark.parametrize(
    ("activation", "signal", "key"),
    [
        ("relu", "relu_positive", "A_relu_bias_in_y(nn-patterns)"),
        ("relu", "linear", "A_linear"),
        (None, "relu_positive", "A_linear"),  # a layer no ReLU follows
    ],
)
@pytest.mark.parametrize("batch_size", [5, 2])
def test_as_nn_patterns(activation, signal, key, batch_size):
    dense = layers.Dense(2, activation=activation, name="dense")
    model = keras.Sequential([keras.Input((2,)), dense])
    dense.set_weights([np.asarray(GOLDEN["W_in_out"]), np.asarray(GOLDEN["b"])])
    explainer = PatternNet(model, signal=signal)
    explainer.fit(np.asarray(GOLDEN["X"]), batch_size=batch_size)
    np.testing.assert_allclose(
        explainer.patterns["dense"], GOLDEN[key], atol=1e-6
    )


def slow_pattern(patches, kernel, bias, on):
    """Of one unit; a patch is what its weights are multiplied with."""
    x = patches.reshape(len(patches), -1).astype("float64")
    w = kernel.reshape(-1).astype("float64")
    z = x @ w + float(bias)
    lit = on(z)
    if not lit.any():
        return np.zeros(kernel.shape)
    top = (x[lit] * z[lit, None]).mean(0) - x[lit].mean(0) * z.mean()
    bottom = float(w @ top)
    return (top / (bottom or 1.0)).reshape(kernel.shape)


def randomized(model, seed=3):
    """Random biases and statistics, so that nothing is zero by chance."""
    noise = np.random.default_rng(seed)
    for variable in model.variables:
        if len(variable.shape) == 1:
            low = 0.5 if variable.name in ("moving_variance", "gamma") else -0.3
            variable.assign(noise.uniform(low, low + 0.8, variable.shape))
    return model


@pytest.mark.parametrize("signal", list(ON))
def test_dense_by_the_formula(signal):
    x = np.random.default_rng(0).normal(2, 1, (40, 6)).astype("float32")
    model = randomized(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, name="hidden"),
                layers.ReLU(),
                layers.Dense(3, name="logits"),
            ]
        )
    )
    found = PatternNet(model, signal=signal).fit(x, batch_size=16).patterns
    hidden, logits = model.get_layer("hidden"), model.get_layer("logits")
    y = np.maximum(x @ hidden.kernel.numpy() + hidden.bias.numpy(), 0)
    for layer, given, on in (
        (hidden, x, ON[signal]),
        (logits, y, ON["linear"]),
    ):
        kernel, bias = (w.numpy() for w in layer.weights)
        for unit in range(kernel.shape[1]):
            expected = slow_pattern(given, kernel[:, unit], bias[unit], on)
            np.testing.assert_allclose(
                found[layer.name][:, unit], expected, rtol=1e-4, atol=1e-5
            )


def windows(x, size, stride, padding):
    """All windows that lie wholly in the pictures, `(n, size, size, c)`."""
    start = 0
    if padding == "same":
        # The first window begins as far outside as TensorFlow pads.
        number = -(-x.shape[1] // stride)
        start = -(max((number - 1) * stride + size - x.shape[1], 0) // 2)
    starts = [
        k
        for k in range(start, x.shape[1], stride)
        if k >= 0 and k + size <= x.shape[1]
    ]
    return np.concatenate(
        [x[:, i : i + size, j : j + size] for i in starts for j in starts]
    )


@pytest.mark.parametrize("signal", list(ON))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolution_by_the_formula(signal, stride, padding):
    x = np.random.default_rng(1).normal(1, 1, (7, 8, 8, 2)).astype("float32")
    conv = layers.Conv2D(
        4, 3, strides=stride, padding=padding, activation="relu", name="conv"
    )
    model = randomized(
        keras.Sequential(
            [keras.Input((8, 8, 2)), conv, layers.Flatten(), layers.Dense(2)]
        )
    )
    found = PatternNet(model, signal=signal).fit(x, batch_size=3).patterns
    kernel, bias = (w.numpy() for w in conv.weights)
    patches = windows(x, 3, stride, padding)
    for unit in range(4):
        expected = slow_pattern(
            patches, kernel[..., unit], bias[unit], ON[signal]
        )
        np.testing.assert_allclose(
            found["conv"][..., unit], expected, rtol=1e-4, atol=1e-5
        )


LAYERS = {
    "dense_in_steps": (lambda: layers.Dense(3), (4, 2)),
    "dilated": (lambda: layers.Conv2D(2, 2, dilation_rate=2), (5, 5, 2)),
    "causal": (lambda: layers.Conv1D(3, 3, padding="causal"), (6, 2)),
    "volume": (lambda: layers.Conv3D(2, 2, padding="same"), (3, 3, 3, 1)),
    "grouped": (lambda: layers.Conv2D(4, 2, groups=2), (4, 4, 4)),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(2, depth_multiplier=2, padding="same"),
        (4, 4, 3),
    ),
    "depthwise_grey": (lambda: layers.DepthwiseConv1D(2), (6, 1)),
    "transposed": (lambda: layers.Conv2DTranspose(2, 3), (3, 3, 2)),
    "transposed_strides": (
        lambda: layers.Conv2DTranspose(2, 3, strides=2), (3, 3, 2),
    ),
    "transposed_same": (
        lambda: layers.Conv1DTranspose(3, 5, strides=2, padding="same"), (5, 2),
    ),
    "transposed_apart": (
        lambda: layers.Conv1DTranspose(2, 2, strides=3), (4, 2),
    ),
    "einsum": (
        lambda: layers.EinsumDense("abc,cde->abed", (None, 3, 2),
                                   bias_axes="ed"),
        (3, 4),
    ),
    "einsum_dots": (
        lambda: layers.EinsumDense("...x,xy->...y", 3, bias_axes="y"), (3, 4),
    ),
    "einsum_of_positions": (
        lambda: layers.EinsumDense("abc,bcd->abd", (3, 2), bias_axes="bd"),
        (3, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer_by_its_jacobian(name):
    """A window is what an output's weights are multiplied with.

    The Jacobian to the kernel gives it, and tells units apart: outputs that
    have the same weights are one; those with fewer reach into the padding.
    """
    make, shape = LAYERS[name]
    layer = make()
    model = randomized(
        keras.Sequential(
            [keras.Input(shape), layer, layers.ReLU(), layers.Flatten()]
        )
    )
    x = np.random.default_rng(2).normal(1, 1, (6, *shape)).astype("float32")
    found = PatternNet(model).fit(x, batch_size=4).patterns[layer.name]

    def jacobian(values):
        with tf.GradientTape(persistent=True) as tape:
            z = layer(values)
        rows = tape.jacobian(z, layer.kernel.value, experimental_use_pfor=False)
        return z.numpy().ravel(), rows.numpy().reshape(-1, *layer.kernel.shape)

    support = jacobian(np.ones_like(x[:1]))[1] != 0
    sets = [frozenset(np.flatnonzero(s)) for s in support]
    whole = {s for s in sets if s and not any(s < other for other in sets)}
    z, patches = jacobian(x)
    kernel = layer.kernel.numpy()
    expected = np.zeros(kernel.size)
    units = sets * len(x)
    for unit in whole:
        places = [k for k, s in enumerate(units) if s == unit]
        own = sorted(unit)
        given = patches[places].reshape(len(places), -1)[:, own]
        weights = kernel.ravel()[own]
        bias = np.mean(z[places] - given @ weights)
        expected[own] = slow_pattern(given, weights, bias, ON["relu_positive"])
    np.testing.assert_allclose(
        found.ravel(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )
    assert np.abs(expected).max() > 0.01


def test_a_separable_convolution_is_two_layers():
    separable = layers.SeparableConv2D(3, 3, depth_multiplier=2, name="both")
    x = np.random.default_rng(0).normal(1, 1, (5, 6, 6, 2)).astype("float32")
    model = randomized(
        keras.Sequential([keras.Input((6, 6, 2)), separable, layers.ReLU()])
    )
    first = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False,
                                   name="first")  # fmt: skip
    second = layers.Conv2D(3, 1, name="second")
    plain = keras.Sequential(
        [keras.Input((6, 6, 2)), first, second, layers.ReLU()]
    )
    first.set_weights([separable.depthwise_kernel])
    second.set_weights([separable.pointwise_kernel, separable.bias])
    found, expected = (PatternNet(m).fit(x).patterns for m in (model, plain))
    for part, name in (("depthwise", "first"), ("pointwise", "second")):
        np.testing.assert_allclose(
            found[f"both/{part}"], expected[name], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("side", ["behind", "before"])
def test_batch_normalization_is_part_of_the_layer(side):
    x = np.random.default_rng(0).normal(1, 1, (9, 4)).astype("float32")
    norm, dense = layers.BatchNormalization(), layers.Dense(3, name="dense")
    inner = [dense, norm] if side == "behind" else [norm, dense]
    model = randomized(
        keras.Sequential([keras.Input((4,)), *inner, layers.ReLU()])
    )
    scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    offset = norm.beta - norm.moving_mean * scale
    scale, offset = np.asarray(scale), np.asarray(offset)
    kernel, bias = dense.kernel.numpy(), dense.bias.numpy()
    if side == "behind":
        kernel, bias = kernel * scale, bias * scale + offset
    else:
        bias = bias + offset @ kernel
        kernel = kernel * scale[:, None]
    found = PatternNet(model).fit(x).patterns["dense"]
    for unit in range(3):
        expected = slow_pattern(
            x,
            np.asarray(kernel)[:, unit],
            np.asarray(bias)[unit],
            ON["relu_positive"],
        )
        np.testing.assert_allclose(found[:, unit], expected, rtol=1e-4)


@pytest.mark.parametrize("cls", [PatternNet, PatternAttribution])
def test_the_way_back_by_matrices(cls):
    """Patterns for weights, gates for ReLUs, and the logit to start with."""
    x = np.random.default_rng(0).normal(1, 1, (30, 5)).astype("float32")
    hidden = layers.Dense(6, activation="relu", name="hidden")
    logits = layers.Dense(3, name="logits")
    model = randomized(keras.Sequential([keras.Input((5,)), hidden, logits]))
    explainer = cls(model).fit(x)
    a1, a2 = (explainer.patterns[n].astype("float64")
              for n in ("hidden", "logits"))  # fmt: skip
    if cls is PatternAttribution:
        a1, a2 = a1 * hidden.kernel.numpy(), a2 * logits.kernel.numpy()
    z = x @ hidden.kernel.numpy() + hidden.bias.numpy()
    score = np.asarray(model(x))[:, 1]
    expected = ((score[:, None] * a2[:, 1]) * (z > 0)) @ a1.T
    np.testing.assert_allclose(explainer(x, 1), expected, rtol=1e-3, atol=1e-5)
