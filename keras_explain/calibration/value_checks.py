"""Checks of the values of a batch: refused if eager, NaN if compiled."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message

# Probabilities in bfloat16 have three digits, and so has their sum.
_SUM_TOLERANCE = 1e-2
# What rounding may add to a float32 probability of 0 or 1.
# Where nothing can be raised: a row of one rounded digit may be off by as much,
# and what is no probability at all is off by more.
_FAR_FROM_ONE = 0.101
_RANGE_TOLERANCE = 1e-6
# One logit between 0 and 1 is nothing unusual, so many in a row are.
_MANY_LOGITS = 32


@dataclasses.dataclass(frozen=True)
class Faults:
    """Which samples of a batch are faulty, `(n,)` booleans for each cause."""

    labels: tf.Tensor
    predictions: tf.Tensor
    weights: tf.Tensor

    def any(self) -> tf.Tensor:
        return self.labels | self.predictions | self.weights


def possible(outputs: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """Whether rows `(n, columns)` may be logits or probabilities.

    A logit of minus infinity is a class that was masked out.
    """
    finite = tf.math.is_finite(outputs)
    if from_logits:
        masked = tf.equal(outputs, -np.inf)
        return tf.reduce_all(finite | masked, -1) & tf.reduce_any(finite, -1)
    low, high = -_RANGE_TOLERANCE, 1 + _RANGE_TOLERANCE
    within = tf.reduce_all(finite & (outputs >= low) & (outputs <= high), -1)
    if tf.executing_eagerly() or outputs.shape[-1] == 1:
        return within  # of sums that are wrong `check_scale` tells
    return within & (tf.abs(tf.reduce_sum(outputs, -1) - 1) <= _FAR_FROM_ONE)


def check_head(predictions: tf.Tensor, from_logits: bool) -> None:
    """Tells logits and probabilities apart by what they were made by.

    Args:
        predictions: In a graph under trace.
        from_logits: What the metric was told.

    Raises:
        ValueError: If probabilities are said to be logits, or each of
            several classes has a sigmoid of its own.
    """
    if predictions.shape.rank is None or not predictions.shape.rank:
        return
    kind, _ = heads.visible_head(predictions)
    if from_logits and kind in ("softmax", "sigmoid", "probability"):
        made_by = "an average" if kind == "probability" else f"a {kind}"
        raise ValueError(
            message(
                "The predictions are probabilities, and the metric takes "
                "logits.",
                f"from_logits=True, for the outputs of {made_by}",
                "Pass `from_logits=False`, the default.",
            )
        )
    several = predictions.shape.rank > 1 and predictions.shape[-1] != 1
    if not from_logits and kind == "sigmoid" and several:
        raise ValueError(
            message(
                "The probabilities of a sample must sum to one.",
                f"a sigmoid over {predictions.shape[-1]} units",
                "Use one metric for each column.",
            )
        )
    if not from_logits and kind == "linear":
        warn(
            "The predictions are the outputs of a linear layer, and the "
            "metric takes them for probabilities: it is NaN where they are "
            "none. If they are logits, pass `from_logits=True`."
        )


def refuse(
    faults: Faults,
    labels: tf.Tensor,
    outputs: tf.Tensor,
    weights: tf.Tensor,
    classes: int,
) -> None:
    """Raises for the first cause that any sample of the batch has.

    Args:
        faults: The faulty samples.
        labels: `(n,)` class indices or `(n, classes)` one-hot.
        outputs: `(n, columns)` predictions.
        weights: `(n,)`.
        classes: Number of classes.

    Raises:
        ValueError: With the values and what they should be.
    """
    if bool(tf.reduce_any(faults.weights)):
        raise ValueError(
            message(
                "Sample weights must be finite and not negative.",
                f"weights {_examples(weights, faults.weights)}",
                "Use zero to leave a sample out.",
            )
        )
    if bool(tf.reduce_any(faults.predictions)):
        raise ValueError(_about_predictions(outputs, faults.predictions))
    if bool(tf.reduce_any(faults.labels)):
        raise ValueError(_about_labels(labels, faults.labels, classes))


def check_scale(
    outputs: tf.Tensor, present: tf.Tensor, from_logits: bool
) -> None:
    """Tells logits and probabilities apart, where the values show it.

    Raises:
        ValueError: If rows of probabilities do not sum to one.
    """
    rows = np.asarray(outputs, "float64")[np.asarray(present)]
    if not rows.size:
        return
    sums = rows.sum(-1)
    single = rows.shape[-1] == 1
    normalized = single or np.all(np.abs(sums - 1) <= _SUM_TOLERANCE)
    if not from_logits and not normalized:
        raise ValueError(
            message(
                "The probabilities of a sample must sum to one.",
                f"sums from {sums.min():.4g} to {sums.max():.4g}",
                "Pass `from_logits=True` if the model ends without a "
                "softmax. Where each class has a sigmoid of its own, use "
                "one metric for each column.",
            )
        )
    within = rows.min() >= 0 and rows.max() <= 1
    enough = not single or len(rows) >= _MANY_LOGITS
    if from_logits and normalized and within and enough:
        warn(
            "The predictions look like probabilities (all lie between 0 and "
            "1" + ("" if single else ", and each row sums to one") + "), but "
            "`from_logits=True` squashes them once more. Pass "
            "`from_logits=False`."
        )


def _about_predictions(outputs: tf.Tensor, faulty: tf.Tensor) -> str:
    values = np.asarray(outputs)[np.asarray(faulty)]
    finite = values[np.isfinite(values)]
    if finite.size < values.size:
        first = np.flatnonzero(np.asarray(faulty))[:8].tolist()
        return message(
            "The predictions hold NaN or infinite values.",
            f"such values in {len(values)} samples, at {first}",
            "Check the inputs and the weights of the model: training may "
            "have diverged.",
        )
    return message(
        "The predictions are no probabilities.",
        f"values from {finite.min():.4g} to {finite.max():.4g}",
        "Pass `from_logits=True` if the model ends without a softmax or "
        "sigmoid.",
    )


def _about_labels(labels: tf.Tensor, faulty: tf.Tensor, classes: int) -> str:
    if len(labels.shape) == 2:
        return message(
            "One-hot labels must hold a single one in each row, and zeros.",
            f"row {np.asarray(labels)[np.asarray(faulty)][0].tolist()}",
            "Mixed or smoothed labels have no class that is right: pass "
            "those from before the mixing. Class indices for each position "
            "of a binary model need predictions of shape (..., 1).",
        )
    return message(
        f"The labels must be class indices from 0 to {classes - 1}.",
        f"labels {_examples(labels, faulty)}",
        "Count classes from zero; `ignore_class=` leaves the samples of one "
        "label out.",
    )


def _examples(values: tf.Tensor, faulty: tf.Tensor) -> str:
    wrong = np.asarray(values)[np.asarray(faulty)]
    shown = ", ".join(f"{v:g}" for v in np.unique(wrong.astype(float))[:5])
    return f"{shown} in {len(wrong)} of {len(faulty)} samples"
