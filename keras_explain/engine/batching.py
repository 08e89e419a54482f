"""Arrays, dicts, lists, datasets: all become batches, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.progress import bar


def batches(
    data: Any, batch_size: int, purpose: str = "explain"
) -> Iterator[tuple[Any, slice]]:
    """Yields `(inputs, rows)`: a batch and where it is in the whole.

    Args:
        data: An array or tensor, a list or dict of them (a model with
            several inputs), a `tf.data.Dataset` or a `keras.utils.PyDataset`.
            Of elements `(x, y)` or `(x, y, weight)` the inputs are taken.
            Datasets come in batches already; larger ones are split.
        batch_size: Most samples in a batch.
        purpose: What is done with them, for the message where there are none.
    """
    start = 0
    for inputs in _whole(data):
        size = _size(inputs)
        for first in range(0, size, batch_size):
            last = min(first + batch_size, size)
            yield _rows(inputs, first, last), slice(start, start + last - first)
            start += last - first
    if start == 0:
        raise nothing(data, purpose)


def nothing(data: Any, purpose: str) -> ValueError:
    """Returns the error of data that hold no samples."""
    return ValueError(
        message(
            f"There is nothing to {purpose}: the data hold no samples.",
            type(data).__name__,
            "Check the path or filter that made the dataset.",
        )
    )


def count(data: Any, batch_size: int) -> int | None:
    """Returns how many batches there will be, or `None` if not known."""
    if isinstance(data, tf.data.Dataset):
        cardinality = int(data.cardinality())
        return cardinality if cardinality >= 0 else None
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    if isinstance(data, Iterator):
        return None
    return -(-_size(data) // batch_size)


def elements(data: Any) -> Iterator[Any] | None:
    """Returns the elements of a stream as they are, with their labels.

    `None` for arrays, which are one batch.
    """
    if isinstance(data, tf.data.Dataset):
        check_batched(data)
        return iter(data)
    if isinstance(data, keras.utils.PyDataset):
        return (data[index] for index in range(data.num_batches or 0))
    return data if isinstance(data, Iterator) else None


def _whole(data: Any) -> Iterator[Any]:
    found = elements(data)
    if found is None:
        yield _arrays(data)
    else:
        yield from map(_inputs, found)


def check_batched(data: tf.data.Dataset) -> None:
    """Raises if elements are single samples, as far as shapes tell."""
    spec = data.element_spec
    pair = isinstance(spec, tuple) and len(spec) > 1
    parts = spec[:2] if pair else spec
    shapes = [
        part.shape for part in tf.nest.flatten(parts) if hasattr(part, "shape")
    ]
    first = shapes[0]
    image = first.rank == 3 and first[-1] in (1, 3, 4)
    single = any(shape.rank == 0 for shape in shapes)
    if pair and not single and all(shape.rank for shape in shapes):
        # Batches of inputs and labels have one size.
        sizes = {shape[0] for shape in shapes} - {None}
        single = len(sizes) > 1
    if image or single:
        kind = "images" if image else "samples"
        raise ValueError(
            message(
                f"The dataset yields single {kind}, not batches.",
                f"elements of shape {', '.join(map(str, shapes))}",
                "Pass `dataset.batch(32)`.",
            )
        )


def _inputs(element: Any) -> Any:
    return element[0] if isinstance(element, tuple) else element


def _arrays(data: Any) -> Any:
    """Turns what is no tensor into arrays, a list of images into one."""
    if isinstance(data, (dict, tuple)) or (
        isinstance(data, list) and data and _is_array(data[0])
    ):
        return tf.nest.map_structure(_array, data)
    return _array(data)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0


def _array(value: Any) -> Any:
    return value if _is_array(value) else np.asarray(value)


def _size(inputs: Any) -> int:
    flat = tf.nest.flatten(inputs)
    if not flat:
        return 0
    shape = np.shape(flat[0])
    return int(shape[0]) if shape else 0


def _rows(inputs: Any, first: int, last: int) -> Any:
    return tf.nest.map_structure(lambda value: value[first:last], inputs)


def concatenate(parts: list[Any]) -> Any:
    """Joins the results of batches along the first axis, as NumPy."""
    if parts[0] is None:
        return None
    return tf.nest.map_structure(
        lambda *values: np.concatenate([np.asarray(v) for v in values]), *parts
    )


@contextlib.contextmanager
def progress(
    data: Any,
    batch_size: int,
    verbose: bool | str,
    title: str = "Explaining",
) -> Iterator[Callable[[], None]]:
    """Shows a progress bar; yields what advances it by one batch.

    Args:
        data: As for `batches`.
        batch_size: As for `batches`.
        verbose: `True`, `False`, or `"auto"`: only where there is more than
            one batch and the error stream is a terminal.
        title: What is being done.
    """
    if batch_size < 1:
        raise ValueError(
            message(
                "A batch holds at least one sample.",
                f"batch_size={batch_size}",
            )
        )
    with bar(count(data, batch_size), title, verbose) as advance:
        yield advance
