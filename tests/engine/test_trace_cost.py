"""To trace a rule is to look at its operation, and not at the whole model."""

from __future__ import annotations

import sys

import keras
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from tests import zoo

SLOW = pytest.mark.slow


def deep(blocks):
    """Residual blocks and concatenations, with all that rules are for."""
    x = inputs = keras.Input((8, 8, 3))
    for _ in range(blocks):
        y = layers.Conv2D(3, 3, padding="same")(x)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
        y = layers.Concatenate()([y, layers.AveragePooling2D(1)(x)])
        y = layers.MaxPooling2D(3, 1, padding="same")(y)
        y = layers.ZeroPadding2D(1)(y)
        y = layers.Conv2D(3, 3)(y)
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def reached(tensors):
    """Number of operations that depend on tensors."""
    found, todo = set(), [op for t in tensors for op in t.consumers()]
    while todo:
        op = todo.pop()
        if op not in found:
            found.add(op)
            todo += [c for t in op.outputs for c in t.consumers()]
    return len(found)


@pytest.mark.filterwarnings("ignore:The map of")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=marks)
        for name, make, marks in (
            ("epsilon", lambda m: ke.LRP(m, composite="epsilon"), ()),
            (
                "plus_flat",
                lambda m: ke.LRP(m, composite="epsilon_plus_flat"),
                SLOW,
            ),
            ("alpha_beta", lambda m: ke.LRP(m, composite="alpha2_beta1"), SLOW),
            ("excitation", ke.ExcitationBackprop, SLOW),
            ("deep_lift", lambda m: ke.DeepLIFT(m, baseline=0.1), SLOW),
        )
    ],
)
def test_a_rule_looks_at_its_own_operation(make, monkeypatch):
    gradients, numbers = tf.gradients, []

    def counting(ys, xs, *args, **kwargs):
        caller = sys._getframe(1).f_code.co_filename
        if not caller.endswith("score.py"):  # the gradient of the model
            numbers.append(reached(tf.nest.flatten(xs)))
        return gradients(ys, xs, *args, **kwargs)

    monkeypatch.setattr(tf, "gradients", counting)
    found = []
    for blocks in (2, 5):
        numbers.clear()
        make(deep(blocks))(zoo.images(2), 1)
        assert len(numbers) >= blocks
        found.append(max(numbers))
    assert found[0] == found[1]
