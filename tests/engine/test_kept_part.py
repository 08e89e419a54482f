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


def assigned(variable):
    variable.assign(variable + 1)


def added(variable):
    variable.value.assign_add(tf.ones(variable.shape))


def in_place(variable):
    tf.raw_ops.ResourceApplyGradientDescent(
        var=variable.value.handle, alpha=0.1, delta=tf.ones(variable.shape)
    )


def compiled(variable):
    held, ones = variable.value, tf.ones(variable.shape)
    tf.function(lambda: held.assign_add(ones), jit_compile=True)()


def scattered(variable):
    place = [[0] * len(variable.shape)]
    variable.value.scatter_nd_add(place, [5.0])


def trained(variable):
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.apply([tf.ones(variable.shape)], [variable])


WAYS = [assigned, added, in_place, compiled, scattered, trained]


@pytest.mark.parametrize("name", ["conv/bias", "dense/kernel"])
@pytest.mark.parametrize("change", WAYS)
def test_every_way_to_change_a_variable_counts(change, name):
    model = network()
    (variable,) = (w for w in model.weights if w.path == name)
    part, one = part_of(model)
    before = part.results([one])
    for _ in range(2):
        change(variable)
        found = part.results([one])
        np.testing.assert_allclose(found[0], model(one), rtol=1e-4)
        assert found[0] is not before[0]
        assert part.results([one])[0] is found[0]
        before = found


def test_values_are_looked_at_only_when_a_variable_was_written():
    model = network()
    part, one = part_of(model)
    looks = []
    look = part._look_at_weights
    part._look_at_weights = lambda: looks.append(1) or look()
    first = part.results([one])
    for _ in range(3):
        part.results([one])
    assert len(looks) == 1
    kernel = model.get_layer("dense").kernel
    kernel.assign(kernel.numpy())  # the same values in other memory
    assert part.results([one])[0] is first[0]
    part.results([one])
    assert len(looks) == 2


def test_what_failed_is_made_again():
    variable = tf.Variable(1.0)

    def compute(x):
        with tf.control_dependencies([tf.debugging.assert_positive(variable)]):
            return [x * variable]

    one = tf.ones([1])
    part = KeptPart(compute, [one])
    assert part.results([one])[0] == 1
    variable.assign(-1.0)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError):
            part.results([one])
    variable.assign(1.0)
    assert part.results([one])[0] == 1
    variable.assign(2.0)
    assert part.results([one])[0] == 2


def test_what_is_held_is_the_memory_of_the_model():
    model = network()
    part, one = part_of(model)
    part.results([one])
    kernel = model.get_layer("dense").kernel.value
    kernel = np.asarray(kernel.read_value())
    assert any(np.shares_memory(kernel, array) for array in part._held)
    part.forget()
    assert not part._held


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
