"""A run on the reference that is kept is the run there would be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.attribution import deeplift, kept_reference
from tests.laws.difference_nets import randomized

SIZE = 12


def network():
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = y = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="silu")(x)
    x = layers.MaxPooling2D(2)(layers.Add(name="sum")([x, y]))
    x = layers.Conv2D(12, 3, activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(5, activation="softmax")(x)
    return randomized(keras.Model(inputs, outputs))


def pictures(number=3, size=SIZE):
    noise = np.random.default_rng(1)
    return noise.normal(size=(number, size, size, 3)).astype("float32")


def runs_of(explainer):
    return explainer._references._runs


def kept(explainer):
    """The tensors that an explainer keeps."""
    runs = [run for _, run in runs_of(explainer).values() if run is not None]
    found = [run._part._results for run in runs if run._part._results]
    assert len(found) <= 1
    return found[0] if found else []


def at_once(monkeypatch, model, x, target=None, **options):
    """What is found where nothing is kept."""
    with monkeypatch.context() as patch:
        patch.setattr(deeplift, "pays", lambda *_: False)
        explainer = ke.DeepLIFT(model, **options)
        found = explainer.explain(x, target)
    assert not kept(explainer)
    return found


def assert_close(found, expected):
    scale = np.abs(expected.attributions).max()
    np.testing.assert_allclose(
        found.attributions, expected.attributions, atol=2e-5 * scale
    )
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.delta, expected.delta, atol=1e-5)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize(
    "target",
    [None, 3, ke.Class(2, of="probability"), ke.Class(1) - ke.Class(0),
     ke.Channel("sum", 4)],
    ids=str,
)  # fmt: skip
def test_it_makes_no_difference(rule, target, monkeypatch):
    model, x = network(), pictures()
    options = {"rule": rule, "baseline": 0.1}
    explainer = ke.DeepLIFT(model, **options)
    for _ in range(2):
        found = explainer.explain(x, target)
        expected = at_once(monkeypatch, model, x, target, **options)
        assert_close(found, expected)
    assert kept(explainer)


def test_a_layer_is_explained_by_it_as_well(monkeypatch):
    model, x = network(), pictures()
    explainer = ke.DeepLIFT(model, layer="norm")
    found = explainer.explain(x, 1)
    assert_close(found, at_once(monkeypatch, model, x, 1, layer="norm"))
    assert kept(explainer)


def test_one_run_serves_all_classes_and_batches():
    explainer = ke.DeepLIFT(network())
    explainer(pictures(), 1)
    first = kept(explainer)
    explainer(pictures(2), 4)
    explainer.explain(pictures(5), ke.Class(0, of="probability"))
    assert kept(explainer) is first


def test_targets_that_look_elsewhere_have_a_run_of_their_own(monkeypatch):
    model, x = network(), pictures()
    explainer = ke.DeepLIFT(model)
    for target in (ke.Class(1), ke.Channel("sum", 4), ke.Class(1)):
        found = explainer.explain(x, target)
        assert_close(found, at_once(monkeypatch, model, x, target))
        assert kept(explainer)


def test_threads_may_share_an_explainer(monkeypatch):
    model, x = network(), pictures()
    targets = [ke.Class(1), ke.Channel("sum", 4), ke.Channel("first", 2)] * 4
    expected = [at_once(monkeypatch, model, x, t) for t in targets[:3]] * 4
    explainer = ke.DeepLIFT(model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda t: explainer.explain(x, t), targets))
    for pair in zip(found, expected, strict=True):
        assert_close(*pair)


def test_few_runs_stay_traced(monkeypatch):
    monkeypatch.setattr(kept_reference, "MOST_RUNS", 2)
    model, x = network(), pictures()
    explainer = ke.DeepLIFT(model)
    for name in ("sum", "first", "norm", "last", "sum"):
        target = ke.LayerActivation(name)
        found = explainer.explain(x, target)
        assert_close(found, at_once(monkeypatch, model, x, target))
        assert len(runs_of(explainer)) <= 2


def test_what_rules_do_not_read_is_not_kept():
    model = network()
    explainer = ke.DeepLIFT(model)
    explainer(pictures(), 1)
    shapes = [tuple(t.shape) for t in kept(explainer)]
    # Of the map at full size: what ReLU, SiLU and max pooling are given, and
    # what SiLU has made. Not what the ReLU has made.
    assert shapes.count((1, SIZE, SIZE, 8)) == 4


def test_what_a_relu_makes_is_made_again(monkeypatch):
    """Max pooling reads what the ReLU has made of what is kept for it."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(layers.ReLU()(x))
    outputs = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = randomized(keras.Model(inputs, outputs))
    explainer = ke.DeepLIFT(model)
    found = explainer.explain(pictures(), 1)
    shapes = [tuple(t.shape) for t in kept(explainer)]
    assert shapes.count((1, SIZE, SIZE, 8)) == 1
    assert shapes.count((1, SIZE // 2, SIZE // 2, 8)) == 0
    assert_close(found, at_once(monkeypatch, model, pictures(), 1))


def test_a_constant_of_tensorflow_is_no_signal(monkeypatch):
    """It is there before any trace, and belongs to none."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3)(x)
    x = keras.ops.maximum(x, tf.constant([-0.1, 0.0, 0.1, 0.2]))
    outputs = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = randomized(keras.Model(inputs, outputs))
    explainer = ke.DeepLIFT(model)
    found = explainer.explain(pictures(), 1)
    assert kept(explainer)
    assert_close(found, at_once(monkeypatch, model, pictures(), 1))
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def test_it_follows_a_model_that_trains(monkeypatch):
    model, x = network(), pictures(8)
    explainer = ke.DeepLIFT(model)
    before = explainer.explain(x, 1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(8) % 5, verbose=0)
    after = explainer.explain(x, 1)
    assert_close(after, at_once(monkeypatch, model, x, 1))
    assert np.abs(after.attributions - before.attributions).max() > 1e-4


def test_it_follows_statistics_of_a_normalization(monkeypatch):
    model, x = network(), pictures()
    explainer = ke.DeepLIFT(model)
    explainer(x, 1)
    mean = model.get_layer("norm").moving_mean
    mean.assign(mean + 1)
    found = explainer.explain(x, 1)
    assert_close(found, at_once(monkeypatch, model, x, 1))


def test_it_follows_the_baseline(monkeypatch):
    model, x = network(), pictures()
    baseline = np.zeros((SIZE, SIZE, 3), "float32")
    explainer = ke.DeepLIFT(model, baseline=baseline)
    explainer(x, 1)
    baseline[3, 4] = 1.0
    found = explainer.explain(x, 1)
    assert_close(found, at_once(monkeypatch, model, x, 1, baseline=baseline))


def test_sizes_that_differ_are_run_each_time(monkeypatch):
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = randomized(keras.Model(inputs, x))
    explainer = ke.DeepLIFT(model)
    for size in (16, 20, 16, 24):
        x = pictures(size=size)
        found = explainer.explain(x, 1)
        assert_close(found, at_once(monkeypatch, model, x, 1))


def test_inside_a_function_it_is_run_each_time():
    model, x = network(), pictures()
    explainer = ke.DeepLIFT(model)
    expected = explainer(x, 1)
    compiled = tf.function(lambda x: explainer(x, 1))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(compiled(x), expected, atol=2e-5 * scale)
    last = model.get_layer("last")
    last.kernel.assign(2 * last.kernel)
    after = compiled(x)
    np.testing.assert_allclose(after, explainer(x, 1), atol=2e-5 * scale)
    assert np.abs(after - expected).max() > 0.1 * scale


class Drawn(layers.Layer):
    def call(self, x):
        return x + 0 * tf.random.normal(tf.shape(x))


def test_what_draws_numbers_is_run_each_time():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(Drawn()(x))
    model = randomized(keras.Model(inputs, layers.Dense(5)(x)))
    explainer = ke.DeepLIFT(model)
    found = explainer.explain(pictures(), 1)
    assert np.abs(found.delta).max() < 1e-4
    assert not kept(explainer)
