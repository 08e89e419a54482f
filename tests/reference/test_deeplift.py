"""DeepLIFT against golden numbers, and against slow float64 formulas."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_explain.attribution.deeplift import DeepLIFT

GOLDEN = json.loads(
    (
        pathlib.Path(__file__).parent / "data" / "deeplift_golden.json"
    ).read_text()
)


def two_layer(weights, activation="relu", separate=False):
    (w1, b1), (w2, b2) = [
        [np.asarray(a, "float32") for a in pair] for pair in weights
    ]
    x = inputs = keras.Input((w1.shape[0],))
    if separate:
        x = layers.Dense(w1.shape[1], name="one")(x)
        x = layers.Activation(activation)(x)
    else:
        x = layers.Dense(w1.shape[1], activation=activation, name="one")(x)
    model = keras.Model(inputs, layers.Dense(w2.shape[1], name="two")(x))
    model.get_layer("one").set_weights([w1, b1])
    model.get_layer("two").set_weights([w2, b2])
    return model


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    ("rule", "key"), [("rescale", "rescale"), ("reveal_cancel", "revealcancel")]
)
def test_the_minimum_of_the_paper(rule, key, separate):
    golden = GOLDEN["deeplift_min_example"]
    weights = [([[1, 1], [0, -1]], [0, 0]), ([[1], [-1]], [0])]
    model = two_layer(weights, separate=separate)
    found = DeepLIFT(model, baseline=golden["ref"], rule=rule)(
        np.array(golden["x"]), 0
    )
    np.testing.assert_allclose(found, golden[key], atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("rule", "key"), [("rescale", "rs"), ("reveal_cancel", "rc")]
)
def test_two_layers_as_the_authors(rule, key, index):
    golden = GOLDEN["deeplift_two_layer"]
    model = two_layer(
        [
            (golden["W1_in_out"], golden["b1"]),
            (golden["W2_in_out"], golden["b2"]),
        ]
    )
    explainer = DeepLIFT(model, baseline=golden["ref"], rule=rule)
    found = explainer.explain(np.array(golden["x"]), index)
    expected = golden[f"{key}_class{index}_contrib"]
    np.testing.assert_allclose(found.attributions, expected, atol=1e-6)
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)


def safe(top, bottom, other):
    zero = bottom == 0
    return np.where(zero, other, top / np.where(zero, 1, bottom))


def slow_rescale(weights, f, slope, x, r, index):
    """Multipliers layer by layer, of one sample, in float64."""
    pre, pre0, a, a0 = [], [], x, r
    for w, b in weights[:-1]:
        z, z0 = a @ w + b, a0 @ w + b
        pre.append(z)
        pre0.append(z0)
        a, a0 = f(z), f(z0)
    m = weights[-1][0][:, index]
    for (w, _), z, z0 in zip(
        weights[-2::-1], pre[::-1], pre0[::-1], strict=True
    ):
        m = w @ (m * safe(f(z) - f(z0), z - z0, slope(z)))
    return m * (x - r)


def slow_reveal_cancel(weights, f, x, r, index):
    """The same with positive and negative parts, input by input."""
    deltas, befores, a, a0 = [], [], x, r
    for w, b in weights[:-1]:
        deltas.append(a - a0)
        z, z0 = a @ w + b, a0 @ w + b
        befores.append(z0)
        a, a0 = f(z), f(z0)
    m = weights[-1][0][:, index]
    for (w, _), d, z0 in zip(
        weights[-2::-1], deltas[::-1], befores[::-1], strict=True
    ):
        each = d[:, None] * w
        p, n = np.maximum(each, 0).sum(0), np.minimum(each, 0).sum(0)
        up = ((f(z0 + p) - f(z0)) + (f(z0 + n + p) - f(z0 + n))) / 2
        down = ((f(z0 + n) - f(z0)) + (f(z0 + n + p) - f(z0 + p))) / 2
        up, down = m * safe(up, p, 0), m * safe(down, n, 0)
        new = np.zeros(len(d))
        for i, delta in enumerate(d):
            above, below = np.maximum(w[i], 0), np.minimum(w[i], 0)
            more = (up * above + down * below).sum()
            less = (up * below + down * above).sum()
            mean = (more + less) / 2
            new[i] = more if delta > 0 else less if delta < 0 else mean
        m = new
    return m * (x - r)


FUNCTIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (
        lambda z: np.where(z > 0, z, 0.2 * z),
        lambda z: np.where(z > 0, 1, 0.2),
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "softplus": (
        lambda z: np.logaddexp(z, 0),
        lambda z: 1 / (1 + np.exp(-z)),
    ),
}


@pytest.fixture(params=list(FUNCTIONS))
def net(request):
    """Two hidden layers with biases, and inputs of every sign."""
    noise = np.random.default_rng(5)
    sizes = [4, 6, 5, 3]
    weights = [
        (noise.normal(size=(n, m)), noise.normal(size=m))
        for n, m in zip(sizes, sizes[1:], strict=False)
    ]
    # The first hidden unit sees nothing of a difference: weights of zero.
    weights[0][0][:, 0] = 0
    model = keras.Sequential([keras.Input((4,))])
    for k, (w, b) in enumerate(weights):
        last = k == len(weights) - 1
        layer = layers.Dense(
            w.shape[1], activation=None if last else request.param
        )
        model.add(layer)
        layer.set_weights([w, b])
    x = noise.normal(size=(5, 4))
    r = noise.normal(size=(1, 4))
    x[1, 2] = r[0, 2]  # no difference there
    x[2] = -np.abs(x[2])
    return model, weights, x, r, FUNCTIONS[request.param]


def test_rescale_as_written_slowly(net):
    model, weights, x, r, (f, slope) = net
    found = DeepLIFT(model, baseline=r)(x, 1)
    for k in range(len(x)):
        expected = slow_rescale(weights, f, slope, x[k], r[0], 1)
        np.testing.assert_allclose(found[k], expected, atol=2e-5)


def test_reveal_cancel_as_written_slowly(net):
    model, weights, x, r, (f, _) = net
    found = DeepLIFT(model, baseline=r, rule="reveal_cancel")(x, 1)
    differs = 0.0
    plain = DeepLIFT(model, baseline=r)(x, 1)
    for k in range(len(x)):
        expected = slow_reveal_cancel(weights, f, x[k], r[0], 1)
        np.testing.assert_allclose(found[k], expected, atol=2e-5)
        differs = max(differs, np.abs(expected - plain[k]).max())
    assert differs > 1e-2


def conv_matrix(layer, shape):
    """A convolution as a matrix and a bias, column by column."""
    size = int(np.prod(shape))
    unit = np.eye(size).reshape(size, *shape).astype("float32")
    zero = np.zeros((1, *shape), "float32")
    bias = np.asarray(layer(zero), "float64").reshape(-1)
    return np.asarray(layer(unit), "float64").reshape(size, -1) - bias, bias


@pytest.mark.parametrize("kind", ["Conv2D", "SeparableConv2D"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("rule", ["reveal_cancel", "genomics_default"])
def test_reveal_cancel_of_convolutions_and_norms(kind, norm, rule):
    """Both as matrices, the normalization folded in by hand."""
    conv = getattr(layers, kind)(3, 2, name="conv")
    inputs = keras.Input((4, 4, 2))
    x = conv(inputs)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(layers.Activation("relu")(x))
    x = layers.Dense(4, activation="relu", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    noise = np.random.default_rng(1)
    for v in model.variables:
        drawn = noise.normal(size=v.shape)
        v.assign(np.abs(drawn) + 0.3 if "variance" in v.path else drawn)
    data = noise.normal(size=(3, 4, 4, 2)).astype("float32")
    r = noise.normal(size=(4, 4, 2)).astype("float32")

    def before_relu(x):
        z = conv(x)
        return model.get_layer("norm")(z) if norm else z

    class Linear:
        def __call__(self, x):
            return before_relu(x)

    depth = []
    if kind == "SeparableConv2D":  # its first map is a plain linear one
        kernel = conv.depthwise_kernel

        def first(x):
            return ops.depthwise_conv(x, kernel)

        depth = [conv_matrix(first, (4, 4, 2))[0]]

        def second(x):
            z = ops.conv(x, conv.pointwise_kernel) + conv.bias
            return model.get_layer("norm")(z) if norm else z

        matrix = conv_matrix(second, (3, 3, 2))
    else:
        matrix = conv_matrix(Linear(), (4, 4, 2))
    weights = [
        matrix,
        [np.asarray(w, "float64") for w in model.get_layer("hidden").weights],
        [np.asarray(w, "float64") for w in model.get_layer("out").weights],
    ]
    relu, _ = FUNCTIONS["relu"]
    found = DeepLIFT(model, baseline=r, rule=rule).explain(data, 1)
    flat, r = data.reshape(3, -1).astype("float64"), r.reshape(-1)
    for k in range(3):
        a, a0 = (flat[k] @ depth[0], r @ depth[0]) if depth else (flat[k], r)
        if rule == "reveal_cancel":
            each = slow_reveal_cancel(weights, relu, a, a0, 1)
            m = safe(each, a - a0, 0)
        else:  # rescale of the convolution, reveal-cancel behind it
            z, z0 = (t @ matrix[0] + matrix[1] for t in (a, a0))
            h, h0 = relu(z), relu(z0)
            each = slow_reveal_cancel(weights[1:], relu, h, h0, 1)
            m = matrix[0] @ (safe(each, h - h0, 0) * safe(h - h0, z - z0, 0))
        m = depth[0] @ m if depth else m
        np.testing.assert_allclose(
            found.attributions[k].reshape(-1),
            m * (flat[k] - r),
            atol=1e-4 * np.abs(found.attributions[k]).max(),
        )


# Literal numbers of Captum's tests.


def test_two_relus_of_two_inputs():
    one, two = keras.Input((1,)), keras.Input((1,))
    y = 2 * ops.relu(one) + 2 * ops.relu(two - 1.5)
    model = keras.Model([one, two], y)
    explanation = DeepLIFT(model).explain(
        [np.array([[1.0]]), np.array([[2.0]])], 0
    )
    np.testing.assert_allclose(explanation.attributions[0], [[2.0]])
    np.testing.assert_allclose(explanation.attributions[1], [[1.0]])
    np.testing.assert_allclose(explanation.delta, [0.0])


def lin_maxpool_lin(length):
    x = inputs = keras.Input((length,))
    x = layers.Dense(length, use_bias=False, name="one")(x)
    x = layers.Reshape((length, 1))(x)
    x = layers.Flatten(name="pooled")(layers.MaxPooling1D(length)(x))
    model = keras.Model(inputs, layers.Dense(1, use_bias=False)(x))
    model.set_weights([np.eye(length), np.ones((1, 1))])
    return model


def test_maximum_of_one_sample_at_a_time():
    model = lin_maxpool_lin(4)
    references = np.array([[1.0, 2, 3, 9], [4, 8, 6, 7]])
    explanation = DeepLIFT(model, baseline=references).explain(
        np.ones((2, 4)), 0
    )
    np.testing.assert_array_equal(
        explanation.attributions, [[0, 0, 0, -8], [0, -7, 0, 0]]
    )
    np.testing.assert_array_equal(explanation.delta, [0, 0])
    at = DeepLIFT(model, baseline=references, layer="pooled")
    np.testing.assert_array_equal(at(np.ones((2, 4)), 0), [[-8], [-7]])


def linear_relu_linear():
    """l3(relu(l1(x1) + l2(x2))) with l1 of 3, 1, 0 and l2 of 2, 3, 0."""
    one, two = keras.Input((3,)), keras.Input((3,))
    first = layers.Dense(1, use_bias=False)
    second = layers.Dense(1, use_bias=False)
    both = layers.Concatenate(name="both")([first(one), second(two)])
    last = layers.Dense(1, use_bias=False)
    model = keras.Model([one, two], last(layers.ReLU(name="relu")(both)))
    first.set_weights([np.array([[3.0], [1], [0]])])
    second.set_weights([np.array([[2.0], [3], [0]])])
    last.set_weights([np.ones((2, 1))])
    return model


def test_at_a_layer_and_at_the_second_input():
    model = linear_relu_linear()
    data = [np.array([[-10.0, 1, -5]]), np.array([[3.0, 3, 1]])]
    at = DeepLIFT(model, layer="both")
    np.testing.assert_array_equal(at(data, 0), [[0, 15]])
    _, second = DeepLIFT(model)(data, 0)
    np.testing.assert_array_equal(second, [[6, 9, 0]])
