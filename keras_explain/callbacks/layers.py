"""What a layer holds and what it is made of, while the model learns."""

from __future__ import annotations

import math
import os
from typing import Any

import keras
import numpy as np

from keras_explain import plots
from keras_explain.callbacks.base import PictureLogger, Shown
from keras_explain.callbacks.pictures import captioned, enlarged
from keras_explain.callbacks.samples import first_samples
from keras_explain.engine.unit_targets import LayerActivation
from keras_explain.units import Activations, kernel_layer, kernels


class ActivationLogger(PictureLogger):
    """Draws the channels of a layer on the same samples, again and again.

    A channel that stays dark on all of them may be dead. Costs one forward
    pass each time.

    Args:
        layer: The layer, or its path (`"backbone/conv5"`).
        data: As for `ExplanationLogger`.
        log_dir: Folder of the logs of TensorBoard, or `None`.
        max_outputs: Most samples.
        max_channels: Most channels, the first ones.
        options: `writers`, `every` and `on_error` of `PictureLogger`.

    Raises:
        ValueError, OSError: As for `ExplanationLogger`.

    Example:

    >>> from keras_explain.callbacks import ActivationLogger
    >>> pictures, layer = [], model.layers[1].name
    >>> logger = ActivationLogger(layer, images, writers=pictures.extend)
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     images, np.array([0, 1]), verbose=0, callbacks=[logger]
    ... )
    >>> len(pictures)
    2
    """

    def __init__(
        self,
        layer: Any,
        data: Any,
        log_dir: str | os.PathLike | None = None,
        *,
        max_outputs: int = 4,
        max_channels: int = 64,
        **options: Any,
    ):
        self.samples = first_samples(data, max_outputs)
        super().__init__(log_dir, **options)
        self.layer = layer
        self.max_channels = max_channels
        self._made: tuple[keras.Model, Activations] | None = None

    def shown(self) -> list[Shown]:
        if self._made is None or self._made[0] is not self.model:
            self._made = self.model, Activations(self.model, layer=self.layer)
        found = self._made[1].explain(
            self.samples.inputs,
            LayerActivation(self.layer),
            batch_size=len(self.samples),
            verbose=False,
        )
        name = getattr(self.layer, "name", self.layer)
        shown = []
        for k, values in enumerate(found.attributions):
            planes = _planes(np.asarray(values, "float32"))
            number = planes.shape[-1]
            planes = planes[..., : self.max_channels]
            text = f"{name}, {planes.shape[-1]} of {number} channels"
            low, high = planes.min(), planes.max()
            text += f", from {low:.3g} to {high:.3g}"
            picture = enlarged(plots.heatmap(tiled(planes)))
            tag = f"activations/{name}/{k}"
            shown.append(Shown(tag, captioned(picture, text), text))
        return shown


class FilterLogger(PictureLogger):
    """Draws the kernel of a convolution, as it is learned.

    Filters of one or three input channels are pictures; of others each input
    channel is a row and each filter a column, red where it is positive and
    blue where it is negative. Costs no run of the model.

    Args:
        layer: The layer, its name or path; `None` for the first convolution.
        log_dir: Folder of the logs of TensorBoard, or `None`.
        max_filters: Most filters, and most input channels, the first ones.
        options: `writers`, `every` and `on_error` of `PictureLogger`.

    Raises:
        ValueError, OSError: As for `ExplanationLogger`.

    Example:

    >>> from keras_explain.callbacks import FilterLogger
    >>> pictures = []
    >>> logger = FilterLogger(writers=pictures.extend)
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     images, np.array([0, 1]), verbose=0, callbacks=[logger]
    ... )
    >>> pictures[0].tag.startswith("filters/")
    True
    """

    def __init__(
        self,
        layer: Any = None,
        log_dir: str | os.PathLike | None = None,
        *,
        max_filters: int = 64,
        **options: Any,
    ):
        super().__init__(log_dir, **options)
        self.layer = layer
        self.max_filters = max_filters

    def shown(self) -> list[Shown]:
        layer = kernel_layer(self.model, self.layer)
        kernel = kernels(layer)
        inputs, number = kernel.shape[2:]
        kept = kernel[..., : self.max_filters]
        if inputs in (1, 3):
            reach = float(np.abs(kept).max()) or 1.0
            picture = plots.to_displayable(
                tiled(np.moveaxis(kept, 2, -1), reach),
                shown_range=(-reach, reach),
            )
        else:
            kept = kept[:, :, : min(inputs, 16), :16]
            rows = [tiled(kept[:, :, k], columns=kept.shape[-1])
                    for k in range(kept.shape[2])]  # fmt: skip
            picture = plots.heatmap(np.concatenate(rows), signed=True)
        text = f"{layer.name}, {kept.shape[-1]} of {number} filters"
        text += f", largest weight {np.abs(kernel).max():.3g}"
        image = captioned(enlarged(picture), text)
        return [Shown(f"filters/{layer.name}", image, text)]


def _planes(values: np.ndarray) -> np.ndarray:
    """What a layer made of one sample, as `(height, width, channels)`."""
    if values.ndim == 3:
        return values
    if values.ndim == 2:  # steps and features
        return values[..., np.newaxis]
    if values.ndim == 1:
        side = math.ceil(math.sqrt(values.size))
        square = np.zeros(side * side, "float32")
        square[: values.size] = values
        return square.reshape(side, side, 1)
    return values.reshape(values.shape[0], -1, values.shape[-1])


def tiled(
    planes: np.ndarray, edge: float = 0.0, columns: int | None = None
) -> np.ndarray:
    """Puts channels side by side, with a line of one pixel between them.

    Args:
        planes: `(height, width, channels)`, or with colors behind them,
            `(height, width, channels, colors)`.
        edge: Value of the lines.
        columns: How many in a row; `None` for about a square.

    Returns:
        `(rows * (height + 1), columns * (width + 1))`, and the colors.
    """
    height, width, number = planes.shape[:3]
    columns = columns or math.ceil(math.sqrt(number))
    rows = -(-number // columns)
    shape = (rows * (height + 1), columns * (width + 1), *planes.shape[3:])
    found = np.full(shape, edge, planes.dtype)
    for k in range(number):
        top = k // columns * (height + 1)
        left = k % columns * (width + 1)
        found[top : top + height, left : left + width] = planes[:, :, k]
    return found
