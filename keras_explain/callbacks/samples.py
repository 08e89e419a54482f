"""The few samples that a callback looks at, the same each time."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import batching
from keras_explain.engine.errors import message


class Samples(NamedTuple):
    """Samples with their true classes.

    Attributes:
        inputs: As the model takes them, in NumPy.
        classes: `(number,)` true classes, or `None` where they are not known.
    """

    inputs: Any
    classes: np.ndarray | None

    def __len__(self) -> int:
        return len(tf.nest.flatten(self.inputs)[0])


def first_samples(data: Any, most: int) -> Samples:
    """Returns the first samples of some data.

    Args:
        data: Inputs, `(inputs, labels)`, or a `tf.data.Dataset` or
            `PyDataset` of either in batches.
        most: How many at most.

    Raises:
        TypeError: If `most` is no whole number, or the data are none.
        ValueError: If `most` is not positive, there are no samples, or there
            is another number of labels.
    """
    if not isinstance(most, Integral) or isinstance(most, bool):
        raise TypeError(
            message("`max_outputs` is a whole number.", f"max_outputs={most!r}")
        )
    most = int(most)
    if data is None or isinstance(data, (str, keras.Model)):
        raise TypeError(
            message(
                "A callback looks at the same few samples again and again.",
                repr(data),
                "Pass arrays, `(inputs, labels)`, or a tf.data.Dataset or "
                "PyDataset of batches.",
            )
        )
    if most < 1:
        raise ValueError(
            message("At least one sample is shown.", f"max_outputs={most}")
        )
    # A batch with its labels: what is shuffled comes in one order only.
    stream = batching.elements(data)
    whole = [data] if stream is None else stream
    inputs, labels = [], []
    for element in whole:
        is_pair = isinstance(element, tuple) and len(element) in (2, 3)
        x, y = element[:2] if is_pair else (element, None)
        found, _ = next(batching.batches(x, most))
        number = len(tf.nest.flatten(found)[0])
        _check_number(x, y)
        inputs.append(tf.nest.map_structure(np.asarray, found))
        labels.append(None if y is None else np.asarray(y)[:number])
        most -= number
        if most <= 0:
            break
    if not inputs:
        next(batching.batches(data, 1))  # raises: there is nothing
    known = None if labels[0] is None else np.concatenate(labels)
    return Samples(batching.concatenate(inputs), classes_of(known))


def _check_number(inputs: Any, labels: Any) -> None:
    if labels is None:
        return
    number, found = len(tf.nest.flatten(inputs)[0]), len(labels)
    if number != found:
        raise ValueError(
            message(
                "There is one label for each sample.",
                f"{found} labels for {number} samples",
                "Pass `(inputs, labels)`.",
            )
        )


def classes_of(labels: np.ndarray | None) -> np.ndarray | None:
    """Returns class indices of labels, `None` if they are no classes."""
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        return labels.argmax(-1)
    whole = labels.ndim == 1 and np.all(labels == np.round(labels))
    return labels.astype(int) if whole else None
