"""What the metrics take, and what they refuse."""

from __future__ import annotations

import warnings

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

ECE = ExpectedCalibrationError
ALL = [
    ECE,
    MaximumCalibrationError,
    ClasswiseCalibrationError,
    AdaptiveCalibrationError,
    BrierScore,
    NegativeLogLikelihood,
]
Y = np.array([1, 0, 2, 1])
P = np.array(
    [[0.2, 0.7, 0.1], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]]
)
ONE_HOT = np.eye(3)[Y]


def value(metric, labels, predictions, weights=None):
    metric.update_state(labels, predictions, sample_weight=weights)
    return float(metric.result())


@pytest.mark.parametrize("make", ALL)
def test_labels_of_all_forms_are_the_same(make):
    expected = pytest.approx(value(make(), Y, P))
    for labels in (
        Y[:, None],
        Y.astype("uint8"),
        Y.astype("float32"),
        Y.tolist(),
        ONE_HOT,
        ONE_HOT.astype("float16"),
        ONE_HOT.astype(bool),
    ):
        assert value(make(), labels, P) == expected
    assert value(make(), tf.constant(Y), P.tolist()) == expected


@pytest.mark.parametrize("make", ALL)
def test_pixels_are_samples(make):
    noise = np.random.default_rng(0)
    pick = noise.integers(0, 4, (2, 3, 5))
    weights = noise.uniform(0.5, 2, (2, 3, 5))
    flat = pick.ravel()
    plain = pytest.approx(value(make(), Y[flat], P[flat]))
    heavy = pytest.approx(value(make(), Y[flat], P[flat], weights.ravel()))
    for labels in (Y[pick], Y[pick][..., None], ONE_HOT[pick]):
        assert value(make(), labels, P[pick]) == plain
        assert value(make(), labels, P[pick], weights) == heavy
        assert value(make(), labels, P[pick], weights[..., None]) == heavy
    # One weight for each image.
    each = np.array([1.0, 3.0])
    spread = np.broadcast_to(each[:, None, None], pick.shape).ravel()
    expected = pytest.approx(value(make(), Y[flat], P[flat], spread))
    assert value(make(), Y[pick], P[pick], each) == expected
    assert value(make(), Y[pick], P[pick], each[:, None]) == expected
    assert value(make(), Y[pick], P[pick], 2.0) == plain


@pytest.mark.parametrize("make", ALL)
def test_one_output_is_two_classes(make):
    p, y = np.array([0.9, 0.3, 0.6, 0.2]), np.array([1, 1, 0, 0])
    both = np.stack([1 - p, p], -1)
    expected = pytest.approx(value(make(), y, both), abs=1e-6)
    logit = np.log(p / (1 - p))
    for shape in ((4,), (4, 1)):
        assert value(make(), y, p.reshape(shape)) == expected
        assert value(make(), y[:, None], p.reshape(shape)) == expected
        metric = make(from_logits=True, num_classes=2)
        assert value(metric, y, logit.reshape(shape)) == expected


def test_confidence_of_a_binary_model():
    p, y = np.array([0.9, 0.3]), np.array([1, 0])
    diagram = ReliabilityDiagram(1)
    diagram.update_state(y, p)
    curve = diagram.curve()
    assert curve["confidence"] == pytest.approx([(0.9 + 0.7) / 2])
    assert curve["accuracy"] == [1]
    positive = ReliabilityDiagram(1, "positive")
    positive.update_state(y, np.stack([1 - p, p], -1))
    assert positive.curve()["confidence"] == pytest.approx([0.6])
    assert positive.curve()["accuracy"] == [0.5]


@pytest.mark.parametrize("make", ALL)
def test_logits_are_softmaxed(make):
    logits = np.log(P) + np.arange(4)[:, None]
    expected = pytest.approx(value(make(), Y, P), abs=1e-6)
    assert value(make(from_logits=True), Y, logits) == expected
    # A class that was masked out has no probability.
    masked = np.pad(logits, ((0, 0), (0, 1)), constant_values=-np.inf)
    assert np.isfinite(value(make(from_logits=True), Y, masked))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("label", [255, -1, 0])
def test_ignored_class(make, label):
    expected = pytest.approx(value(make(), Y[[0, 2]], P[[0, 2]]))
    labels = np.where(np.isin(np.arange(4), [0, 2]), Y, label)
    assert value(make(ignore_class=label), labels, P) == expected
    if label == 0:
        one_hot = np.eye(3)[labels]
        assert value(make(ignore_class=0), one_hot, P) == expected


