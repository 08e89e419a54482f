"""Reads and checks what a calibrator is fitted on: scores and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import batching
from keras_explain.engine.diagnosis import sums_to_one, warn
from keras_explain.engine.errors import message

_ACCEPTED = (
    "Pass `(x, y)`, a tf.data.Dataset of `(x, y)` batches or a "
    "keras.utils.PyDataset."
)


def labeled(data: Any, batch_size: int) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields `(inputs, labels)`, batch by batch.

    Args:
        data: `(x, y)`, a `tf.data.Dataset` of batches or a `PyDataset`.
        batch_size: Most samples in a batch.
    """
    if isinstance(data, tf.data.Dataset):
        _check_pair(data.element_spec)
        batching.check_batched(data)
        pairs: Any = data.map(lambda *element: (element[:2],))
    elif isinstance(data, keras.utils.PyDataset):
        count = data.num_batches or 0
        pairs = ((_check_pair(data[k])[:2],) for k in range(count))
    else:
        inputs, labels = _check_pair(data)[:2]
        pairs = iter([((_arrays(inputs), np.asarray(labels)),)])
    for (inputs, labels), _ in batching.batches(pairs, batch_size, "calibrate"):
        _check_sizes(inputs, labels)
        yield inputs, np.asarray(labels)


def check_labeled(data: Any) -> None:
    """Raises what `labeled` would, as far as it is known without a run.

    Args:
        data: As for `labeled`.
    """
    if isinstance(data, tf.data.Dataset):
        _check_pair(data.element_spec)
        batching.check_batched(data)
        empty = int(data.cardinality()) == 0
    elif isinstance(data, keras.utils.PyDataset):
        empty = not data.num_batches
    else:
        inputs, labels = _check_pair(data)[:2]
        labels = np.asarray(labels)
        _check_sizes(_arrays(inputs), labels)
        empty = not len(labels)
    if empty:
        raise batching.nothing(data, "calibrate")


def _check_sizes(inputs: Any, labels: Any) -> None:
    flat = tf.nest.flatten((inputs, labels))
    sizes = {len(part) for part in flat if np.ndim(part)}
    if len(sizes) > 1 or any(np.ndim(part) == 0 for part in flat):
        raise ValueError(
            message(
                "There is one label for each sample.",
                f"inputs of shape {np.shape(flat[0])} and labels of shape "
                f"{np.shape(labels)} in a batch",
            )
        )


def _check_pair(element: Any) -> tuple:
    """Returns an element of a data set, if it has labels."""
    pair = isinstance(element, tuple)
    if not pair or len(element) not in (2, 3):
        received = f"a tuple of {len(element)}" if pair else ""
        raise TypeError(
            message(
                "A calibrator is fitted on inputs and their labels.",
                received or type(element).__name__,
                _ACCEPTED,
            )
        )
    if len(element) == 3 and element[2] is not None:
        warn("Sample weights are left aside: every sample counts the same.")
    return element


def _arrays(inputs: Any) -> Any:
    if isinstance(inputs, dict) or (
        isinstance(inputs, (list, tuple))
        and inputs
        and np.ndim(inputs[0]) > 0
        and hasattr(inputs[0], "shape")
    ):
        return tf.nest.map_structure(np.asarray, inputs)
    return inputs if hasattr(inputs, "shape") else np.asarray(inputs)


def check_logits(logits: Any, said: bool = False) -> np.ndarray:
    """Returns logits as an array `(samples, ..., classes)`, or raises.

    Args:
        logits: Array or tensor.
        said: Whether it is the user who says that they are logits, so that
            probabilities may be there by mistake.
    """
    array = np.asarray(logits)
    if array.dtype.kind not in "fiu" or array.ndim < 2:
        raise ValueError(
            message(
                "Logits are numbers of shape (samples, ..., classes), with "
                "one class for a sigmoid.",
                f"{array.dtype} of shape {array.shape}",
                "For a single unit pass `logits[:, None]`.",
            )
        )
    if array.size == 0:
        raise ValueError(
            message(
                "There is nothing to calibrate: the data hold no samples.",
                f"logits of shape {array.shape}",
                "Check the path or filter that made the data.",
            )
        )
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        array = array.astype("float32")
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise ValueError(
            message(
                "The logits hold NaN or infinite values.",
                f"{int(wrong.sum())} of {array.size} values",
                "Look for samples the model overflows on, or for weights "
                "that diverged.",
            )
        )
    if said and sums_to_one(array):
        warn(
            "These logits look like probabilities: no value is negative, and "
            "every row sums to one. Pass the scores before the softmax, or "
            "`np.log(probabilities)`."
        )
    return array


