"""The metrics against published numbers, their formulas and their laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.calibration import bins
from keras_explain.calibration.metrics import (
    AdaptiveCalibrationError,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    ReliabilityDiagram,
)
from keras_explain.calibration.scores import BrierScore, NegativeLogLikelihood
from tests.calibration import slow_metrics

ECE = ExpectedCalibrationError
EIGHT = [0.51, 0.45, 0.39, 0.66, 0.68, 0.29, 0.81, 0.85]
EIGHT_LABELS = [0, 0, 0, 1, 0, 1, 1, 1]
SIX = [
    [0.31, 0.32, 0.27],
    [0.37, 0.33, 0.30],
    [0.30, 0.31, 0.39],
    [0.61, 0.38, 0.01],
    [0.10, 0.65, 0.25],
    [0.91, 0.05, 0.04],
]
SIX_LABELS = [1, 0, 0, 1, 0, 0]


def value(metric, labels, predictions, weights=None):
    metric.update_state(labels, predictions, sample_weight=weights)
    return float(metric.result())


def grid(seed=0, n=60, classes=3):
    """Probabilities on a grid of 1/512, each of which has its own cell."""
    noise = np.random.default_rng(seed)
    cuts = np.sort(noise.integers(0, 513, (n, classes - 1)), -1)
    ends = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 512)))
    p = np.diff(ends, axis=-1) / 512
    return noise.integers(0, classes, n), p, noise.integers(1, 4, n)


@pytest.mark.parametrize(
    "norm, expected", [("l1", 0.29), ("l2", 0.2918), ("max", 0.3167)]
)
def test_torchmetrics_binary(norm, expected):
    metric = ECE(2, norm, "positive")
    p = [0.25, 0.25, 0.55, 0.75, 0.75]
    assert value(metric, [0, 0, 1, 1, 1], p) == pytest.approx(
        expected, abs=6e-5
    )


@pytest.mark.parametrize(
    "norm, expected", [("l1", 0.2), ("l2", 0.2082), ("max", 0.2333)]
)
def test_torchmetrics_multiclass(norm, expected):
    p = [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60],
         [0.90, 0.05, 0.05]]  # fmt: skip
    found = value(ECE(3, norm), [0, 1, 2, 0], p)
    assert found == pytest.approx(expected, abs=6e-5)


def test_tensorflow_probability():
    p, y = [[0.3, 0.7], [0.9, 0.1], [0.4, 0.6]], [1, 0, 0]
    for edges in bins.EDGES:
        assert value(ECE(3, edges=edges), y, p) == pytest.approx(1 / 3)
    assert value(BrierScore(), y, p) == pytest.approx(0.306667, abs=1e-6)
    nll = NegativeLogLikelihood
    assert value(nll(), y, p) == pytest.approx(0.459442, abs=1e-6)
    found = value(nll(from_logits=True), y, np.log(p))
    assert found == pytest.approx(0.459442, abs=1e-6)


def test_tensorflow_probability_quantiles():
    p, y = [0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [0, 0, 1, 0, 1, 1]
    settings = {"kind": "positive", "binning": "quantile", "edges": "left"}
    assert value(ECE(3, **settings), y, p) == pytest.approx(0.145)
    diagram = ReliabilityDiagram(3, **settings)
    diagram.update_state(y, p)
    curve = diagram.curve()
    assert curve["accuracy"].tolist() == [0, 0, 1]
    assert curve["count"].tolist() == [2, 1, 3]
    np.testing.assert_allclose(
        curve["confidence"], [0.075, 0.2, 0.826667], atol=1e-6
    )
    # An edge is that of the cell of a sample, just below the sample.
    np.testing.assert_allclose(curve["edges"], [0, 0.2, 0.5, 1], atol=1e-3)
    assert curve["edges"][1] <= 0.2


def test_robustness_metrics_binary():
    assert value(ECE(10), EIGHT_LABELS, EIGHT) == pytest.approx(0.145)
    diagram = ReliabilityDiagram(10)
    diagram.update_state(EIGHT_LABELS, EIGHT)
    counts = diagram.curve()["count"].tolist()
    assert counts == [0, 0, 0, 0, 0, 2, 3, 1, 2, 0]
    maximum = MaximumCalibrationError(10)
    assert value(maximum, EIGHT_LABELS, EIGHT) == pytest.approx(0.71)
    average = ECE(10, "average")
    expected = pytest.approx(0.231667, abs=1e-6)
    assert value(average, EIGHT_LABELS, EIGHT) == expected
    positive = ECE(10, kind="positive")
    assert value(positive, EIGHT_LABELS, EIGHT) == pytest.approx(0.3425)


def test_robustness_metrics_multiclass():
    # Its first row sums to 0.9, which an eager call refuses.
    for metric, expected in (
        (ECE(10), 0.378333),
        (ClasswiseCalibrationError(10), 0.291111),
    ):
        tf.function(metric.update_state)(
            tf.constant(SIX_LABELS), tf.constant(SIX)
        )
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("edges", bins.EDGES)
def test_robustness_metrics_adaptive(edges):
    metric = ECE(2, "l2", binning="quantile", edges=edges)
    found = value(metric, [1, 0], [[0.2, 0.8], [0.3, 0.7]])
    assert found == pytest.approx(0.5147815, abs=1e-6)


@pytest.mark.parametrize("kind", bins.KINDS)
@pytest.mark.parametrize("binning", bins.BINNINGS)
@pytest.mark.parametrize("edges", bins.EDGES)
def test_all_settings_equal_the_slow_formula(kind, binning, edges):
    classes = 2 if kind == "positive" else 3
    y, p, w = grid(1, classes=classes)
    for norm, num_bins in itertools.product(
        ["l1", "l2", "max", "average"], [1, 2, 5, 8, 15]
    ):
        settings = (num_bins, norm, kind, binning, edges)
        metric = ECE(*settings)
        found = value(metric, y, p, w)
        slow = slow_metrics.calibration_error(y, p, w, settings)
        assert found == pytest.approx(slow, abs=1e-6), settings


def test_adaptive_is_the_average_over_quantile_bins_of_each_class():
    y, p, w = grid(2)
    for edges in bins.EDGES:
        settings = (4, "average", "classwise", "quantile", edges)
        slow = slow_metrics.calibration_error(y, p, w, settings)
        found = value(AdaptiveCalibrationError(4, edges), y, p, w)
        assert found == pytest.approx(slow, abs=1e-6)


def test_quantile_bins_of_a_confident_network():
    """Nearly all is within 1e-3 of one, in one cell of an even histogram."""
    noise = np.random.default_rng(0)
    p = 1 - 10 ** noise.uniform(-6, -3, 1500)
    y = (noise.uniform(size=1500) < 0.9).astype(int)
    diagram = ReliabilityDiagram(15, "positive", "quantile")
    diagram.update_state(y, p)
    curve = diagram.curve()
    assert np.all(np.abs(curve["count"] - 100) < 12)
    order = np.argsort(p)
    acc = y[order].reshape(15, 100).mean(1)
    np.testing.assert_allclose(curve["accuracy"], acc, atol=0.04)


def test_cells_are_ordered_and_within_their_borders():
    noise = np.random.default_rng(0)
    low = np.float32(2.0 ** noise.uniform(-30, -1, 4000))
    v = np.sort(np.concatenate([low, 1 - low, np.float32([0, 0.5, 1])]))
    cell = bins.cell(tf.constant(v)).numpy()
    borders = bins.cell_borders()
    assert len(borders) == bins.NUM_CELLS + 1
    assert cell[0] == 0 and cell[-1] == bins.NUM_CELLS - 1
    assert np.all(np.diff(cell) >= 0)
    assert np.all((borders[cell] <= v) & (v <= borders[cell + 1]))
    width = np.diff(borders)
    assert width.max() <= 1 / 512
    assert width[(borders[1:] < 1e-3) | (borders[:-1] > 1 - 1e-3)].max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("edges", bins.EDGES)
def test_no_point_is_lost_for_any_number_of_bins(edges):
    for n in range(1, 100):
        on_edges = np.float32(np.arange(n + 1) / n)
        near = np.concatenate(
            [on_edges, np.nextafter(on_edges, 0), np.nextafter(on_edges, 2)]
        )
        v = np.clip(near, 0, 1).astype("float32")
        found = bins.uniform_bin(tf.constant(v), n, edges).numpy()
        side = "left" if edges == "right" else "right"
        expected = np.searchsorted(on_edges.astype("float64"), v, side) - 1
        expected = np.clip(expected, 0, n - 1)
        np.testing.assert_array_equal(found, expected)
        diagram = ReliabilityDiagram(n, "positive", edges=edges)
        diagram.update_state(np.ones(len(v)), v)
        curve = diagram.curve()
        assert curve["count"].shape == (n,)
        assert curve["count"].sum() == len(v)


def test_zero_and_one_are_in_the_outer_bins():
    """A bin of their own for ones would have a gap of 0.96."""
    for edges in bins.EDGES:
        diagram = ReliabilityDiagram(4, "positive", edges=edges)
        diagram.update_state([0, 0, 0, 1, 1], [0.0, 0.1, 0.9, 1.0, 1.0])
        assert diagram.curve()["count"].tolist() == [2, 0, 0, 3]


def test_edges_say_on_which_side_a_bin_is_closed():
    p, y = [0.2, 0.4, 0.6, 0.8], [0, 0, 1, 1]
    for edges, expected in (
        ("right", [1, 1, 1, 1, 0]),
        ("left", [0, 1, 1, 1, 1]),
    ):
        diagram = ReliabilityDiagram(5, "positive", edges=edges)
        diagram.update_state(y, p)
        assert diagram.curve()["count"].tolist() == expected


def test_a_calibrated_model_has_almost_no_error_and_a_wrong_one_has():
    noise = np.random.default_rng(0)
    logits = 2 * noise.normal(size=(50_000, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    y = (p.cumsum(-1) < noise.uniform(size=(50_000, 1))).sum(-1)
    for binning in bins.BINNINGS:
        assert value(ECE(10, binning=binning), y, p) < 0.01
        classwise = ClasswiseCalibrationError(10, binning=binning)
        assert value(classwise, y, p) < 0.01
    other = 2 * noise.normal(size=(50_000, 4))
    assert value(ECE(10, from_logits=True), y, other) > 0.2


METRICS = [
    lambda **k: ECE(**k),
    lambda **k: ECE(norm="l2", binning="quantile", **k),
    lambda **k: MaximumCalibrationError(4, **k),
    lambda **k: ClasswiseCalibrationError(**k),
    lambda **k: AdaptiveCalibrationError(**k),
    lambda **k: BrierScore(**k),
    lambda **k: NegativeLogLikelihood(**k),
]


@pytest.mark.parametrize("make", METRICS)
def test_batches_order_and_weights(make):
    y, p, w = grid(3)
    p = (p + 1e-3) / (1 + 3e-3)
    whole = pytest.approx(value(make(), y, p, w), rel=1e-6)
    # Batches of any size, in any order.
    order = np.random.default_rng(0).permutation(len(y))
    metric = make()
    for part in np.split(order, [7, 8, 30]):
        metric.update_state(y[part], p[part], w[part])
    assert float(metric.result()) == whole
    # A weight of two is the sample twice, and of zero none.
    twice = np.repeat(np.arange(len(y)), w)
    assert value(make(), y[twice], p[twice]) == whole
    more = np.concatenate([y, 2 - y]), np.concatenate([p, p[::-1]])
    assert value(make(), *more, np.concatenate([w, 0 * w])) == whole
    # Only the ratio of weights counts.
    assert value(make(), y, p, w * 0.1) == whole
    # Nothing is left after a reset.
    metric.reset_state()
    assert value(metric, y, p, w) == whole
    assert value(make(), y, p) != whole


def test_scores_equal_the_slow_formula():
    y, p, w = grid(4)
    p = (p + 1e-3) / (1 + 3e-3)
    brier = nll = 0.0
    for i in range(len(y)):
        brier += w[i] * sum((p[i, k] - (k == y[i])) ** 2 for k in range(3))
        nll -= w[i] * np.log(p[i, y[i]])
    assert value(BrierScore(), y, p, w) == pytest.approx(brier / w.sum())
    slow = pytest.approx(nll / w.sum())
    assert value(NegativeLogLikelihood(), y, p, w) == slow
    logits = np.log(p) + np.arange(len(y))[:, None]
    metric = NegativeLogLikelihood(from_logits=True)
    assert value(metric, y, logits, w) == slow


def test_binary_brier_score_is_twice_that_of_one_class():
    p, y = np.array([0.1, 0.7, 0.6]), np.array([0, 1, 0])
    one_class = np.mean((p - y) ** 2)
    assert value(BrierScore(), y, p) == pytest.approx(2 * one_class)


def test_likelihood_of_large_logits_and_of_zeros():
    metric = NegativeLogLikelihood(from_logits=True)
    found = value(metric, [0, 1], [[1.0, 2.0], [900.0, 0.0]])
    assert found == pytest.approx((np.log1p(np.e) + 900) / 2)
    found = value(NegativeLogLikelihood(), [1], [[1.0, 0.0]])
    assert found == pytest.approx(87.3365, abs=1e-3)


def test_float32_sums_would_stop_counting():
    """Beyond 2**24 a float32 count does not grow by one."""
    for binning in bins.BINNINGS:
        metric = ECE(binning=binning)
        metric.update_state([1], [[0.0, 1.0]], sample_weight=2**24)
        for _ in range(40):
            metric.update_state([0], [[0.0, 1.0]])
        expected = pytest.approx(40 / (2**24 + 40), rel=1e-5)
        assert float(metric.result()) == expected
    brier = BrierScore()
    brier.update_state([1], [[0.0, 1.0]], sample_weight=2**24)
    for _ in range(40):
        brier.update_state([1], [[0.5, 0.5]])
    expected = pytest.approx(20 / (2**24 + 40), rel=1e-5)
    assert float(brier.result()) == expected


def test_without_samples_there_is_no_result():
    for make in METRICS:
        assert np.isnan(float(make().result()))
    curve = ReliabilityDiagram(2, "classwise").curve()
    assert np.isnan(curve["accuracy"]).all()
    metric = ECE()
    metric.update_state(np.zeros(0, int), np.zeros((0, 3)))
    assert np.isnan(float(metric.result()))


def test_diagram_of_each_class():
    y, p, w = grid(5)
    for binning in bins.BINNINGS:
        diagram = ReliabilityDiagram(4, "classwise", binning)
        diagram.update_state(y, p, w)
        curve = diagram.curve()
        for key, values in curve.items():
            assert values.shape == (3, 5 if key == "edges" else 4)
        np.testing.assert_allclose(curve["count"].sum(-1), w.sum())
        assert np.all(np.diff(curve["edges"]) >= 0)
        inside = curve["count"] > 0
        mean = curve["confidence"]
        low, high = curve["edges"][:, :-1], curve["edges"][:, 1:]
        assert np.all((low <= mean + 1e-6)[inside])
        assert np.all((mean <= high + 1e-6)[inside])