@pytest.mark.parametrize("make", ALL)
def test_samples_of_weight_zero_may_hold_anything(make):
    expected = pytest.approx(value(make(), Y, P))
    p = np.concatenate([P, np.full((2, 3), np.nan)])
    y = np.concatenate([Y, [7, -3]])
    w = np.array([1, 1, 1, 1, 0, 0])
    assert value(make(), y, p, w) == expected
    assert value(make(), np.r_[Y, 9, 9], p, np.r_[w[:4], 0, 0]) == expected


def test_padded_steps_are_left_out():
    p = tf.constant(np.stack([P, P]), tf.float32)
    p._keras_mask = tf.constant([[True] * 4, [True, True, False, False]])
    y = np.stack([Y, Y])
    rows = [0, 1, 2, 3, 0, 1]
    assert value(BrierScore(), y, p) == pytest.approx(
        value(BrierScore(), Y[rows], P[rows])
    )


FAULTS = {
    "nan": (Y, np.where(P == 0.7, np.nan, P), None, "NaN or infinite"),
    "infinite": (Y, np.where(P == 0.7, np.inf, P), None, "NaN or infinite"),
    "logits": (Y, np.log(P), None, "no probabilities.*from_logits=True"),
    "above one": (Y, P * 3, None, "no probabilities"),
    "sums": (Y, P * 0.9, None, "must sum to one"),
    "too large": (Y + 1, P, None, "0 to 2.*labels 3 in 1 of 4"),
    "negative": (Y - 1, P, None, "indices from 0 to 2.*-1"),
    "half": (Y + 0.5, P, None, "indices from 0 to 2"),
    "nan label": (Y * np.nan, P, None, "indices from 0 to 2"),
    "soft": (ONE_HOT * 0.9 + 0.1 / 3, P, None, "single one in each row"),
    "empty row": (ONE_HOT * 0, P, None, "single one in each row"),
    "weight": (Y, P, [1, 1, -1, 1], "not negative.*-1 in 1 of 4"),
    "nan weight": (Y, P, [1, 1, np.nan, 1], "must be finite"),
}


@pytest.mark.parametrize("make", [ECE, AdaptiveCalibrationError, BrierScore])
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_values_raise_if_eager_and_are_nan_if_compiled(make, fault):
    y, p, w, text = FAULTS[fault]
    metric = make()
    with pytest.raises(ValueError, match=f"(?s){text}"):
        metric.update_state(y, p, w)
    assert metric.sums is None or not np.any(metric.sums.numpy())
    if fault == "sums":
        return
    for jit in (False, True):
        metric = make(num_classes=3)

        @tf.function(jit_compile=jit)
        def update(y, p, w, metric=metric):
            metric.update_state(y, p, w)

        weights = np.ones(4) if w is None else np.array(w, float)
        update(tf.constant(y), tf.constant(p), tf.constant(weights))
        assert np.isnan(float(metric.result()))
        # Good batches do not hide it.
        metric.update_state(Y, P)
        assert np.isnan(float(metric.result()))
        metric.reset_state()
        assert np.isfinite(value(metric, Y, P))


@pytest.mark.parametrize("norm", ["l1", "l2", "max", "average"])
def test_nan_is_never_overlooked(norm):
    metric = ECE(norm=norm)
    p = np.where(P == 0.7, np.nan, P)
    tf.function(metric.update_state)(tf.constant(Y), tf.constant(p))
    assert np.isnan(float(metric.result()))


