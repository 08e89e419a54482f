"""What is compiled to one pass is the same, and only where it pays."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import fusion
from keras_explain.engine.fusion import Compilation, in_one_pass
from tests import zoo
from tests.marking import slow_but

# Explainers with what they run in one pass.
METHODS = {
    "epsilon": lambda m: ke.LRP(m, composite="epsilon"),
    "alpha2_beta1": lambda m: ke.LRP(m, composite="alpha2_beta1"),
    "gamma": lambda m: ke.LRP(m, composite="epsilon_gamma_box",
                              low=-5, high=5),
    "excitation_backprop": ke.ExcitationBackprop,
    "deep_lift": lambda m: ke.DeepLIFT(m, baseline=zoo.images(9)[8]),
    "deep_lift_rows": lambda m: ke.DeepLIFT(
        m, baseline=lambda x: tf.roll(x, 1, 0)),
}  # fmt: skip
POOLS = {
    "apart": {"pool_size": 2},
    "cropped": {"pool_size": 3},
    "overlapping": {"pool_size": 3, "strides": 2, "padding": "same"},
    "apart_padded": {"pool_size": 3, "padding": "same"},
}


@pytest.fixture
def always(monkeypatch):
    """However small the tensors are."""
    monkeypatch.setattr(fusion, "WORTHWHILE", 1)


def network(pool):
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    # Of few values, so that there are ties.
    y = layers.Conv2D(4, 3, padding="same", bias_initializer="normal")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D(**POOLS[pool])(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def compiled(explainer):
    """Names of the functions that an explainer has compiled."""
    (found,) = [held[-1] for held in explainer._functions.values()]
    return {key[0].__name__ for key in found._functions}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", slow_but({"epsilon"}, METHODS))
def test_the_result_is_the_same(name, pool, monkeypatch):
    model, x = network(pool), zoo.images(3)
    x[0], x[1] = 0.5, -0.5  # ties
    plain = METHODS[name](model)
    expected = plain.explain(x, 1)
    assert compiled(plain) == set()
    monkeypatch.setattr(fusion, "WORTHWHILE", 1)
    explainer = METHODS[name](model)
    found = explainer.explain(x, 1)
    assert compiled(explainer)
    scale = np.abs(expected.attributions).max()
    for part in ("attributions", "delta"):
        np.testing.assert_allclose(
            getattr(found, part), getattr(expected, part), atol=1e-5 * scale
        )
    if name != "deep_lift_rows":  # a batch of another size, not compiled
        np.testing.assert_allclose(
            explainer(x[:2], 1), expected.attributions[:2], atol=1e-5 * scale
        )


def test_only_the_first_size_is_compiled(always):
    """Batches of other sizes take the other way."""
    compilation = Compilation(rows=3)

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec((None, 4), tf.float32)]
    )
    def run(x):
        with compilation.tracing(x):
            return in_one_pass(_double, x, otherwise=lambda: -x, by=2.0)

    np.testing.assert_array_equal(run(np.ones((3, 4), "float32")), 2)
    np.testing.assert_array_equal(run(np.ones((2, 4), "float32")), -1)
    assert run.experimental_get_tracing_count() == 1


def _double(x, by):
    return by * x


@pytest.mark.parametrize(
    ("rows", "shape"), [(None, (None, 4)), (3, (None, None))],
    ids=["unknown_rows", "open_size"],
)  # fmt: skip
def test_what_is_not_known_is_not_compiled(always, rows, shape):
    compilation = Compilation(rows)

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    def run(x):
        with compilation.tracing(x):
            return in_one_pass(_double, x, otherwise=lambda: -x, by=2.0)

    np.testing.assert_array_equal(run(np.ones((3, 4), "float32")), -1)


def test_small_tensors_are_not_compiled():
    compilation = Compilation(rows=8)

    @tf.function(autograph=False)
    def run(x):
        with compilation.tracing(x):
            return in_one_pass(_double, x, otherwise=lambda: -x, by=2.0)

    assert run(tf.ones([8, 64, 64]))[0, 0, 0] == -1
    assert run(tf.ones([8, 256, 256]))[0, 0, 0] == 2


def test_outside_a_trace_nothing_is_compiled(always):
    np.testing.assert_array_equal(in_one_pass(_double, tf.ones(3), by=3.0), 3)


def test_one_trace_for_all_batches(always):
    explainer = METHODS["deep_lift"](network("apart"))
    for rows in (3, 1, 5, 3, 2):
        explainer(zoo.images(rows), 1)
    assert len(explainer._functions) == 1
