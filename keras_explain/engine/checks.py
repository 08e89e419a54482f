"""Refuses models and inputs that could only give a wrong explanation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import candidates, message, near

# So many names are all told.
_FEW = 8


def check_model(model: Any) -> None:
    """Raises unless `model` is a Keras 3 model on TensorFlow."""
    module = type(model).__module__
    names = {base.__module__.split(".")[0] for base in type(model).__mro__}
    if "tf_keras" in names:
        raise TypeError(
            message(
                "This is a Keras 2 model; keras_explain opens Keras 3 models.",
                f"{type(model).__name__} of the package tf_keras",
                "Save it with `model.save('model.keras')` and load the file "
                "with `keras.saving.load_model`; unset TF_USE_LEGACY_KERAS "
                "if it is set.",
            )
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            message(
                "An explainer takes a keras.Model.",
                f"{type(model).__name__} of the module {module}",
                "Wrap a layer with `keras.Sequential([layer])`.",
            )
        )
    check_backend(keras.backend.backend())


def check_backend(backend: str) -> None:
    """Raises unless Keras runs on TensorFlow."""
    if backend != "tensorflow":
        raise RuntimeError(
            message(
                "keras_explain works with the TensorFlow backend of Keras.",
                f"backend {backend!r}",
                "Set the environment variable KERAS_BACKEND=tensorflow "
                "before Keras is imported.",
            )
        )


def check_built(model: keras.Model) -> None:
    """Raises if the model has no weights yet."""
    if not model.built:
        raise ValueError(
            message(
                "The model is not built: it has no weights to explain.",
                f"model {model.name!r}",
                "Call it on a batch, train it or load its weights first.",
            )
        )


def standardize(model: keras.Model, inputs: Any) -> Any:
    """Returns the inputs as tensors the model takes, or raises.

    Integer images become float32; token numbers stay integers.
    """
    expected = _expected(model, inputs)
    flat = [
        _standardize(value, name, spec)
        for value, (name, spec) in zip(
            tf.nest.flatten(inputs), expected, strict=True
        )
    ]
    sizes = {t.shape[0] for t in flat if t.shape[0] is not None}
    if len(sizes) > 1:
        raise ValueError(
            message(
                "All inputs need the same number of samples.",
                f"{sorted(sizes)} samples",
            )
        )
    if sizes == {0}:
        raise ValueError(
            message(
                "There is nothing to explain: the data hold no samples.",
                "a batch of none",
                "Check the path or filter that made the data.",
            )
        )
    return tf.nest.pack_sequence_as(inputs, flat)


def _expected(model: keras.Model, inputs: Any) -> list[tuple[str, Any]]:
    """Pairs each flat input with its name and what the model declares."""
    count = len(tf.nest.flatten(inputs))
    specs = _declared(model)
    if specs is None:
        return [(f"input {k}", None) for k in range(count)]
    if isinstance(inputs, dict):
        by_name = {spec.name: spec for spec in specs}
        if set(by_name) == set(inputs):
            return [(key, by_name[key]) for key in sorted(inputs)]
        received = f"the names {sorted(inputs)}"
    else:
        received = f"{count} input{'s' * (count != 1)}"
        if count == len(specs):
            return [(spec.name, spec) for spec in specs]
    raise ValueError(
        message(
            f"The model takes {len(specs)} input{'s' * (len(specs) != 1)}: "
            f"{', '.join(repr(spec.name) for spec in specs)}.",
            received,
            "Pass a list in this order or a dict with these names.",
        )
    )


def _declared(model: keras.Model) -> list | None:
    try:
        return list(model.inputs) or None
    except (AttributeError, ValueError, TypeError):  # subclassed
        return None


def _standardize(value: Any, name: str, spec: Any) -> tf.Tensor:
    if not tf.is_tensor(value):
        value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            raise TypeError(
                message(
                    f"Input {name!r} must hold numbers.",
                    f"dtype {value.dtype}",
                    "Decode images and look tokens up before.",
                )
            )
    tensor = tf.convert_to_tensor(value)
    declared = (
        None if spec is None else keras.backend.standardize_dtype(spec.dtype)
    )
    if declared is not None and "int" in declared:
        tensor = tf.cast(tensor, declared)
    elif declared is not None or tensor.dtype in (tf.uint8, tf.float64):
        tensor = tf.cast(tensor, tf.float32)
    elif tensor.dtype.is_floating:
        tensor = tf.cast(tensor, tf.float32)
    _check_shape(tensor.shape, name, spec)
    return tensor


def _check_shape(shape: tf.TensorShape, name: str, spec: Any) -> None:
    if shape.rank is None:
        raise ValueError(f"The rank of input {name!r} is not known.")
    if spec is None:
        if shape.rank == 0:
            raise ValueError(f"Input {name!r} has no batch axis.")
        return
    expected = tuple(spec.shape)
    wrong = shape.rank != len(expected) or any(
        want is not None and got is not None and want != got
        for want, got in zip(expected[1:], shape[1:], strict=False)
    )
    if not wrong:
        return
    mend = ""
    if shape.rank == len(expected) - 1:
        mend = "A single sample needs a batch axis: `inputs[None]`."
    elif shape.rank == len(expected):
        if shape[-1] == expected[1] and shape[1] == expected[-1]:
            mend = "The channels are first: transpose them to the last axis."
        elif shape[-1] != expected[-1]:
            mend = f"The last axis must hold {expected[-1]} channels."
        else:
            mend = "Resize the inputs to this shape."
    raise ValueError(
        message(
            f"Input {name!r} of the model has shape {expected}.",
            f"inputs of shape {tuple(shape)}",
            mend,
        )
    )


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raises `ValueError` unless an option is one of a few names."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            message(
                f"`{name}` is one of a few names.",
                f"{name}={value!r}",
                f"Pass one of {candidates(choices)}."
                if len(choices) <= _FEW
                else f"Near names: {near(str(value), choices)}.",
            )
        )


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises unless an option is a number of things.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below `least`.
    """
    whole = is_integer(value)
    if not whole or value < least:
        raise (ValueError if whole else TypeError)(
            message(
                f"`{name}` is an integer of at least {least}.",
                f"{name}={value!r}",
            )
        )


def check_integer(name: str, value: Any) -> None:
    """Raises `TypeError` unless an option is an integer."""
    if not is_integer(value):
        raise TypeError(
            message(f"`{name}` is an integer.", f"{name}={value!r}")
        )


def check_seed(seed: Any) -> None:
    """Raises `ValueError` unless a seed is a non-negative integer."""
    if not is_integer(seed) or seed < 0:
        raise ValueError(
            message(
                "A seed is a non-negative integer.",
                f"seed={seed!r}",
                "The same seed gives the same result.",
            )
        )


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def checked_number(name: str, value: Any, mend: str = "") -> float:
    """Returns an option as a float, as float32 holds it where it is large.

    Args:
        name: Of the option.
        value: What was given; an array of one value without axes will do.
        mend: What to pass in its place.

    Raises:
        TypeError: If it is no number; a bool is none.
    """
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise TypeError(
            message(f"`{name}` is a number.", f"{name}={value!r}", mend)
        )
    number = float(array)
    if abs(number) > float(np.finfo(np.float32).max):  # NaN is not
        return np.inf if number > 0 else -np.inf
    return number
