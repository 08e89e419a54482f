"""Finding layers, the automatic layer and the head."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine.recording import record
from tests import zoo


def graph_of(model, inputs):
    return record(
        model,
        tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), inputs
        ),
    )


@pytest.mark.parametrize("name", zoo.names())
def test_the_automatic_layer_and_head(name):
    specimen = zoo.build(name)
    graph = graph_of(specimen.model, specimen.inputs)
    call = graph.automatic_spatial
    found = None if call is None else graph.address(call)
    assert found == specimen.feature_map
    assert [head.kind for head in graph.heads] == [specimen.head]


def test_layers_by_path_name_object_and_occurrence():
    specimen = zoo.build("nested_twice")
    graph = graph_of(specimen.model, specimen.inputs)
    layer = specimen.model.get_layer("middle").get_layer("backbone")
    conv = layer.get_layer("conv5")
    for given in ("middle/backbone/conv5", "backbone/conv5", "conv5", conv):
        assert graph.find(given).path == "middle/backbone/conv5"
    assert graph.find("middle/backbone").shape == (None, 8, 8, 6)

    shared = zoo.build("shared")
    graph = graph_of(shared.model, shared.inputs)
    assert graph.find("encoder").key == ("encoder", 1)
    assert graph.find("encoder:0").key == ("encoder", 0)
    with pytest.raises(ValueError, match="called 2 times"):
        graph.find("encoder:2")


def test_a_name_in_two_places_has_to_be_a_path():
    inputs = keras.Input((8, 8, 3))
    one, two = zoo._backbone("one"), zoo._backbone("two")
    x = layers.Add()([one(inputs), two(inputs)])
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    graph = graph_of(model, zoo.images(1))
    with pytest.raises(ValueError, match="'one/conv5', 'two/conv5'"):
        graph.find("conv5")
    assert graph.find("two/conv5").path == "two/conv5"


def test_calls_of_a_shared_layer_are_told_apart():
    specimen = zoo.build("shared")
    maps = [
        ke.HiResCAM(specimen.model, layer=f"encoder:{k}")(specimen.inputs, 3)
        for k in range(2)
    ]
    assert np.abs(maps[0] - maps[1]).max() > 1e-4
    encoder = specimen.model.get_layer("encoder")
    middle = encoder(specimen.inputs)
    last = encoder(middle)
    dense = specimen.model.get_layer("logits")
    expected = tf.linalg.matvec(last, dense.kernel[:, 3]) / 64
    np.testing.assert_allclose(maps[1], expected, atol=1e-5)


def test_parents_follow_the_data():
    specimen = zoo.build("nested")
    graph = graph_of(specimen.model, specimen.inputs)
    by_path = {call.path: call for call in graph.calls}
    parent = graph.calls[by_path["backbone/norm"].parents[0]]
    assert parent.path == "backbone/conv1"
    parent = graph.calls[by_path["pool"].parents[0]]
    assert parent.path == "backbone/conv5/activation"
    assert by_path["backbone/conv1"].parents == (-1,)


def test_what_the_output_does_not_need_is_not_on_the_path():
    inputs = keras.Input((8, 8, 3))
    used = layers.Conv2D(4, 3, name="used")(inputs)
    unused = layers.Conv2D(4, 3, name="unused")(inputs)

    class Two(keras.layers.Layer):
        def call(self, both):
            return both[0] * 1.0

    x = Two(name="first")([used, unused])
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    graph = graph_of(model, zoo.images(1))
    on_path = {call.path for call in graph.calls if call.on_path}
    assert "used" in on_path and "unused" not in on_path


def test_segmentation_uses_the_map_before_the_classes():
    model, x = zoo.segmenter()
    found = ke.GradCAM(model).explain(x, 2)
    assert found.layer == "conv"
    assert found.attributions.shape == (2, 8, 8)


def test_raw_softmax_in_a_subclassed_call_is_seen():
    class Raw(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, name="dense")

        def call(self, x):
            return tf.nn.softmax(self.dense(x))

    model = Raw()
    x = np.ones((1, 3), "float32")
    model(x)
    found = ke.Gradient(model)(x, 2)
    np.testing.assert_allclose(found[0], model.dense.kernel[:, 2])


def test_a_softmax_by_hand_falls_back_to_the_log_probability():
    class ByHand(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, name="dense")

        def call(self, x):
            e = tf.exp(self.dense(x))
            return e / tf.reduce_sum(e, -1, keepdims=True)

    model = ByHand()
    x = np.ones((1, 3), "float32")
    p = model(x).numpy()[0]
    with pytest.warns(ke.ExplainWarning, match="log probability"):
        found = ke.Gradient(model)(x, 2)
    kernel = model.dense.kernel.numpy()
    np.testing.assert_allclose(found[0], kernel[:, 2] - kernel @ p, atol=1e-5)
    assert ke.Gradient(model).explain is not None


def test_a_model_that_is_changed_is_recorded_again():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv1"),
            layers.Conv2D(5, 3, activation="relu", name="conv2"),
        ],
        name="inner",
    )
    outer = keras.Sequential([keras.Input((8, 8, 3)), model])
    spec = tf.TensorSpec([None, 8, 8, 3])
    before = record(outer, spec)
    assert record(outer, spec) is before
    model.add(layers.Conv2D(6, 3, name="conv3"))
    assert record(outer, spec) is not before


def test_the_body_of_a_loop_is_one_opaque_call():
    """Tensors of a loop's body must not leave it."""
    specimen = zoo.build("lstm")
    graph = graph_of(specimen.model, specimen.inputs)
    # Keras calls the cell once before the loop, to see what it returns; the
    # call in the loop is not recorded.
    cells = [c for c in graph.layers if c.path == "lstm/lstm_cell"]
    assert [c.occurrence for c in cells] == [0]
    explainer = ke.Gradient(specimen.model, layer="lstm_cell")
    with pytest.raises(ValueError, match="does not depend"):
        explainer(specimen.inputs)


@pytest.mark.parametrize("method", [ke.Gradient, ke.LRP, ke.DeepLIFT])
def test_constants_of_tensorflow_may_be_among_the_arguments(method):
    """They are in no graph, and no call has made them."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.ops.maximum(x, tf.constant([-0.1, 0.0, 0.0, 0.0]))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(5)(x))
    graph = graph_of(model, np.zeros((1, 8, 8, 3), "float32"))
    (call,) = [c for c in graph.calls if c.kind == "Maximum"]
    signal, constant = call.arguments
    assert signal
    assert constant == ()
    noise = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    found = method(model).explain(noise.astype("float32"), target=1)
    assert np.abs(found.attributions).max() > 0
