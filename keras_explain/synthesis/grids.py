"""Many units at once, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_explain.engine import interruption
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.progress import bar
from keras_explain.engine.targets import Target
from keras_explain.engine.unit_targets import Channel
from keras_explain.synthesis.maximize import (
    Maximization,
    check_names,
    maximize,
)
from keras_explain.synthesis.objective import record_rows, sample_shape
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.settings import USUAL_SIZE, filled

_MOST_CLASSES = 100


def class_grid(
    model: keras.Model,
    classes: Iterable[int] | None = None,
    *,
    rows_at_once: int = 16,
    **settings: Any,
) -> Synthesis:
    """Makes a prototype of each class.

    Args:
        model: A built Keras model with one input.
        classes: Their indices; `None` for all, up to 100.
        rows_at_once: Most pictures in memory at once.
        settings: Those of `maximize`.

    Returns:
        A `Synthesis`, one row for each class; `.show()` draws the grid.

    Raises:
        ValueError: If the model has more than 100 classes and none are
            chosen.

    Example:

    >>> from keras_explain.synthesis import class_grid
    >>> made = class_grid(model, [0, 3, 5], steps=2, value_range=(0, 1),
    ...                   verbose=False)
    >>> made.titles
    ['class 0', 'class 3', 'class 5']

    References:
        Simonyan et al., 2013. Deep Inside Convolutional Networks.
        https://arxiv.org/abs/1312.6034
    """
    if classes is None:
        number = int(model.outputs[0].shape[-1])
        if number > _MOST_CLASSES:
            raise ValueError(
                message(
                    "A grid of all classes would be too large to look at.",
                    f"{number} classes",
                    "Choose some: `classes=range(16)`.",
                )
            )
        classes = range(number)
    targets = [Class(int(index)) for index in classes]
    return _in_parts(model, targets, rows_at_once, settings)


def layer_grid(
    model: keras.Model,
    layer: Any,
    units: int | Iterable[int] = 16,
    *,
    rows_at_once: int = 16,
    **settings: Any,
) -> Synthesis:
    """Makes a picture for each of many channels of a layer.

    Args:
        model: A built Keras model with one input.
        layer: Layer, or its path.
        units: The channels, or how many of the first.
        rows_at_once: Most pictures in memory at once.
        settings: Those of `maximize`.

    Returns:
        A `Synthesis`, one row for each channel; `.show()` draws the grid.

    Raises:
        ValueError: If the layer has no such channel.

    Example:

    >>> from keras_explain.synthesis import layer_grid
    >>> made = layer_grid(model, "conv1", 3, steps=2, value_range=(0, 1),
    ...                   verbose=False)
    >>> made.titles
    ['conv1 channel 0', 'conv1 channel 1', 'conv1 channel 2']

    References:
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
    """
    if isinstance(units, (int, np.integer)):
        shape = filled(sample_shape(model), settings.get("size") or USUAL_SIZE)
        graph, _ = record_rows(model, 1, shape)
        found = graph.find(layer).shape
        units = range(min(int(units), int(found[-1]) if found else 1))
    targets = [Channel(layer, int(unit)) for unit in units]
    return _in_parts(model, targets, rows_at_once, settings)


def _in_parts(
    model: keras.Model,
    targets: Sequence[Target],
    rows_at_once: int,
    settings: dict[str, Any],
) -> Synthesis:
    if rows_at_once < 1:
        raise ValueError(
            message(
                "At least one picture is made at once.",
                f"rows_at_once={rows_at_once!r}",
            )
        )
    if "start" in settings:
        raise ValueError(
            message(
                "A grid is made from its beginning.",
                "start=<Synthesis>",
                "Go on with `maximize`.",
            )
        )
    size = max(1, rows_at_once // settings.get("batch", 1))
    starts = range(0, len(targets), size)
    if len(starts) < 2:
        return maximize(model, list(targets), **settings)
    verbose = settings.pop("verbose", "auto")
    running = {
        name: settings.pop(name)
        for name in ("steps", "snapshots", "callback")
        if name in settings
    }
    check_names(settings)
    steps = len(starts) * int(running.setdefault("steps", 512))
    parts = []
    with (
        bar(steps, "Making pictures", verbose) as advance,
        interruption.between_steps(),
    ):
        for start in starts:
            some = list(targets[start : start + size])
            making = Maximization(model, some, **settings)
            parts.append(making.run(**running, advance=advance))
            if parts[-1].stopped in ("interrupted", "callback"):
                break
    return Synthesis.concatenate(parts)
