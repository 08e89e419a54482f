"""Refuses attacks that could only mislead, before and after they run."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import checks
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.synthesis.adversarial.result import Adversarial

# Rounding may take values this share of their range beyond its ends.
_TOLERANCE = 1e-5
# A tenth of a step of 8-bit pixels: less is likely a mistake of scale.
_TINY = 1 / 2550


def positive(name: str, value: Any, mend: str = "") -> float:
    """Returns a finite number above zero, or raises."""
    number = checks.checked_number(name, value, mend)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(
            message(
                f"`{name}` is a finite number above zero.",
                f"{name}={value!r}",
                mend,
            )
        )
    return number


def count(name: str, value: Any, least: int = 1) -> int:
    """Returns a whole number of at least `least`, or raises."""
    if not checks.is_integer(value):
        raise TypeError(
            message(f"`{name}` is a whole number.", f"{name}={value!r}")
        )
    if value < least or value > 2**31 - 1:
        raise ValueError(
            message(
                f"`{name}` is a whole number from {least} to {2**31 - 1}.",
                f"{name}={value!r}",
            )
        )
    return int(value)


def epsilon(value: float, bounds: tuple[float, float], norm: str) -> None:
    """Warns about a budget on another scale than the inputs."""
    width = bounds[1] - bounds[0]
    if norm != "linf" or _TINY * width <= value < width:
        return
    what = (
        "allows any image at all"
        if value >= width
        else "is less than a tenth of a step of 8-bit pixels"
    )
    warn(
        f"epsilon={value:g} {what}: inputs have values from {bounds[0]:g} to "
        f"{bounds[1]:g}. Give epsilon in the same units; what is written "
        f"8/255 for images of 0 to 1 is {8 / 255 * width:.3g} here."
    )


def given_bounds(bounds: Any) -> tuple[float, float]:
    """Returns bounds as two numbers, the lower one first, or raises."""
    mend = "Pass `bounds=(low, high)`, such as (0, 1) or (0, 255)."
    try:
        low, high = (float(end) for end in bounds)
    except (TypeError, ValueError) as error:
        raise TypeError(
            message("`bounds` are two numbers.", f"bounds={bounds!r}", mend)
        ) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            message(
                "`bounds` are two finite numbers, the lower one first.",
                f"bounds={bounds!r}",
                mend,
            )
        )
    return low, high


def labels(given: Any, targeted: bool, inputs: Any) -> np.ndarray | None:
    """Returns class indices, one or one for each image, or raises."""
    if given is None:
        if targeted:
            raise ValueError(
                message(
                    "A targeted attack needs the classes to reach.",
                    "labels=None, targeted=True",
                    "Pass a class index, or one for each image.",
                )
            )
        return None
    found = np.asarray(given)
    if found.dtype.kind not in "iu":
        raise TypeError(
            message(
                "Labels are class indices: integers.",
                f"labels of dtype {found.dtype}",
                "For one-hot labels pass `labels.argmax(-1)`.",
            )
        )
    size = np.shape(inputs)[0] if hasattr(inputs, "shape") else None
    wrong = found.ndim == 1 and size is not None and len(found) != size
    if found.ndim > 1 or wrong:
        raise ValueError(_length(found, size))
    return found


def _length(found: np.ndarray, size: int | None) -> str:
    received = f"labels of shape {found.shape}"
    if size is not None:
        received += f" for {size} images"
    mend = "Pass class indices of shape (images,), or one for all."
    if found.ndim > 1:
        mend = "For one-hot labels pass `labels.argmax(-1)`."
    return message("There is one label for each image.", received, mend)


def rows(
    given: np.ndarray | None, chosen: slice, size: int, classes: int | None
) -> np.ndarray | None:
    """Returns the labels of some of the images, or raises.

    Args:
        given: All labels.
        chosen: Which of the images.
        size: How many they are.
        classes: How many the model tells apart, if known.
    """
    if given is None:
        return None
    found = given[chosen] if given.ndim else np.full(size, given)
    if len(found) != size:
        raise ValueError(_length(given, None))
    wrong = (found < 0) | (found >= (classes or np.inf))
    if wrong.any():
        raise ValueError(
            message(
                f"Class index out of range: the model has {classes} classes.",
                f"labels {np.unique(found[wrong])[:8].tolist()}",
                f"Pass 0 to {(classes or 1) - 1}.",
            )
        )
    return found


def all_used(given: np.ndarray | None, size: int) -> None:
    """Raises if there were more labels than images in a stream."""
    if given is not None and given.ndim and len(given) != size:
        raise ValueError(_length(given, size))


def images(model: keras.Model, chunk: Any) -> tf.Tensor:
    """Returns a batch of float32 images that the model takes, or raises."""
    found = checks.standardize(model, chunk)
    if not tf.is_tensor(found) or not found.dtype.is_floating:
        what = (
            f"inputs of dtype {found.dtype.name}"
            if tf.is_tensor(found)
            else f"{len(tf.nest.flatten(found))} inputs in a "
            f"{type(found).__name__}"
        )
        raise TypeError(
            message(
                "An attack changes one array of numbers a little.",
                what,
                "For tokens, attack the part of the model behind the "
                "embedding; for several inputs, a model that holds the "
                "others constant.",
            )
        )
    wrong = ~np.isfinite(found.numpy().reshape(len(found), -1)).all(axis=1)
    if wrong.any():
        raise ValueError(
            message(
                "The inputs hold NaN or infinite values.",
                f"such values in {int(wrong.sum())} images of a batch, at "
                f"{np.flatnonzero(wrong)[:8].tolist()}",
                "Clean them first: `np.nan_to_num(inputs)`.",
            )
        )
    return found


def head(model: keras.Model, graph: Graph) -> None:
    """Raises unless the model has one output with one class per image."""
    if len(graph.heads) != 1:
        raise ValueError(
            message(
                "An attack is on a classifier with one output.",
                f"{len(graph.heads)} outputs of model {model.name!r}",
                "Attack one: `keras.Model(model.inputs, model.outputs[0])`.",
            )
        )
    shape = graph.heads[0].shape
    if len(shape) not in (1, 2) or shape[-1] is None and len(shape) == 2:
        raise ValueError(
            message(
                "An attack is on a classifier of whole images.",
                f"an output of shape {shape}",
                "Pool the positions first: a model that ends in "
                "(batch, classes).",
            )
        )


def classes(graph: Graph) -> int:
    """Returns how many classes a model tells apart."""
    shape = graph.heads[0].shape
    last = shape[-1] if len(shape) == 2 else 1
    return max(last or 0, 2)


def inside(images: tf.Tensor, bounds: tuple[float, float]) -> None:
    """Raises if images leave the bounds by more than rounding does."""
    low, high = bounds
    least, greatest = (
        float(tf.reduce_min(images)),
        float(tf.reduce_max(images)),
    )
    slack = _TOLERANCE * (high - low)
    if least < low - slack or greatest > high + slack:
        raise ValueError(
            message(
                "The inputs lie outside the bounds.",
                f"values from {least:.6g} to {greatest:.6g}, bounds={bounds}",
                "Pass the bounds of the inputs as the model takes them, or "
                "`np.clip` the inputs.",
            )
        )


def scale(images: tf.Tensor, bounds: tuple[float, float]) -> None:
    """Warns about images of 0 to 1 for a model of pixels up to 255."""
    largest = float(tf.reduce_max(images))
    if 0 < largest <= 1 < bounds[1]:
        warn(
            f"The largest pixel is {largest:.3g}, and the model begins by "
            f"rescaling pixels of {bounds[0]:g} to {bounds[1]:g}. Pass the "
            "images on that scale."
        )


def finite(found: dict[str, np.ndarray], model: keras.Model) -> None:
    """Raises if scores or gradients were no numbers."""
    if not (
        np.isfinite(found["images"]).all()
        and np.isfinite(found["original_confidence"]).all()
        and np.isfinite(found["confidence"]).all()
    ):
        raise ValueError(
            message(
                "The scores of the model or their gradients are NaN or "
                "infinite.",
                f"model {model.name!r}",
                "Training has diverged: load an earlier checkpoint, or train "
                "with a smaller learning rate. In float16 numbers may "
                "overflow: use the float32 policy.",
            )
        )


def not_reached(found: dict[str, np.ndarray], start: int) -> None:
    """Raises if a target is the class that the model sees already."""
    same = found["original_predictions"] == found["labels"]
    if same.any():
        at = np.flatnonzero(same)
        raise ValueError(
            message(
                "A targeted attack goes from one class to another, and "
                "these images are in the target class already.",
                f"target {found['labels'][at[0]]} for images "
                f"{(at[:8] + start).tolist()}",
                "Leave them out, or choose other targets.",
            )
        )


def result(made: Adversarial, moved: np.ndarray, given: bool) -> None:
    """Warns where an attack had nothing to attack or nothing to follow.

    Args:
        made: The result.
        moved: `(n,)` bool, whether there was a gradient.
        given: Whether the labels came from the user.
    """
    stuck = np.flatnonzero(made.initially_correct & ~moved)
    if stuck.size:
        warn(
            f"The gradient is zero for {stuck.size} of {len(made)} images "
            f"(at {stuck[:8].tolist()}), which are left as they are: their "
            "scores do not change with the inputs. This tells nothing about "
            "robustness: look for dead units or rounding in the model."
        )
    if given and not made.initially_correct.any():
        warn(
            "The model gives none of the images its label, so that nothing "
            "was attacked. Check the labels, and the scale of the inputs."
        )
