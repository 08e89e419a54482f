"""How well the confidence of a classifier fits how often it is right."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_explain.calibration import (
    BrierScore,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    NegativeLogLikelihood,
    ReliabilityDiagram,
)

NUM_BINS = 15
# Rows that the metrics see at once.
_ROWS = 8192


@dataclasses.dataclass(frozen=True)
class Measures:
    """Numbers of one model on some samples.

    Attributes:
        accuracy: Share of samples it is right about.
        confidence: Mean probability of the predicted class.
        ece: Expected calibration error, 15 bins of equal width.
        mce: Maximum calibration error of the same bins.
        classwise: Classwise calibration error.
        nll: Negative log likelihood, in nats.
        brier: Brier score.
        impossible: Number of labels whose probability is zero.
        curve: The reliability diagram.
    """

    accuracy: float
    confidence: float
    ece: float
    mce: float
    classwise: float
    nll: float
    brier: float
    impossible: int
    curve: dict[str, np.ndarray]

    def by_chance(self) -> float:
        """Returns how large the ECE of a perfect model is, by chance.

        It is as sure as this one, and its hits are drawn by its confidence,
        so that what is left is due to the number of samples. In 19 of 20
        draws the error is smaller.
        """
        count = np.rint(self.curve["count"]).astype(int)
        confidence = np.clip(np.nan_to_num(self.curve["confidence"]), 0, 1)
        draws = np.random.default_rng(0).binomial(
            count, confidence, (1000, count.size)
        )
        gaps = np.abs(draws - count * confidence).sum(1)
        return float(np.quantile(gaps, 0.95) / count.sum())


def measure(probabilities: np.ndarray, labels: np.ndarray) -> Measures:
    """Measures probabilities.

    Args:
        probabilities: `(samples, classes)`; one column for two classes.
        labels: `(samples,)`, class numbers.
    """
    diagram = ReliabilityDiagram(NUM_BINS)
    metrics = {
        "ece": ExpectedCalibrationError(NUM_BINS),
        "mce": MaximumCalibrationError(NUM_BINS),
        "classwise": ClasswiseCalibrationError(NUM_BINS),
        "nll": NegativeLogLikelihood(),
        "brier": BrierScore(),
    }
    for first in range(0, len(labels), _ROWS):
        rows = slice(first, first + _ROWS)
        for metric in (diagram, *metrics.values()):
            metric.update_state(labels[rows], probabilities[rows])
    curve = diagram.curve()
    total = curve["count"].sum()
    values = {name: float(metric.result()) for name, metric in metrics.items()}
    return Measures(
        accuracy=float(np.nansum(curve["accuracy"] * curve["count"]) / total),
        confidence=float(
            np.nansum(curve["confidence"] * curve["count"]) / total
        ),
        impossible=_impossible(probabilities, labels),
        curve=curve,
        **values,
    )


def _impossible(probabilities: np.ndarray, labels: np.ndarray) -> int:
    if probabilities.shape[1] == 1:
        of_one = probabilities[:, 0]
        return int(np.sum(np.where(labels == 1, of_one, 1 - of_one) <= 0))
    return int(np.sum(probabilities[np.arange(len(labels)), labels] <= 0))
