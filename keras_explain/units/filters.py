"""The kernels of convolutions, as arrays to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_explain.engine.errors import candidates, message
from keras_explain.engine.linear import is_convolution


def kernel_layer(model: keras.Model, layer: Any = None) -> keras.Layer:
    """Returns a convolution of a model.

    Args:
        model: A built model.
        layer: The layer, its name or its path (`"backbone/conv1"`); `None`
            for the first convolution on pictures.

    Raises:
        ValueError: If there is no such layer, or it has no kernel of four
            axes.
    """
    found = dict(_convolutions(model))
    if isinstance(layer, keras.Layer):
        if layer in found.values():
            return layer
    elif layer is None and found:
        return next(iter(found.values()))
    elif layer in found:
        return found[layer]
    raise ValueError(
        message(
            "The model has no such convolution on pictures.",
            f"layer={getattr(layer, 'name', layer)!r}",
            f"Convolutions: {candidates(list(found)) or 'none'}.",
        )
    )


def _convolutions(
    model: Any, path: str = ""
) -> Iterator[tuple[str, keras.Layer]]:
    for layer in model.layers:
        name = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _convolutions(layer, f"{name}/")
        kernel = getattr(layer, "kernel", None)
        if is_convolution(layer) and kernel is not None:
            if len(kernel.shape) == 4:
                yield name, layer


def kernels(layer: keras.Layer) -> np.ndarray:
    """Returns the kernel of a convolution on pictures.

    Args:
        layer: One of `kernel_layer`.

    Returns:
        `(height, width, inputs, outputs)`, float32.
    """
    return np.asarray(keras.ops.convert_to_numpy(layer.kernel), "float32")
