"""Maps that say which values of an input belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message

# Segments of a map by default, for all axes together.
_MOST = 64


class Segments:
    """Integer maps of the user, numbered from zero without gaps.

    Args:
        segments: An array, or a list or dict of them, or `None`.
    """

    def __init__(self, segments: Any):
        self.number = 0
        self.arrays: Any = None
        if segments is None:
            return
        flat, self._pack = _flatten(segments)
        arrays = [_integers(array) for array in flat]
        every = np.concatenate([array.ravel() for array in arrays])
        names, numbers = np.unique(every, return_inverse=True)
        cuts = np.cumsum([array.size for array in arrays])[:-1]
        found = [
            part.reshape(array.shape).astype(np.int32)
            for part, array in zip(
                np.split(numbers.ravel(), cuts), arrays, strict=True
            )
        ]
        self.number = len(names)
        self.arrays = self._pack(found)

    def fit(self, shapes: Any, rows: slice | None) -> Any:
        """Returns the maps for a batch, each of the rank of its tensor.

        Args:
            shapes: Structure of the shapes of what is segmented.
            rows: Where the batch is in the whole.
        """
        several = isinstance(shapes, (list, tuple, dict))
        structure = self.arrays
        if isinstance(shapes, (list, tuple)) and isinstance(
            structure, np.ndarray
        ):
            structure = list(structure)  # maps of one shape, from a config
        flat = tf.nest.flatten(shapes) if several else [shapes]
        given = _for_each(structure, shapes, len(flat))
        fitted = [
            _fit(array, tuple(shape), rows)
            for array, shape in zip(given, flat, strict=True)
        ]
        return tf.nest.pack_sequence_as(shapes if several else 0, fitted)


def _for_each(arrays: Any, shapes: Any, number: int) -> list[np.ndarray]:
    if isinstance(arrays, np.ndarray) and number == 1:
        return [arrays]
    if isinstance(shapes, dict) and isinstance(arrays, dict):
        if set(arrays) == set(shapes):
            return [arrays[name] for name in sorted(shapes)]
    elif isinstance(shapes, (list, tuple)) and isinstance(arrays, list):
        if len(arrays) == number:
            return arrays
    names = sorted(shapes) if isinstance(shapes, dict) else number
    raise ValueError(
        message(
            "There is one map of segments for each input.",
            f"{type(arrays).__name__} for inputs {names}",
            "Pass a list in this order or a dict with these names.",
        )
    )


def _flatten(segments: Any) -> tuple[list[Any], Any]:
    """Takes arrays out of a list or dict; a list of numbers is an array."""
    if isinstance(segments, dict):
        names = sorted(segments)
        return [segments[n] for n in names], lambda a: dict(
            zip(names, a, strict=True)
        )
    if isinstance(segments, (list, tuple)) and _is_list_of_maps(segments):
        return list(segments), list
    return [segments], lambda a: a[0]


def _is_list_of_maps(segments: Any) -> bool:
    # Lists of numbers, as a config holds them, make one array if they are
    # all of one shape; that is undone where the model has several inputs.
    if any(tf.is_tensor(s) or isinstance(s, np.ndarray) for s in segments):
        return True
    return len({np.shape(s) for s in segments}) > 1


def _integers(array: Any) -> np.ndarray:
    found = np.asarray(array)
    if found.dtype.kind not in "iu" or not found.size:
        raise TypeError(
            message(
                "Segments are numbered with integers.",
                f"an array of {found.dtype} and shape {found.shape}",
                "Give all values that belong together one whole number: "
                "`segments.astype(int)`.",
            )
        )
    return found.astype(np.int64)


def _fit(
    array: np.ndarray, shape: tuple[int | None, ...], rows: slice | None
) -> tf.Tensor:
    rank = len(shape)
    sample = shape[1:]
    if _fits(array.shape, sample):
        return tf.constant(array[np.newaxis])
    if rank > 2 and _fits(array.shape, sample[:-1]):
        return tf.constant(array[np.newaxis, ..., np.newaxis])
    for own, ending in ((sample, ()), (sample[:-1], (1,))):
        # With a row for each sample of the whole.
        if rank == 2 and ending or not _fits(array.shape[1:], own):
            continue
        found = array if rows is None else array[rows]
        if len(found) == shape[0] or shape[0] is None:
            return tf.constant(found.reshape(*found.shape, *ending))
    raise ValueError(
        message(
            f"The map of segments does not fit {sample}, the shape of one "
            "sample.",
            f"segments of shape {array.shape}",
            "Make the map on inputs of this size, with or without the axis "
            "of the channels, or with a row for each sample.",
        )
    )


def _fits(have: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    return len(have) == len(want) and all(
        a == b or a == 1 or b is None for a, b in zip(have, want, strict=True)
    )


def default(point: Any) -> tuple[Any, Any]:
    """Returns maps for a structure of tensors, and how many segments.

    Each value of a table is a segment, and else each box of a grid.
    """
    found, number = [], 0
    for tensor in tf.nest.flatten(point):
        segments, more = _boxes(tensor)
        found.append(segments + number)
        number = number + more
    return tf.nest.pack_sequence_as(point, found), number


def _boxes(tensor: tf.Tensor) -> tuple[tf.Tensor, Any]:
    rank = tensor.shape.rank
    axes = max(1, rank - 2)
    most = round(_MOST ** (1 / axes))
    segments = tf.zeros([1] * rank, tf.int32)
    number: Any = 1
    for axis in range(1, axes + 1):
        size = tensor.shape[axis]
        length = tf.shape(tensor)[axis] if size is None else size
        if rank == 2:
            cells = length
        elif size is None:
            cells = tf.minimum(length, most)
        else:
            cells = min(length, most)
        along = tf.range(length) * cells // length
        shape = [1] * rank
        shape[axis] = -1
        segments = segments * cells + tf.reshape(along, shape)
        number = number * cells
    return segments, number
