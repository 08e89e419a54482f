"""A method holds at most twice what a plain gradient holds.

The allocator counts: nothing is timed, and nothing is left to chance but the
order in which two threads take what is ready.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import dense_blocks, linear_rule
from keras_explain.engine.remaking import origin
from tests.allocation import peak

METHODS = {
    "epsilon": lambda m: ke.LRP(m, composite="epsilon"),
    "alpha1_beta0": lambda m: ke.LRP(m, composite="alpha1_beta0"),
    "epsilon_plus_flat": lambda m: ke.LRP(m, composite="epsilon_plus_flat"),
    "alpha2_beta1": lambda m: ke.LRP(m, composite="alpha2_beta1"),
    "excitation_backprop": ke.ExcitationBackprop,
    "deep_lift": lambda m: ke.DeepLIFT(m, baseline=lambda x: 0.1 * x),
    "deep_lift_shared": lambda m: ke.DeepLIFT(m, baseline=0.0),
}
REVEAL_CANCEL = {
    "reveal_cancel": lambda m: ke.DeepLIFT(m, rule="reveal_cancel")
}


def stack():
    """Activations of 25 MB for eight samples, and weights as large."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((64, 64, 3))
    for _ in range(6):
        x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(5)(x))


def residual():
    """Sums, and batch normalizations to fold."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    for _ in range(4):
        y = x
        for _ in range(2):
            y = layers.Conv2D(16, 3, padding="same", use_bias=False)(y)
            y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(32, 1)(y))
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5)(x))


@tf.function
def gradient(model, x):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        score = tf.reduce_max(model(x, training=False), -1)
    return tape.gradient(score, x)


# Both parts of each sum are needed on the way back. Where one is held, it is a
# second tensor for each layer, beside what passes between them.
HELD_PARTS = {stack: 2.5, residual: 2.4}


@pytest.mark.parametrize("make", [stack, residual])
@pytest.mark.parametrize("name", METHODS)
def test_it_holds_little(make, name, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 1 << 18)
    check_peak(make, name, 2.0)


@pytest.mark.parametrize("make", HELD_PARTS)
def test_parts_of_long_sums_are_held(make, monkeypatch):
    monkeypatch.setattr(dense_blocks, "BLOCK", 1 << 18)
    monkeypatch.setattr(linear_rule, "FEW_TERMS", 0)
    check_peak(make, "alpha2_beta1", HELD_PARTS[make])


def check_peak(make, name, limit):
    model = make()
    noise = np.random.default_rng(0).normal(size=(8, 64, 64, 3))
    x = tf.constant(noise, tf.float32)
    plain = peak(lambda x: gradient(model, x), x)
    found = peak(METHODS[name](model), x)
    assert found <= limit * plain, f"{found / plain:.2f} gradients"


def needed(op):
    """What an operation cannot run without."""
    return [*(t.op for t in op.inputs), *op.control_inputs]


def that_run(graph):
    """The operations of a graph that something is done with."""
    found, stack = {}, [t.op for t in graph.outputs]
    while stack:
        op = stack.pop()
        if op.name not in found:
            found[op.name] = op
            stack += needed(op)
    return [op for op in graph.get_operations() if op.name in found]


# These only look at a tensor.
COPIES = {"Identity", "Reshape", "ExpandDims", "StopGradient", "ReadVariableOp"}


def too_early(graph, kind):
    """What is computed on the way back, and can be before `kind` has run."""
    waiting, values, early = set(), set(), []
    for op in that_run(graph):  # in the order they were made
        before = {other.name for other in needed(op)}
        if op.type == "Placeholder" or not values.isdisjoint(before):
            values.add(op.name)  # it is no constant
        if op.type == kind or not waiting.isdisjoint(before):
            waiting.add(op.name)
        elif op.name.startswith("gradients/") and op.type not in COPIES:
            large = [t for t in op.outputs if (t.shape.rank or 0) > 2]
            early += [t.name for t in large if op.name in values]
    return early


WAITING = [name for name in METHODS if name != "deep_lift"]


def pooled():
    """Max pooling, tied and not, beside what `residual` has."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="gelu")(x)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.AveragePooling2D(2)(x)
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))


@pytest.mark.parametrize("make", [residual, pooled])
@pytest.mark.parametrize("name", [*WAITING, *REVEAL_CANCEL])
def test_nothing_is_computed_before_it_is_its_turn(make, name):
    """On the way back all waits for the class, which the model finds last."""
    model = make()
    explainer = (METHODS | REVEAL_CANCEL)[name](model)
    noise = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    explainer(noise.astype("float32"))
    ((concrete, *_),) = explainer._functions.values()
    assert not too_early(concrete.graph, "ArgMax")


def held(graph):
    """Pictures of the way forward that are read on the way back."""
    found = set()
    for op in that_run(graph):
        if not op.name.startswith("gradients/"):
            continue
        for tensor in op.inputs:
            made = origin(tensor)
            forward = not made.op.name.startswith("gradients/")
            if forward and made.shape.rank == 4:
                found.add(made.name)
    return found


# What a ReLU or a sum with a ReLU makes, once, and the input. In `alpha2_beta1`
# the first layer of each block, with a long sum, has a tensor of its own.
# `epsilon` divides by what the last one makes, which then has to be there.
RELUS, BLOCKS = 1 + 4 * 3, 4
HELD = {
    "alpha1_beta0": 1 + RELUS,
    "epsilon_plus_flat": 1 + RELUS,
    "alpha2_beta1": 1 + RELUS + BLOCKS,
    "epsilon": 1 + RELUS + BLOCKS,
}


@pytest.mark.parametrize("name", HELD)
def test_a_residual_summand_is_held_where_it_is_divided_by(name):
    explainer = METHODS[name](residual())
    noise = np.random.default_rng(0).normal(size=(2, 64, 64, 3))
    explainer(noise.astype("float32"))
    ((concrete, *_),) = explainer._functions.values()
    assert len(held(concrete.graph)) == HELD[name]