def flat_samples(
    logits: np.ndarray, labels: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits `(N, K)` and class numbers `(N,)`.

    Args:
        logits: `(samples, ..., classes)`.
        labels: Class numbers `(samples, ...)`, with a last axis of one if
            need be, or one-hot rows in the shape of the logits.
    """
    classes = logits.shape[-1]
    array = np.asarray(labels)
    if classes > 1 and array.shape == logits.shape:
        array = _from_one_hot(array)
    elif array.shape == (*logits.shape[:-1], 1):
        array = array[..., 0]
    if array.shape != logits.shape[:-1]:
        raise ValueError(
            message(
                "Labels are class numbers of the shape of the logits without "
                "the last axis, or one-hot rows.",
                f"labels of shape {np.shape(labels)} for logits of shape "
                f"{logits.shape}",
            )
        )
    array = _whole_numbers(array).reshape(-1)
    _check_range(array, classes)
    return logits.reshape(-1, classes), array


def _from_one_hot(array: np.ndarray) -> np.ndarray:
    rows = array.astype("float64")
    if np.any((rows != 0) & (rows != 1)) or np.any(rows.sum(-1) != 1):
        raise ValueError(
            message(
                "One-hot labels hold a single one in each row, and zeros.",
                f"values from {rows.min():.3g} to {rows.max():.3g}, rows that "
                f"sum to {rows.sum(-1).min():.3g} to {rows.sum(-1).max():.3g}",
                "Soft or multiple labels say no class: use "
                "`labels.argmax(-1)` if one is meant.",
            )
        )
    return rows.argmax(-1)


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise TypeError(
            message(
                "Labels are class numbers.",
                f"dtype {array.dtype}",
                "Number the classes: `np.unique(labels, return_inverse=True)`.",
            )
        )
    if array.dtype.kind == "f" and not np.all(array == np.floor(array)):
        raise ValueError(
            message(
                "Only classifiers have a confidence to calibrate, and these "
                "labels are no class numbers.",
                f"labels from {np.min(array):.3g} to {np.max(array):.3g}",
                "A regression has no classes; one-hot rows must have the "
                "shape of the model's output.",
            )
        )
    return array.astype("int64")


def _check_range(labels: np.ndarray, classes: int) -> None:
    most = max(classes, 2) - 1
    if labels.min() >= 0 and labels.max() <= most:
        return
    mend = f"Pass 0 to {most}."
    if classes == 1:
        mend += " With one output there are two classes."
    elif labels.min() > 0 and labels.max() == most + 1:
        mend += " If the classes are counted from one, pass `labels - 1`."
    else:
        mend += " Leave out samples without a class first."
    raise ValueError(
        message(
            f"A label is out of range: there are {most + 1} classes.",
            f"labels from {labels.min()} to {labels.max()}",
            mend,
        )
    )


def check_classes(
    labels: np.ndarray, classes: int, *, needs_several: bool
) -> None:
    """Raises or warns about classes that no sample has.

    Args:
        labels: `(N,)`.
        classes: Number of columns of the logits.
        needs_several: Whether one class alone says nothing.
    """
    total = max(classes, 2)
    present = np.unique(labels)
    if len(present) == 1:
        text = "All samples have the same class"
        if needs_several:
            raise ValueError(
                message(
                    f"{text}: there is nothing to tell them from.",
                    f"{len(labels)} labels of class {present[0]}",
                    "Fit on samples of every class.",
                )
            )
        warn(
            f"{text} ({present[0]}): the fit says nothing of the others. Fit "
            "on samples of every class."
        )
    elif needs_several and len(present) < total:
        missing = np.setdiff1d(np.arange(total), present)
        warn(
            f"{len(missing)} of {total} classes have no sample (such as "
            f"{missing[0]}): they will be taken for classes that never occur."
        )
