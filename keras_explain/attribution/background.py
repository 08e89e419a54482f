"""Backgrounds: what inputs usually look like, as many references."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.baselines import check_finite, parts_of
from keras_explain.engine.errors import message


def check_background(background: Any) -> None:
    """Raises `ValueError` if a background has no rows."""
    if background is None:
        return
    if isinstance(background, dict):
        values = list(background.values())
    elif isinstance(background, (list, tuple)):
        values = list(background)
    else:
        values = [background]
    if not values or any(np.shape(v)[:1] in ((), (0,)) for v in values):
        raise ValueError(
            message(
                "A background has at least one row.",
                f"background of shape {[np.shape(v) for v in values]}",
                "Pass some of the training inputs: `x_train[:50]`.",
            )
        )


def fit_background(background: Any, inputs: Any) -> Any:
    """Returns a background in the structure of the inputs.

    Args:
        background: As users pass it; `None` for one row of zeros.
        inputs: Tensors of the batch.

    Raises:
        ValueError: If it does not fit.
    """
    flat = tf.nest.flatten(inputs)
    if background is None:
        return tf.nest.map_structure(lambda t: tf.zeros_like(t[:1]), inputs)
    parts = parts_of(background, inputs)
    fitted = []
    for part, tensor in zip(parts, flat, strict=True):
        array = tf.cast(tf.convert_to_tensor(part), tensor.dtype)
        fits = array.shape.rank == tensor.shape.rank and all(
            have == want or want is None
            for have, want in zip(
                array.shape[1:], tensor.shape[1:], strict=True
            )
        )
        if not fits or array.shape[0] == 0:
            raise ValueError(
                message(
                    f"The background does not fit inputs {tensor.shape}.",
                    f"a background of shape {np.shape(part)}",
                    "Pass some inputs: `x_train[:50]`.",
                )
            )
        check_finite(array, "background")
        fitted.append(array)
    if len({a.shape[0] for a in fitted}) > 1:
        raise ValueError(
            message(
                "All inputs need the same number of background rows.",
                f"{[a.shape[0] for a in fitted]} rows",
            )
        )
    return tf.nest.pack_sequence_as(inputs, fitted)
