"""What can be made again of other tensors is known, and not held."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine.own_gradient import give_gradient
from keras_explain.engine.remaking import (
    let_go,
    note_sum,
    origin,
    positive_part_of,
    remade,
)
from keras_explain.rules import merging


def _handed_on(x):
    return give_gradient(tf.identity(x), [tf.ones(2)], lambda g: [g])


@pytest.mark.parametrize(
    "copied",
    [lambda x: x, tf.identity, tf.stop_gradient, _handed_on,
     lambda x: tf.identity_n([tf.ones(3), x])[1]],
)  # fmt: skip
def test_a_relu_is_seen_through_copies(copied):
    seen = []

    @tf.function(autograph=False)
    def run(x):
        before = copied(-x)
        after = copied(tf.nn.relu(before))
        given = positive_part_of(after)
        seen.append(given is origin(before))
        return tf.nn.relu(given), after

    again, made = run(tf.constant([-1.0, 2.0]))
    np.testing.assert_array_equal(again, made)
    assert seen == [True]


@pytest.mark.parametrize(
    "make", [tf.nn.relu6, tf.abs, tf.identity, lambda x: x + tf.nn.relu(x)]
)
def test_other_tensors_are_none(make):
    @tf.function(autograph=False)
    def run(x):
        assert positive_part_of(make(x)) is None
        return x

    run(tf.ones(2))


@pytest.mark.parametrize("free", [True, False])
def test_a_summand_is_found_from_the_sum(free):
    @tf.function(autograph=False)
    def run(x, other):
        made = 2 * x
        if free:
            let_go(made)
        summand = _handed_on(made)
        total = tf.nn.relu(summand + other)
        note_sum(tf.stop_gradient(summand), other, total)
        return remade(summand, total)

    x, other = tf.constant([1.0, -2.0, 3.0]), tf.constant([1.0, 3.0, 5.0])
    # Where the sum is not positive, the other one is all that is known of it.
    wanted = [2.0, -3.0 if free else -4.0, 6.0]
    np.testing.assert_array_equal(run(x, other), wanted)
    graph = run.get_concrete_function(x, other).graph
    differences = [op for op in graph.get_operations() if op.type == "Sub"]
    assert len(differences) == free
    for op in differences:
        read = [origin(t).op.type for t in op.inputs]
        assert read == ["Relu", "Placeholder"]


def test_what_is_not_known_is_held():
    @tf.function(autograph=False)
    def run(x):
        y = 2 * x
        return remade(y, x)

    np.testing.assert_array_equal(run(tf.ones(2)), [2.0, 2.0])


def test_nothing_is_noted_where_all_is_held():
    x = tf.ones(2)
    note_sum(x, x, x + x)
    np.testing.assert_array_equal(remade(x, x), x)


def residual(kind, shortcut):
    """Blocks that end in a sum and a ReLU, as those of ResNet50."""
    keras.utils.set_random_seed(3)
    start = "he_normal"
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, activation="relu", kernel_initializer=start)(x)
    for _ in range(3):
        y = layers.Conv2D(6, 3, padding="same", kernel_initializer=start)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(6, 1, kernel_initializer=start)(y)
        y = layers.BatchNormalization(gamma_initializer="normal")(y)
        if shortcut:
            x = layers.Conv2D(6, 1, kernel_initializer=start)(x)
        x = layers.ReLU()(kind()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4)(x))


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize(
    "composite",
    ["epsilon", "alpha1_beta0", "alpha2_beta1", "epsilon_plus_flat"],
)
def test_relevance_is_what_it_is_with_all_held(
    composite, shortcut, monkeypatch
):
    model = residual(layers.Add, shortcut)
    noise = np.random.default_rng(0).normal(size=(4, 12, 12, 3))
    x = noise.astype("float32")
    found = ke.LRP(model, composite=composite).explain(x)
    noted = []
    monkeypatch.setattr(merging, "note_sum", lambda *t: noted.append(t))
    held = ke.LRP(model, composite=composite).explain(x)
    assert len(noted) == 3
    # One unit in the last place of the weights changes `alpha2_beta1` by more.
    scale = np.abs(held.attributions).max()
    np.testing.assert_allclose(
        found.attributions, held.attributions, atol=1e-5 * scale
    )
    flow = np.abs(held.attributions).sum((1, 2, 3)).max()
    np.testing.assert_allclose(found.delta, held.delta, atol=1e-6 * flow)


@pytest.mark.parametrize("kind", [layers.Average, layers.Subtract])
def test_of_other_sums_all_is_held(kind, monkeypatch):
    noted = []
    monkeypatch.setattr(merging, "note_sum", lambda *t: noted.append(t))
    x = np.ones((1, 12, 12, 3), "float32")
    ke.LRP(residual(kind, False), composite="epsilon").explain(x)
    assert not noted
