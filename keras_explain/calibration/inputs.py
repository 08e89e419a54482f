"""Labels, predictions and weights, as the metrics of a classifier get them."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from keras_explain.calibration import value_checks
from keras_explain.engine.errors import message


@dataclasses.dataclass(frozen=True)
class Samples:
    """One batch, flat: each pixel or time step is a sample.

    Attributes:
        labels: `(n,)` int32, the class of each sample.
        outputs: `(n, classes)` float32, probabilities or logits. A model
            with one output has two classes here.
        weights: `(n,)` float64; zero for a sample that is left out, NaN
            for one that no number can be made of.
        from_logits: Whether the outputs are logits.
    """

    labels: tf.Tensor
    outputs: tf.Tensor
    weights: tf.Tensor
    from_logits: bool

    @property
    def num_classes(self) -> int:
        return int(self.outputs.shape[-1])

    @property
    def probabilities(self) -> tf.Tensor:
        """`(n, classes)` float32."""
        if self.from_logits:
            return tf.nn.softmax(self.outputs)
        return self.outputs


def read(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Samples:
    """Brings a batch to one form and checks it.

    Shapes are checked always. Values are checked where there are values:
    in an eager call. In a compiled one a sample that would have been
    refused gets the weight NaN, so that the metric is NaN as well; there
    it is seen what the predictions were made by.

    Args:
        y_true: Class indices `(...)` or `(..., 1)`, or one-hot labels
            `(..., classes)`.
        y_pred: `(..., classes)`; for a binary model `(..., 1)` or `(n,)`.
        sample_weight: A number, `(...)`, or the leading axes of that.
        from_logits: Whether the predictions are logits.
        ignore_class: Label of the samples that are left out.

    Raises:
        TypeError: If labels or predictions are no numbers.
        ValueError: If shapes do not fit, or values do not in an eager call.
    """
    # Keras marks padded time steps with a mask on the predictions.
    mask = getattr(y_pred, "_keras_mask", None)
    predictions = _numbers(y_pred, "predictions")
    labels = _numbers(y_true, "labels")
    if not tf.executing_eagerly():
        value_checks.check_head(predictions, from_logits)
    predictions = _with_classes(predictions)
    labels, one_hot = _check_labels(labels, predictions)
    shape = tf.shape(labels)[:-1] if one_hot else tf.shape(labels)
    # The rank is known even where no size is.
    shape = tf.ensure_shape(shape, [predictions.shape.rank - 1])
    weights = _spread(sample_weight, predictions, shape, "sample_weight")
    if mask is not None:
        weights *= _spread(mask, predictions, shape, "mask")

    columns = predictions.shape[-1]
    flat = tf.reshape(tf.cast(predictions, tf.float32), [-1, columns])
    labels = tf.reshape(labels, [-1, columns] if one_hot else [-1])
    classes = max(columns, 2)
    index, known = _classes(labels, one_hot, classes)
    absent = tf.equal(weights, 0)
    if ignore_class is not None:
        absent |= _is_class(labels, index, one_hot, ignore_class)
    faults = value_checks.Faults(
        labels=~(known | absent),
        predictions=~(value_checks.possible(flat, from_logits) | absent),
        weights=~(tf.math.is_finite(weights) & (weights >= 0)),
    )
    if tf.executing_eagerly():
        value_checks.refuse(faults, labels, flat, weights, classes)
        value_checks.check_scale(flat, ~absent, from_logits)
    weights = tf.where(absent, tf.zeros_like(weights), weights)
    weights = tf.where(faults.any(), _nan_like(weights), weights)
    unusable = absent | faults.predictions
    return Samples(
        index, _two_columns(flat, unusable, from_logits), weights, from_logits
    )


def _nan_like(tensor: tf.Tensor) -> tf.Tensor:
    return tf.fill(tf.shape(tensor), tf.constant(float("nan"), tensor.dtype))


def _numbers(values: Any, name: str) -> tf.Tensor:
    """Converts to a tensor, and refuses what is not numbers."""
    try:
        tensor = tf.convert_to_tensor(values)
    except (TypeError, ValueError) as error:
        raise TypeError(
            message(
                f"The {name} cannot be made into one array.",
                f"{type(values).__name__}: {error}",
                "Pass an array or tensor of numbers with one size per axis.",
            )
        ) from error
    numeric = tensor.dtype.is_floating or tensor.dtype.is_integer
    if not (numeric or tensor.dtype.is_bool):
        raise TypeError(
            message(
                f"The {name} must be numbers.",
                f"{name} of type {tensor.dtype.name}",
                "Labels are class indices or one-hot rows; predictions are "
                "probabilities or logits.",
            )
        )
    return tensor


def _with_classes(predictions: tf.Tensor) -> tf.Tensor:
    """Gives `(n,)` predictions of a binary model their axis of classes."""
    rank = predictions.shape.rank
    if rank == 1:
        return predictions[:, tf.newaxis]
    if not rank or not predictions.shape[-1]:
        raise ValueError(
            message(
                "The predictions must have a known shape with the classes "
                "on the last axis.",
                f"predictions of shape {predictions.shape}",
                "Pass (batch, classes), (batch, height, width, classes), or "
                "for a binary model (batch,) or (batch, 1).",
            )
        )
    return predictions


def _check_labels(
    labels: tf.Tensor, predictions: tf.Tensor
) -> tuple[tf.Tensor, bool]:
    """Returns the labels without an axis of size one, and if one-hot."""
    *axes, columns = predictions.shape
    shape = labels.shape
    if shape.rank == len(axes) + 1:
        if shape[-1] == 1:
            labels = tf.squeeze(labels, -1)
            shape = labels.shape
        elif shape[-1] == columns and shape[:-1].is_compatible_with(axes):
            return labels, True
    if shape.rank == len(axes) and shape.is_compatible_with(axes):
        return labels, False
    hint = "Pass a class index for each sample, or one-hot rows."
    if columns == 1:
        hint = (
            "The model has one output: its labels are 0 and 1, without an "
            "axis of classes."
        )
    raise ValueError(
        message(
            "The shapes of labels and predictions do not fit.",
            f"labels {labels.shape}, predictions {predictions.shape}",
            f"{hint} The labels come first: `update_state(y_true, y_pred)`.",
        )
    )


def _spread(
    weights: Any, predictions: tf.Tensor, shape: tf.Tensor, name: str
) -> tf.Tensor:
    """Broadcasts weights over the axes that follow theirs; `(n,)` float64."""
    if weights is None:
        return tf.ones([tf.reduce_prod(shape)], tf.float64)
    axes = predictions.shape[:-1]
    weights = tf.cast(_numbers(weights, name), tf.float64)
    own = weights.shape
    if own.rank == axes.rank + 1 and own[-1] == 1:
        weights = tf.squeeze(weights, -1)
        own = weights.shape
    fits = own.rank is not None and own.rank <= axes.rank
    if not fits or not all(
        size in (None, 1) or axis in (None, size)
        for size, axis in zip(own, axes, strict=False)
    ):
        raise ValueError(
            message(
                f"The shape of `{name}` does not fit the labels.",
                f"{name} {own}, for labels of shape {axes}",
                "Pass one weight for each sample, (batch,), or for each label.",
            )
        )
    for _ in range(axes.rank - own.rank if own.rank else 0):
        weights = weights[..., tf.newaxis]
    return tf.reshape(tf.broadcast_to(weights, shape), [-1])


def _classes(
    labels: tf.Tensor, one_hot: bool, classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns class indices, int32, and which of them are classes."""
    if one_hot:
        ones = tf.cast(labels, tf.float32)
        known = tf.reduce_all((ones == 0) | (ones == 1), -1)
        known &= tf.reduce_sum(ones, -1) == 1
        return tf.argmax(ones, -1, tf.int32), known
    # Labels of a tf.data pipeline are often floats: 2.0 is class 2.
    values = tf.cast(labels, tf.float64)
    known = (values >= 0) & (values < classes) & (values == tf.floor(values))
    index = tf.where(known, values, tf.zeros_like(values))
    return tf.cast(index, tf.int32), known


def _is_class(
    labels: tf.Tensor, index: tf.Tensor, one_hot: bool, wanted: int
) -> tf.Tensor:
    if one_hot:
        return tf.equal(index, wanted)
    return tf.equal(tf.cast(labels, tf.float64), wanted)


def _two_columns(
    outputs: tf.Tensor, unusable: tf.Tensor, from_logits: bool
) -> tf.Tensor:
    """Gives a single output its other class, and unusable rows any value.

    A row of weight zero may hold NaN (padding), and zero times NaN would
    be NaN.
    """
    if outputs.shape[-1] == 1:
        # The sigmoid is a softmax over this logit and a zero.
        other = tf.zeros_like(outputs) if from_logits else 1 - outputs
        outputs = tf.concat([other, outputs], -1)
    equal = tf.fill(tf.shape(outputs), 1.0 / outputs.shape[-1])
    return tf.where(unusable[:, tf.newaxis], equal, outputs)
