"""How far a model's confidence is from how often it is right."""

from __future__ import annotations

from typing import Any, Unpack

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration.bins import ConfidenceBins, quantile_edges
from keras_explain.calibration.classification import Options
from keras_explain.engine.checks import check_choice

NORMS = ("l1", "l2", "max", "average")


@keras.saving.register_keras_serializable(package="keras_explain")
class ExpectedCalibrationError(ConfidenceBins):
    """The gap between confidence and accuracy, over bins of confidence.

    A calibrated model that is 80 % confident is right in 80 % of such
    cases. The samples are put in bins by their confidence; `acc_b` and
    `conf_b` are the share of hits and the mean confidence of bin b, `n_b`
    its weight and `N` the sum of all weights:

    - `norm="l1"`: `sum_b n_b / N * |acc_b - conf_b|`;
    - `norm="l2"`: `sqrt(sum_b n_b / N * (acc_b - conf_b)**2)`;
    - `norm="max"`: the largest `|acc_b - conf_b|` of a bin that is not
      empty;
    - `norm="average"`: the mean of `|acc_b - conf_b|` over the bins that
      are not empty, each counted the same.

    The result is between 0 (calibrated) and 1, a scalar; NaN if there were
    no samples, or if a compiled call met NaN or impossible values.

    It is not one number: libraries differ in the bins and in which side of
    a bin is closed, so name the settings with the value. It also is above
    zero for a perfectly calibrated model, by about `sqrt(num_bins / N)`.

    The state is three float64 sums for each bin (and class), whatever the
    number of samples. It cannot hold the order of all samples, so quantile
    bins are merged from 5891 cells: 128 equal steps in each octave of the
    distance to 0 or to 1, at most 1/512 wide, and below 1e-5 within 1e-3 of
    either end. The bins are those of the sorted samples if no two different
    confidences share a cell; otherwise an edge moves by less than one cell.
    Equal confidences are never separated, so the weights of bins may
    differ, and bins may be empty. With `kind="classwise"` that state is
    140 kB for each class.

    Args:
        num_bins: Number of bins, at least 1.
        norm: `"l1"`, `"l2"`, `"max"` or `"average"`.
        kind: `"top_label"`: the probability of the predicted class, and
            whether it is right; `"classwise"`: the probability of each
            class, and whether that is the label, as the mean over the
            classes of their errors; `"positive"`: the probability of class
            1 of a binary model.
        binning: `"uniform"`: bins of equal width; `"quantile"`: bins of
            equal weight.
        edges: `"right"`: bins are (low, high], as in Guo et al.;
            `"left"`: [low, high), as in TensorFlow Probability and
            torchmetrics. Either way 0 is in the first bin and 1 in the
            last. Edges are rounded to float32, as the confidences are. A
            quantile belongs to the bin that is closed there.
        **options: Keyword arguments of all these metrics. `from_logits`:
            whether the predictions are logits (a softmax is applied, or a
            sigmoid to a single output). `num_classes`: by default the size
            of the last axis; a single output has two. `ignore_class`: label
            of samples that are left out, such as 255 for unlabeled pixels.
            `name`: name in logs. `dtype`: of the result.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If an argument is not known or out of range.

    Example:

    >>> from keras_explain.calibration import ExpectedCalibrationError
    >>> metric = ExpectedCalibrationError(num_bins=2, kind="positive")
    >>> metric.update_state([0, 0, 1, 1, 1], [0.25, 0.25, 0.55, 0.75, 0.75])
    >>> round(float(metric.result()), 4)
    0.29

    In training: `model.compile(loss=..., metrics=[
    ExpectedCalibrationError()])`.

    References:
        Naeini, Cooper and Hauskrecht, 2015, "Obtaining well calibrated
        probabilities using Bayesian binning".
        https://ojs.aaai.org/index.php/AAAI/article/view/9602

        Guo, Pleiss, Sun and Weinberger, 2017, "On calibration of modern
        neural networks". https://arxiv.org/abs/1706.04599
    """

    def __init__(
        self,
        num_bins: int = 15,
        norm: str = "l1",
        kind: str = "top_label",
        binning: str = "uniform",
        edges: str = "right",
        **options: Unpack[Options],
    ) -> None:
        check_choice("norm", norm, NORMS)
        super().__init__(num_bins, kind, binning, edges, **options)
        self.norm = norm

    def result(self) -> tf.Tensor:
        """Returns the error, a scalar."""
        weight, confidence, hits = self._bin_sums()
        total = tf.reduce_sum(weight, -1)
        difference = tf.abs(hits - confidence)
        gap = tf.math.divide_no_nan(difference, weight)
        if self.norm == "l1":
            error = tf.reduce_sum(difference, -1) / total
        elif self.norm == "l2":
            error = tf.sqrt(tf.reduce_sum(difference * gap, -1) / total)
        elif self.norm == "max":
            error = tf.reduce_max(gap, -1)
        else:
            filled = tf.math.count_nonzero(weight, -1, dtype=tf.float64)
            error = tf.reduce_sum(gap, -1) / filled
        # Also where the total is NaN: a maximum may overlook a NaN.
        nan = tf.constant(np.nan, tf.float64)
        error = tf.reduce_mean(tf.where(total > 0, error, nan))
        return tf.cast(error, self.dtype)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "norm": self.norm}


