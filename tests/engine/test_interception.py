"""Leaves no trace, in any way in which a trace could be left.

That no method leaves one on any kind of model is in the contract tests.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import catalogue, interception
from tests import zoo
from tests.traces import assert_same, fingerprint


class Breaks(keras.layers.Layer):
    """Fails in `call` from the second time on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = 0
        self.fail = False

    def call(self, x):
        if self.fail:
            raise RuntimeError("broken on purpose")
        return x


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_no_trace_after_an_exception(entry):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = Breaks(name="breaks")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    breaks = model.get_layer("breaks")
    breaks.fail = True
    before = fingerprint(model)
    options = {"layer": "breaks"} if "affine" in entry.needs else {}
    explainer = entry.cls(model, **options)
    run = getattr(explainer, "fit", explainer)  # what a method does first
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run(zoo.images(2))
    assert_same(before, fingerprint(model))

    # And the same explainer, and a fit, work once the cause is gone.
    breaks.fail = False
    model.compile("sgd", "mse")
    model.fit(zoo.images(4), np.zeros((4, 3)), verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ke.ExplainWarning)
        if hasattr(explainer, "fit"):
            explainer.fit(zoo.images(2), verbose=False)
        explainer(zoo.images(2))


def test_four_threads_at_once():
    specimen = zoo.build("nested")
    expected = ke.GradCAM(specimen.model)(specimen.inputs, 3).numpy()
    guided = ke.GuidedBackprop(specimen.model)(specimen.inputs, 3).numpy()
    before = fingerprint(specimen.model)
    shared = ke.GradCAM(specimen.model)
    failures = []

    def work(number):
        try:
            for _ in range(3):
                # One explainer for all, one of its own, and plain calls.
                a = shared(specimen.inputs, 3)
                own = ke.GuidedBackprop(specimen.model)
                b = own(specimen.inputs, 3)
                plain = specimen.model(specimen.inputs)
                np.testing.assert_allclose(a, expected, atol=1e-6)
                np.testing.assert_allclose(b, guided, atol=1e-6)
                assert np.isfinite(np.asarray(plain)).all()
        except BaseException as error:
            failures.append((number, error))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_same(before, fingerprint(specimen.model))


def test_calls_of_other_threads_go_straight_through():
    specimen = zoo.build("functional")
    seen = []

    def handler(operation, call, *args, **kwargs):
        seen.append(threading.get_ident())
        return call(*args, **kwargs)

    results = []
    with interception.intercept(specimen.model, handler):
        other = threading.Thread(
            target=lambda: results.append(specimen.model(specimen.inputs))
        )
        other.start()
        other.join()
        assert seen == []
        specimen.model(specimen.inputs)
    assert set(seen) == {threading.get_ident()}
    assert len(results) == 1


def test_traces_once_for_all_batch_sizes():
    specimen = zoo.build("nested")
    traces = []

    class Counting(ke.GradCAM):
        def _combine(self, a, g):
            traces.append(1)
            return super()._combine(a, g)

    explainer = Counting(specimen.model)
    rng = np.random.default_rng(0)
    data = zoo.images(16)
    for _ in range(20):
        explainer(data[: rng.integers(1, 17)], 3)
    gc.collect()
    tracemalloc.start()
    for _ in range(20):
        explainer(data[: rng.integers(1, 17)], 3)
    gc.collect()
    first, _ = tracemalloc.get_traced_memory()
    for _ in range(160):
        explainer(data[: rng.integers(1, 17)], 3)
    gc.collect()
    second, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(traces) == 1
    assert second - first < 100_000  # bytes of Python objects, 160 calls


def test_targets_without_end_do_not_pile_up():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(40)])
    explainer = ke.Gradient(model)
    x = np.ones((1, 3), "float32")
    kernel = model.layers[0].get_weights()[0]
    for k in range(40):
        # Each is gone when the next is made, and may have its identity.
        found = explainer(x, ke.Output(lambda y, k=k: y[:, k]))
        np.testing.assert_allclose(found[0], kernel[:, k])
    assert len(explainer._functions) == 32


def test_sizes_open_up_once():
    """Pictures of many sizes: one trace for the first, one for all others."""
    specimen = zoo.build("open_size")
    explainer = ke.GradCAM(specimen.model)
    for size in (8, 9, 12, 30, 17, 8):
        assert explainer(zoo.images(2, size)).shape == (2, size, size)
    assert len(explainer._functions) == 2


def test_an_explainer_does_not_keep_the_model_alive():
    model = zoo.build("functional").model
    explainer = ke.GradCAM(model)
    explainer(zoo.images(2))
    reference = weakref.ref(model)
    del model, explainer
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None


def test_follows_the_weights_as_they_train():
    specimen = zoo.build("nested")
    model = specimen.model
    explainer = ke.GradCAM(model)
    first = explainer(specimen.inputs, 3).numpy()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 1.0
    model.fit(specimen.inputs, np.array([3, 4]), epochs=3, verbose=0)
    second = explainer(specimen.inputs, 3).numpy()
    fresh = ke.GradCAM(model)(specimen.inputs, 3).numpy()
    np.testing.assert_allclose(second, fresh, atol=1e-6)
    assert np.abs(first - second).max() > 1e-3


def test_in_the_middle_of_fit():
    """Explained in a callback; the training is the same without it."""

    def train(callbacks):
        specimen = zoo.build("nested")
        model = specimen.model
        model.compile("adam", "sparse_categorical_crossentropy")
        history = model.fit(
            zoo.images(16), np.arange(16) % 10, batch_size=4, epochs=2,
            verbose=0, callbacks=[make() for make in callbacks],
        )  # fmt: skip
        return history.history["loss"], model.get_weights()

    maps = []

    class Explains(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.explainer = ke.GradCAM(self.model)

        def on_train_batch_end(self, batch, logs=None):
            maps.append(self.explainer(zoo.images(2), 3).numpy())

    loss, weights = train([Explains])
    plain_loss, plain_weights = train([])
    assert loss == plain_loss
    for a, b in zip(weights, plain_weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(maps) == 8
    assert np.abs(maps[0] - maps[-1]).max() > 0


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("functional", "keras"),
        ("functional", "h5"),
        ("nested_twice", "keras"),
        ("nested_twice", "h5"),
        ("vision_transformer", "keras"),
        # Keras cannot load the mask of an embedding from h5.
        ("lstm", "keras"),
    ],
)
def test_models_from_files(tmp_path, suffix, name):
    specimen = zoo.build(name)
    path = tmp_path / f"model.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns that h5 is old
        specimen.model.save(path)
        loaded = keras.saving.load_model(path, safe_mode=True)
    options = {"layer": specimen.feature_map} if specimen.integers else {}
    a = ke.GradCAM(specimen.model).explain(specimen.inputs, 3)
    b = ke.GradCAM(loaded).explain(specimen.inputs, 3)
    np.testing.assert_allclose(a.attributions, b.attributions, atol=1e-6)
    assert a.layer == b.layer
    first = ke.Gradient(specimen.model, **options)(specimen.inputs, 3)
    second = ke.Gradient(loaded, **options)(specimen.inputs, 3)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_fused_activations_arrive_as_operations():
    specimen = zoo.build("functional")
    seen = []

    def handler(operation, call, *args, **kwargs):
        outputs = call(*args, **kwargs)
        if isinstance(operation, interception.FusedActivation):
            seen.append((operation.layer.name, tf.is_tensor(outputs)))
        return outputs

    with interception.intercept(specimen.model, handler):
        specimen.model(specimen.inputs)
    assert seen == [("conv1", True), ("conv2", True), ("logits", True)]
