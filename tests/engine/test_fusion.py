"""What is compiled to one pass is the same, and only where it pays."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import fusion
from keras_explain.engine.fusion import Compilation, in_one_pass, origins
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
    "apart_large": {"pool_size": 4},
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
    return {plan.function.__name__ for plan, _ in found._functions}


def traced(function, rows=3):
    """A function of `(batch, 4)`, that compiles for so many rows."""
    compilation = Compilation(rows)

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec((None, 4), tf.float32)]
    )
    def run(x):
        with compilation.tracing(x):
            return function(x)

    return run


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
    run = traced(
        lambda x: in_one_pass(_double, x, otherwise=tf.negative, by=2.0)
    )

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
            return in_one_pass(_double, x, otherwise=tf.negative, by=2.0)

    np.testing.assert_array_equal(run(np.ones((3, 4), "float32")), -1)


@pytest.mark.parametrize(
    ("size", "long", "found"),
    [(64, True, -1), (256, False, -1), (256, True, 2), (512, False, 2)],
)
def test_small_tensors_are_not_compiled(size, long, found):
    compilation = Compilation(rows=8)

    @tf.function(autograph=False)
    def run(x):
        with compilation.tracing(x):
            return in_one_pass(
                _double, x, otherwise=tf.negative, long=long, by=2.0
            )

    assert run(tf.ones([8, size, size]))[0, 0, 0] == found


def test_outside_a_trace_nothing_is_compiled(always):
    np.testing.assert_array_equal(in_one_pass(_double, tf.ones(3), by=3.0), 3)


def test_one_trace_for_all_batches(always):
    explainer = METHODS["deep_lift"](network("apart"))
    for rows in (3, 1, 5, 3, 2):
        explainer(zoo.images(rows), 1)
    assert len(explainer._functions) == 1


def _shifted(x, by):
    return x + by


def _both(x, y):
    return [x * y, x / y]


def _difference(x, y):
    return x - y


def ran(run):
    return passes_for(run.get_concrete_function().graph)


def passes_for(graph):
    """How many passes the results of a graph need."""
    waiting, seen = [t.op for t in graph.outputs], set()
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        waiting += [*(t.op for t in op.inputs), *op.control_inputs]
    return sum(op.type in ("If", "StatelessIf") for op in seen)


@pytest.mark.parametrize("absorbable", [False, True])
def test_what_is_absorbed_is_not_made(always, absorbable):
    def work(x):
        up = in_one_pass(_double, x, by=3.0, absorbable=absorbable)
        product, quotient = in_one_pass(_both, up, x, absorbable=absorbable)
        return in_one_pass(_difference, product, quotient)

    run = traced(work)
    assert ran(run) == (1 if absorbable else 3)
    for rows in (3, 2):  # compiled, and not
        x = np.arange(1, 4 * rows + 1, dtype="float32").reshape(rows, 4)
        np.testing.assert_allclose(run(x), 3 * x * x - 3, rtol=1e-6)


def test_what_others_read_as_well_is_made(always):
    def work(x):
        up = in_one_pass(_double, x, by=3.0, absorbable=True)
        return in_one_pass(_shifted, up, by=1.0), tf.exp(up)

    run = traced(work)
    assert ran(run) == 2
    shifted, exponential = run(np.ones((3, 4), "float32"))
    np.testing.assert_allclose(shifted, 4)
    np.testing.assert_allclose(exponential, np.exp(np.float32(3)), rtol=1e-6)


def test_a_sum_of_what_is_absorbable_is_made_once(always):
    """Its parts are not, and whoever reads the sum reads the same."""

    def work(x):
        parts = [
            in_one_pass(_double, x, by=by, absorbable=True) for by in (2.0, 3.0)
        ]
        total = tf.add_n([*parts, -x])
        return [in_one_pass(_shifted, total, by=by) for by in (1.0, 2.0)]

    run = traced(work)
    assert ran(run) == 3
    for rows in (3, 2):
        first, second = run(np.ones((rows, 4), "float32"))
        np.testing.assert_allclose(first, 5)
        np.testing.assert_allclose(second, 6)


def test_a_sum_of_anything_else_is_read(always):
    def work(x):
        total = tf.add_n([x, 2 * x])
        return in_one_pass(_shifted, total, by=1.0)

    np.testing.assert_allclose(traced(work)(np.ones((3, 4), "float32")), 4)
    graph = traced(work).get_concrete_function().graph
    (pass_,) = [op for op in graph.get_operations() if op.type == "StatelessIf"]
    assert "AddN" in [t.op.type for t in pass_.inputs]


def test_no_pass_reads_more_than_it_may(always, monkeypatch):
    monkeypatch.setattr(fusion, "MOST_READ", 3)

    def work(x):
        up = x
        for k in range(1, 6):
            up = in_one_pass(_difference, up, k * x, absorbable=True)
        return in_one_pass(_shifted, up, by=1.0)

    run = traced(work)
    graph = run.get_concrete_function().graph
    passes = [op for op in graph.get_operations() if op.type == "StatelessIf"]
    # Each has the condition for an input as well.
    assert max(len(op.inputs) for op in passes) == 4
    assert 1 < ran(run) < 6
    np.testing.assert_allclose(run(np.ones((3, 4), "float32")), 1 + 1 - 15)


def test_who_waits_for_what_is_absorbable_has_it_not_made(always):
    def work(x):
        up = in_one_pass(_double, x, by=3.0, absorbable=True)
        total = tf.add_n([up, 2 * x])
        with tf.control_dependencies([*origins(up), *origins(total)]):
            later = tf.identity(x)
        assert [t.op.type for t in origins(later)] == ["Identity"]
        return in_one_pass(_difference, up, later)

    run = traced(work)
    assert ran(run) == 1
    np.testing.assert_allclose(run(np.ones((3, 4), "float32")), 2)


def test_between_two_layers_there_is_one_pass(always):
    """Relevance between two convolutions is only part of a pass."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 8, 3))
    for _ in range(4):
        x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    explainer = METHODS["epsilon"](model)
    explainer(zoo.images(3), 1)
    ((concrete, *_),) = explainer._functions.values()
    # Five layers divide what they are given. What the dense one hands on is
    # reshaped first, and what the first one hands on is the result.
    assert passes_for(concrete.graph) == 5 + 2


@pytest.mark.parametrize(("pool", "passes"), [("apart", 6), ("overlapping", 8)])
def test_what_a_pooling_spreads_is_divided_in_the_same_pass(
    always, pool, passes
):
    """Where windows overlap it is a sum, and each of both is made."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 8, 3))
    for _ in range(2):
        x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(**POOLS[pool])(x)
    x = layers.Conv2D(3, 1)(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    explainer = METHODS["epsilon"](model)
    explainer(zoo.images(3), 1)
    ((concrete, *_),) = explainer._functions.values()
    assert passes_for(concrete.graph) == passes
