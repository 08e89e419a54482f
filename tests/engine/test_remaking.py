"""What is the positive part of another tensor is known as that."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.engine.own_gradient import give_gradient
from keras_explain.engine.remaking import origin, positive_part_of


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
