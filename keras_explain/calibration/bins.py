"""Sums of weights, confidences and hits in bins of the confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.calibration.classification import (
    ClassificationMetric,
    check_count,
)
from keras_explain.calibration.inputs import Samples
from keras_explain.engine.checks import check_choice
from keras_explain.engine.errors import message

KINDS = ("top_label", "classwise", "positive")
BINNINGS = ("uniform", "quantile")
EDGES = ("right", "left")

# Cells of the histogram behind quantile bins: each octave of the distance
# to 0 or to 1, down to 2**-24, in equal steps. The confidences of a trained
# network crowd at both ends, where steps of one size would hold them all in
# a single cell.
_STEP_BITS = 7
_OCTAVES = 23
_FIRST_EXPONENT = 127 - 24
_MIDDLE = (_OCTAVES << _STEP_BITS) + 1
NUM_CELLS = 2 * _MIDDLE + 1


def uniform_bin(confidence: tf.Tensor, num_bins: int, edges: str) -> tf.Tensor:
    """Returns the bin of each confidence, int32, in 0 to `num_bins - 1`.

    Only the inner edges are compared with, so that no value is outside.
    An edge is the float32 next to i/n: a confidence that was written as 0.2
    is on the edge 1/5, which the float32 0.2 would miss by its rounding.
    """
    inner = np.float32(np.arange(1, num_bins, dtype=np.float64) / num_bins)
    if not inner.size:
        return tf.zeros_like(confidence, tf.int32)
    side = "left" if edges == "right" else "right"
    flat = tf.reshape(confidence, [-1])
    found = tf.searchsorted(tf.constant(inner), flat, side=side)
    return tf.reshape(found, tf.shape(confidence))


def cell(confidence: tf.Tensor) -> tf.Tensor:
    """Returns the histogram cell of each confidence, in increasing order.

    The leading bits of a float32 are its octave and its step therein, so
    that the cell is exact and the same on every device.
    """
    distance = tf.clip_by_value(confidence, 0.0, 1.0)
    distance = tf.minimum(distance, 1 - distance)
    bits = tf.bitwise.right_shift(
        tf.bitcast(distance, tf.int32), 23 - _STEP_BITS
    )
    index = tf.maximum(bits - (_FIRST_EXPONENT << _STEP_BITS) + 1, 0)
    return tf.where(confidence > 0.5, 2 * _MIDDLE - index, index)


def cell_borders() -> np.ndarray:
    """Returns the `NUM_CELLS + 1` borders of the cells, from 0 to 1."""
    first = _FIRST_EXPONENT << _STEP_BITS
    steps = np.arange(first, first + _MIDDLE, dtype=np.int32)
    low = (steps << (23 - _STEP_BITS)).view(np.float32).astype(np.float64)
    low = np.concatenate([[0.0], low])
    return np.concatenate([low, 1 - low[::-1]])


def _thresholds(total: tf.Tensor, num_bins: int, edges: str) -> tf.Tensor:
    """Returns the weights below each inner edge, `(rows, num_bins - 1)`.

    An edge may fall exactly between two samples. Then it is at the one
    nearer to the median, as with nearest-rank quantiles. The small shift
    says so, and outweighs the rounding of sums of weights.
    """
    ranks = np.arange(1, num_bins, dtype=np.float64)
    upper = ranks * 2 > num_bins if edges == "left" else ranks * 2 >= num_bins
    return total * ranks / num_bins * np.where(upper, 1 - 1e-9, 1 + 1e-9)


def merge(sums: tf.Tensor, num_bins: int, edges: str) -> tf.Tensor:
    """Merges cells into bins of equal weight.

    Args:
        sums: `(rows, cells, values)`, the weights first.
        num_bins: Number of bins of each row.
        edges: `"left"`: a bin begins with a quantile; `"right"`: it ends
            with one.

    Returns:
        `(rows, num_bins, values)`. Bins may be empty, as a cell is never
        divided.
    """
    weight = sums[..., 0]
    total = tf.reduce_sum(weight, -1, keepdims=True)
    if num_bins == 1:
        return tf.reduce_sum(sums, 1, keepdims=True)
    below = tf.cumsum(weight, -1, exclusive=edges == "right")
    index = tf.searchsorted(_thresholds(total, num_bins, edges), below)
    rows, cells, values = sums.shape
    index += tf.range(rows)[:, tf.newaxis] * num_bins
    merged = tf.math.unsorted_segment_sum(
        tf.reshape(sums, [rows * cells, values]),
        tf.reshape(index, [-1]),
        rows * num_bins,
    )
    return tf.reshape(merged, [rows, num_bins, values])


def quantile_edges(sums: tf.Tensor, num_bins: int, edges: str) -> tf.Tensor:
    """Returns the edges of merged bins, `(rows, num_bins + 1)`."""
    weight = sums[..., 0]
    total = tf.reduce_sum(weight, -1, keepdims=True)
    borders = tf.constant(cell_borders())
    ends = tf.ones_like(total)
    if num_bins == 1:
        return tf.concat([0 * ends, ends], -1)
    found = tf.searchsorted(
        tf.cumsum(weight, -1),
        _thresholds(total, num_bins, edges),
        side="right",
    )
    found = tf.minimum(found, NUM_CELLS - 1)
    inner = tf.gather(borders, found + (edges == "right"))
    return tf.concat([0 * ends, inner, ends], -1)


class ConfidenceBins(ClassificationMetric):
    """Keeps the sums of weights, confidences and hits of each bin.

    Args:
        num_bins: Number of bins.
        kind: Which confidences are binned.
        binning: Bins of equal width or of equal weight.
        edges: On which side a bin is closed.
        **options: See `ClassificationMetric`.
    """

    def __init__(
        self,
        num_bins: int = 15,
        kind: str = "top_label",
        binning: str = "uniform",
        edges: str = "right",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_choice("kind", kind, KINDS)
        check_choice("binning", binning, BINNINGS)
        check_choice("edges", edges, EDGES)
        self.num_bins = check_count("num_bins", num_bins, 1)
        self.kind = kind
        self.binning = binning
        self.edges = edges
        self.sums: Any = None
        if kind != "classwise":
            self._build(1)
        elif self.num_classes is not None:
            self._build(self.num_classes)

    @property
    def _cells(self) -> int:
        return self.num_bins if self.binning == "uniform" else NUM_CELLS

    def _build(self, rows: int) -> None:
        self.sums = self._add_sums("sums", (rows, self._cells, 3))

    def _accumulate(self, samples: Samples) -> None:
        confidence, hits = self._confidence(samples)
        rows = confidence.shape[-1]
        if self.sums is None:
            self._build(rows)
        elif self.sums.shape[0] != rows:
            raise ValueError(
                message(
                    "The number of classes changed between two updates.",
                    f"{rows} classes after {self.sums.shape[0]}",
                    "Use one metric for each model.",
                )
            )
        if self.binning == "uniform":
            index = uniform_bin(confidence, self.num_bins, self.edges)
        else:
            index = cell(confidence)
        index = tf.reshape(index + tf.range(rows) * self._cells, [-1])
        weights = samples.weights[:, tf.newaxis]

        def binned(values: tf.Tensor) -> tf.Tensor:
            values = tf.reshape(tf.cast(values, tf.float64) * weights, [-1])
            total = rows * self._cells
            found = tf.math.unsorted_segment_sum(values, index, total)
            return tf.reshape(found, [rows, self._cells])

        # One after the other: together they would take thrice the memory.
        parts = [tf.ones_like(confidence), confidence, hits]
        self.sums.assign_add(tf.stack([binned(p) for p in parts], -1))

    def _confidence(self, samples: Samples) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns confidences and hits, `(n, 1)` or `(n, classes)`."""
        p = samples.probabilities
        labels = samples.labels[:, tf.newaxis]
        if self.kind == "classwise":
            return p, labels == tf.range(samples.num_classes)
        if self.kind == "top_label":
            top = tf.argmax(p, -1, tf.int32)[:, tf.newaxis]
            return tf.reduce_max(p, -1, keepdims=True), labels == top
        if samples.num_classes != 2:
            raise ValueError(
                message(
                    '`kind="positive"` is for two classes.',
                    f"predictions with {samples.num_classes} classes",
                    'Pass `kind="top_label"` or `kind="classwise"`.',
                )
            )
        return p[:, 1:], labels == 1

    def _cell_sums(self) -> tf.Tensor:
        if self.sums is None:
            return tf.zeros([1, self._cells, 3], tf.float64)
        return tf.convert_to_tensor(self.sums)

    def _bin_sums(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Weights, confidences and hits, each `(rows, num_bins)` float64."""
        sums = self._cell_sums()
        if self.binning == "quantile":
            sums = merge(sums, self.num_bins, self.edges)
        weight, confidence, hits = tf.unstack(sums, axis=-1)
        return weight, confidence, hits

    def _settings(self) -> dict[str, Any]:
        own = {
            "num_bins": self.num_bins,
            "kind": self.kind,
            "binning": self.binning,
            "edges": self.edges,
        }
        return {**super()._settings(), **own}
