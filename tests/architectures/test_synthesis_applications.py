"""A unit in the middle of every family of keras.applications."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.engine.recording import record
from keras_explain.synthesis import maximize
from tests.architectures.test_applications import FAMILIES

pytestmark = pytest.mark.slow  # they are long to build and to trace


@pytest.mark.parametrize("family", FAMILIES)
def test_sixteen_steps_raise_the_score(family):
    name, size, *_ = FAMILIES[family]
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    graph = record(model, tf.TensorSpec((1, size, size, 3), tf.float32))
    spatial = graph.spatial()
    layer = spatial[len(spatial) // 2].path
    made = maximize(
        model, ke.Channel(layer, 1), steps=16, transforms=None, verbose=False
    )
    assert made.steps == 16
    assert made.value_range == (0, 255)  # read from the model, each of them
    assert made.score[0] > made.history["score"][0, 0]
    assert 0 <= made.images.min() and made.images.max() <= 255
