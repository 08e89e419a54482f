"""Pictures of layers show their numbers, each in its place."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from keras_explain.callbacks import ActivationLogger, FilterLogger
from keras_explain.callbacks.layers import tiled
from keras_explain.engine.errors import ExplainWarning
from tests.callbacks.test_explanation_logger import data, fit, network


def test_tiles():
    planes = np.stack([np.full((2, 3), k) for k in range(1, 6)], -1)
    found = tiled(planes, edge=0)
    assert found.shape == (2 * 3, 3 * 4)
    for k in range(5):
        top, left = k // 3 * 3, k % 3 * 4
        assert (found[top : top + 2, left : left + 3] == k + 1).all()
    assert (found[2] == 0).all() and (found[:, 3] == 0).all()
    assert tiled(planes, columns=5).shape == (3, 20)
    colors = np.zeros((2, 3, 5, 3))
    assert tiled(colors).shape == (6, 12, 3)


def test_activations_follow_the_training():
    found = []
    logger = ActivationLogger(
        "conv", data(2), writers=found.extend, on_error="raise"
    )
    fit(network(), logger)
    assert [p.tag for p in found] == 2 * [
        "activations/conv/0", "activations/conv/1",
    ]  # fmt: skip
    assert found[0].caption.startswith("conv, 4 of 4 channels, from 0 to ")
    assert found[0].caption != found[2].caption
    assert (found[0].image != found[2].image).any()


@pytest.mark.parametrize("layer", ["dense", "sequence"])
def test_activations_of_other_shapes(layer):
    x = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((6, 2)),
            layers.Conv1D(7, 3, name="sequence"),
            layers.Flatten(),
            layers.Dense(5, name="dense"),
        ]
    )
    model.compile("sgd", "mse")
    found = []
    logger = ActivationLogger(layer, x[:1], writers=found.extend,
                              on_error="raise")  # fmt: skip
    model.fit(x, np.zeros((8, 5)), verbose=0, callbacks=[logger])
    assert found[0].image.ndim == 3 and found[0].image.std() > 10


def test_first_filters_are_pictures_and_others_a_grid():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="colors"),
            layers.Conv2D(5, 3, name="deep"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    found = []
    fit(
        model,
        FilterLogger(writers=found.extend, on_error="raise"),
        FilterLogger("deep", writers=found.extend, on_error="raise"),
        epochs=1,
    )
    first, deep = found
    assert (first.tag, deep.tag) == ("filters/colors", "filters/deep")
    kernel = model.get_layer("colors").kernel.numpy()
    times = 16  # of 8 pixels, for 128
    shown = first.image[: 8 * times : times, : 8 * times : times]
    reach = np.abs(kernel).max()
    expected = np.rint((kernel[..., 1] / reach + 1) / 2 * 255)
    np.testing.assert_allclose(shown[:3, 4:7], expected, atol=1)
    kernel = model.get_layer("deep").kernel.numpy()  # (3, 3, 4, 5)
    times = 128 // 16
    shown = deep.image[: 16 * times : times, : 20 * times : times].astype(int)
    for row in range(4):
        for column in range(5):
            tile = shown[4 * row : 4 * row + 3, 4 * column : 4 * column + 3]
            redder = tile[..., 0] > tile[..., 2]
            weights = kernel[:, :, row, column]
            strong = np.abs(weights) > 0.05
            assert (redder == (weights > 0))[strong].all()
    assert "5 of 5 filters" in deep.caption


def test_a_layer_that_is_not_there():
    for logger in (
        ActivationLogger("cnov", data(1), writers=[].extend),
        FilterLogger("cnov", writers=[].extend),
    ):
        with pytest.warns(ExplainWarning, match="conv"):
            history = fit(network(), logger)
        assert len(history.history["loss"]) == 2
