"""Calibration is in the logs of an epoch, for other callbacks to use."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.calibration import ExpectedCalibrationError
from keras_explain.callbacks import CalibrationLogger
from keras_explain.engine.errors import ExplainWarning
from tests.callbacks.test_explanation_logger import data, fit, network
from tests.callbacks.test_undisturbed import everything, trained

NAMES = ["val_brier", "val_ece", "val_mce", "val_nll"]


def test_the_numbers_are_those_of_the_model():
    x, y = data()
    model = network()
    history = fit(model, CalibrationLogger((x, y), batch_size=5)).history
    p = np.asarray(model(x), np.float64)
    p /= p.sum(-1, keepdims=True)
    hot = np.eye(3)[y]
    error = ExpectedCalibrationError()
    error.update_state(y, p)
    expected = {
        "val_ece": float(error.result()),
        "val_nll": -np.log(p[np.arange(len(y)), y]).mean(),
        "val_brier": ((p - hot) ** 2).sum(-1).mean(),
    }
    for name, value in expected.items():
        assert len(history[name]) == 2
        np.testing.assert_allclose(history[name][-1], value, rtol=1e-4)
    assert history["val_mce"][-1] >= history["val_ece"][-1]


@pytest.mark.parametrize("head", ["logits", "softmax", "sigmoid"])
def test_heads_and_data(head):
    x, y = data()
    units, activation = {
        "logits": (3, None), "softmax": (3, "softmax"),
        "sigmoid": (1, "sigmoid"),
    }[head]  # fmt: skip
    if head == "sigmoid":
        y = y % 2
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Flatten(), layers.Dense(units, activation=activation)]
    )
    loss = (
        keras.losses.BinaryCrossentropy()
        if head == "sigmoid"
        else keras.losses.SparseCategoricalCrossentropy(
            from_logits=head == "logits"
        )
    )
    model.compile("sgd", loss)
    held_out = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    logger = CalibrationLogger(held_out, on_error="raise")
    history = model.fit(x, y, verbose=0, callbacks=[logger])
    found = history.history["val_nll"][0]
    np.testing.assert_allclose(
        found, model.evaluate(x, y, verbose=0), rtol=1e-4
    )


def test_other_callbacks_can_use_it(tmp_path):
    held_out = data()
    stop = keras.callbacks.EarlyStopping("val_nll", patience=0, mode="max")
    history = fit(network(), CalibrationLogger(held_out), stop, epochs=9)
    assert len(history.history["loss"]) < 9
    path = str(tmp_path / "best.keras")
    best = keras.callbacks.ModelCheckpoint(
        path, "val_ece", save_best_only=True, mode="min"
    )
    fit(network(), CalibrationLogger(held_out), best)
    assert keras.saving.load_model(path, safe_mode=True)


def test_the_diagram_is_a_picture():
    found = []
    logger = CalibrationLogger(data(), writers=found.extend, on_error="raise")
    fit(network(), logger)
    assert [p.tag for p in found] == ["calibration/reliability"] * 2
    assert found[0].image.std() > 10 and "error" in found[0].caption
    found.clear()
    logger = CalibrationLogger(
        data(), writers=found.extend, every=8, on_error="raise"
    )
    history = fit(network(), logger).history
    assert [p.step for p in found] == [8]
    assert set(NAMES) <= set(history)


def test_the_training_is_undisturbed():
    def without(found):
        return [np.array(values) for values in found]

    model = network()
    history = fit(model, CalibrationLogger(data(), on_error="raise"))
    for name in NAMES:
        history.history.pop(name)
    mine, theirs = everything(model, history), trained({})
    assert len(mine) == len(theirs)
    for a, b in zip(without(mine), without(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("writers", [None, "callable"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x, y: (x, y + 7), "labels must be class"),
        (lambda x, y: (x[:, :4, :4, :2], y), ""),
    ],
)
def test_wrong_data_lose_no_training(wrong, words, writers):
    found = []
    logger = CalibrationLogger(wrong(*data()), writers=writers and found.extend)
    with pytest.warns(ExplainWarning, match=words) as told:
        history = fit(network(), logger).history
    assert list(history) == ["loss"] and len(history["loss"]) == 2
    # Neither a picture of nothing nor a word more.
    assert not found and len(told) == 1


class Diverges(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        kernel = self.model.layers[-1].kernel
        kernel.assign(np.full(kernel.shape, np.nan))


def test_a_model_that_diverged_has_no_diagram():
    found = []
    logger = CalibrationLogger(data(), writers=found.extend)
    with pytest.warns(ExplainWarning, match="NaN") as told:
        fit(network(), Diverges(), logger)
    assert not found and len(told) == 1


class NoBatches(keras.utils.PyDataset):
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda x, y: None, TypeError, "labels"),
        (lambda x, y: x, TypeError, "labels"),
        (lambda x, y: (x,), TypeError, "labels"),
        (lambda x, y: (x[:0], y[:0]), ValueError, "nothing to calibrate"),
        (lambda x, y: (x, y[:3]), ValueError, "one label for each"),
        (lambda x, y: (x, 3), ValueError, "one label for each"),
        (lambda x, y: NoBatches(), ValueError, "nothing to calibrate"),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)),
            ValueError,
            "single images",
        ),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices((x[:, 0, 0], y)),
            ValueError,
            "single samples",
        ),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices(x).batch(2),
            TypeError,
            "labels",
        ),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices(
                (x[:0], y[:0])
            ).batch(2),
            ValueError,
            "nothing to calibrate",
        ),
    ],
)
def test_data_of_the_wrong_kind_are_told_of_before(wrong, error, words):
    with pytest.raises(error, match=words):
        CalibrationLogger(wrong(*data()))


@pytest.mark.parametrize("units", [1, 3])
def test_logits_that_are_said_to_be_probabilities(units):
    x, y = data()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Flatten(), layers.Dense(units)])
    model.compile("sgd", "mse")
    logger = CalibrationLogger((x, y % 2), from_logits=False)
    with pytest.warns(ExplainWarning, match="said to return probabilities"):
        history = model.fit(
            x, np.zeros((len(x), units)), verbose=0, callbacks=[logger]
        ).history
    assert list(history) == ["loss"]


def test_several_sigmoids_are_no_classes():
    x, y = data()
    model = keras.Sequential(
        [layers.Flatten(), layers.Dense(3, activation="sigmoid")]
    )
    model.compile("sgd", "mse")
    logger = CalibrationLogger((x, y), on_error="raise")
    with pytest.raises(ValueError, match="independent"):
        model.fit(x, np.eye(3)[y], verbose=0, callbacks=[logger])
