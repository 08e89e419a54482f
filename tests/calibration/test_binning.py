"""Binnings against slow curves, by hand and bin by bin."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain.calibration.binning import (
    BayesianBinning,
    HistogramBinning,
    IsotonicCalibration,
)
from tests.calibration import slow_calibration as slow

BINNINGS = (HistogramBinning, IsotonicCalibration, BayesianBinning)
SLOW = {
    HistogramBinning: slow.histogram(15),
    IsotonicCalibration: slow.isotonic,
    BayesianBinning: slow.bayesian,
}


def logit(p):
    p = np.asarray(p, "float64")
    return np.log(p / (1 - p))[:, None]


def data(classes, samples=90):
    noise = np.random.default_rng(8)
    z = 2 * noise.normal(size=(samples, classes)).astype("float32")
    mixed = 0.5 * z + noise.gumbel(size=z.shape)
    if classes == 1:
        return z, (0.5 * z[:, 0] + noise.logistic(size=samples) > 0).astype(int)
    return z, mixed.argmax(1)


@pytest.mark.parametrize("binning", BINNINGS)
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_against_the_slow_curve(binning, classes):
    z, y = data(classes)
    found = binning().fit_logits(z, y)
    others = 2 * np.random.default_rng(1).normal(size=(30, classes))
    for queries in (z[:30], others.astype("float32")):
        expected = slow.one_against_rest(
            SLOW[binning],
            slow.softmax(z).astype("float32"),
            y,
            slow.softmax(queries).astype("float32"),
        )
        np.testing.assert_allclose(
            found.calibrate(queries), expected, atol=2e-5
        )


def test_histogram_by_hand():
    z = logit([0.1, 0.2, 0.3, 0.6, 0.7])
    found = HistogramBinning(num_bins=4).fit_logits(z, [0, 1, 0, 1, 1])
    p = found.calibrate(logit([0.05, 0.24, 0.26, 0.74, 0.76, 0.99]))[:, 0]
    # (0, .25] holds a miss and a hit, (.25, .5] a miss, (.5, .75] two hits;
    # (.75, 1] is empty and gives its center.
    np.testing.assert_allclose(p, [0.5, 0.5, 0.0, 1.0, 0.875, 0.875])


def test_histogram_edges_belong_to_the_bin_below():
    z = np.array([[0.0], [0.0], [3.0]])
    found = HistogramBinning(num_bins=2).fit_logits(z, [0, 1, 1])
    assert found.calibrate([[0.0]])[0, 0] == 0.5
    assert found.calibrate([[1e-3]])[0, 0] == 1.0
    # Zero and one themselves are in the first and in the last bin.
    np.testing.assert_array_equal(
        found.calibrate([[-200.0], [200.0]])[:, 0], [0.5, 1.0]
    )


def test_one_bin_is_the_share_of_the_class():
    z, y = data(4)
    found = HistogramBinning(num_bins=1).fit_logits(z, y)
    share = np.bincount(y) / len(y)
    np.testing.assert_allclose(found.calibrate(z[:3]), [share] * 3, atol=1e-6)


def test_a_row_of_zeros_becomes_uniform():
    # Whatever is likely is wrong, and whatever is not is never right.
    z = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]] * 3)
    y = np.array([1, 2, 0] * 3)
    found = HistogramBinning(num_bins=2).fit_logits(z, y)
    p = found.calibrate([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    np.testing.assert_allclose(p[0], [1 / 3] * 3)
    np.testing.assert_allclose(p[1], [0, 0.5, 0.5])
    # Each class of the query is in a bin where that class is never right.
    p = [[0.5, 0.4, 0.1], [0.7, 0.25, 0.05], [0.05, 0.7, 0.25],
         [0.05, 0.05, 0.9]]  # fmt: skip
    found = HistogramBinning(num_bins=10).fit_logits(np.log(p), [1, 0, 1, 2])
    p = found.calibrate(np.log([[0.5, 0.26, 0.24], [0.05, 0.05, 0.9]]))
    np.testing.assert_allclose(p[0], [1 / 3] * 3, atol=1e-6)
    np.testing.assert_allclose(p[1], [0, 0, 1])


def test_all_zero_is_uniform_in_isotonic():
    noise = np.random.default_rng(0)
    z = np.concatenate([np.eye(3) * 4, noise.normal(size=(9, 3)) * 0.1])
    y = np.array([1, 2, 0] + [0, 1, 2] * 3)
    p = IsotonicCalibration().fit_logits(z, y).calibrate(z)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)


def test_isotonic_is_clipped_and_rises():
    z, y = data(1)
    found = IsotonicCalibration().fit_logits(z, y)
    line = found.calibrate(np.linspace(-30, 30, 301)[:, None])[:, 0]
    assert np.all(np.diff(line) >= -1e-7)
    assert line[0] == found.calibrate([[z.min()]])[0, 0]
    assert line[-1] == found.calibrate([[z.max()]])[0, 0]
    assert line.min() >= 0 and line.max() <= 1


def test_isotonic_of_a_falling_relation_is_constant():
    z = np.linspace(-3, 3, 20)[:, None]
    y = (z[:, 0] < 0).astype(int)
    found = IsotonicCalibration().fit_logits(z, y)
    np.testing.assert_allclose(found.calibrate(z), 0.5)


def test_bayesian_is_never_certain():
    z = np.linspace(-3, 3, 40)[:, None]
    y = (z[:, 0] > 0).astype(int)
    p = BayesianBinning().fit_logits(z, y).calibrate(z)[:, 0]
    assert 0 < p.min() < 0.1 and 0.9 < p.max() < 1


def test_bayesian_with_ties():
    # Five values only: no more than five bins can be told apart.
    z = np.repeat(np.linspace(-1, 1, 5), 16)[:, None]
    y = np.tile([0, 0, 1, 1, 0], 16)
    found = BayesianBinning().fit_logits(z, y)
    assert found.layer.num_points <= 4
    p = found.calibrate(z).reshape(5, 16)
    assert np.all(p == p[:, :1])


@pytest.mark.parametrize("step", [0, 1])
def test_bayesian_takes_neighbors_in_float32_apart(step):
    low = np.float32(0.3)
    if step:  # the middle is rounded the other way
        low = np.nextafter(low, np.float32(1))
    high = np.nextafter(low, np.float32(1))
    given = np.repeat(np.array([low, high]), 50)
    curve = BayesianBinning()._curve(given, np.arange(100) >= 50)
    assert curve.points.tolist() == [low]
    assert curve.values[0] < 0.1 < 0.9 < curve.values[1]


@pytest.mark.parametrize("binning", BINNINGS)
def test_binning_mends_a_model_that_is_too_sure(binning):
    z, y = slow.drawn(5, samples=4000, classes=3)
    found = binning().fit_logits(z[:2000], y[:2000])
    before, after = slow.softmax(z[2000:]), found.calibrate(z[2000:])
    y = y[2000:]
    assert gap(after, y) < 0.4 * gap(before, y)


def gap(p, y):
    """How far confidence and accuracy are apart, over ten bins."""
    sure, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((sure * 10).astype(int), 9)
    return sum(
        abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(10)
    ) / len(y)


@pytest.mark.parametrize("binning", BINNINGS)
def test_positions_are_samples(binning):
    z, y = data(4, samples=72)
    flat = binning().fit_logits(z, y).calibrate(z)
    placed = binning().fit_logits(z.reshape(2, 6, 6, 4), y.reshape(2, 6, 6))
    p = placed.calibrate(z.reshape(2, 6, 6, 4))
    np.testing.assert_array_equal(p.reshape(-1, 4), flat)


def test_number_of_bins():
    with pytest.raises(ValueError, match="at least one bin"):
        HistogramBinning(num_bins=0)
    with pytest.raises(TypeError, match="whole number"):
        HistogramBinning(num_bins=2.5)
