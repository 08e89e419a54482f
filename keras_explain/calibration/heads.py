"""From what a model returns to logits, whatever head it ends in."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.diagnosis import sums_to_one, warn
from keras_explain.engine.errors import message
from keras_explain.engine.recording import pre_activation, producer

# Ops that make probabilities of probabilities, as the average of several
# networks does.
_AVERAGING = {
    "Add",
    "AddN",
    "AddV2",
    "ConcatV2",
    "ExpandDims",
    "Mean",
    "Mul",
    "Pack",
    "RealDiv",
    "Reshape",
    "Squeeze",
    "Sum",
    "Transpose",
}
# By number format: the least probability that a logarithm is taken of, and
# half the distance of one to the number before it. A probability that is
# rounded to zero is no more certain than that.
_SMALLEST = {
    "float16": (2.0**-24, 2.0**-12),
    "bfloat16": (2.0**-126, 2.0**-9),
}
_SMALLEST_FLOAT = (2.0**-126, 2.0**-25)


def check_from_logits(from_logits: Any) -> None:
    """Raises unless the option is `True`, `False` or `"auto"`."""
    if not isinstance(from_logits, bool) and from_logits != "auto":
        raise ValueError(
            message(
                "`from_logits` says whether the model returns logits.",
                f"from_logits={from_logits!r}",
                'Pass True, False or "auto".',
            )
        )


def single_output(model: keras.Model, outputs: Any) -> tf.Tensor:
    """Returns the one output of a model, or raises."""
    flat = tf.nest.flatten(outputs)
    if len(flat) != 1:
        raise ValueError(
            message(
                "Calibration is for models with one output.",
                f"{len(flat)} outputs of model {model.name!r}",
                "Calibrate each alone: `keras.Model(model.inputs, "
                "model.outputs[0])`.",
            )
        )
    if flat[0].shape.rank is None or flat[0].shape.rank < 2:
        raise ValueError(
            message(
                "A classifier returns scores of shape (batch, ..., classes).",
                f"an output of shape {flat[0].shape}",
                "Keep the last axis: one unit for two classes, else one for "
                "each class.",
            )
        )
    return flat[0]


def visible_head(
    output: tf.Tensor, probabilities: bool = False
) -> tuple[str, tf.Tensor]:
    """Returns the kind of a head and the tensor that is read.

    Args:
        output: Of the model, in the graph under trace.
        probabilities: Whether the model is known to return them.

    Returns:
        `"softmax"` or `"sigmoid"` with the logits it was applied to;
        `"probability"`, `"linear"` or `"unknown"` with the output.
    """
    kind, before = pre_activation(output)
    if kind in ("softmax", "sigmoid"):
        return kind, before
    if probabilities or _averages(output):
        kind = "probability"
    return kind, output


def _averages(output: tf.Tensor) -> bool:
    """Whether a tensor is a sum or mean of visible probabilities only."""
    found, queue = False, [output]
    while queue:
        tensor = producer(queue.pop())
        kind = tensor.op.type
        if kind in ("Softmax", "Sigmoid"):
            found = True
        elif kind in _AVERAGING:
            queue.extend(tensor.op.inputs)
        elif kind != "Const" and tensor.dtype.is_floating:
            return False
    return found


def returns_logits(kind: str, from_logits: bool | str) -> bool:
    """Whether the outputs are logits, as far as the graph tells."""
    if from_logits is True and kind in ("softmax", "sigmoid"):
        raise ValueError(
            message(
                f"The model ends in a {kind}: it does not return logits.",
                "from_logits=True",
                'Pass `from_logits="auto"`.',
            )
        )
    if isinstance(from_logits, bool):
        return from_logits
    if kind == "unknown":
        raise ValueError(
            message(
                "What the model ends in cannot be seen: its outputs may be "
                "logits or probabilities.",
                'from_logits="auto"',
                "Pass `from_logits=True` or `from_logits=False`.",
            )
        )
    return kind == "linear"


def settle(kind: str, values: np.ndarray, from_logits: bool | str) -> bool:
    """Whether the outputs are logits, as the graph and the values tell.

    Args:
        kind: Of `visible_head`.
        values: What was read from it, `(samples, ..., classes)`.
        from_logits: What the user says.
    """
    classes = values.shape[-1]
    check_one_class(kind, classes)
    if kind in ("softmax", "sigmoid"):
        return returns_logits(kind, from_logits)
    likely = _like_probabilities(kind, values)
    if from_logits == "auto":
        return not likely
    if from_logits is True and likely and classes > 1:
        warn(
            "The model is said to return logits, and every row of its "
            'outputs sums to one. Pass `from_logits="auto"`.'
        )
    if from_logits is False:
        check_probabilities(values)
    return bool(from_logits)


def check_one_class(kind: str, classes: int | None) -> None:
    """Raises unless a head says of each sample which class it is of."""
    if kind == "sigmoid" and classes != 1:
        raise ValueError(
            message(
                "A sigmoid over several units gives independent "
                "probabilities, and not one class for each sample.",
                f"an output of shape (None, ..., {classes})",
                "Calibrate one unit at a time: `fit_logits(logits[:, k:k + 1],"
                " labels[:, k])`.",
            )
        )
    if kind == "softmax" and classes == 1:
        raise ValueError(
            message(
                "A softmax over one class is always one.",
                "an output of shape (None, ..., 1)",
                "End the model in a sigmoid, or in one unit for each class.",
            )
        )


def check_not_linear(kind: str, from_logits: bool | str) -> None:
    """Raises if a linear head is said to return probabilities.

    It is for where there are no values to look at.
    """
    if from_logits is False and kind == "linear":
        raise ValueError(
            message(
                "A model that ends in a linear layer returns logits.",
                "from_logits=False",
                'Pass `from_logits="auto"`.',
            )
        )


def _like_probabilities(kind: str, values: np.ndarray) -> bool:
    if values.shape[-1] > 1:
        return sums_to_one(values)
    # One number between zero and one may be the logit of a linear unit.
    return kind != "linear" and _within_one(values)


def _within_one(values: np.ndarray) -> bool:
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


def check_probabilities(values: np.ndarray) -> None:
    """Raises unless values are probabilities over their last axis."""
    single = values.shape[-1] == 1
    if not (_within_one(values) if single else sums_to_one(values)):
        raise ValueError(
            message(
                "The model is said to return probabilities, and it does not.",
                f"outputs from {values.min():.3g} to {values.max():.3g}",
                "Pass `from_logits=True`.",
            )
        )


def as_logits(values: tf.Tensor, kind: str, from_logits: bool) -> tf.Tensor:
    """Returns logits in float32 of what was read from a head.

    For a softmax or sigmoid that can be seen these are the numbers it was
    applied to. Otherwise they are made of the probabilities: `log(p)` differs
    from the logits by a constant of each sample, which a softmax does not
    see, and `log(p / (1 - p))` is the logit of a sigmoid.
    """
    smallest = _SMALLEST.get(values.dtype.name, _SMALLEST_FLOAT)
    values = tf.cast(values, tf.float32)
    if from_logits or kind in ("softmax", "sigmoid"):
        return values
    logs = tf.math.log(tf.maximum(values, smallest[0]))
    if values.shape[-1] == 1:
        logs -= tf.math.log(tf.maximum(1.0 - values, smallest[1]))
    return logs


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis; the sigmoid where it holds one unit."""
    if logits.shape[-1] == 1:
        return tf.sigmoid(logits)
    return tf.nn.softmax(logits)


def log_odds(logits: tf.Tensor) -> tf.Tensor:
    """Returns `log(p / (1 - p))` of each class, exact where `p` is near one.

    Unlike a logit it does not change when a constant is added to all logits
    of a sample, so that it can be compared between samples.
    """
    classes = logits.shape[-1]
    if classes == 1:
        return logits
    top, order = tf.math.top_k(logits, k=2)
    first = tf.one_hot(order[..., 0], classes, dtype=tf.bool, on_value=True,
                       off_value=False)  # fmt: skip
    shifted = tf.exp(logits - top[..., :1])
    total = tf.reduce_sum(shifted, axis=-1, keepdims=True)
    # All classes but the first: the sum without its largest term, scaled by
    # the second largest, which does not underflow.
    others = tf.exp(tf.minimum(logits - top[..., 1:], 0.0))
    others = tf.where(first, 0.0, others)
    rest = tf.reduce_sum(others, axis=-1, keepdims=True)
    behind = top[..., :1] + tf.math.log(tf.maximum(total - shifted, 0.5))
    return logits - tf.where(first, top[..., 1:] + tf.math.log(rest), behind)
