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
from keras_explain.engine.dense_blocks import DenseBlocks, Factor
from keras_explain.engine.fusion import Compilation
from keras_explain.engine.terms import negative, positive, same
from tests.marking import slow_but

RNG = np.random.default_rng(0)
COLUMNS = 3


@dataclasses.dataclass(frozen=True)
class Stronger:
    by: float

    def __call__(self, kernel):
        return kernel + self.by * tf.maximum(kernel, 0.0)


MODIFIERS = {
    "same": (same, lambda w: w),
    "positive": (positive, lambda w: np.maximum(w, 0)),
    "negative": (negative, lambda w: np.minimum(w, 0)),
    "square": (tf.square, np.square),
    "stronger": (Stronger(0.5), lambda w: w + 0.5 * np.maximum(w, 0)),
}


def traced(kernel, scale, modifiers, rows):
    """`(x, given) -> (products, what goes back)`, compiled for so many rows.

    The first of both goes with the first modifier, twice it with the second.
    """
    compilation = Compilation(rows)
    signature = [
        tf.TensorSpec((None, kernel.shape[0]), tf.float32),
        tf.TensorSpec((None, COLUMNS), tf.float32),
    ]

    @tf.function(autograph=False, input_signature=signature)
    def run(x, given):
        def factors(values):
            return [
                Factor(number * values, modifier)
                for number, modifier in enumerate(modifiers, 1)
            ]

        with compilation.tracing(x):
            blocks = DenseBlocks(kernel, scale)
            return blocks.times(factors(x)), blocks.back(factors(given))

    return run, compilation


def values(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("scaled", [False, True])
# One, fewer than a step in each loop, one step in each, more with a rest; the
# last has more also of the larger steps.
@pytest.mark.parametrize("rows", [1, 14, 64, 100, 1100])
@pytest.mark.parametrize(
    "names", [("positive",), ("square",), ("same", "negative", "stronger")]
)
def test_loops_make_what_copies_make(names, rows, scaled, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", max(2, rows // 16) * COLUMNS)
    kernel, scale = values(rows, COLUMNS), values(COLUMNS) if scaled else None
    modifiers = [MODIFIERS[name][0] for name in names]
    run, compilation = traced(tf.constant(kernel), scale, modifiers, 2)
    whole = kernel.astype("float64") * (scale if scaled else 1.0)
    for batch in (2, 3):  # that it compiles for, and another
        x, given = values(batch, rows), values(batch, COLUMNS)
        products, back = run(x, given)
        for number, name in enumerate(names, 1):
            modified = number * MODIFIERS[name][1](whole)
            np.testing.assert_allclose(
                products[number - 1], x @ modified, rtol=2e-6,
                atol=5e-5 * max(1, rows / 100),
            )  # fmt: skip
            np.testing.assert_allclose(
                back[number - 1], given @ modified.T, atol=5e-5
            )
    assert compilation._functions
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("batch", [dense_blocks.FEW_SAMPLES, None])
def test_products_of_many_samples_are_worth_a_copy(batch, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 10 * COLUMNS)
    batch = batch and batch + 1
    kernel = values(100, COLUMNS)
    run, compilation = traced(tf.constant(kernel), None, [positive], batch)
    x = values(batch or 2, 100)
    (product,), _ = run(x, values(len(x), COLUMNS))
    np.testing.assert_allclose(product, x @ np.maximum(kernel, 0), atol=2e-5)
    assert not compilation._functions


@pytest.mark.parametrize("compiles", [False, True])
def test_there_is_one_copy_at_a_time(compiles, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 8 * COLUMNS)
    kernel = tf.constant(values(80, COLUMNS))
    both = [positive, negative]
    run, _ = traced(kernel, None, both, 2 if compiles else None)
    graph = run.get_concrete_function().graph
    if compiles:
        graph = branch(graph, "else")
    # One sum for each factor.
    sums = [op for op in graph.get_operations() if op.type == "AddN"]
    made = [[t.op.name for t in total.inputs] for total in sums]
    assert list(map(len, made)) == [10, 10]
    first, second = made
    copies = [*first, *second]
    before = [
        waits_for(graph.get_operation_by_name(name), set(copies))
        for name in copies
    ]
    after = [{name} for name in copies]
    after[9] = set(first)  # for their sum
    assert before == [set(), *after[:-1]]


@pytest.mark.parametrize("scaled", [False, True])
def test_the_kernel_itself_is_not_copied(scaled, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 8 * COLUMNS)
    kernel = tf.constant(values(80, COLUMNS))
    run, _ = traced(kernel, values(COLUMNS) if scaled else None, [same], None)
    graph = run.get_concrete_function().graph
    products = [op for op in graph.get_operations() if op.type == "MatMul"]
    # There and back; to scale it is to copy it.
    assert len(products) == (20 if scaled else 2)


def test_loops_read_rows_where_they_lie(monkeypatch):
    # A part of the rows is a copy, unless a row fills cache lines.
    monkeypatch.setattr(dense_blocks, "BLOCK", 8 * COLUMNS)
    kernel = tf.constant(values(80, COLUMNS))
    run, _ = traced(kernel, None, [positive], 2)
    graph = branch(run.get_concrete_function().graph, "then")
    sliced = [
        op.inputs[0].shape
        for op in graph.get_operations()
        if op.type == "StridedSlice"
    ]
    assert kernel.shape not in sliced


def branch(graph, which):
    """What makes a product if it is compiled ("then"), and if it is not."""
    (choice, *_) = [op for op in graph.get_operations() if "If" in op.type]
    return graph._get_function(choice.get_attr(f"{which}_branch").name).graph


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
# One for each kernel, and one more where the last rows are fewer.
LOOKS = {
    "alpha2_beta1": 5, "gamma": 2, "excitation_backprop": 5, "deep_lift": 3,
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
    made = [plan.function.__name__ for plan, _ in compilation._functions]
    assert made.count("_looped") == made.count("_looped_back") == LOOKS[name]
