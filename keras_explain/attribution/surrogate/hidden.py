"""What takes the place of hidden features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.baselines import parts_of
from keras_explain.engine.errors import message, near
from keras_explain.engine.fills import check_values
from keras_explain.engine.inpainting import inpaint
from keras_explain.engine.score import ScoreFunction

NAMES = ("zero", "mean", "blur", "segment_mean", "inpaint")

_each = tf.nest.map_structure


def check_fill(fill: Any) -> None:
    """Raises unless a fill is a name that is known or holds finite numbers."""
    if isinstance(fill, str) and fill not in NAMES:
        raise ValueError(
            message(
                "There is no such fill.",
                f"fill={fill!r}",
                f"Near names: {near(fill, NAMES)}. Or pass a number, an "
                "array of the shape of one sample, or `(rows, ...)` of them "
                "as a background.",
            )
        )
    check_values(fill)


def is_values(fill: Any) -> bool:
    """Whether a fill is an array, or a structure of them."""
    if fill is None or isinstance(fill, str):
        return False
    return isinstance(fill, (dict, list, tuple)) or np.ndim(fill) > 0


def background(fill: Any, inputs: Any) -> Any:
    """Returns values as the rows of a background, `(rows, ...)` each.

    Args:
        fill: For each input a number, an array of the shape of one sample,
            or one with a row for each row of the background.
        inputs: Tensors of the batch.

    Raises:
        ValueError: If it does not fit the inputs or has no rows.
    """
    flat = [
        _rows(part, tensor)
        for part, tensor in zip(
            parts_of(fill, inputs), tf.nest.flatten(inputs), strict=True
        )
    ]
    count = max(array.shape[0] for array in flat)
    if any(array.shape[0] not in (1, count) for array in flat):
        raise ValueError(
            message(
                "All inputs need the same number of background rows.",
                f"{[array.shape[0] for array in flat]} rows",
                "Take the same rows of the data for each input.",
            )
        )
    flat = [
        tf.repeat(a, count, axis=0) if a.shape[0] != count else a for a in flat
    ]
    return tf.nest.pack_sequence_as(inputs, flat)


def _rows(part: Any, tensor: tf.Tensor) -> tf.Tensor:
    array = tf.cast(tf.convert_to_tensor(part), tensor.dtype)
    rank = tensor.shape.rank
    one = array.shape.rank < rank
    fits = array.shape.rank <= rank and all(
        have == want or want is None or (one and have == 1)
        for have, want in zip(
            reversed(array.shape if one else array.shape[1:]),
            reversed(tensor.shape[1:]),
            strict=False,
        )
    )
    if not fits or array.shape[:1] == (0,):
        raise ValueError(
            message(
                f"The fill does not fit inputs of shape {tensor.shape}.",
                f"a fill of shape {np.shape(part)}",
                "Pass a number, an array of the shape of one sample, or "
                "`(rows, ...)` of them as a background: `x_train[:50]`.",
            )
        )
    if not one:
        return array
    return tf.broadcast_to(array, tf.concat([[1], tf.shape(tensor)[1:]], 0))


def at_layer(function: ScoreFunction, rows: Any, batch_size: int) -> Any:
    """Returns rows of inputs as the function's point sees them."""
    if function.call is None:
        return rows
    if function.call.num_outputs > 1:
        return function.at(rows).value()

    def part(ids: tf.Tensor) -> tf.Tensor:
        chosen = _each(lambda t: tf.gather(t, ids), rows)
        return tf.nest.flatten(function.at(chosen).value())[0]

    count = tf.shape(tf.nest.flatten(rows)[0])[0]
    found = sampling.collect(part, count, batch_size, tf.constant(1))
    return tf.nest.pack_sequence_as(function.value(), [found])


def segment_mean(
    tensor: tf.Tensor, segments: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Returns the mean of each segment, in the shape of the tensor.

    Args:
        tensor: `(batch, *positions, channels)`.
        segments: Numbers from 0, of the shape of the tensor, or without the
            channels, which then have a mean each.
        size: More than the largest number.
    """
    shape = tf.shape(tensor)
    channels = 1 if segments.shape.rank == tensor.shape.rank else shape[-1]
    values = tf.reshape(tf.cast(tensor, tf.float32), [-1, channels])
    ids = segments + sampling.expand(tf.range(shape[0]) * size, segments)
    ids = tf.reshape(ids, [-1])
    means = tf.math.unsorted_segment_mean(values, ids, shape[0] * size)
    found = tf.reshape(tf.gather(means, ids), shape)
    return tf.cast(tf.ensure_shape(found, tensor.shape), tensor.dtype)


def inpainted(point: Any) -> Callable[[Any], Any]:
    """Returns the fill that grows into hidden parts from around them.

    Tensors without positions, such as tables and tokens, get zeros.

    Args:
        point: Structure of `(batch, ...)` tensors.

    Raises:
        ValueError: If no tensor has positions.
    """
    flat = tf.nest.flatten(point)
    if not any(_has_positions(x) for x in flat):
        raise ValueError(
            message(
                "In-painting is for images, series and volumes.",
                f"tensors of shape {[tuple(x.shape) for x in flat]}",
                'Pass a number, "zero" or "mean", or rows of a background.',
            )
        )

    def fill(masks: Any) -> Any:
        found = []
        for x, mask in zip(flat, tf.nest.flatten(masks), strict=True):
            if not _has_positions(x) or mask is None:
                found.append(tf.zeros_like(x))
                continue
            shape = tf.concat([tf.shape(mask)[:1], tf.shape(x)], 0)
            wide = tf.concat([shape[:-1], [1]], 0)
            images = _stacked(tf.broadcast_to(x, shape), x)
            kept = _stacked(tf.broadcast_to(mask, wide), x[..., :1])
            found.append(tf.reshape(inpaint(images, kept), shape))
        return tf.nest.pack_sequence_as(point, found)

    return fill


def _has_positions(x: tf.Tensor) -> bool:
    return x.dtype.is_floating and x.shape.rank in (3, 4, 5)


def _stacked(tensor: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    found = tf.reshape(tensor, tf.concat([[-1], tf.shape(like)[1:]], 0))
    return tf.ensure_shape(found, [None, *like.shape[1:]])


def distance(point: Any, fill: Any) -> tf.Tensor:
    """How far hidden values may be from the shown ones, `(batch,)`.

    Args:
        point: Structure of `(batch, ...)` tensors.
        fill: `(batch, ...)` or `(rows, ...)` each.
    """
    found = []
    for x, hidden in zip(
        tf.nest.flatten(point), tf.nest.flatten(fill), strict=True
    ):
        x, hidden = tf.cast(x, tf.float32), tf.cast(hidden, tf.float32)
        axes = list(range(1, x.shape.rank))
        found.append(tf.reduce_max(tf.abs(x - hidden), axes))
    return tf.reduce_max(tf.stack(found), 0)


def span(rows: Any) -> tuple[Any, Any]:
    """The least and the largest value over rows, `(1, ...)` each."""
    return (
        _each(lambda t: tf.reduce_min(t, 0, keepdims=True), rows),
        _each(lambda t: tf.reduce_max(t, 0, keepdims=True), rows),
    )
