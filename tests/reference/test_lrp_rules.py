"""Each LRP rule against its paper's formula, from the Jacobian, in float64."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain import rules
from keras_explain.engine import execution, linear_rule
from keras_explain.engine.recording import record

EPSILON = 1e-6


def walk_back(model, x, composites, upstream=None):
    """`(output, [(relevance, lost)])` of some composites, in one trace."""
    x = tf.constant(x, tf.float32)
    graph = record(model, tf.TensorSpec([None, *x.shape[1:]]))
    up = None if upstream is None else tf.constant(upstream, tf.float32)

    @tf.function(autograph=False)
    def run(x):
        found = []
        for composite in composites:
            sink = tf.zeros([tf.shape(x)[0]])
            assigned = composite.assign(graph)
            y = execution.run(model, x, rules=assigned, sink=sink)
            given = y if up is None else up
            found.append((y, *tf.gradients(y, [x, sink], given)))
        return found

    outputs = run(x)
    for y, _, _ in outputs:  # no rule changes what the model computes
        np.testing.assert_allclose(y, model(x), atol=1e-5, rtol=1e-5)
    found = [(r.numpy(), lost.numpy()) for _, r, lost in outputs]
    return outputs[0][0].numpy(), found


def per_sample(values):
    return np.asarray(values, "float64").reshape(len(values), -1).sum(1)


def whole(rng, shape, biggest):
    """Whole numbers but zero: exact in float32, with sums of exactly zero."""
    values = rng.integers(1, biggest + 1, shape)
    return values * rng.choice([-1, 1], shape)


def with_whole_weights(layer, shape, seed=0):
    """The layer built on an input shape, with whole numbers as weights."""
    rng = np.random.default_rng(seed)
    layer.build((None, *shape))
    layer.set_weights([whole(rng, w.shape, 2) for w in layer.get_weights()])
    return layer


def affine_parts(layer, shape):
    """The Jacobian `(outputs, inputs)` and the bias of a layer, in float64.

    By pushing unit vectors through a copy of the layer.
    """
    config = layer.get_config()
    config.update(dtype="float64", activation="linear")
    copy = type(layer).from_config(config)
    copy.build((None, *shape))
    copy.set_weights(layer.get_weights())
    size = int(np.prod(shape))
    rows = np.concatenate([np.zeros((1, size)), np.eye(size)])
    made = np.asarray(copy(rows.reshape(-1, *shape)))
    made = made.reshape(size + 1, -1)
    return np.round(made[1:] - made[0]).T, made[0]


def stable(z, epsilon=EPSILON):
    return z + np.where(z >= 0, epsilon, -epsilon)


def by_parts(c, b, r, epsilon=EPSILON):
    """Divides `r` in proportion to contributions `c[sample, out, in]`."""
    bottom = stable(c.sum(2) + b, epsilon)
    return np.einsum("noi,no->ni", c, r / bottom)


def epsilon_formula(epsilon=EPSILON, zero_bias=False):
    def formula(j, b, x, r):
        return by_parts(j * x[:, None], 0 if zero_bias else b, r, epsilon)

    return formula


def alpha_beta_formula(alpha, beta, zero_bias=False, epsilon=EPSILON):
    def formula(j, b, x, r):
        b = np.zeros_like(b) if zero_bias else b
        c = j * x[:, None]
        up = by_parts(np.maximum(c, 0), np.maximum(b, 0), r, epsilon)
        down = by_parts(np.minimum(c, 0), np.minimum(b, 0), r, epsilon)
        return alpha * up - beta * down

    return formula


def gamma_formula(gamma, zero_bias=False):
    def formula(j, b, x, r):
        z = np.einsum("oi,ni->no", j, x) + b
        b = np.zeros_like(b) if zero_bias else b
        c = j * x[:, None]
        total = 0
        for part, chosen in ((np.maximum, z > 0), (np.minimum, z < 0)):
            more = by_parts(
                c + gamma * part(c, 0), b + gamma * part(b, 0), r * chosen
            )
            total = total + more
        return total

    return formula


def box_formula(low, high):
    def formula(j, b, x, r):
        up, down = np.maximum(j, 0), np.minimum(j, 0)
        c = j * x[:, None] - up * low - down * high
        return by_parts(c, 0, r)  # b - b+ - b- is nothing

    return formula


def square_formula(zero_bias=False):
    def formula(j, b, x, r):
        c = np.broadcast_to(j**2, (len(x), *j.shape))
        return by_parts(c, 0 if zero_bias else b**2, r)

    return formula


def flat_formula(j, b, x, r):
    reached = (j != 0) * 1.0
    return by_parts(np.broadcast_to(reached, (len(x), *j.shape)), 0, r)


# Rule, formula from `(jacobian, bias, input, relevance)`.
RULES = {
    "epsilon": (rules.Epsilon(), epsilon_formula()),
    "epsilon large": (rules.Epsilon(0.25), epsilon_formula(0.25)),
    "epsilon zero": (rules.Epsilon(zero_bias=True),
                     epsilon_formula(zero_bias=True)),
    "norm": (rules.Norm(), epsilon_formula()),
    "zplus": (rules.ZPlus(), alpha_beta_formula(1, 0)),
    "zplus zero": (rules.ZPlus(zero_bias=True),
                   alpha_beta_formula(1, 0, True)),
    "alpha2": (rules.AlphaBeta(), alpha_beta_formula(2, 1)),
    "alpha2 zero": (rules.AlphaBeta(zero_bias=True),
                    alpha_beta_formula(2, 1, True)),
    "alpha1.5": (rules.AlphaBeta(1.5, 0.5, epsilon=0.1),
                 alpha_beta_formula(1.5, 0.5, epsilon=0.1)),
    "gamma": (rules.Gamma(), gamma_formula(0.25)),
    "gamma zero": (rules.Gamma(3.0, zero_bias=True), gamma_formula(3.0, True)),
    "box": (rules.ZBox(-4.0, 5.0), box_formula(-4.0, 5.0)),
    "square": (rules.WSquare(), square_formula()),
    "square zero": (rules.WSquare(zero_bias=True), square_formula(True)),
    "flat": (rules.Flat(), flat_formula),
}  # fmt: skip
# These use every modifier there is.
FEW = ["norm", "alpha2", "zplus zero", "gamma", "box", "square", "flat"]

LAYERS = {
    "dense": (lambda: layers.Dense(4), (5,)),
    "dense no bias": (lambda: layers.Dense(4, use_bias=False), (5,)),
    "dense steps": (lambda: layers.Dense(3), (2, 4)),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (2, 3),
                                          bias_axes="d"), (2, 4)),
    "einsum heads": (lambda: layers.EinsumDense("abc,cde->abde", (2, 2, 3),
                                                bias_axes="de"), (2, 4)),
    "einsum no bias": (lambda: layers.EinsumDense("...x,xy->...y", 3), (4,)),
    "conv1d": (lambda: layers.Conv1D(2, 3), (6, 2)),
    "conv1d dilated": (lambda: layers.Conv1D(2, 2, dilation_rate=2,
                                             padding="same"), (6, 2)),
    "conv1d causal": (lambda: layers.Conv1D(2, 3, padding="causal"), (5, 2)),
    "conv2d": (lambda: layers.Conv2D(3, 2), (3, 4, 2)),
    "conv2d no bias": (lambda: layers.Conv2D(3, 2, use_bias=False), (3, 4, 2)),
    "conv2d many channels": (lambda: layers.Conv2D(2, 2), (2, 3, 9)),
    "conv2d same stride": (lambda: layers.Conv2D(2, 3, strides=2,
                                                 padding="same"), (4, 5, 2)),
    "conv2d groups": (lambda: layers.Conv2D(4, 2, groups=2), (3, 3, 4)),
    "conv2d relu": (lambda: layers.Conv2D(3, 2, activation="relu"), (3, 4, 2)),
    "conv3d": (lambda: layers.Conv3D(2, 2, padding="same"), (2, 3, 2, 2)),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(2, depth_multiplier=2),
                    (4, 2)),
    "depthwise": (lambda: layers.DepthwiseConv2D(2, strides=2, padding="same",
                                                 depth_multiplier=2),
                  (4, 3, 2)),
    "transposed": (lambda: layers.Conv2DTranspose(2, 3, strides=2,
                                                  padding="same"), (2, 3, 2)),
    "transposed1d": (lambda: layers.Conv1DTranspose(2, 2), (3, 2)),
}  # fmt: skip
THOROUGH = {"dense", "dense no bias", "conv2d", "conv2d same stride"}


@pytest.mark.parametrize("behind_relu", [False, True], ids=["any", "positive"])
@pytest.mark.parametrize("name", LAYERS)
def test_rules_by_the_jacobian(name, behind_relu):
    """R_i = sum_j c_ij R_j / (sum_i c_ij + b_j), with each rule's own `c`.

    Behind a ReLU the terms of negative inputs are left out; it must not show.
    """
    chosen = list(RULES) if name in THOROUGH else FEW
    if name == "conv2d relu":
        chosen = [rule for rule in chosen if rule != "norm"]  # of sums alone
    by_the_jacobian(name, behind_relu, chosen)


@pytest.mark.parametrize("behind_relu", [False, True], ids=["any", "positive"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_part_of_each_sum_is_held(name, behind_relu, monkeypatch):
    """As it is of sums of many products."""
    monkeypatch.setattr(linear_rule, "FEW_TERMS", 0)
    by_the_jacobian(name, behind_relu, ["alpha2", "alpha1.5"])


def by_the_jacobian(name, behind_relu, chosen):
    make, shape = LAYERS[name]
    layer = with_whole_weights(make(), shape)
    rng = np.random.default_rng(1)
    x = whole(rng, (2, *shape), 3)
    inputs = keras.Input(shape)
    signal = layers.ReLU()(inputs) if behind_relu else inputs
    model = keras.Model(inputs, layer(signal))
    shape = (2, *model.output_shape[1:])
    r = rng.normal(size=shape)
    kernels = rules.role("linear")
    others = rules.role("activation")
    composites = [
        rules.Composite(((kernels, RULES[rule][0]), (others, rules.Pass)))
        for rule in chosen
    ]
    _, found = walk_back(model, x, composites, r)
    j, b = affine_parts(layer, x.shape[1:])
    flat = x.reshape(2, -1).astype("float64")
    flat = np.maximum(flat, 0) if behind_relu else flat
    z = flat @ j.T + b
    assert (z > 0).any() and (behind_relu or (z < 0).any())
    for rule, (relevance, lost) in zip(chosen, found, strict=True):
        agrees(RULES[rule][1](j, b, flat, r.reshape(2, -1)), relevance, rule)
        missing = r.reshape(2, -1).sum(1) - per_sample(relevance)
        size = np.abs(relevance).sum()
        np.testing.assert_allclose(lost, missing, atol=1e-5 * size)


def agrees(expected, found, name=""):
    size = np.abs(expected).max()
    found = np.reshape(found, expected.shape)
    np.testing.assert_allclose(found, expected, atol=2e-5 * size, err_msg=name)


def test_an_output_of_exactly_zero():
    """Zero counts as positive: it is divided by `+epsilon`; Gamma stops it."""
    layer = layers.Dense(2)
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.set_weights([np.array([[1.0, 2], [-1, 1]]), np.array([1.0, 0])])
    x = np.array([[1.0, 2]])  # the outputs are 0 and 4
    chosen = [rules.Epsilon(0.5), rules.AlphaBeta(epsilon=0.5), rules.Gamma()]
    composites = [rules.Composite(((rules.linear, rule),)) for rule in chosen]
    y, found = walk_back(model, x, composites, np.array([[3.0, 0]]))
    np.testing.assert_array_equal(y, [[0, 4]])
    np.testing.assert_allclose(found[0][0], [[6, -12]])
    np.testing.assert_allclose(found[0][1], [9])
    expected = [[2 * 3 / 2.5, -3 * 2 / 2.5]]
    np.testing.assert_allclose(found[1][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[2][0], [[0, 0]])
    np.testing.assert_allclose(found[2][1], [3])


@pytest.mark.parametrize("name", ["alpha2", "gamma", "flat"])
@pytest.mark.parametrize("rank", [1, 2])
def test_separable_convolutions_are_two_maps(rank, name):
    """The rule holds for the depthwise and for the pointwise one."""
    shape = (4, 3, 2)[-rank - 1 :]
    options = {"strides": 2, "padding": "same", "depth_multiplier": 2}
    made = (layers.SeparableConv1D, layers.SeparableConv2D)[rank - 1]
    apart = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)[rank - 1]
    points = (layers.Conv1D, layers.Conv2D)[rank - 1]
    layer = with_whole_weights(made(3, 2, **options), shape)
    model = keras.Sequential([keras.Input(shape), layer])
    x = whole(np.random.default_rng(1), (2, *shape), 3).astype("float32")
    r = np.random.default_rng(2).normal(size=(2, *model.output_shape[1:]))
    rule, formula = RULES[name]
    composite = rules.Composite(((rules.linear, rule),))
    ((relevance, _),) = walk_back(model, x, [composite], r)[1]

    depthwise, pointwise, bias = layer.get_weights()
    first = apart(2, use_bias=False, **options)
    first.build((None, *shape))
    first.set_weights([depthwise])
    between = np.asarray(first(x))
    second = points(3, 1)
    second.build(between.shape)
    second.set_weights([pointwise, bias])
    j, b = affine_parts(second, between.shape[1:])
    passed = formula(j, b, between.reshape(2, -1), r.reshape(2, -1))
    j, b = affine_parts(first, shape)
    agrees(formula(j, b, x.reshape(2, -1).astype(float), passed), relevance)


def test_bounds_for_each_channel():
    """z-B takes bounds that broadcast to the input of its layer."""
    layer = with_whole_weights(layers.Conv2D(2, 2), (3, 3, 2))
    model = keras.Sequential([keras.Input((3, 3, 2)), layer])
    x = whole(np.random.default_rng(1), (2, 3, 3, 2), 3)
    low, high = np.array([-3.0, -4]), np.array([3.0, 6])
    composite = rules.Composite(((rules.linear, rules.ZBox(low, high)),))
    r = np.random.default_rng(2).normal(size=(2, 2, 2, 2))
    ((relevance, _),) = walk_back(model, x, [composite], r)[1]
    j, b = affine_parts(layer, (3, 3, 2))
    formula = box_formula(np.tile(low, 9), np.tile(high, 9))
    flat = x.reshape(2, -1).astype(float)
    agrees(formula(j, b, flat, r.reshape(2, -1)), relevance)


DATA = pathlib.Path(__file__).parent / "data" / "lrp_golden.json"
GOLDEN = json.loads(DATA.read_text())
ZENNIT = {
    "Epsilon(1e-6)": rules.Epsilon(),
    "Epsilon(0.25)": rules.Epsilon(0.25),
    "Epsilon(1e-6,zero bias)": rules.Epsilon(zero_bias=True),
    "ZPlus": rules.ZPlus(),
    "ZPlus(zero bias)": rules.ZPlus(zero_bias=True),
    "AlphaBeta(2,1)": rules.AlphaBeta(2, 1),
    "AlphaBeta(1,0)": rules.AlphaBeta(1, 0),
    "Gamma(0.25)": rules.Gamma(0.25),
    "Gamma(0.5,zero bias)": rules.Gamma(0.5, zero_bias=True),
    "ZBox(-3,3)": rules.ZBox(-3.0, 3.0),
    "WSquare": rules.WSquare(),
    "WSquare(zero bias)": rules.WSquare(zero_bias=True),
    "Flat": rules.Flat(),
    "Norm": rules.Norm(),
}


@pytest.mark.parametrize("key", ["zennit_linear", "zennit_conv2d"])
def test_rules_as_zennit(key):
    """The numbers of zennit; relevance starts as the output."""
    golden = GOLDEN[key]
    if key == "zennit_linear":
        layer, x = layers.Dense(2), np.array(golden["x"])
        kernel = np.array(golden["W_out_in"]).T
    else:
        layer = layers.Conv2D(2, 2)
        x = np.moveaxis(np.array(golden["x_nchw"]), 1, -1)
        kernel = np.transpose(golden["W_o_i_h_w"], (2, 3, 1, 0))
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    layer.set_weights([kernel, np.array(golden["b"])])
    assert set(ZENNIT) == set(golden["expected"])
    composites = [
        rules.Composite(((rules.linear, rule),)) for rule in ZENNIT.values()
    ]
    y, found = walk_back(model, x, composites)
    for name, (relevance, lost) in zip(ZENNIT, found, strict=True):
        expected = np.array(golden["expected"][name])
        if key == "zennit_conv2d":
            expected = np.moveaxis(expected, 1, -1)
        np.testing.assert_allclose(relevance, expected, atol=3e-5, err_msg=name)
        total = per_sample(relevance) + lost
        np.testing.assert_allclose(total, per_sample(y), atol=3e-5)
