"""From maps to one value for each position of the inputs, and to masks.

The positions of an input are its axes between the batch and the channels;
tables and tokens, `(batch, values)`, have a position for each value. All
channels of a position are hidden together. The positions of several inputs
are counted one after the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.resizing import resize


def axes_of(x: Any) -> tuple[int, ...]:
    """Returns the sizes of the axes of positions of an input."""
    shape = tuple(x.shape)
    return shape[1:-1] if len(shape) > 2 else shape[1:]


def reduced(maps: Any, inputs: Any, how: str) -> dict[str, tf.Tensor]:
    """Returns one value for each position.

    Args:
        maps: What an explainer returned: a map for each input, or one for
            the first input that it fits. `(batch, *positions)`, or with
            channels at the end. Maps of fewer positions are resized, with
            centered cells.
        inputs: The inputs of the batch.
        how: `"sum"` over the channels, of signed values or of the
            `"magnitude"`.

    Returns:
        `(batch, *positions)` under the number of its input, as text.

    Raises:
        ValueError: If a map does not fit.
    """
    flat, xs = tf.nest.flatten(maps), tf.nest.flatten(inputs)
    tensors = [_tensor(value) for value in flat]
    if len(tensors) == len(xs):
        found = [_reduced(m, x, how) for m, x in zip(tensors, xs, strict=True)]
        return {str(k): value for k, value in enumerate(found)}
    if len(tensors) != 1:
        raise ValueError(
            message(
                "An explainer gives one map for each input, or one in all.",
                f"{len(tensors)} maps for {len(xs)} inputs",
                "Return the maps in the structure of the inputs.",
            )
        )
    for k, x in enumerate(xs):
        if tensors[0].shape.rank in (len(axes_of(x)) + 1, x.shape.rank):
            return {str(k): _reduced(tensors[0], x, how)}
    return {"0": _reduced(tensors[0], xs[0], how)}


def _tensor(value: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(value)
    if tensor.dtype == tf.float64:
        return tensor
    return tf.cast(tensor, tf.float32)


def _reduced(values: tf.Tensor, x: Any, how: str) -> tf.Tensor:
    sizes, batch = axes_of(x), x.shape[0]
    if values.shape.rank in (None, 0) or values.shape[0] != batch:
        raise ValueError(
            message(
                "A map is there for each sample.",
                f"maps of shape {values.shape} for {batch} samples",
                "Return maps of shape (batch, *positions), or with channels.",
            )
        )
    _check_channels_last(values, x)
    if how == "magnitude":
        values = tf.abs(values)
    if values.shape.rank == len(sizes) + 2:
        values = tf.reduce_sum(values, -1)
    got = tuple(values.shape[1:])
    table = len(x.shape) == 2
    larger = any(a > b for a, b in zip(got, sizes, strict=False))
    if len(got) != len(sizes) or larger or (table and got != sizes):
        raise ValueError(
            message(
                f"A map must fit inputs of shape {tuple(x.shape)}.",
                f"maps of shape {tuple(values.shape)}",
                "Maps of fewer positions are resized. Average larger ones "
                "down to the inputs, and put their axes in the same order.",
            )
        )
    if got == sizes:
        return values
    found = resize(values, sizes)
    # A constant stays one; rounding would give it an order.
    axes = list(range(1, values.shape.rank))
    low = tf.reduce_min(values, axes, keepdims=True)
    same = low == tf.reduce_max(values, axes, keepdims=True)
    return tf.where(same, low, found)


def _check_channels_last(values: tf.Tensor, x: Any) -> None:
    shape, wanted = tuple(values.shape[1:]), tuple(x.shape[1:])
    if len(wanted) < 3 or len(shape) != len(wanted) or shape == wanted:
        return
    if shape == (wanted[-1], *wanted[:-1]):
        raise ValueError(
            message(
                "The channels of a map are its last axis.",
                f"maps of shape {tuple(values.shape)} for inputs of shape "
                f"{tuple(x.shape)}",
                "Transpose them: `np.moveaxis(maps, 1, -1)`.",
            )
        )


def check_same_shape(maps: Any, inputs: Any, why: str) -> None:
    """Raises `ValueError` unless there is a value for each input value.

    Args:
        maps: What an explainer returned.
        inputs: The inputs of the batch.
        why: First line of the message.
    """
    got = [tuple(np.shape(m)) for m in tf.nest.flatten(maps)]
    wanted = [tuple(np.shape(x)) for x in tf.nest.flatten(inputs)]
    if got != wanted:
        raise ValueError(
            message(
                why,
                f"maps of shape {got} for inputs of shape {wanted}",
                "Explain the inputs themselves, with a pixel method and "
                "without `layer`.",
            )
        )


def joined(values: dict[str, Any]) -> tf.Tensor:
    """Returns the values of all positions, `(batch, positions)`."""
    flat = []
    for key in sorted(values, key=int):
        value = tf.convert_to_tensor(values[key])
        flat.append(tf.reshape(value, [tf.shape(value)[0], -1]))
    return tf.concat(flat, 1)


def number_of(values: dict[str, Any]) -> int:
    """Returns how many positions there are."""
    return sum(math.prod(value.shape[1:]) for value in values.values())


def in_shape(kept: tf.Tensor, inputs: Any, keys: Any) -> Any:
    """Returns masks of positions in the structure of the inputs.

    Args:
        kept: `(k, 1 or batch, positions)`, 1 = kept.
        inputs: Structure of tensors.
        keys: Numbers of the inputs that have positions here, as text; for
            the others there is `None`.
    """
    flat: list[tf.Tensor | None] = []
    start = 0
    for number, x in enumerate(tf.nest.flatten(inputs)):
        if str(number) not in keys:
            flat.append(None)
            continue
        table = x.shape.rank == 2
        sizes = tf.shape(x)[1:] if table else tf.shape(x)[1:-1]
        width = tf.reduce_prod(sizes)
        part = kept[..., start : start + width]
        shape = [tf.shape(kept)[:2], sizes, *([] if table else [[1]])]
        part = tf.reshape(part, tf.concat(shape, 0))
        static = x.shape[1:] if table else [*x.shape[1:-1], 1]
        flat.append(tf.ensure_shape(part, [None, None, *static]))
        start += width
    return tf.nest.pack_sequence_as(inputs, flat)


def regions(values: dict[str, Any], inputs: Any, region: int) -> np.ndarray:
    """Returns the number of the region of each position.

    Args:
        values: As `reduced` returns them.
        inputs: The inputs of the batch.
        region: Positions along each axis of a region; those at the far
            borders may be smaller. Rows of a table have no neighbours: each
            value is a region.
    """
    numbers, start = [], 0
    xs = tf.nest.flatten(inputs)
    for key in sorted(values, key=int):
        sizes = tuple(values[key].shape[1:])
        width = 1 if len(xs[int(key)].shape) == 2 else region
        cells = [-(-size // width) for size in sizes]
        place = [index // width for index in np.indices(sizes)]
        number = np.ravel_multi_index(place, cells).ravel()
        numbers.append(number + start)
        start += math.prod(cells)
    return np.concatenate(numbers).astype(np.int32)


def ranks(values: tf.Tensor, ties: tf.Tensor) -> tf.Tensor:
    """Returns the rank of each value from the largest, 0, on.

    Args:
        values: `(batch, n)`.
        ties: `(n,)`, a permutation: equal values are taken in this order.

    Returns:
        `(batch, n)` int32.
    """
    shuffled = tf.gather(values, ties, axis=1)
    order = tf.argsort(shuffled, axis=1, direction="DESCENDING", stable=True)
    return tf.argsort(tf.gather(ties, order), axis=1)


def finite(maps: Any) -> np.ndarray:
    """Returns for each sample whether all its values are finite."""
    each = [
        np.isfinite(np.asarray(m)).reshape(len(m), -1).all(1)
        for m in tf.nest.flatten(maps)
    ]
    return np.logical_and.reduce(each)
