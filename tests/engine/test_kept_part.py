"""What is kept between calls, and what makes it be computed again."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.engine.kept_part import KeptPart, pays
from keras_explain.engine.recording import record

SIZE = 24


def network():
    """Large and small variables, trained ones and others."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(layers.Activation("softplus")(x))
    return keras.Model(inputs, layers.Dense(12, name="dense")(x))


def part_of(model):
    one = tf.ones([1, SIZE, SIZE, 3])
    return KeptPart(lambda x: [model(x), x + 1], [one]), one


def changed(variable, place, by):
    values = variable.numpy().copy()
    values.reshape(-1)[place] += by
    return values


def test_results_are_kept_while_nothing_changes():
    model = network()
    part, one = part_of(model)
    first = part.results([one])
    np.testing.assert_allclose(first[0], model(one), rtol=1e-4)
    np.testing.assert_array_equal(first[1], one + 1)
    again = part.results([tf.ones_like(one)])
    assert all(a is b for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("place", [0, 12_345, -1])
@pytest.mark.parametrize(
    "name",
    ["conv/kernel", "conv/bias", "norm/moving_variance", "dense/kernel"],
)
def test_the_last_bit_of_a_weight_counts(name, place):
    model = network()
    (variable,) = (w for w in model.weights if w.path == name)
    part, one = part_of(model)
    before = part.results([one])[0]
    values = variable.numpy().copy()
    flat = values.reshape(-1)
    place %= flat.size
    flat[place] = np.nextafter(flat[place], np.float32(9))
    variable.assign(values)
    after = part.results([one])[0]
    assert after is not before
    variable.assign(changed(variable, place, 0.5))
    found = part.results([one])[0]
    np.testing.assert_allclose(found, model(one), rtol=1e-4)
    assert np.abs(found - before).max() > 1e-4


@pytest.mark.parametrize("name", ["conv/bias", "dense/kernel"])
def test_values_that_change_places_count(name):
    model = network()
    (variable,) = (w for w in model.weights if w.path == name)
    variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    part, one = part_of(model)
    before = part.results([one])[0]
    variable.assign(variable.numpy()[::-1])
    assert part.results([one])[0] is not before


def test_another_tensor_counts():
    part, one = part_of(network())
    before = part.results([one])
    after = part.results([2 * one])
    np.testing.assert_array_equal(after[1], 2 * one + 1)
    assert after[0] is not before[0]


class Counts(layers.Layer):
    """Holds a table, which nothing sees change."""

    def __init__(self):
        super().__init__()
        entries = tf.lookup.KeyValueTensorInitializer([1], [2.0])
        self.table = tf.lookup.StaticHashTable(entries, 0.0)

    def call(self, x):
        return x + self.table.lookup(tf.constant([1]))


def random(x):
    return x + tf.random.normal(tf.shape(x))


def python(x):
    return x + tf.numpy_function(lambda: np.float32(3), [], tf.float32)


def inside(x):
    return tf.function(random)(x)


@pytest.mark.parametrize("what", [random, python, inside, Counts()])
def test_what_changes_unseen_is_found(what):
    one = tf.ones([1, 2])
    assert not KeptPart(lambda x: [what(x)], [one]).depends_on_no_more


def test_variables_and_tensors_are_no_more_than_that():
    part, _ = part_of(network())
    assert part.depends_on_no_more
    embedding = layers.Embedding(5, 3)
    tokens = tf.constant([[1, 2]])
    embedding(tokens)
    part = KeptPart(lambda t: [embedding(t)], [tokens])
    assert part.depends_on_no_more
    before = part.results([tokens])[0]
    embedding.set_weights([np.ones((5, 3), np.float32)])
    np.testing.assert_array_equal(part.results([tokens])[0], np.ones((1, 2, 3)))
    assert np.any(before != 1)


def dense():
    inputs = keras.Input((30,))
    return keras.Model(inputs, layers.Dense(40)(inputs))


def separable():
    inputs = keras.Input((16, 16, 4))
    x = layers.SeparableConv2D(8, 3, padding="same")(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def channels_first():
    inputs = keras.Input((3, 16, 16))
    return keras.Model(
        inputs, layers.Conv2D(4, 1, data_format="channels_first")(inputs)
    )


def few_places():
    inputs = keras.Input((5, 5, 3))
    return keras.Model(inputs, layers.Conv2D(4, 1)(inputs))


@pytest.mark.parametrize(
    ("make", "expected"),
    [(dense, False), (separable, True), (channels_first, True),
     (few_places, False)],
)  # fmt: skip
def test_it_pays_where_weights_are_used_often(make, expected):
    model = make()
    shapes = [None, *model.input_shape[1:]]
    graph = record(model, tf.TensorSpec(shapes, tf.float32))
    assert pays(model, graph) is expected