def test_probabilities_given_as_logits_warn():
    for make in (ECE, NegativeLogLikelihood):
        with pytest.warns(ExplainWarning, match="look like probabilities"):
            make(from_logits=True).update_state(Y, P)
    one = np.linspace(0.01, 0.99, 40)
    with pytest.warns(ExplainWarning, match="look like probabilities"):
        ECE(from_logits=True).update_state(one > 0.5, one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ECE(from_logits=True).update_state([1, 0], [0.3, 0.6])
        ECE(from_logits=True).update_state(Y, P * 2)


@pytest.mark.parametrize(
    "y, p, w, text",
    [
        (Y[:3], P, None, r"do not fit.*\(3,\).*\(4, 3\)"),
        (P, Y, None, "labels come first"),
        (np.eye(4)[Y], P, None, "do not fit"),
        (ONE_HOT, P[:, :1], None, "one output"),
        (np.zeros((4, 2)), P, None, "do not fit"),
        (Y, P, np.ones(3), "sample_weight.*one weight"),
        (Y, P, np.ones((4, 3)), "sample_weight.*one weight"),
        (1, 0.5, None, "known shape"),
    ],
)
def test_shapes_that_do_not_fit(y, p, w, text):
    with pytest.raises(ValueError, match=f"(?s){text}"):
        ECE().update_state(y, p, w)
    with pytest.raises(ValueError, match=f"(?s){text}"):
        tf.function(lambda: ECE().update_state(y, p, w))()


def test_unknown_sizes():
    metric = ClasswiseCalibrationError(num_classes=3)
    expected = pytest.approx(value(metric, Y, P))
    metric.reset_state()
    update = tf.function(metric.update_state).get_concrete_function(
        tf.TensorSpec([None, None], tf.int64),
        tf.TensorSpec([None, None, 3], tf.float64),
        tf.TensorSpec([None], tf.float32),
    )
    update(tf.constant(Y[:, None]), tf.constant(P[:, None]), tf.ones([4]))
    assert float(metric.result()) == expected
    with pytest.raises(ValueError, match="known shape"):
        tf.function(ECE().update_state).get_concrete_function(
            tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None])
        )


def test_what_is_no_number():
    with pytest.raises(TypeError, match="labels must be numbers"):
        ECE().update_state(["a", "b", "c", "d"], P)
    with pytest.raises(TypeError, match="predictions cannot be made"):
        ECE().update_state(Y, [[0.1, 0.9], [1.0]])


def test_classes_that_do_not_fit():
    with pytest.raises(ValueError, match="made for 4 classes"):
        ECE(num_classes=4).update_state(Y, P)
    with pytest.raises(ValueError, match="is for two classes"):
        ECE(kind="positive").update_state(Y, P)
    metric = ClasswiseCalibrationError()
    metric.update_state(Y, P)
    with pytest.raises(ValueError, match="changed between two updates"):
        metric.update_state([0, 1], [[0.5, 0.5], [0.2, 0.8]])


@pytest.mark.parametrize(
    "settings, kind, text",
    [
        ({"num_bins": 0}, ValueError, "`num_bins` must be at least 1"),
        ({"num_bins": 1.5}, TypeError, "`num_bins` must be an integer"),
        ({"num_bins": True}, TypeError, "`num_bins` must be an integer"),
        ({"norm": "l3"}, ValueError, "'l1', 'l2', 'max', 'average'"),
        ({"kind": "top"}, ValueError, "'top_label', 'classwise', 'positive'"),
        ({"binning": "even"}, ValueError, "'uniform', 'quantile'"),
        ({"edges": "both"}, ValueError, "'right', 'left'"),
        ({"num_classes": 1}, ValueError, "`num_classes` must be at least 2"),
        ({"ignore_class": "0"}, TypeError, "`ignore_class` must be an int"),
        ({"from_logits": "auto"}, TypeError, "`from_logits` must be True"),
        ({"bins": 3}, TypeError, "bins"),
    ],
)
def test_arguments_that_do_not_exist(settings, kind, text):
    with pytest.raises(kind, match=text):
        ECE(**settings)


def test_fixed_arguments_are_not_taken():
    with pytest.raises(TypeError, match="norm"):
        MaximumCalibrationError(norm="l1")
    with pytest.raises(TypeError, match="kind"):
        ClasswiseCalibrationError(kind="top_label")


@pytest.mark.parametrize("make", [*ALL, ReliabilityDiagram])
def test_config_makes_the_same_metric(make):
    options = {"from_logits": True, "ignore_class": 2, "num_classes": 3}
    if not issubclass(make, (BrierScore, NegativeLogLikelihood)):
        options |= {"num_bins": np.int64(7), "edges": "left"}
    metric = make(name="mine", dtype="float64", **options)
    saved = keras.saving.serialize_keras_object(metric)
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is make
    assert again.get_config() == metric.get_config()
    for key, wanted in options.items():
        assert again.get_config()[key] == wanted
    assert (again.name, again.dtype) == ("mine", "float64")
