"""Ways back through a convolution hand on what its gradient does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.engine import plain_convolution
from keras_explain.engine.linear import linear_maps
from keras_explain.engine.terms import ones, same
from keras_explain.engine.weights import Pull, Run, Weights

OWN = {"Conv2DBackpropInput", "Conv2DBackpropInputV2", "Conv3DBackpropInputV2"}


def linear_map(layer, shape):
    keras.utils.set_random_seed(0)
    layer.build((None, *shape))
    (linear,) = linear_maps(layer, layer.call)
    return linear


def way_back(layer, shape, modifier=same, rows=2, known=True):
    """What is handed to the input, what it should be, and the convolutions."""
    linear = linear_map(layer, shape)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(rows, *shape)), tf.float32)
    given = rng.normal(size=layer(x).shape)
    space = shape[:-1] if known else [None] * (len(shape) - 1)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *space, shape[-1])),
            tf.TensorSpec((None, *[None] * len(space), given.shape[-1])),
        ]
    )
    def found(x, given):
        return Weights(linear, x).pulls([Pull(x, modifier, given)])[0]

    exact = type(layer).from_config(layer.get_config() | {"dtype": "float64"})
    exact.build((None, *shape))
    kernel = np.asarray(layer.kernel, np.float64)
    exact.kernel.assign(np.ones_like(kernel) if modifier is ones else kernel)
    with tf.GradientTape() as tape:
        wide = tf.cast(x, tf.float64)
        tape.watch(wide)
        score = tf.reduce_sum(exact(wide) * given)
    graph = found.get_concrete_function().graph
    own = [
        op.outputs[0].shape.as_list()
        for op in graph.get_operations()
        if op.type in OWN
    ]
    made = found(x, tf.constant(given, tf.float32))
    return made, tape.gradient(score, wide), own


def same_way(layer, shape, **options):
    made, expected, own = way_back(layer, shape, **options)
    assert made.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(made, expected, atol=1e-6 * scale, rtol=1e-5)
    return own


# Sizes that the stride divides, and others.
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("size", [(7, 7), (8, 6), (17, 12)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("filters", [2, 9])
def test_kernels_one_place_wide_are_products(
    filters, stride, padding, size, rows
):
    layer = layers.Conv2D(filters, 1, stride, padding)
    many = np.prod(layer.compute_output_shape((1, *size, 4))[1:3]) > 64
    own = same_way(layer, (*size, 4), rows=rows)
    # With many places it pays where inputs are not fewer.
    assert bool(own) == (many and filters > 4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [layers.Conv1D, layers.Conv3D])
def test_so_they_are_along_one_and_three_axes(kind, stride):
    shape = (5, 4, 3) if kind is layers.Conv3D else (5,)
    own = same_way(kind(3, 1, stride), (*shape, 4))
    assert bool(own) == (kind is layers.Conv3D and stride > 1)


@pytest.mark.parametrize("few", [10, 49, 98, 1000])
def test_a_kernel_is_the_left_or_the_right_factor(few, monkeypatch):
    monkeypatch.setattr(plain_convolution, "FEW_PLACES", few)
    assert not same_way(layers.Conv2D(6, 1), (7, 7, 6))


@pytest.mark.parametrize("size", [(16, 16), (15, 18), (19, 17), (21, 22)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(7, 2), (4, 4), (5, 2), ((6, 7), 2), (8, 3)]
)
def test_kernels_of_few_channels_come_apart(kernel, stride, padding, size):
    layer = layers.Conv2D(5, kernel, stride, padding)
    (shape,) = same_way(layer, (*size, 3))
    assert shape[-1] == 3 * stride**2


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (layers.Conv2D(5, 7), 3),  # no stride
        (layers.Conv2D(5, 3, 2), 3),  # half as large again
        (layers.Conv2D(5, 7, 2), 16),  # no fewer products
        (layers.Conv2D(5, 7, (2, 1)), 3),
        (layers.Conv2D(5, 7, dilation_rate=2), 3),
        (layers.Conv2D(4, 7, 2, groups=2), 4),
    ],
)
def test_others_do_not(layer, channels):
    for shape in same_way(layer, (18, 18, channels)):
        assert shape[-1] in (channels, None)


@pytest.mark.parametrize("layer", [layers.Conv2D(5, 7, 2), layers.Conv2D(2, 1)])
def test_nor_where_sizes_are_open(layer):
    assert same_way(layer, (18, 18, 3), known=False)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(5), (4,)),
        (layers.Dense(5), (3, 4)),
        (layers.Conv1D(5, 3, 2), (9, 4)),
        (layers.Conv2D(5, 3, padding="same"), (6, 7, 3)),
        (layers.Conv2D(5, 7, 2), (15, 15, 3)),
        (layers.Conv2D(5, 3, dilation_rate=2), (9, 9, 3)),
        (layers.Conv3D(5, 2, 2), (5, 4, 6, 2)),
    ],
)
def test_a_kernel_of_ones_sees_one_channel(layer, shape):
    own = same_way(layer, shape, modifier=ones)
    assert len(own) == (not isinstance(layer, layers.Dense))
    assert all(found[-1] == 1 for found in own)


def test_a_kernel_of_groups_does_not():
    same_way(layers.Conv2D(4, 3, groups=2), (6, 6, 4), modifier=ones)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    [(layers.Dense, (5,), (3, 4)), (layers.Conv2D, (5, 3, 2), (7, 8, 3))],
)
def test_so_it_does_on_the_way_forward(kind, options, shape, biased):
    layer = kind(*options)
    linear = linear_map(layer, shape)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    bias = np.arange(5.0, dtype="float32") if biased else np.zeros(5, "f")
    work = Weights(linear, tf.constant(x))
    given = tf.constant(bias) if biased else None
    run = Run(tf.constant(x), ones, given, relu=True)
    (found,) = work.runs([run])
    layer.kernel.assign(np.ones(layer.kernel.shape))
    expected = np.maximum(layer(x) + bias, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
