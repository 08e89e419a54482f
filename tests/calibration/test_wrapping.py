"""From any model to its logits, and to a calibrated model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain
from keras_explain.calibration.binning import (
    BayesianBinning,
    HistogramBinning,
    IsotonicCalibration,
)
from keras_explain.calibration.scaling import (
    MatrixScaling,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
)
from tests import zoo
from tests.calibration import slow_calibration as slow
from tests.calibration.problems import data_for, scaled

CALIBRATORS = (
    TemperatureScaling,
    VectorScaling,
    MatrixScaling,
    PlattScaling,
    HistogramBinning,
    IsotonicCalibration,
    BayesianBinning,
)

HEADS = [
    "functional",
    "sequential",
    "subclassed",
    "nested",
    "nested_twice",
    "ops_nodes",
    "shared",
    "inputs_list",
    "inputs_dict",
    "softmax_layer",
    "softmax_activation",
    "logits",
    "sigmoid",
    "lstm",
]


@pytest.mark.parametrize("name", HEADS)
def test_every_head(name):
    specimen = zoo.build(name)
    model = specimen.model
    if name != "subclassed":
        scaled(model)
    x, y = data_for(specimen)
    calibrator = TemperatureScaling(model).fit((x, y), batch_size=16)
    outputs = model.predict(x, verbose=0).astype("float64")
    z = calibrator.logits(x)
    expected = outputs if specimen.head == "linear" else slow.softmax(z)
    if specimen.head == "linear":
        np.testing.assert_allclose(z, outputs, atol=1e-6)
    else:
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
    p = calibrator.predict(x, batch_size=16)
    by_hand = slow.softmax(z / calibrator.temperature)
    np.testing.assert_allclose(p, by_hand, atol=1e-6)
    np.testing.assert_allclose(calibrator.calibrate(z), p, atol=1e-6)
    wrapped = calibrator.model
    np.testing.assert_allclose(wrapped.predict(x, verbose=0), p, atol=1e-5)
    np.testing.assert_allclose(wrapped(x), p, atol=1e-5)  # eagerly
    own = TemperatureScaling().fit_logits(z, y).temperature
    assert own == pytest.approx(calibrator.temperature, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    ["functional", "softmax_layer", "sequential", "nested", "sigmoid",
     "inputs_dict", "lstm"],
)  # fmt: skip
def test_saved_and_loaded(name, tmp_path):
    specimen = zoo.build(name)
    scaled(specimen.model)
    x, y = data_for(specimen)
    wrapped = TemperatureScaling(specimen.model).fit((x, y)).model
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), wrapped.predict(x, verbose=0)
    )


@pytest.mark.parametrize("kind", CALIBRATORS)
@pytest.mark.parametrize("name", ["functional", "sigmoid"])
def test_every_calibrator_is_saved_and_loaded(kind, name, tmp_path):
    specimen = zoo.build(name)
    scaled(specimen.model)
    x, y = data_for(specimen)
    options = {"odir": (0.1, 0.1)} if kind is MatrixScaling else {}
    calibrator = kind(specimen.model, **options).fit((x, y))
    wrapped = calibrator.model
    p = wrapped.predict(x, verbose=0)
    # The lines between close samples are steep: they enlarge the rounding
    # of the probabilities that go in.
    atol = 1e-4 if kind is IsotonicCalibration else 1e-5
    np.testing.assert_allclose(p, calibrator.predict(x), atol=atol)
    np.testing.assert_allclose(
        p, calibrator.calibrate(calibrator.logits(x)), atol=atol
    )
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), p)


@keras.saving.register_keras_serializable("tests_calibration")
class Written(keras.Model):
    """A subclassed model that Keras can save; its softmax is a raw op."""

    def __init__(self, **options):
        super().__init__(**options)
        self.logits_layer = layers.Dense(3, name="logits")

    def call(self, x):
        return tf.nn.softmax(self.logits_layer(x))


def points(samples=60, size=4):
    noise = np.random.default_rng(2)
    x = noise.normal(size=(samples, size)).astype("float32")
    return x, (3 * x[:, :3] + noise.gumbel(size=(samples, 3))).argmax(1)


def test_subclassed_is_saved_and_loaded(tmp_path):
    x, y = points()
    model = Written()
    model(x)
    calibrator = TemperatureScaling(model).fit((x, y))
    expected = x @ np.asarray(model.logits_layer.kernel.value)
    np.testing.assert_allclose(calibrator.logits(x), expected, atol=1e-5)
    wrapped = calibrator.model
    p = wrapped.predict(x, verbose=0)
    np.testing.assert_allclose(p, calibrator.predict(x), atol=1e-6)
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), p)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    specimen = zoo.build("functional")
    scaled(specimen.model, 30.0)
    x, y = data_for(specimen)
    calibrator = TemperatureScaling(specimen.model).fit((x, y))
    wrapped = calibrator.model
    p = wrapped.predict(x, verbose=0)
    assert p.dtype == calibrator.logits(x).dtype == np.float32
    assert calibrator.layer.compute_dtype == "float32"
    # Rows of float16 probabilities would not sum to one as closely.
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(p, calibrator.predict(x), atol=1e-5)
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), p)


@pytest.mark.parametrize("name", ["functional", "sequential", "subclassed"])
def test_the_model_is_left_as_it_is(name):
    specimen = zoo.build(name)
    model = specimen.model
    x, y = data_for(specimen)

    def state():
        return (
            [np.asarray(w.value) for w in model.weights],
            model.predict(x, verbose=0),
            [w.path for w in model.weights],
            [w.trainable for w in model.weights],
            [len(layer._inbound_nodes) for layer in model._flatten_layers()],
            [sorted(vars(layer)) for layer in model._flatten_layers()],
            None if name == "subclassed" else model.get_config(),
        )

    model.predict(x, verbose=0)
    before = state()
    calibrator = HistogramBinning(model).fit((x, y))
    calibrator.predict(x)
    calibrator.model.predict(x, verbose=0)
    after = state()
    for old, new in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


def test_weights_are_shared():
    x, y = points()
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="softmax", name="d")]
    )
    calibrator = TemperatureScaling(model).fit((x, y))
    wrapped = calibrator.model
    model.get_layer("d").kernel.assign(np.ones((4, 3)))
    p = wrapped.predict(x, verbose=0)
    np.testing.assert_allclose(p, 1 / 3, atol=1e-6)
    np.testing.assert_allclose(calibrator.predict(x), 1 / 3, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "sequential", "inputs_dict"])
def test_model_is_compiled_and_exported(name, tmp_path):
    specimen = zoo.build(name)
    x, y = data_for(specimen)
    wrapped = PlattScaling(specimen.model).fit((x, y)).model
    wrapped.compile(
        loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    loss, accuracy = wrapped.evaluate(x, y, verbose=0)
    p = wrapped.predict(x, verbose=0)
    assert accuracy == pytest.approx(np.mean(p.argmax(1) == y))
    assert loss == pytest.approx(slow.likelihood(p, y), rel=1e-4)
    assert wrapped.input_shape == specimen.model.input_shape
    assert wrapped.output_shape == specimen.model.output_shape
    wrapped.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), p, atol=1e-4)


def test_the_calibrated_model_can_be_explained():
    specimen = zoo.build("nested")
    scaled(specimen.model)
    x, y = data_for(specimen)
    calibrator = TemperatureScaling(specimen.model).fit((x, y))
    maps = keras_explain.GradCAM(calibrator.model)(x[:4])
    own = keras_explain.GradCAM(specimen.model)(x[:4])
    np.testing.assert_allclose(
        maps * np.float32(calibrator.temperature), own, atol=1e-6
    )


def test_compiled_by_xla():
    x, y = points()
    model = Written()
    model(x)
    for kind in (TemperatureScaling, HistogramBinning, IsotonicCalibration):
        wrapped = kind(model).fit((x, y)).model
        expected = wrapped.predict(x, verbose=0)
        wrapped.compile(jit_compile=True)
        np.testing.assert_allclose(
            wrapped.predict(x, verbose=0), expected, atol=1e-3
        )


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_hidden_softmax_is_taken_by_its_logarithm(scale):
    x, y = points()
    dense = layers.Dense(3, name="logits")
    inputs = keras.Input((4,))
    z = dense(inputs)
    powers = ops.exp(z - ops.max(z, axis=-1, keepdims=True))
    outputs = powers / ops.sum(powers, axis=-1, keepdims=True)
    model = keras.Model(inputs, outputs)
    plain = keras.Model(inputs, ops.softmax(dense(inputs)))
    dense.kernel.assign(dense.kernel * scale)
    hidden = TemperatureScaling(model).fit((x, y))
    seen = TemperatureScaling(plain).fit((x, y))
    assert hidden.temperature == pytest.approx(seen.temperature, rel=1e-4)
    np.testing.assert_allclose(hidden.predict(x), seen.predict(x), atol=1e-5)
    np.testing.assert_allclose(
        hidden.model.predict(x, verbose=0), seen.predict(x), atol=1e-5
    )


def test_hidden_sigmoid_is_taken_by_its_logarithm():
    x, y = points()
    inputs = keras.Input((4,))
    z = layers.Dense(1)(inputs)
    hidden = keras.Model(inputs, 1 / (1 + ops.exp(-z)))
    seen = keras.Model(inputs, ops.sigmoid(z))
    labels = (y == 0).astype(int)
    first = TemperatureScaling(hidden).fit((x, labels))
    second = TemperatureScaling(seen).fit((x, labels))
    np.testing.assert_allclose(first.logits(x), second.logits(x), atol=1e-5)
    np.testing.assert_allclose(first.predict(x), second.predict(x), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_logarithms_in_other_formats(dtype):
    x, y = points()
    inputs = keras.Input((4,), dtype=dtype)
    powers = ops.exp(layers.Dense(3, dtype=dtype)(inputs))
    total = ops.sum(powers, axis=-1, keepdims=True)
    model = keras.Model(inputs, powers / total)
    calibrator = VectorScaling(model).fit((x, y))
    p = model.predict(x, verbose=0).astype("float64")
    z = calibrator.logits(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, np.log(p), atol=1e-4)
    np.testing.assert_allclose(
        calibrator.model.predict(x, verbose=0), calibrator.predict(x), atol=0.02
    )


def test_probabilities_of_zero_and_one_stay_finite():
    x = np.array([[0.0], [0.2], [1.0], [1.0]], "float32")
    inputs = keras.Input((1,))
    model = keras.Model(inputs, ops.clip(inputs, 0.0, 1.0))
    calibrator = TemperatureScaling(model, from_logits=False)
    z = calibrator.fit((x, [0, 1, 0, 1])).logits(x)
    assert np.isfinite(z).all() and z[0] < -80 and z[2] > 15
    two = keras.Model(inputs, ops.concatenate([1 - inputs, inputs], axis=1))
    z = TemperatureScaling(two, from_logits=False).logits(x)
    assert np.isfinite(z).all()


def test_a_segmenter():
    model, _ = zoo.segmenter()
    noise = np.random.default_rng(0)
    x = noise.normal(size=(6, 8, 8, 3)).astype("float32")
    y = noise.integers(0, 5, (6, 8, 8))
    y[:3] = model.predict(x, verbose=0).argmax(-1)[:3]
    for kind in (TemperatureScaling, IsotonicCalibration):
        calibrator = kind(model).fit((x, y), batch_size=2)
        p = calibrator.predict(x)
        assert p.shape == (6, 8, 8, 5)
        np.testing.assert_allclose(
            calibrator.model.predict(x, verbose=0), p, atol=1e-5
        )


def test_temperature_lowers_the_loss_and_keeps_the_accuracy():
    x, y = points(300)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy"
    )
    model.fit(x[:60], y[:60], epochs=60, verbose=0)  # learned by heart
    calibrator = TemperatureScaling(model).fit((x[60:180], y[60:180]))
    assert calibrator.temperature > 1.2
    p, q = model.predict(x[180:], verbose=0), calibrator.predict(x[180:])
    np.testing.assert_array_equal(p.argmax(1), q.argmax(1))
    assert slow.likelihood(q, y[180:]) < 0.9 * slow.likelihood(p, y[180:])


def test_repr():
    assert repr(TemperatureScaling()) == (
        "<TemperatureScaling of logits, not fitted>"
    )
