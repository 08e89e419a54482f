"""Products with a modified kernel, in compiled loops and with copies."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import dense_blocks
from keras_explain.engine.dense_blocks import DenseBlocks
from keras_explain.engine.fusion import Compilation
from keras_explain.engine.terms import negative, positive
from tests.marking import slow_but

RNG = np.random.default_rng(0)
COLUMNS = 3


@dataclasses.dataclass(frozen=True)
class Stronger:
    by: float

    def __call__(self, kernel):
        return kernel + self.by * tf.maximum(kernel, 0.0)


MODIFIERS = {
    "positive": (positive, lambda w: np.maximum(w, 0)),
    "negative": (negative, lambda w: np.minimum(w, 0)),
    "square": (tf.square, np.square),
    "stronger": (Stronger(0.5), lambda w: w + 0.5 * np.maximum(w, 0)),
}


def traced(kernel, scale, modifier, rows):
    """`(x, given) -> (product, what goes back)`, compiled for so many rows."""
    compilation = Compilation(rows)
    signature = [
        tf.TensorSpec((None, kernel.shape[0]), tf.float32),
        tf.TensorSpec((None, COLUMNS), tf.float32),
    ]

    @tf.function(autograph=False, input_signature=signature)
    def run(x, given):
        with compilation.tracing(x):
            blocks = DenseBlocks(kernel, scale, modifier)
            return blocks.times(x), blocks.back(given)

    return run, compilation


def values(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("scaled", [False, True])
# Fewer rows than a step has, as many, more with a rest; blocks of two sizes.
@pytest.mark.parametrize("rows", [1, 7, 8, 21, 64, 100])
@pytest.mark.parametrize("name", MODIFIERS)
def test_loops_make_what_copies_make(name, rows, scaled, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 30 * COLUMNS)
    modifier, slow = MODIFIERS[name]
    kernel, scale = values(rows, COLUMNS), values(COLUMNS) if scaled else None
    run, compilation = traced(tf.constant(kernel), scale, modifier, 2)
    modified = kernel.astype("float64") * (scale if scaled else 1.0)
    modified = slow(modified)
    for batch in (2, 3):  # that it compiles for, and another
        x, given = values(batch, rows), values(batch, COLUMNS)
        product, back = run(x, given)
        np.testing.assert_allclose(product, x @ modified, atol=2e-5)
        np.testing.assert_allclose(back, given @ modified.T, atol=2e-5)
    assert compilation._functions
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("batch", [dense_blocks.FEW_SAMPLES, None])
def test_products_of_many_samples_are_worth_a_copy(batch, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 30 * COLUMNS)
    batch = batch and batch + 1
    kernel = values(100, COLUMNS)
    run, compilation = traced(tf.constant(kernel), None, positive, batch)
    x = values(batch or 2, 100)
    product, _ = run(x, values(len(x), COLUMNS))
    np.testing.assert_allclose(product, x @ np.maximum(kernel, 0), atol=2e-5)
    assert not compilation._functions


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("loops", [False, True])
def test_how_many_blocks_are_at_work(loops, at_once, monkeypatch):
    """Copies are made one at a time, and loops run side by side."""
    monkeypatch.setattr(dense_blocks, "BLOCK", 10 * COLUMNS)
    monkeypatch.setattr(dense_blocks, "AT_ONCE", at_once)
    kernel = tf.constant(values(80, COLUMNS))
    run, _ = traced(kernel, None, positive, 2 if loops else None)
    graph = run.get_concrete_function().graph
    (total,) = [op for op in graph.get_operations() if op.type == "AddN"]
    made = [t.op.name for t in total.inputs]
    assert len(made) == 8
    number = at_once if loops else 1
    for k, name in enumerate(made):
        before = waits_for(graph.get_operation_by_name(name), set(made))
        assert before == ({made[k - number]} if k >= number else set())


def waits_for(op, blocks):
    """Which of some operations there have to be before another."""
    found, stack = set(), [op]
    while stack:
        here = stack.pop()
        for other in [*here.control_inputs, *(t.op for t in here.inputs)]:
            if other.name in blocks:
                found.add(other.name)
            else:
                stack.append(other)
    return found


METHODS = {
    "alpha2_beta1": lambda m: ke.LRP(m, composite="alpha2_beta1"),
    "gamma": lambda m: ke.LRP(m, composite="epsilon_gamma_box",
                              low=-5, high=5),
    "excitation_backprop": ke.ExcitationBackprop,
    "deep_lift": lambda m: ke.DeepLIFT(m, rule="genomics_default",
                                       baseline=0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", slow_but({"alpha2_beta1"}, METHODS))
def test_methods_find_the_same_in_loops(name, monkeypatch):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((30,))
    x = layers.Dense(21, use_bias=False)(inputs)
    x = layers.BatchNormalization(gamma_initializer="normal")(x)
    x = layers.Dense(13, activation="relu")(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(5)(x))
    images = values(4, 30)
    expected = METHODS[name](model).explain(images, 1).attributions
    monkeypatch.setattr(dense_blocks, "BLOCK", 10 * COLUMNS)
    explainer = METHODS[name](model)
    scale = np.abs(expected).max()
    for number in (2, 4):  # that it compiles for, and another
        found = explainer(images[:number], 1)
        np.testing.assert_allclose(found, expected[:number], atol=2e-6 * scale)
    (compilation,) = [held[-1] for held in explainer._functions.values()]
    made = {plan.function.__name__ for plan, _ in compilation._functions}
    assert made & {"_looped", "_looped_back"}
