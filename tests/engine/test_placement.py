"""Where the cells of a feature map look, against nets that are asked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.engine.placement import receptive_fields
from keras_explain.engine.recording import record
from tests.marking import slow_but

SIZE = 48


def conv(size, stride=1, padding="same", **options):
    return layers.Conv2D(
        1, size, stride, padding, kernel_initializer="ones", **options
    )


def block(x):
    """A residual sum of which both branches halve the picture."""
    inner = conv(3)(conv(3, 2, activation="relu")(x))
    return layers.Add()([conv(1, 2)(x), inner])


def gated(x):
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(1, "sigmoid", kernel_initializer="ones")(gate)
    return layers.Multiply()([conv(3, 2)(x), gate])


def nested(x):
    inner = keras.Sequential([conv(3, 2), layers.ReLU(), conv(5, 2)])
    return layers.AveragePooling2D(3, 2, padding="same")(inner(x))


NETS = {
    "same": lambda x: conv(3, 2)(conv(5, 2)(x)),
    "an even kernel": lambda x: conv(4, 2)(conv(2)(x)),
    "valid": lambda x: conv(3, 2, "valid")(conv(7, 2, "valid")(x)),
    "fused": lambda x: conv(3, 2, activation="relu")(conv(3, 1)(x)),
    "dilated": lambda x: conv(3, dilation_rate=2)(conv(3, 2)(x)),
    "padded": lambda x: conv(7, 2, "valid")(
        layers.ZeroPadding2D(((3, 2), (2, 3)))(x)
    ),
    "cropped": lambda x: conv(3, 2)(layers.Cropping2D(((3, 1), (1, 2)))(x)),
    "pooled": lambda x: layers.AveragePooling2D(2)(conv(3, 2)(x)),
    "depthwise": lambda x: layers.DepthwiseConv2D(
        3, 2, "same", depthwise_initializer="ones"
    )(x),
    "transposed": lambda x: layers.Conv2DTranspose(
        1, 3, 2, "same", kernel_initializer="ones"
    )(conv(3, 2)(conv(3, 2)(x))),
    "residual": lambda x: block(block(x)),
    "gated": gated,
    "nested": nested,
    "ops": lambda x: ops.relu(conv(3, 2)(x)) * 2.0,
}


def seen_by(model, row, column):
    """First and last row and column that a cell of the output depends on."""
    _, height, width, _ = model.input_shape
    found = []
    for axis, side in ((1, height), (2, width)):
        # One picture for each line, white on that line.
        lines = np.eye(side, dtype="float32")
        lines = np.expand_dims(lines, (3 - axis, 3))
        lines = np.broadcast_to(lines, (side, height, width, 1))
        cells = np.asarray(model(lines))[:, row, column, 0]
        which = np.flatnonzero(cells)
        found.append((which[0], which[-1]))
    return found


@pytest.mark.parametrize("name", NETS)
def test_cells_see_what_their_gradient_reaches(name):
    inputs = keras.Input((SIZE, SIZE + 2, 1))
    model = keras.Model(inputs, NETS[name](inputs))
    graph = record(model, tf.TensorSpec((None, SIZE, SIZE + 2, 1)))
    fields = receptive_fields(graph, graph.calls[-1], [SIZE, SIZE + 2])
    assert [axis.length for axis in fields] == list(model.output_shape[1:3])
    middle = [axis.length // 2 for axis in fields]
    for shift in (0, 1):
        cell = [k + shift for k in middle]
        seen = seen_by(model, *cell)
        for axis, k, (first, last) in zip(fields, cell, seen, strict=True):
            low = axis.low + k * axis.spacing
            # Not so far from the middle that much of it is outside.
            high = min(axis.high + k * axis.spacing, SIZE - 1)
            if name == "transposed":  # cells are not all alike
                assert abs(low - first) <= 2 and abs(high - last) <= 2
            else:
                assert (low, high) == (first, last)


def test_enlarged_cells_lie_around_the_one_they_copy():
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, layers.UpSampling2D(3)(conv(2, 2)(inputs)))
    graph = record(model, tf.TensorSpec((None, 12, 12, 1)))
    axis = receptive_fields(graph, graph.calls[-1], [12, 12])[0]
    # Cell 1 of the smaller map sees 2 and 3, and is copied to 3, 4 and 5.
    assert axis.center + 4 * axis.spacing == pytest.approx(2.5)
    assert axis.length == 18


# Araujo et al., 2019, table of receptive fields and strides.
PUBLISHED = {
    "MobileNet": (315, 32),
    "VGG16": (196, 16),
    "ResNet50": (483, 32),
    "InceptionV3": (1311, 32),
}


@pytest.mark.parametrize("name", slow_but(["MobileNet"], PUBLISHED))
def test_published_receptive_fields(name):
    side = 299 if name == "InceptionV3" else 224
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(side, side, 3))
    graph = record(model, tf.TensorSpec((None, side, side, 3)))
    found = receptive_fields(graph, graph.automatic_spatial, [side, side])
    for axis in found:
        assert (axis.high - axis.low + 1, axis.spacing) == PUBLISHED[name]


class Shrunk(layers.Layer):
    def call(self, x):
        return tf.image.resize(x, (16, 16))


UNKNOWN = {
    "raw resizing": lambda x: Shrunk()(x),
    "tokens": lambda x: layers.Reshape((-1, 4))(conv(4, 4)(x)),
    "another layout": lambda x: layers.Permute((2, 1, 3))(
        layers.ZeroPadding2D(((1, 1), (0, 0)))(x)
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_ways_are_not_guessed(name):
    inputs = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(inputs, UNKNOWN[name](inputs))
    graph = record(model, tf.TensorSpec((None, SIZE, SIZE, 1)))
    assert receptive_fields(graph, graph.calls[-1], [SIZE, SIZE]) is None


def classifier(side):
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((side, side, 1))
    for _ in range(2):
        x = layers.Conv2D(4, 3, 2, "same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2)(x))


@pytest.mark.parametrize("side", [31, 32])
def test_open_sizes_are_placed_as_fixed_ones(side):
    # How much is padded depends on whether a side is even.
    x = np.random.default_rng(0).random((2, side, side, 1), "float32")
    fixed, open_size = classifier(side), classifier(None)
    open_size.set_weights(fixed.get_weights())
    explainer = ke.GradCAM(open_size)
    for other in (20, 21):  # after which the size is open
        explainer(x[:, :other, :other], 1)
    maps = explainer(x, 1).numpy()
    assert maps.max() > 0
    np.testing.assert_allclose(maps, ke.GradCAM(fixed)(x, 1), atol=1e-6)


@pytest.mark.parametrize("method", ["GradCAM", "ScoreCAM", "EigenCAM"])
def test_a_spot_is_where_it_is(method):
    # Three steps of stride 2 that are padded on the right: cells look 3.5
    # pixels further than where an even grid has them.
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1] = 1.0
    x = inputs = keras.Input((64, 64, 1))
    for _ in range(3):
        x = layers.Conv2D(1, 3, 2, "same", use_bias=False)(x)
    last = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(1, use_bias=False)(last))
    for weight in model.trainable_variables:
        weight.assign(np.ones((1, 1)) if weight.shape.rank == 2 else kernel)
    picture = np.zeros((1, 64, 64, 1), "float32")
    picture[0, 31, 23] = 1.0  # what cell (3, 2) is centered on
    explain = getattr(ke, method)
    placed = explain(model)(picture, 0).numpy()[0]
    assert np.unravel_index(placed.argmax(), placed.shape) == (31, 23)
    spread = explain(model, placement="grid")(picture, 0).numpy()[0]
    assert np.unravel_index(spread.argmax(), spread.shape) in [
        (27, 19), (27, 20), (28, 19), (28, 20),
    ]  # fmt: skip


def test_a_layer_of_one_channel():
    x = inputs = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(conv(3)(x))
    model = keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(x))
    picture = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
    for method in (ke.ScoreCAM, ke.AblationCAM):
        assert method(model, batch_size=2)(picture, 1).shape == (3, 8, 8)


def test_placements_that_do_not_exist():
    with pytest.raises(ValueError, match="Pass 'receptive_field' or 'grid'"):
        ke.GradCAM(classifier(32), placement="center")
