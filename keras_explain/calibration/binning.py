"""Calibration by a function of each class's probability, read off the data.

Each class is calibrated alone, against all others, and the probabilities are
divided by their sum.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads
from keras_explain.calibration.calibrated import CalibrationLayer, registered
from keras_explain.calibration.ensemble import Ensemble
from keras_explain.calibration.scaling import renormalized
from keras_explain.calibration.wrapping import Calibrator
from keras_explain.engine.errors import message


class Curve(NamedTuple):
    """From the probability of a class to its calibrated probability.

    Attributes:
        points: Ascending, in `[0, 1]`, float32: the edges between bins, or
            the corners of a line.
        values: One more than the edges, or one for each corner.
    """

    points: np.ndarray
    values: np.ndarray


@registered
class CurveLayer(CalibrationLayer):
    """Sends the probability of each class through a curve of its own.

    Args:
        num_classes: Size of the last axis.
        num_points: Size of the largest curve; smaller ones are filled up.
        linear: Whether to join the points by lines; otherwise a bin
            `(low, high]` has one value.
        **options: Of `keras.layers.Layer`.
    """

    def __init__(
        self, num_classes: int, num_points: int, linear: bool, **options: Any
    ):
        super().__init__(num_classes, **options)
        self.num_points = num_points
        self.linear = linear

    def shapes(self) -> dict[str, tuple[int, ...]]:
        values = self.num_points + (not self.linear)
        return {
            "points": (self.num_classes, self.num_points),
            "values": (self.num_classes, values),
        }

    def map(self, logits: tf.Tensor) -> tf.Tensor:
        given = heads.probabilities(logits)
        shape = tf.shape(given)
        # Classes first: each looks its samples up in its own points.
        columns = tf.transpose(tf.reshape(given, [-1, self.num_classes]))
        found = self._look_up(columns)
        found = tf.reshape(tf.transpose(found), shape)
        return renormalized(tf.ensure_shape(found, given.shape))

    def _look_up(self, given: tf.Tensor) -> tf.Tensor:
        points = tf.convert_to_tensor(self.constants["points"])
        values = tf.convert_to_tensor(self.constants["values"])
        index = tf.searchsorted(points, given, side="left")
        if not self.linear:
            return tf.gather(values, index, batch_dims=1)
        after = tf.clip_by_value(index, 1, self.num_points - 1)
        low = tf.gather(points, after - 1, batch_dims=1)
        high = tf.gather(points, after, batch_dims=1)
        part = tf.where(
            high > low, tf.math.divide_no_nan(given - low, high - low), 1.0
        )
        part = tf.clip_by_value(part, 0.0, 1.0)
        first = tf.gather(values, after - 1, batch_dims=1)
        last = tf.gather(values, after, batch_dims=1)
        return first + part * (last - first)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_points": self.num_points,
            "linear": self.linear,
        }


def _joined(curves: list[Curve], linear: bool) -> CurveLayer:
    """Makes a layer of the curves of all classes."""
    count = max(2, *(len(curve.points) for curve in curves))
    fill = None if linear else np.inf  # a bin that nothing reaches
    points = np.stack([_filled(c.points, count, fill) for c in curves])
    values = np.stack([_filled(c.values, count + (not linear), None)
                       for c in curves])  # fmt: skip
    layer = CurveLayer(len(curves), count, linear)
    return layer.fitted(points=points, values=values)


def _filled(array: np.ndarray, count: int, value: float | None) -> np.ndarray:
    missing = count - len(array)
    return np.append(array, np.full(missing, array[-1] if value is None
                                    else value))  # fmt: skip


class _CurveCalibrator(Calibrator):
    """What calibrators of one probability at a time share."""

    _linear = False

    @abc.abstractmethod
    def _curve(self, given: np.ndarray, positive: np.ndarray) -> Curve:
        """Fits one class.

        Args:
            given: `(N,)`, its probabilities, float32.
            positive: `(N,)`, whether the sample is of the class.
        """

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> CalibrationLayer:
        # The very numbers that the layer will compare with the points.
        scores = tf.convert_to_tensor(logits.astype("float32"))
        given = np.asarray(heads.probabilities(scores))
        classes = logits.shape[-1]
        truths = [1] if classes == 1 else range(classes)
        curves = [
            self._curve(given[:, k], labels == truth)
            for k, truth in enumerate(truths)
        ]
        return _joined(curves, self._linear)


class HistogramBinning(_CurveCalibrator):
    """Replaces a probability by the share of hits in its bin.

    It assumes nothing of how the model errs, and needs many samples of each
    class. It gives a few values only: ties are common, the predicted class
    may change, and a class may have the probability zero, so that its
    negative log likelihood may be infinite.

    The probabilities of a class are put into bins `(low, high]` of equal
    width, zero into the first. The calibrated probability is the share of
    samples of the class in the bin; in an empty bin it is the center of the
    bin. Each class is calibrated against all others and divided by the sum;
    where all are zero, all classes are equally likely.

    Args:
        model, from_logits: As for `Calibrator`.
        num_bins: Number of bins.

    Raises:
        TypeError, ValueError: As for `Calibrator`, or if there is no bin.

    Example:

    >>> binning = keras_explain.calibration.HistogramBinning(num_bins=2)
    >>> binning = binning.fit_logits([[-2.0], [-1.0], [1.0]], [0, 1, 1])
    >>> binning.calibrate([[-3.0], [3.0]])
    array([[0.5],
           [1. ]], dtype=float32)

    References:
        B. Zadrozny, C. Elkan, "Obtaining calibrated probability estimates
        from decision trees and naive Bayesian classifiers", 2001, ICML,
        https://dl.acm.org/doi/10.5555/645530.655658
    """

    def __init__(
        self,
        model: keras.Model | Ensemble | None = None,
        *,
        num_bins: int = 15,
        from_logits: bool | str = "auto",
    ):
        super().__init__(model, from_logits=from_logits)
        if isinstance(num_bins, bool) or num_bins != int(num_bins):
            raise TypeError(
                message(
                    "`num_bins` is a whole number.", f"num_bins={num_bins!r}"
                )
            )
        if num_bins < 1:
            raise ValueError(
                message(
                    "A histogram has at least one bin.", f"num_bins={num_bins}"
                )
            )
        self.num_bins = int(num_bins)

    def _curve(self, given: np.ndarray, positive: np.ndarray) -> Curve:
        borders = np.linspace(0.0, 1.0, self.num_bins + 1)
        edges = borders[1:-1].astype("float32")
        bins = np.searchsorted(edges, given, side="left")
        count = np.bincount(bins, minlength=self.num_bins)
        hits = np.bincount(bins, positive, minlength=self.num_bins)
        centers = (borders[:-1] + borders[1:]) / 2
        values = np.where(count > 0, hits / np.maximum(count, 1), centers)
        return Curve(edges, values)


class IsotonicCalibration(_CurveCalibrator):
    """Fits a rising curve from probabilities to shares of hits.

    Less rigid than Platt's sigmoid and less coarse than bins, for a thousand
    samples or more; with fewer it overfits. As with bins the predicted class
    may change, and probabilities may be zero.

    The curve is the rising function with the least squared error on the
    labels. Between samples it is a line; beyond the least and the largest
    probability seen it is constant. Each class is calibrated against all
    others and divided by the sum; where all are zero, all classes are equally
    likely.

    Args:
        model, from_logits: As for `Calibrator`.

    Raises:
        TypeError, ValueError: As for `Calibrator`.

    Example:

    >>> isotonic = keras_explain.calibration.IsotonicCalibration()
    >>> isotonic = isotonic.fit_logits([[-2.0], [-1.0], [1.0]], [0, 1, 1])
    >>> isotonic.calibrate([[-3.0], [3.0]])
    array([[0.],
           [1.]], dtype=float32)

    References:
        B. Zadrozny, C. Elkan, "Transforming Classifier Scores into Accurate
        Multiclass Probability Estimates", 2002, KDD,
        https://doi.org/10.1145/775047.775151
    """

    _linear = True

    def _curve(self, given: np.ndarray, positive: np.ndarray) -> Curve:
        from sklearn.isotonic import IsotonicRegression

        regression = IsotonicRegression(
            y_min=0.0, y_max=1.0, out_of_bounds="clip"
        )
        regression.fit(given.astype("float64"), positive.astype("float64"))
        return Curve(
            regression.X_thresholds_.astype("float32"),
            np.clip(regression.y_thresholds_, 0.0, 1.0),
        )


class BayesianBinning(_CurveCalibrator):
    """Averages histograms with different numbers of bins (BBQ).

    Histogram binning without a number of bins to choose. A share is drawn
    towards the middle of its bin, so that no probability is zero or one.

    The samples, sorted by their probability, are split into `B` bins of the
    same number of samples, for each `B` from `N^(1/3) / 10` to
    `10 N^(1/3)`. A bin `b` between `low` and `high` has `p = (low + high) /
    2` and the prior `Beta(alpha, beta)` with `alpha = 2 p / B` and
    `beta = 2 (1 - p) / B`. With `m` samples of the class and `n` of others it
    has the calibrated probability `(m + alpha) / (m + n + alpha + beta)`.
    The histogram weighs in the average by its marginal likelihood,

        prod_b  G(2 / B) / G(m + n + 2 / B)
              * G(m + alpha) / G(alpha) * G(n + beta) / G(beta)

    with the gamma function `G`. Samples with equal probabilities are never
    split, so that there may be fewer bins than asked for.

    Each class is calibrated against all others and divided by the sum. The
    average of histograms is a histogram of all their edges, so that
    predicting costs one look-up; fitting costs `N^(2/3)` steps a class.

    Args:
        model, from_logits: As for `Calibrator`.

    Raises:
        TypeError, ValueError: As for `Calibrator`.

    Example:

    >>> binning = keras_explain.calibration.BayesianBinning()
    >>> binning = binning.fit_logits([[-2.0], [-1.0], [1.0]], [0, 1, 1])
    >>> low, high = binning.calibrate([[-3.0], [3.0]])[:, 0]
    >>> bool(0 < low < high < 1)
    True

    References:
        M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining Well Calibrated
        Probabilities Using Bayesian Binning", 2015, AAAI,
        https://ojs.aaai.org/index.php/AAAI/article/view/9602
    """

    def _curve(self, given: np.ndarray, positive: np.ndarray) -> Curve:
        order = np.argsort(given, kind="stable")
        given = given[order]
        hits = np.concatenate([[0], np.cumsum(positive[order])])
        root = len(given) ** (1 / 3)
        fewest = max(1, int(root / 10))
        most = min(len(given), int(np.ceil(10 * root)))
        histograms, scores = [], []
        seen = set()
        for count in range(fewest, most + 1):
            edges = _equal_counts(given, count)
            if edges.tobytes() in seen:
                continue  # ties have made it the same as another
            seen.add(edges.tobytes())
            curve, score = _beta_bins(given, hits, edges)
            histograms.append(curve)
            scores.append(score)
        return _average(histograms, np.array(scores))


def _equal_counts(given: np.ndarray, count: int) -> np.ndarray:
    """Edges that split sorted probabilities into equally many each."""
    starts = np.arange(1, count) * len(given) // count
    below, above = given[starts - 1], given[starts]
    split = below < above
    below, above = below[split], above[split]
    middle = (below + (above - below) / 2).astype("float32")
    # A bin is `(low, high]`: between neighbors in float32 there is no middle.
    return np.unique(np.where(middle < above, middle, below))


def _beta_bins(
    given: np.ndarray, hits: np.ndarray, edges: np.ndarray
) -> tuple[Curve, float]:
    """Returns the histogram of given edges and its log likelihood.

    Args:
        given: Sorted probabilities, `(N,)`.
        hits: How many of the first 0, 1, ..., N are of the class.
        edges: Between the bins.
    """
    from scipy.special import gammaln

    ends = np.searchsorted(given, edges, side="right")
    ends = np.concatenate([[0], ends, [len(given)]])
    total = np.diff(ends)
    inside = np.diff(hits[ends])
    outside = total - inside
    borders = np.concatenate([[0.0], edges.astype("float64"), [1.0]])
    center = (borders[:-1] + borders[1:]) / 2
    strength = 2.0 / len(center)
    alpha, beta = strength * center, strength * (1 - center)
    score = (
        gammaln(strength)
        - gammaln(total + strength)
        + gammaln(inside + alpha)
        - gammaln(alpha)
        + gammaln(outside + beta)
        - gammaln(beta)
    )
    values = (inside + alpha) / (total + strength)
    return Curve(edges, values), float(score.sum())


def _average(histograms: list[Curve], scores: np.ndarray) -> Curve:
    """Returns the histogram that is the weighted average of others."""
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    # What weighs nothing in float32 would only add edges.
    kept = [(c, w) for c, w in zip(histograms, weights, strict=True)
            if w > 1e-10]  # fmt: skip
    total = sum(w for _, w in kept)
    edges = np.unique(np.concatenate([curve.points for curve, _ in kept]))
    values = np.zeros(len(edges) + 1)
    # A bin of the average lies within one bin of each: that of its upper end.
    upper = np.append(edges, np.inf)
    for curve, weight in kept:
        inside = np.searchsorted(curve.points, upper, side="left")
        values += weight / total * curve.values[inside]
    return Curve(edges, values)
