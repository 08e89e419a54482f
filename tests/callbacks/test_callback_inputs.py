"""What is wrong is said before the training, and how to mend it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.callbacks import (
    ExplanationLogger,
    PNGWriter,
    SaliencyLogger,
    TensorBoardWriter,
)
from keras_explain.engine.errors import ExplainWarning
from tests.callbacks.test_explanation_logger import data, fit, network

IMAGES = np.zeros((2, 8, 8, 3), "float32")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"writers": None}, "somewhere"),
        ({"every": "day"}, "every"),
        ({"every": 0}, "every"),
        ({"every": -2}, "positive number of batches"),
        ({"every": True}, "every"),
        ({"every": 2.0}, "whole numbers"),
        ({"every": None}, "every"),
        ({"every": np.array([2])}, "every"),
        ({"on_error": "ignore"}, "on_error"),
        ({"max_outputs": 0}, "max_outputs"),
        ({"target": "right"}, "target"),
        ({"target": "true"}, "labels"),
    ],
)
def test_options(options, words):
    with pytest.raises(ValueError, match=words):
        SaliencyLogger(IMAGES, **{"writers": [].extend, **options})


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), 3])
def test_any_whole_number_of_batches(number):
    found = []
    fit(network(), SaliencyLogger(data(1), writers=found.extend, every=number))
    assert [picture.step for picture in found] == [3, 6, 9, 12]


@pytest.mark.parametrize("most", [2.5, "2", True, None])
def test_a_number_of_samples_that_is_none(most):
    with pytest.raises(TypeError, match="`max_outputs` is a whole number"):
        SaliencyLogger(IMAGES, writers=[].extend, max_outputs=most)
    logger = SaliencyLogger(IMAGES, writers=[].extend, max_outputs=np.int32(1))
    assert len(logger.samples) == 1


@pytest.mark.parametrize("given", [None, "images", keras.Sequential()])
def test_no_data(given):
    with pytest.raises(TypeError, match="same few samples"):
        SaliencyLogger(given, writers=[].extend)


@pytest.mark.parametrize(
    "make",
    [TensorBoardWriter, PNGWriter, lambda f: SaliencyLogger(IMAGES, f)],
)
@pytest.mark.parametrize(
    ("folder", "error"),
    [(3, TypeError), (b"logs", TypeError), ([], TypeError),
     ("", ValueError), (" ", ValueError), ("a\0b", ValueError)],
)  # fmt: skip
def test_a_folder_that_is_none(make, folder, error):
    with pytest.raises(error, match="The folder for pictures"):
        make(folder)


def test_a_writer_that_cannot_be_called():
    with pytest.raises(TypeError, match="PNGWriter"):
        SaliencyLogger(IMAGES, writers="pictures")


def test_what_is_no_explainer(model):
    with pytest.raises(TypeError, match="GradCAM"):
        ExplanationLogger(model, IMAGES, writers=[].extend)
    with pytest.raises(ValueError, match="grad_cam"):
        ExplanationLogger("gradcam", IMAGES, writers=[].extend)


@pytest.mark.parametrize(
    "given",
    [
        IMAGES[:0],
        (IMAGES[:0], np.zeros(0, int)),
        tf.data.Dataset.from_tensor_slices(IMAGES[:0]).batch(2),
    ],
)
def test_no_samples(given):
    with pytest.raises(ValueError, match="no samples"):
        SaliencyLogger(given, writers=[].extend)


def test_another_number_of_labels():
    with pytest.raises(ValueError, match="3 labels for 2 samples"):
        SaliencyLogger((IMAGES, [0, 1, 2]), writers=[].extend)


def test_single_pictures():
    single = tf.data.Dataset.from_tensor_slices((IMAGES, [0, 1]))
    with pytest.raises(ValueError, match="batch"):
        SaliencyLogger(single, writers=[].extend)


@pytest.mark.parametrize(
    "single",
    [
        (np.zeros((5, 4), "float32"), np.arange(5)),
        (np.zeros((5, 4), "float32"), np.eye(5)),
        np.zeros(5, "float32"),
    ],
)
def test_single_vectors(single):
    dataset = tf.data.Dataset.from_tensor_slices(single)
    with pytest.raises(ValueError, match="single samples, not batches"):
        SaliencyLogger(dataset, writers=[].extend)


def test_labels_that_are_no_classes():
    with pytest.raises(ValueError, match="classes"):
        SaliencyLogger((IMAGES, [0.5, 1.2]), writers=[].extend, target="true")


@pytest.mark.parametrize("writer", [PNGWriter, TensorBoardWriter])
def test_a_folder_that_cannot_be_written(writer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        writer(tmp_path / "file" / "logs")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 8, 8, 5), "float32"), "shape"),
        (np.full((2, 8, 8, 3), np.nan, "float32"), "NaN"),
    ],
)
def test_data_that_does_not_fit_lose_no_training(wrong, words):
    logger = SaliencyLogger(wrong, writers=[].extend)
    with pytest.warns(ExplainWarning, match=words):
        history = fit(network(), logger)
    assert len(history.history["loss"]) == 2


def test_a_class_out_of_range():
    logger = SaliencyLogger(IMAGES, writers=[].extend, target=7)
    with pytest.warns(ExplainWarning, match="out of range"):
        fit(network(), logger)


def test_a_disk_that_fills_up():
    def full(pictures):
        raise OSError("No space left on device")

    logger = SaliencyLogger(data(1), writers=full)
    with pytest.warns(ExplainWarning, match="No space left"):
        fit(network(), logger)


def test_an_explainer_that_is_there():
    model, found = network(), []
    logger = ExplanationLogger(
        ke.Saliency(model), data(1), writers=found.extend, name="mine"
    )
    fit(model, logger, epochs=1)
    assert found[0].tag == "explanations/mine/0"
