"""The metrics in compile, fit and evaluate, saved, jitted, distributed."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.calibration.metrics import (
    AdaptiveCalibrationError,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    ReliabilityDiagram,
)
from keras_explain.calibration.scores import BrierScore, NegativeLogLikelihood
from keras_explain.engine.errors import ExplainWarning

MAKERS = [
    ExpectedCalibrationError,
    MaximumCalibrationError,
    ClasswiseCalibrationError,
    AdaptiveCalibrationError,
    BrierScore,
    NegativeLogLikelihood,
]


@pytest.fixture
def data():
    noise = np.random.default_rng(0)
    x = noise.normal(size=(40, 4)).astype("float32")
    return x, noise.integers(0, 3, 40), noise.uniform(0.5, 2, 40)


def classifier(**compile_options):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(
        "sgd",
        weighted_metrics=[make() for make in MAKERS],
        **compile_options,
    )
    return model


def direct(model, x, y, w=None):
    """The same numbers from eager calls."""
    found = {}
    for make in MAKERS:
        metric = make()
        metric.update_state(y, model.predict(x, verbose=0), w)
        found[metric.name] = float(metric.result())
    return found


@pytest.mark.parametrize("one_hot", [False, True])
def test_fit_and_evaluate(data, one_hot):
    x, y, w = data
    loss = "sparse_categorical_crossentropy"
    labels = y
    if one_hot:
        loss, labels = "categorical_crossentropy", np.eye(3)[y]
    model = classifier(loss=loss)
    history = model.fit(
        x, labels, 16, validation_data=(x, labels, w), verbose=0
    ).history
    found = model.evaluate(x, labels, 7, 0, w, return_dict=True)
    for name, expected in direct(model, x, y, w).items():
        assert found[name] == pytest.approx(expected, abs=1e-5)
        assert history[f"val_{name}"] == [pytest.approx(expected, abs=1e-5)]
        assert np.isfinite(history[name][0])


@pytest.mark.slow
def test_jit_compiled(data):
    x, y, w = data
    model = classifier(loss="sparse_categorical_crossentropy", jit_compile=True)
    found = model.evaluate(x, y, 20, 0, w, return_dict=True)
    for name, expected in direct(model, x, y, w).items():
        assert found[name] == pytest.approx(expected, abs=1e-5)


# Keras reads its own variables in a way that NumPy 2 deprecates.
@pytest.mark.slow
def test_saved_with_the_model(data, tmp_path):
    x, y, _ = data
    model = classifier(loss="sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(
        found, rel=1e-5
    )


def test_nan_in_training_is_seen(data):
    x, y, _ = data
    model = classifier(loss="sparse_categorical_crossentropy")
    x = np.where(np.arange(len(x))[:, None] == 5, np.nan, x)
    found = model.evaluate(x, y, 8, verbose=0, return_dict=True)
    assert all(np.isnan(number) for number in found.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda monitor, path: keras.callbacks.EarlyStopping(monitor),
        lambda monitor, path: keras.callbacks.ReduceLROnPlateau(monitor),
        lambda monitor, path: keras.callbacks.ModelCheckpoint(
            path, monitor, save_best_only=True
        ),
    ],
    ids=["stop", "plateau", "checkpoint"],
)
def test_keras_knows_that_less_is_better(data, make, tmp_path):
    x, y, _ = data
    model = classifier(loss="sparse_categorical_crossentropy")
    watching = [
        make(f"val_{metric().name}", tmp_path / "best.keras")
        for metric in MAKERS
    ]
    model.fit(
        x, y, epochs=2, validation_data=(x, y), verbose=0, callbacks=watching
    )
    for callback in watching:
        assert callback.mode == "auto"
        assert callback.monitor_op is keras.ops.less


def test_mixed_precision(data):
    x, y, _ = data
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = classifier(loss="sparse_categorical_crossentropy")
    found = model.evaluate(x, y, 8, verbose=0, return_dict=True)
    assert model.layers[-1].output.dtype == "bfloat16"
    for metric in (make() for make in MAKERS):
        metric.update_state(y, tf.cast(model(x), tf.float32))
        assert metric.sums.dtype == "float64"
        assert metric.result().dtype == "float32"
        expected = pytest.approx(float(metric.result()), abs=1e-5)
        assert found[metric.name] == expected


@pytest.mark.slow
def test_binary_and_pixelwise_models():
    noise = np.random.default_rng(0)
    x = noise.normal(size=(6, 5, 5, 2)).astype("float32")
    for units, y, activation, loss in (
        (1, x[..., :1] > 0, "sigmoid", "binary_crossentropy"),
        (3, x[..., 0] > 0, "softmax", "sparse_categorical_crossentropy"),
    ):
        conv = keras.layers.Conv2D(units, 1, activation=activation)
        model = keras.Sequential([keras.Input((5, 5, 2)), conv])
        metrics = [make() for make in MAKERS]
        model.compile(loss=loss, weighted_metrics=metrics)
        w = noise.uniform(0.5, 2, (6, 5, 5))
        found = model.evaluate(x, y.astype(int), 4, 0, w, return_dict=True)
        for name, expected in direct(model, x, y, w).items():
            assert found[name] == pytest.approx(expected, abs=1e-5)


def test_state_is_made_in_a_loop_of_the_user(data):
    _, y, _ = data
    p = np.full((40, 3), 1 / 3, "float32")
    metric = ClasswiseCalibrationError()
    update = tf.function(metric.update_state)
    update(tf.constant(y), tf.constant(p))
    update(tf.constant(y), tf.constant(p))
    eager = ClasswiseCalibrationError()
    eager.update_state(y, p)
    assert float(metric.result()) == pytest.approx(float(eager.result()))


def test_stateless(data):
    _, y, _ = data
    p = np.full((40, 3), 1 / 3, "float32")
    for make in MAKERS:
        metric = make(num_classes=3)
        state = metric.stateless_update_state(metric.variables, y, p)
        found = float(metric.stateless_result(state))
        assert not np.any(metric.sums.numpy())
        metric.update_state(y, p)
        assert found == pytest.approx(float(metric.result()))


def test_a_diagram_in_compile_is_a_number_in_the_logs(data, tmp_path):
    x, y, _ = data
    diagram = ReliabilityDiagram(15)
    model = ending_in("softmax")
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        metrics=["accuracy", ExpectedCalibrationError(), diagram],
    )
    history = model.fit(
        x, y, epochs=2, validation_data=(x, y), verbose=2,
        callbacks=[
            keras.callbacks.TensorBoard(tmp_path),
            keras.callbacks.EarlyStopping("val_accuracy"),
            keras.callbacks.EarlyStopping("val_reliability_diagram"),
        ],
    ).history  # fmt: skip
    for prefix in ("", "val_"):
        np.testing.assert_allclose(
            history[f"{prefix}reliability_diagram"],
            history[f"{prefix}expected_calibration_error"],
            rtol=1e-6,
        )
    hits = model.predict(x, verbose=0).argmax(-1) == y
    assert history["val_accuracy"][-1] == pytest.approx(hits.mean())
    curve = diagram.curve()
    assert curve["count"].sum() == len(y)
    assert np.nansum(curve["accuracy"] * curve["count"]) == hits.sum()


def ending_in(activation, units=3):
    layer = keras.layers.Dense(units, activation=activation)
    layer.build((None, 4))
    layer.kernel.assign(0.3 + np.eye(4, units))
    return keras.Sequential([keras.Input((4,)), layer])


def evaluated(model, metric, x, y):
    model.compile("sgd", "mse", weighted_metrics=[metric])
    return model.evaluate(x, y, verbose=0, return_dict=True)[metric.name]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("units", [1, 3])
def test_logits_that_are_taken_for_probabilities(data, make, units):
    x, y, _ = data
    labels = np.eye(3)[y] if units == 3 else y[:, None] % 2
    model = ending_in(None, units)
    with pytest.warns(ExplainWarning, match="linear layer.*from_logits=True"):
        assert np.isnan(evaluated(model, make(), x, labels))
    metric = make(from_logits=True)
    assert np.isfinite(evaluated(model, metric, x, labels))


@pytest.mark.parametrize(
    ("activation", "units"), [("softmax", 3), ("sigmoid", 1)]
)
def test_probabilities_that_are_taken_for_logits(data, activation, units):
    x, y, _ = data
    labels = np.eye(3)[y] if units == 3 else y[:, None] % 2
    wrong = ExpectedCalibrationError(from_logits=True)
    with pytest.raises(ValueError, match=f"outputs of a {activation}"):
        evaluated(ending_in(activation, units), wrong, x, labels)


def test_sigmoids_of_several_classes(data):
    x, y, _ = data
    model = ending_in("sigmoid")
    with pytest.raises(ValueError, match="a sigmoid over 3 units"):
        evaluated(model, BrierScore(), x, np.eye(3)[y])


def test_rows_that_do_not_sum_to_one_have_no_number(data):
    x, y, _ = data
    inputs = keras.Input((4,))
    squared = keras.ops.square(ending_in("softmax")(inputs))
    model = keras.Model(inputs, squared)
    for make in MAKERS:
        assert np.isnan(evaluated(model, make(), x, np.eye(3)[y]))


REPLICAS = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import keras
from tests.calibration import test_metrics_in_training as here
devices = [d.name for d in tf.config.list_logical_devices("CPU")]
strategy = tf.distribute.MirroredStrategy(
    devices, cross_device_ops=tf.distribute.ReductionToOneDevice())
noise = np.random.default_rng(0)
x = noise.normal(size=(42, 4)).astype("float32")
y, w = noise.integers(0, 3, 42), noise.uniform(0.5, 2, 42)
with strategy.scope():
    model = here.classifier(loss="sparse_categorical_crossentropy")
assert strategy.num_replicas_in_sync == 2
model.fit(x, y, 16, verbose=0)
found = model.evaluate(x, y, 16, 0, w, return_dict=True)
brier = model.metrics[1].metrics[here.MAKERS.index(here.BrierScore)]
# Half of the weight would not show in the ratios below.
np.testing.assert_allclose(brier.sums.numpy()[1], w.sum(), rtol=1e-5)
for name, expected in here.direct(model, x, y, w).items():
    print(name, found[name], expected)
    assert abs(found[name] - expected) < 1e-5, name
"""


@pytest.mark.slow
def test_replicas_add_up():
    """In a process of its own: devices are set before TensorFlow starts."""
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == len(MAKERS)