@keras.saving.register_keras_serializable(package="keras_explain")
class MaximumCalibrationError(ExpectedCalibrationError):
    """The largest gap between confidence and accuracy of any bin.

    `ExpectedCalibrationError` with `norm="max"`, for where the worst case
    counts. A bin with one sample counts as much as any other, so use few
    bins, or `binning="quantile"`.

    Args:
        num_bins: Number of bins, at least 1.
        kind: As in `ExpectedCalibrationError`.
        binning: As in `ExpectedCalibrationError`.
        edges: As in `ExpectedCalibrationError`.
        **options: As in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import MaximumCalibrationError
    >>> metric = MaximumCalibrationError(num_bins=2, kind="positive")
    >>> metric.update_state([0, 0, 1, 1, 1], [0.25, 0.25, 0.55, 0.75, 0.75])
    >>> round(float(metric.result()), 4)
    0.3167

    References:
        Naeini, Cooper and Hauskrecht, 2015, "Obtaining well calibrated
        probabilities using Bayesian binning".
        https://ojs.aaai.org/index.php/AAAI/article/view/9602
    """

    def __init__(
        self,
        num_bins: int = 15,
        kind: str = "top_label",
        binning: str = "uniform",
        edges: str = "right",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(num_bins, "max", kind, binning, edges, **options)


@keras.saving.register_keras_serializable(package="keras_explain")
class ClasswiseCalibrationError(ExpectedCalibrationError):
    """The calibration error of each class's probability, averaged.

    `ExpectedCalibrationError` with `kind="classwise"`: all probabilities
    must be right, not only the largest. With many classes most
    probabilities are near zero, and so is the error.

    Args:
        num_bins: Number of bins of each class, at least 1.
        norm: As in `ExpectedCalibrationError`.
        binning: As in `ExpectedCalibrationError`.
        edges: As in `ExpectedCalibrationError`.
        **options: As in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import ClasswiseCalibrationError
    >>> metric = ClasswiseCalibrationError(num_bins=2)
    >>> metric.update_state([0, 1], [[0.9, 0.1], [0.3, 0.7]])
    >>> round(float(metric.result()), 4)
    0.2

    References:
        Kull, Perello Nieto, Kängsepp, Silva Filho, Song and Flach, 2019,
        "Beyond temperature scaling: obtaining well-calibrated multi-class
        probabilities with Dirichlet calibration".
        https://arxiv.org/abs/1910.12656
    """

    def __init__(
        self,
        num_bins: int = 15,
        norm: str = "l1",
        binning: str = "uniform",
        edges: str = "right",
        **options: Unpack[Options],
    ) -> None:
        kind = "classwise"
        super().__init__(num_bins, norm, kind, binning, edges, **options)


@keras.saving.register_keras_serializable(package="keras_explain")
class AdaptiveCalibrationError(ExpectedCalibrationError):
    """The classwise calibration error over bins of equal weight.

    `ExpectedCalibrationError` with `kind="classwise"`,
    `binning="quantile"` and `norm="average"`: the bins follow the
    confidences, so that none is nearly empty.

    Args:
        num_bins: Number of bins of each class, at least 1.
        edges: As in `ExpectedCalibrationError`.
        **options: As in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import AdaptiveCalibrationError
    >>> metric = AdaptiveCalibrationError(num_bins=2)
    >>> metric.update_state([0, 1], [[0.9, 0.1], [0.3, 0.7]])
    >>> round(float(metric.result()), 4)
    0.2

    References:
        Nixon, Dusenberry, Jerfel, Nguyen, Liu, Zhang and Tran, 2019,
        "Measuring calibration in deep learning".
        https://arxiv.org/abs/1904.01685
    """

    def __init__(
        self,
        num_bins: int = 15,
        edges: str = "right",
        **options: Unpack[Options],
    ) -> None:
        kind, binning = "classwise", "quantile"
        super().__init__(num_bins, "average", kind, binning, edges, **options)


@keras.saving.register_keras_serializable(package="keras_explain")
class ReliabilityDiagram(ExpectedCalibrationError):
    """Accuracy, confidence and weight of each bin, to draw or to store.

    Accuracy above confidence is underconfidence, below it overconfidence;
    a calibrated model is on the diagonal.

    `curve` has the bins; `result` is their expected calibration error, a
    scalar, so that the diagram can be among the metrics of `compile`.

    Args:
        num_bins: Number of bins, at least 1.
        kind: As in `ExpectedCalibrationError`; with `"classwise"` each
            value has a leading axis of classes.
        binning: As in `ExpectedCalibrationError`.
        edges: As in `ExpectedCalibrationError`.
        **options: As in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import ReliabilityDiagram
    >>> diagram = ReliabilityDiagram(num_bins=2, kind="positive")
    >>> diagram.update_state([0, 0, 1, 1, 1], [0.25, 0.25, 0.55, 0.75, 0.75])
    >>> curve = diagram.curve()
    >>> curve["accuracy"].tolist(), curve["count"].tolist()
    ([0.0, 1.0], [2.0, 3.0])

    References:
        DeGroot and Fienberg, 1983, "The comparison and evaluation of
        forecasters". https://doi.org/10.2307/2987588
    """

    def __init__(
        self,
        num_bins: int = 15,
        kind: str = "top_label",
        binning: str = "uniform",
        edges: str = "right",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(num_bins, "l1", kind, binning, edges, **options)

    def curve(self) -> dict[str, np.ndarray]:
        """Returns the bins, in float64.

        - `accuracy`: `(num_bins,)`, share of hits, NaN for an empty bin;
        - `confidence`: `(num_bins,)`, mean, NaN for an empty bin;
        - `count`: `(num_bins,)`, sum of the weights;
        - `edges`: `(num_bins + 1,)`, from 0 to 1. Those of quantile bins
          are borders of the histogram's cells.
        """
        weight, confidence, hits = self._bin_sums()
        if self.binning == "quantile":
            cells = self._cell_sums()
            edges = quantile_edges(cells, self.num_bins, self.edges)
        else:
            even = np.arange(self.num_bins + 1) / self.num_bins
            edges = tf.tile([tf.constant(even)], [weight.shape[0], 1])
        # Zero by zero is NaN: an empty bin is not one that is always wrong.
        curve = {
            "accuracy": hits / weight,
            "confidence": confidence / weight,
            "count": weight,
            "edges": edges,
        }
        found = {k: np.asarray(v) for k, v in curve.items()}
        if self.kind == "classwise":
            return found
        return {k: v[0] for k, v in found.items()}
