"""What calibrators refuse, and what they warn of."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

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
from keras_explain.engine.errors import ExplainWarning
from tests import zoo

NEED_SEVERAL = (
    VectorScaling,
    MatrixScaling,
    PlattScaling,
    HistogramBinning,
    IsotonicCalibration,
    BayesianBinning,
)
LABELS = np.array([0, 1, 2] * 4)
LOGITS = np.random.default_rng(0).normal(size=(12, 3)) + np.eye(3)[LABELS]
LOGITS = LOGITS.astype("float32")
X = np.hstack([LOGITS, LOGITS[:, :1]])


def classifier(units=3, activation: str | None = "softmax"):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(units, activation=activation)]
    )
    model.layers[0].kernel.assign(np.eye(4, units))
    return model


def test_probabilities_for_logits():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    with pytest.warns(ExplainWarning, match="look like probabilities"):
        TemperatureScaling().fit_logits(p, LABELS)


@pytest.mark.parametrize("said", [False, True])
def test_a_model_is_not_what_it_is_said_to_be(said):
    model = classifier(activation="softmax" if said else None)
    text = "does not return logits" if said else "return probabilities, and"
    with pytest.raises(ValueError, match=text):
        TemperatureScaling(model, from_logits=said).fit((X, LABELS))


def test_hidden_probabilities_for_logits():
    inputs = keras.Input((4,))
    powers = ops.exp(layers.Dense(3)(inputs))
    total = ops.sum(powers, axis=-1, keepdims=True)
    model = keras.Model(inputs, powers / total)
    with pytest.warns(ExplainWarning, match="every row of its outputs sums"):
        VectorScaling(model, from_logits=True).fit((X, LABELS))


def test_one_row_of_logits_is_not_taken_for_probabilities():
    model = classifier(activation=None)
    calibrator = TemperatureScaling(model).fit((X, LABELS))
    row = np.array([[0.2, 0.3, 0.5, 0.0]], "float32")  # a logit for each
    np.testing.assert_allclose(calibrator.logits(row), row[:, :3], atol=1e-6)
    np.testing.assert_allclose(
        calibrator.predict(row), calibrator.model(row), atol=1e-6
    )


@pytest.mark.parametrize("from_logits", ["yes", None, 1])
def test_from_logits_is_one_of_three(from_logits):
    with pytest.raises(ValueError, match="`from_logits` says"):
        TemperatureScaling(from_logits=from_logits)


@pytest.mark.parametrize(
    "labels, text",
    [
        (LABELS + 1, "counted from one"),
        (LABELS - 1, "out of range"),
        (np.where(LABELS == 2, 255, LABELS), "without a class"),
        (LABELS + 0.5, "Only classifiers"),
        (LABELS[:-1], "Labels are class numbers of the shape"),
        (np.full((12, 3), 1 / 3), "One-hot labels"),
        (np.ones((12, 3)), "One-hot labels"),
        (np.zeros((12, 4)), "Labels are class numbers of the shape"),
    ],
)
def test_labels_are_checked(labels, text):
    with pytest.raises(ValueError, match=text):
        TemperatureScaling().fit_logits(LOGITS, labels)


def test_labels_are_numbers():
    with pytest.raises(TypeError, match="Number the classes"):
        TemperatureScaling().fit_logits(LOGITS, ["cat", "dog", "owl"] * 4)


def test_one_unit_has_two_classes():
    with pytest.raises(ValueError, match="With one output there are two"):
        TemperatureScaling().fit_logits(LOGITS[:, :1], LABELS)


@pytest.mark.parametrize("kind", NEED_SEVERAL)
def test_one_class_is_refused(kind):
    with pytest.raises(ValueError, match="All samples have the same class"):
        kind().fit_logits(LOGITS, np.zeros(12, int))


def test_one_class_warns_for_a_temperature():
    logits = LOGITS.copy()
    logits[0] = [0, 5, 0]
    with pytest.warns(ExplainWarning, match="says nothing of the others"):
        found = TemperatureScaling().fit_logits(logits, np.ones(12, int))
    assert found.temperature > 0


@pytest.mark.parametrize("kind", [PlattScaling, HistogramBinning])
def test_a_class_without_samples_warns(kind):
    with pytest.warns(ExplainWarning, match="1 of 3 classes have no sample"):
        found = kind().fit_logits(LOGITS, LABELS % 2)
    p = found.calibrate(LOGITS)
    assert np.isfinite(p).all() and p[:, 2].mean() < 0.15


@pytest.mark.parametrize(
    "logits, text",
    [
        (np.zeros((0, 3)), "nothing to calibrate"),
        (np.zeros(12), "For a single unit"),
        (np.where(LOGITS > 1, np.nan, LOGITS), "NaN or infinite"),
        (np.where(LOGITS > 1, np.inf, LOGITS), "NaN or infinite"),
        (LOGITS.astype(str), "Logits are numbers"),
    ],
)
def test_logits_are_checked(logits, text):
    with pytest.raises(ValueError, match=text):
        TemperatureScaling().fit_logits(logits, LABELS)
    fitted = TemperatureScaling().fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match=text):
        fitted.calibrate(logits)


def test_other_classes_than_fitted():
    fitted = VectorScaling().fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match="was fitted on 3"):
        fitted.calibrate(LOGITS[:, :2])
    fitted = VectorScaling(classifier(5)).fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match="was fitted on 3"):
        fitted.predict(X)


def test_data_are_checked():
    calibrator = TemperatureScaling(classifier())
    with pytest.raises(TypeError, match="inputs and their labels"):
        calibrator.fit(X)
    with pytest.raises(TypeError, match="inputs and their labels"):
        calibrator.fit(tf.data.Dataset.from_tensor_slices(X).batch(4))
    with pytest.raises(ValueError, match="one label for each sample"):
        calibrator.fit((X, LABELS[:-1]))
    with pytest.raises(ValueError, match="hold no samples"):
        calibrator.fit((X[:0], LABELS[:0]))
    with pytest.raises(ValueError, match="has shape"):
        calibrator.fit((X[:, :3], LABELS))
    with pytest.raises(ValueError, match="NaN or infinite"):
        calibrator.fit((np.full_like(X, np.nan), LABELS))
    empty = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4).take(0)
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrator.fit(empty)


def test_weights_are_left_aside():
    data = tf.data.Dataset.from_tensor_slices((X, LABELS, np.ones(12)))
    data = data.batch(4)
    with pytest.warns(ExplainWarning, match="weights are left aside"):
        found = VectorScaling(classifier()).fit(data)
    assert found.weights.shape == (3,)


def test_before_fit():
    calibrator = TemperatureScaling(classifier())
    for use in (
        lambda: calibrator.predict(X),
        lambda: calibrator.calibrate(LOGITS),
        lambda: calibrator.model,
        lambda: calibrator.temperature,
        lambda: PlattScaling().slope,
    ):
        with pytest.raises(RuntimeError, match="is not fitted yet"):
            use()


def test_without_a_model():
    calibrator = TemperatureScaling().fit_logits(LOGITS, LABELS)
    for use in (
        lambda: calibrator.predict(X),
        lambda: calibrator.logits(X),
        lambda: calibrator.model,
        lambda: calibrator.fit((X, LABELS)),
    ):
        with pytest.raises(ValueError, match="was made without a model"):
            use()


def test_a_failed_fit_leaves_the_last():
    calibrator = TemperatureScaling(classifier()).fit_logits(LOGITS, LABELS)
    before = calibrator.temperature, calibrator.model
    with pytest.raises(ValueError, match="out of range"):
        calibrator.fit((X, LABELS + 1))
    assert (calibrator.temperature, calibrator.model) == before


def test_a_later_fit_makes_another_model():
    model = classifier()
    calibrator = VectorScaling(model).fit((X, LABELS))
    first = calibrator.model
    p = first.predict(X, verbose=0)
    second = calibrator.fit((X, np.roll(LABELS, 1))).model
    assert second is not first
    np.testing.assert_array_equal(first.predict(X, verbose=0), p)
    assert np.abs(second.predict(X, verbose=0) - p).max() > 1e-3


def test_a_regression_is_refused():
    noise = np.random.default_rng(0).normal(size=12)
    with pytest.raises(ValueError, match="Only classifiers"):
        TemperatureScaling(classifier(1, None)).fit((X, noise))


def test_several_outputs_are_refused():
    model, images = zoo.two_outputs()
    with pytest.raises(ValueError, match="models with one output"):
        TemperatureScaling(model).fit((images, [0, 1]))


def test_outputs_without_classes_are_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.mean(inputs, axis=1))
    with pytest.raises(ValueError, match="Keep the last axis"):
        TemperatureScaling(model).fit((X, LABELS % 2))


def test_independent_probabilities_are_refused():
    with pytest.raises(ValueError, match="independent"):
        TemperatureScaling(classifier(3, "sigmoid")).fit((X, LABELS))


def test_logits_said_to_be_probabilities_where_there_were_no_data():
    wrong = TemperatureScaling(classifier(3, None), from_logits=False)
    wrong.fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match="linear layer returns logits"):
        wrong.model(X)
    with pytest.raises(ValueError, match="said to return probabilities"):
        wrong.predict(X)
    several = TemperatureScaling(classifier(3, "sigmoid"))
    several.fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match="independent"):
        several.model(X)


def test_probabilities_that_end_in_a_linear_layer():
    """A matrix of confusions: that rows sum to one is seen in the data."""
    inputs = keras.Input((4,))
    mixed = layers.Dense(3, use_bias=False)
    model = keras.Model(inputs, mixed(classifier()(inputs)))
    mixed.kernel.assign(np.full((3, 3), 0.1) + 0.7 * np.eye(3))
    calibrator = TemperatureScaling(model).fit((X, LABELS))
    found = calibrator.model.predict(X, verbose=0)
    np.testing.assert_allclose(found, calibrator.predict(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_softmax_over_one_class_is_refused():
    with pytest.raises(ValueError, match="always one"):
        TemperatureScaling(classifier(1, "softmax")).fit((X, LABELS % 2))


def test_models_are_checked():
    with pytest.raises(TypeError, match="keras.Model"):
        TemperatureScaling(layers.Dense(3))
    unbuilt = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="not built"):
        TemperatureScaling(unbuilt).fit((X, LABELS))


def test_unknown_heads_must_be_told_where_there_are_no_data():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.sin(layers.Dense(3)(inputs)))
    calibrator = TemperatureScaling(model).fit_logits(LOGITS, LABELS)
    with pytest.raises(ValueError, match="cannot be seen"):
        calibrator.model(X)
    told = TemperatureScaling(model, from_logits=True)
    told.fit_logits(LOGITS, LABELS)
    np.testing.assert_allclose(told.model(X), told.predict(X), atol=1e-6)


def test_outputs_of_several_sizes():
    model = keras.Sequential(
        [keras.Input((None, 5)), layers.Dense(3, activation="softmax")]
    )
    wide = np.hstack([X, X[:, :1]])
    parts = [(wide[:4].reshape(2, 2, 5), LABELS[:4].reshape(2, 2)),
             (wide.reshape(2, 6, 5), LABELS.reshape(2, 6))]  # fmt: skip
    signature = (
        tf.TensorSpec((None, None, 5), tf.float32),
        tf.TensorSpec((None, None), tf.int64),
    )
    data = tf.data.Dataset.from_generator(
        lambda: iter(parts), output_signature=signature
    )
    with pytest.raises(ValueError, match="outputs of one shape"):
        TemperatureScaling(model).fit(data)
