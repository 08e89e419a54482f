"""What takes the place of the hidden parts of an input or activation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.baselines import check_finite, fit_baseline
from keras_explain.engine.errors import message, near
from keras_explain.engine.graph import Graph
from keras_explain.engine.smoothing import blur

NAMES = ("zero", "mean", "blur")
# Standard deviation of the blur, as a share of each axis of positions.
_BLUR = 0.1

_each = tf.nest.map_structure


def check_fill(fill: Any) -> None:
    """Raises unless a fill is a name that is known or holds finite numbers."""
    if isinstance(fill, str) and fill not in NAMES:
        raise ValueError(
            message(
                "There is no such fill.",
                f"fill={fill!r}",
                f"Near names: {near(fill, NAMES)}. Or pass a number, or an "
                "array of the shape of one sample.",
            )
        )
    check_values(fill)


def check_values(fill: Any) -> None:
    """Raises if a fill holds what is no finite number.

    Args:
        fill: A name or `None`, which pass; a number, an array, or a list or
            dict of them.

    Raises:
        TypeError: If a list or dict holds names.
        ValueError: If a value is NaN or infinite.
    """
    structured = isinstance(fill, (list, tuple, dict))
    parts = tf.nest.flatten(fill) if structured else []
    if any(part is None or isinstance(part, str) for part in parts):
        raise TypeError(
            message(
                "One name stands for the fill of all inputs.",
                f"fill={fill!r}",
                "Pass the name alone, or an array for each input.",
            )
        )
    check_finite(fill, "fill")


def check_tokens(fill: Any, inputs: Any, graph: Graph) -> None:
    """Raises `ValueError` if a fill is no token of the vocabulary.

    Args:
        fill: What hides the inputs; only a number is looked at.
        inputs: Tensors of the batch.
        graph: Of the model; the largest of its embeddings counts.
    """
    flat = tf.nest.flatten(inputs)
    if fill is None or not _is_number(fill) or flat[0].dtype.is_floating:
        return
    sizes = [
        call.operation.input_dim
        for call in graph.layers
        if isinstance(call.operation, keras.layers.Embedding)
    ]
    if sizes and not 0 <= fill < max(sizes):
        raise ValueError(
            message(
                "The fill is no token of the vocabulary.",
                f"fill={fill!r}, and {max(sizes)} tokens",
                "Pass the number of the token that stands for a missing one, "
                f"from 0 to {max(sizes) - 1}.",
            )
        )


def fill_arguments(fill: Any, inputs: Any, rows: slice | None) -> dict:
    """Returns the tensors of a fill that is given as values.

    They belong into what `Explainer._extra` returns.

    Args:
        fill: A name of `NAMES`, a number, or an array (or structure of
            them) for one sample or for all.
        inputs: Tensors of the batch.
        rows: Where the batch is in the whole.
    """
    if isinstance(fill, str) or _is_number(fill):
        return {}
    return {"fill": fit_baseline(fill, inputs, rows)}


def filled(fill: Any, point: Any, given: Any = None) -> Any:
    """Returns the values of hidden parts, in the structure of the point.

    Args:
        fill: `"zero"`; `"mean"` of each sample and channel over the
            positions; `"blur"`, a Gaussian whose standard deviation is a
            tenth of each axis of positions; a number; or values.
        point: Inputs or outputs of a layer, each `(batch, ...)`.
        given: What `fill_arguments` made of values.

    Raises:
        ValueError: If the point holds integers and the fill is no value of
            theirs.
    """
    if given is not None:
        return _each(_given, given, point)
    return _each(lambda tensor: _filled(fill, tensor), point)


def _filled(fill: Any, tensor: tf.Tensor) -> tf.Tensor:
    if _is_number(fill):
        return tf.fill(tf.shape(tensor), tf.cast(fill, tensor.dtype))
    if fill == "zero":
        return tf.zeros_like(tensor)
    if not tensor.dtype.is_floating:
        raise ValueError(
            message(
                "Numbers of tokens or categories have no mean and no blur.",
                f"fill={fill!r} for integers",
                "Pass `fill=0`, or the number of the token that stands for "
                "a missing one.",
            )
        )
    if fill == "mean":
        return _mean(tensor)
    return _blurred(tensor)


def _given(values: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    if values.shape.rank != tensor.shape.rank or any(
        a not in (None, 1, b) and b is not None
        for a, b in zip(values.shape[1:], tensor.shape[1:], strict=True)
    ):
        raise ValueError(
            message(
                "The fill does not fit the outputs of the layer, "
                f"{tensor.shape}.",
                f"a fill of shape {values.shape}",
                'Pass a number, or "zero", "mean" or "blur".',
            )
        )
    return tf.cast(tf.broadcast_to(values, tf.shape(tensor)), tensor.dtype)


def _mean(tensor: tf.Tensor) -> tf.Tensor:
    # Rows of a table have no positions: there the mean is over the values.
    rank = tensor.shape.rank
    axes = list(range(1, rank - 1)) if rank > 2 else [rank - 1]
    mean = tf.reduce_mean(tf.cast(tensor, tf.float32), axes, keepdims=True)
    return tf.cast(tf.broadcast_to(mean, tf.shape(tensor)), tensor.dtype)


def _blurred(tensor: tf.Tensor) -> tf.Tensor:
    # Rows of a table have positions and no channels.
    table = tensor.shape.rank == 2
    x = tf.cast(tensor, tf.float32)
    x = x[..., tf.newaxis] if table else x
    sizes = tf.unstack(tf.cast(tf.shape(x)[1:-1], tf.float32))
    x = blur(x, [_BLUR * size for size in sizes])
    return tf.cast(x[..., 0] if table else x, tensor.dtype)


def _is_number(fill: Any) -> bool:
    return not isinstance(fill, (str, dict, list, tuple)) and np.ndim(fill) == 0
