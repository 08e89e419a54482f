"""Sanity checks: maps of models of random weights or random labels."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain
from keras_explain.evaluation import label_randomization, model_randomization
from keras_explain.evaluation.copies import copy_of, rebuilt, scratch
from keras_explain.evaluation.initialization import (
    reinitialize,
    weighted_layers,
)
from tests import zoo
from tests.evaluation import nets
from tests.marking import slow_but


def trained(model):
    """Gives all weights other values than initializers do."""
    draw = np.random.default_rng(3)
    model.set_weights(
        [np.abs(draw.normal(0.1, 0.5, w.shape)) for w in model.get_weights()]
    )
    return model


def layer_states(model, inputs):
    """Which layers with weights have which, by name, from the input up."""
    return {
        path: [w.copy() for w in layer.get_weights()]
        for path, layer in weighted_layers(model, inputs)
    }


def changed(before, after):
    return [
        path
        for path in before
        if any(
            np.any(a != b)
            for a, b in zip(before[path], after[path], strict=True)
        )
    ]


def run(order, model, x, **options):
    """The layers that differ at each step, as a spy on the copy sees it."""
    before = layer_states(model, x)
    seen = []

    def spy(copy, inputs, target):
        if copy is not model:
            seen.append(changed(before, layer_states(copy, inputs)))
        return np.ones(inputs.shape[:3])

    found = model_randomization(spy, x, order=order, model=model, **options)
    return list(before), seen, found


@pytest.mark.parametrize("order", ["cascade", "bottom_up", "independent"])
def test_exactly_these_layers_differ(order):
    """At a peer the whole network is random after the first step."""
    model, x = trained(zoo.build("nested").model), zoo.images(3)
    weights = [w.copy() for w in model.get_weights()]
    names, seen, found = run(order, model, x)
    assert names == ["backbone/conv1", "backbone/norm", "backbone/conv5",
                     "logits"]  # fmt: skip
    expected = {
        "cascade": [names[k:] for k in (4, 3, 2, 1, 0)],
        "bottom_up": [names[:k] for k in (0, 1, 2, 3, 4)],
        "independent": [[], *[[name] for name in names[::-1]]],
    }[order]
    assert seen == expected
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    steps = names if order == "bottom_up" else names[::-1]
    assert found.curve["labels"] == ["(none)", *steps]
    two = run(order, model, x, batch_size=2)[1]
    assert two == expected * 2  # each batch begins with the model as it is


@pytest.mark.parametrize(
    "name", slow_but(("subclassed", "inputs_dict"), zoo.names())
)
def test_every_model(name):
    specimen = zoo.build(name)
    model = trained(specimen.model)
    weights = [w.copy() for w in model.get_weights()]
    layer = specimen.feature_map if specimen.integers else None
    explainer = keras_explain.Gradient(model, layer=layer)
    found = model_randomization(explainer, specimen.inputs)
    for kind in ("spearman_abs", "spearman", "ssim"):
        np.testing.assert_allclose(found.details[kind][:, 0], 1, atol=1e-6)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_maps_that_know_nothing_of_the_model_stay():
    model, x = trained(zoo.build("functional").model), zoo.images(4)
    blind = model_randomization(lambda m, i, t: i, x, model=model)
    np.testing.assert_allclose(blind.per_sample, 1)
    explainer = keras_explain.Gradient(model)
    seeing = model_randomization(explainer, x, similarity="spearman")
    assert seeing.mean < 0.9 and seeing.curve["y"][0] == pytest.approx(1)
    again = model_randomization(
        explainer, x, similarity="spearman", batch_size=3
    )
    np.testing.assert_allclose(seeing.per_sample, again.per_sample, atol=1e-4)
    other = model_randomization(explainer, x, similarity="spearman", seed=1)
    assert np.all(seeing.per_sample != other.per_sample)
    top = model_randomization(explainer, x, layers=["logits"])
    assert top.curve["labels"] == ["(none)", "logits"]


def test_options_reach_the_explainer_of_the_copy():
    model = zoo.build("functional").model
    copy = copy_of(model, zoo.images(2))
    entry = (keras_explain.rules.path("dense"), None)
    composite = keras_explain.rules.Composite([entry])
    lrp = keras_explain.LRP(model, composite=composite)
    other = rebuilt(lrp, copy)
    assert other.model is copy and other.composite is composite
    smooth = keras_explain.SmoothGrad(lrp.__class__(model, composite="epsilon"),
                                      num_samples=7)  # fmt: skip
    other = rebuilt(smooth, copy)
    assert other.explainer.model is copy
    assert other.get_config() == smooth.get_config()


def test_weights_are_put_back_after_an_error():
    specimen = zoo.build("subclassed")
    model = specimen.model
    assert copy_of(model, specimen.inputs) is None
    weights = [w.copy() for w in model.get_weights()]
    calls = []

    def breaks(copy, inputs, target):
        calls.append(copy)
        if len(calls) == 4:
            raise KeyError("broken")
        return np.ones(inputs.shape[:3])

    with pytest.raises(KeyError, match="broken"):
        model_randomization(breaks, specimen.inputs, model=model)
    assert calls[-1] is model
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_copy_leaves_no_trace():
    model, x = zoo.build("functional").model, zoo.images(2)
    random.seed(4)
    expected = random.random()
    random.seed(4)
    nodes = len(model.layers[1]._inbound_nodes)
    with scratch(model, x) as copy:
        assert copy is not model
        copy.layers[1].set_weights(
            [np.zeros_like(w) for w in copy.layers[1].get_weights()]
        )
    assert random.random() == expected
    assert len(model.layers[1]._inbound_nodes) == nodes
    assert np.any(model.layers[1].get_weights()[0] != 0)


def test_new_weights_are_drawn_by_the_layers_own_initializer():
    """Called as it is, an initializer gives back what training began with."""
    layer = layers.Dense(
        64,
        kernel_initializer=keras.initializers.RandomNormal(5.0, 0.1, seed=1),
        bias_initializer="ones",
    )  # fmt: skip
    layer.build((None, 32))
    first = layer.get_weights()[0]
    layer.set_weights([np.zeros((32, 64)), np.zeros(64)])
    reinitialize(layer, [0, 0])
    kernel, bias = layer.get_weights()
    assert np.all(bias == 1) and np.all(kernel != first)
    assert kernel.mean() == pytest.approx(5, abs=0.02)
    assert kernel.std() == pytest.approx(0.1, abs=0.01)
    assert len(np.unique(kernel)) > 2000  # no reordering of rows
    reinitialize(layer, [0, 0])
    np.testing.assert_array_equal(kernel, layer.get_weights()[0])
    reinitialize(layer, [1, 0])
    assert np.all(kernel != layer.get_weights()[0])


def test_batch_normalization_begins_anew():
    norm = layers.BatchNormalization(gamma_initializer="zeros")
    norm.build((None, 3))
    norm.set_weights([np.full(3, 7.0)] * 4)
    reinitialize(norm, [0])
    np.testing.assert_array_equal(
        norm.get_weights(), np.repeat([[1], [0], [0], [1]], 3, 1)
    )


class Custom(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="own")

    def call(self, x):
        return x * self.scale


def test_weights_without_an_initializer_are_shuffled():
    layer = Custom()
    layer.build((None, 50))
    layer.set_weights([np.arange(50.0)])
    reinitialize(layer, [0])
    found = layer.get_weights()[0]
    assert np.any(found != np.arange(50.0))
    np.testing.assert_array_equal(np.sort(found), np.arange(50.0))


def test_layers_that_cannot_be_randomized():
    model, x = zoo.build("sequential").model, zoo.images(2)
    explainer = keras_explain.Gradient(model)
    with pytest.raises(ValueError, match="Only layers with weights"):
        model_randomization(explainer, x, layers=["pool1"])
    plain = nets.of((2,), lambda i: i[:, :1] * 2)
    with pytest.raises(ValueError, match="no weights to randomize"):
        model_randomization(keras_explain.Gradient(plain), np.ones((2, 2)))
    with pytest.raises(ValueError, match="`order` is one of"):
        model_randomization(explainer, x, order="up")
    with pytest.raises(ValueError, match="`similarity` is one of"):
        model_randomization(explainer, x, similarity="cosine")
    with pytest.raises(ValueError, match="scores of a model are needed"):
        model_randomization(lambda m, i, t: i, x)


def small_net():
    return keras.Sequential([keras.Input((6,)), layers.Dense(2)])


def least_squares(model, x, y):
    kernel = np.linalg.pinv(x) @ (2 * np.eye(2)[y] - 1)
    model.set_weights([kernel, np.zeros(2)])


def test_label_randomization():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 6)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    orders = []

    def train(model, inputs, labels):
        orders.append(labels)
        least_squares(model, inputs, labels)

    found = label_randomization(
        keras_explain.Gradient, (x, y), build=small_net, train=train,
        batch_size=16,
    )  # fmt: skip
    assert found.n_valid == 40 and found.mean < 0.9
    np.testing.assert_array_equal(orders[0], y)
    assert np.any(orders[1] != y) and sorted(orders[1]) == sorted(y)
    right, random_labels = found.settings["accuracy"]
    assert right > 0.9 > random_labels
    again = label_randomization(
        keras_explain.Gradient, (x, np.eye(2)[y]), build=small_net,
        train=lambda m, i, t: least_squares(m, i, t.argmax(-1)),
    )  # fmt: skip
    np.testing.assert_allclose(found.per_sample, again.per_sample, atol=1e-5)
    blind = label_randomization(
        lambda m, i, t: i, (x, y), build=small_net, train=train
    )
    np.testing.assert_allclose(blind.per_sample, 1)


def test_label_randomization_refuses():
    x, y = np.ones((3, 6), "float32"), np.array([0, 1, 0])
    with pytest.raises(TypeError, match="Labels can be shuffled where all"):
        label_randomization(keras_explain.Gradient, x, build=small_net)
    with pytest.raises(ValueError, match="one mask, box or label"):
        label_randomization(keras_explain.Gradient, (x, y[:2]),
                            build=small_net)  # fmt: skip
    with pytest.raises(TypeError, match="`build` is a function"):
        label_randomization(keras_explain.Gradient, (x, y), build=small_net())
    with pytest.raises(ValueError, match="`train` is an integer"):
        label_randomization(keras_explain.Gradient, (x, y), build=small_net,
                            train=0)  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_labels_of_one_class_cannot_be_shuffled(count):
    x, y = np.ones((count, 6), "float32"), np.ones(count, int)
    for labels in (y, np.eye(2)[y]):
        with pytest.raises(ValueError, match="must be other labels"):
            label_randomization(keras_explain.Gradient, (x, labels),
                                build=small_net)  # fmt: skip


def test_shuffled_labels_are_others_whatever_the_seed():
    x, y = np.eye(2, 6, dtype="float32"), np.array([0, 1])
    for seed in range(4):
        taught = []
        label_randomization(
            keras_explain.Gradient, (x, y), build=small_net, seed=seed,
            train=lambda m, i, t: taught.append(t.tolist()),  # noqa: B023
        )  # fmt: skip
        assert taught == [[0, 1], [1, 0]]
