"""More masks take more time and not more memory."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.attribution.perturbation import (
    RISE,
    FeatureAblation,
    Occlusion,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((48, 48, 3))
    for _ in range(3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def peak(explainer, x):
    """The most that one call holds in tensors, above what is there."""
    explainer(x, 1)
    found = []
    # Threads hold more in one call than in another: the least is what it needs.
    for _ in range(6):
        tf.config.experimental.reset_memory_stats("CPU:0")
        before = tf.config.experimental.get_memory_info("CPU:0")["current"]
        explainer(x, 1)
        after = tf.config.experimental.get_memory_info("CPU:0")
        found.append(after["peak"] - before)
    return min(found)


def segments(cells):
    along = np.arange(48) * cells // 48
    return along[:, None] * cells + along


# What makes few masks, and what makes some eight times as many.
MAKERS = {
    "rise": lambda model, many, **options: RISE(
        model, num_masks=160 if many else 20, **options
    ),
    "feature_ablation": lambda model, many, **options: FeatureAblation(
        model, segments=segments(12 if many else 4), **options
    ),
    "plain": lambda model, many, **options: Occlusion(
        model, window=12, stride=4 if many else 12, incremental=False, **options
    ),
    "incremental": lambda model, many, **options: Occlusion(
        model, window=12, stride=3 if many else 12, incremental=True, **options
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_memory_is_that_of_a_batch(name, model):
    x = np.random.default_rng(0).normal(size=(2, 48, 48, 3))
    few = peak(MAKERS[name](model, False, batch_size=8), x)
    many = peak(MAKERS[name](model, True, batch_size=8), x)
    assert many < 1.5 * few
    assert peak(MAKERS[name](model, True, batch_size=64), x) > 1.5 * many
