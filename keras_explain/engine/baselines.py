"""What stands for missing inputs, in the structure of the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message


def fit_baseline(baseline: Any, inputs: Any, rows: slice | None) -> Any:
    """Returns a baseline in the structure and shape of the inputs.

    Args:
        baseline: A number, an array for one sample or for all, or a
            structure of them.
        inputs: Tensors of the batch.
        rows: Where the batch is in the whole, to find its rows of a baseline
            with one for each sample; `None` if the batch is the whole.
    """
    flat = tf.nest.flatten(inputs)
    structured = isinstance(baseline, (dict, list, tuple))
    if not structured and np.ndim(baseline) == 0:
        parts = [baseline] * len(flat)
    else:
        parts = parts_of(baseline, inputs)
    fitted = [
        _fit(part, tensor, rows)
        for part, tensor in zip(parts, flat, strict=True)
    ]
    return tf.nest.pack_sequence_as(inputs, fitted)


def parts_of(values: Any, inputs: Any) -> list[Any]:
    """Returns what is meant for each input, in flattened order.

    Args:
        values: One for a single input; else a list or a dict of them, as
            the inputs are.
        inputs: A structure of tensors.

    Raises:
        ValueError: If it is not made as the inputs are.
    """
    if isinstance(inputs, dict):
        named = isinstance(values, dict) and set(values) == set(inputs)
        parts = [values[name] for name in sorted(inputs)] if named else []
    elif isinstance(inputs, (list, tuple)):
        parts = list(values) if isinstance(values, (list, tuple)) else [values]
    else:
        parts = [values]
    number = len(tf.nest.flatten(inputs))
    if len(parts) != number:
        names = sorted(inputs) if isinstance(inputs, dict) else number
        raise ValueError(
            message(
                "There is one array for each input of the model.",
                f"{type(values).__name__} for inputs {names}",
                "Pass a list in this order or a dict with these names.",
            )
        )
    return parts


def check_finite(values: Any, name: str) -> None:
    """Raises `ValueError` if what stands for missing inputs is NaN.

    Inside a `tf.function` the values are not known, and nothing is said.

    Args:
        values: Numbers, arrays, or a structure of them; names and `None`
            pass.
        name: What the caller calls it.
    """
    for part in tf.nest.flatten(values):
        if part is None or isinstance(part, str):
            continue
        if tf.is_tensor(part) and not hasattr(part, "numpy"):
            continue
        array = np.asarray(part, "float64")
        if not np.isfinite(array).all():
            raise ValueError(
                message(
                    f"The {name} holds NaN or infinite values.",
                    f"a {name} of shape {array.shape}",
                    "Pass finite numbers: zeros, the mean of the training "
                    "inputs. Where they come from data, look for missing "
                    "values there.",
                )
            )


def _fit(part: Any, tensor: tf.Tensor, rows: slice | None) -> tf.Tensor:
    array = tf.cast(tf.convert_to_tensor(part), tensor.dtype)
    check_finite(array, "baseline")
    rank = tensor.shape.rank
    if rows is not None and array.shape.rank == rank and array.shape[0] != 1:
        array = array[rows]
    fits = array.shape.rank <= rank and all(
        have in (1, want) or want is None or have is None
        for have, want in zip(
            reversed(array.shape), reversed(tensor.shape), strict=False
        )
    )
    if not fits:
        raise ValueError(
            message(
                f"The baseline does not fit inputs of shape {tensor.shape}.",
                f"a baseline of shape {np.shape(part)}",
                "Pass a number, an array of the shape of one sample, or one "
                "with a row for each sample.",
            )
        )
    return tf.broadcast_to(array, tf.shape(tensor))
