"""Modified weights make the same in blocks, and with a scale folded in."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.engine import dense_blocks
from keras_explain.engine.linear import linear_maps
from keras_explain.engine.linear_rule import divided_by_parts, joined
from keras_explain.engine.terms import negative, ones, positive, same
from keras_explain.engine.weights import Pull, Run, Weights

MODIFIERS = {
    "same": (same, lambda w: w),
    "positive": (positive, lambda w: np.maximum(w, 0)),
    "negative": (negative, lambda w: np.minimum(w, 0)),
    "square": (tf.square, np.square),
    "ones": (ones, np.ones_like),
}
SCALE = np.array([-2.0, 0.0, 0.5, 3.0], np.float32)


def dense(shape, scaled):
    layer = layers.Dense(4, bias_initializer="normal")
    layer.build((None, *shape))
    (linear,) = linear_maps(layer, layer.call)
    if scaled:
        offset = tf.constant([1.0, -1.0, 0.0, 2.0])
        linear = linear.then(lambda: (tf.constant(SCALE), offset))
    return layer, linear


@pytest.mark.parametrize("block", [1 << 20, 9])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", [(7,), (3, 7), (1,)])
@pytest.mark.parametrize("name", MODIFIERS)
def test_dense(name, shape, scaled, block, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", block)
    layer, linear = dense(shape, scaled)
    modifier, slow = MODIFIERS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype("float32")
    given = rng.normal(size=(2, *shape[:-1], 4)).astype("float32")

    @tf.function
    def found(x, given):
        work = Weights(linear, x)
        runs = [Run(x, modifier, work.bias, relu=True), Run(x, modifier, None)]
        return *work.runs(runs), *work.pulls([Pull(x, modifier, given)])

    kernel = np.asarray(layer.kernel, np.float64)
    bias = np.asarray(layer.bias, np.float64)
    if scaled:
        kernel, bias = kernel * SCALE, bias * SCALE + [1, -1, 0, 2]
    kernel = slow(kernel)
    expected = (
        np.maximum(x @ kernel + bias, 0),
        x @ kernel,
        given @ kernel.T,
    )
    for mine, theirs in zip(found(x, given), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_no_copy_of_a_large_kernel_is_made(monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 9)
    _, linear = dense((7,), False)

    @tf.function
    def found(x):
        work = Weights(linear, x)
        y = work.runs([Run(x, positive, None)])[0]
        return work.pulls([Pull(x, positive, y)])

    graph = found.get_concrete_function(tf.TensorSpec((None, 7))).graph
    parts = [
        op.outputs[0] for op in graph.get_operations() if op.type == "Relu"
    ]
    assert len(parts) == 8
    assert max(t.shape.num_elements() for t in parts) <= 9


@pytest.mark.parametrize(
    "scale", [SCALE, np.abs(SCALE)], ids=["of_any_sign", "not_negative"]
)
@pytest.mark.parametrize("name", ["same", "positive", "negative", "square"])
@pytest.mark.parametrize("size", [(8, 8, 3), (2, 2, 3)])
def test_the_scale_goes_where_there_is_less_of_it(size, name, scale):
    keras.utils.set_random_seed(0)
    layer = layers.Conv2D(4, 3, padding="same", use_bias=False)
    layer.build((None, *size))
    (linear,) = linear_maps(layer, layer.call)
    linear = linear.then(lambda: (tf.constant(scale), tf.ones(4)))
    modifier, slow = MODIFIERS[name]
    x = np.random.default_rng(0).normal(size=(2, *size)).astype("float32")

    @tf.function
    def found(x):
        work = Weights(linear, x)
        z = work.runs([Run(x, modifier, work.bias)])[0]
        return z, *work.pulls([Pull(x, modifier, z)])

    results = found(x)
    layer.kernel.assign(slow(layer.kernel.numpy() * scale))
    with tf.GradientTape() as tape:
        tape.watch(at := tf.constant(x))
        z = layer(at)
        score = tf.reduce_sum(z * tf.stop_gradient(z + 1))
    expected = z + 1, tape.gradient(score, at)
    for mine, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    graph = found.get_concrete_function(tf.TensorSpec((None, *size))).graph
    scaled = [
        op.outputs[0].shape.rank == 4 and op.outputs[0].shape[0] == 3
        for op in graph.get_operations()
        if op.type == "Mul"
    ]
    # The kernel has 108 values, a sample 192 or 12.
    assert any(scaled) == (size == (8, 8, 3) or name == "square")


@pytest.mark.parametrize("relu", [False, True])
def test_both_parts_come_back_to_the_last_digit(relu):
    # Parts of very different size: a difference of the sum and the larger
    # one would leave nothing of the smaller one.
    rng = np.random.default_rng(0)
    above, below = (10.0 ** rng.uniform(-9, 3, (2, 500))).astype("float32")
    z, smaller = joined(above, -below, relu)
    found = divided_by_parts(tf.ones(500), z, smaller, (2.0, -1.0))
    expected = 2 / above.astype("float64"), 1 / below.astype("float64")
    is_open = above > below if relu else np.full(500, True)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine[is_open], theirs[is_open], rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "channels", "terms"),
    [
        (layers.Dense(7), 5, [5]),
        (layers.EinsumDense("abc,cd->abd", (None, 7)), 5, [5]),
        (layers.Conv1D(7, 3), 5, [3 * 5]),
        (layers.Conv2D(8, (2, 3), groups=2), 6, [2 * 3 * 3]),
        (layers.Conv2DTranspose(7, 3, strides=2), 5, [3 * 3 * 5]),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 5, [3 * 3]),
        (layers.DepthwiseConv2D(3), 1, [3 * 3]),
        (layers.SeparableConv2D(7, 3), 5, [3 * 3, 5]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_how_many_products_a_sum_has(layer, channels, terms):
    rank = getattr(layer, "rank", 1)
    layer.build((None, *[6] * rank, channels))
    found = [linear.terms for linear in linear_maps(layer, layer.call)]
    assert found == terms


@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_only_read_waits_for_nothing(scaled):
    # To wait for a ReLU would keep that from being a part of the layer before.
    _, linear = dense((7,), scaled)

    @tf.function
    def found(x):
        work = Weights(linear, tf.nn.relu(x))
        return work.runs([Run(work._after, same, work.bias)])

    graph = found.get_concrete_function(tf.TensorSpec((None, 7))).graph
    (relu,) = (op for op in graph.get_operations() if op.type == "Relu")
    waiting = [op for op in graph.get_operations() if relu in op.control_inputs]
    assert bool(waiting) == scaled  # there is a bias to be made
