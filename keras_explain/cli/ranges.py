"""Which values the pixels of a made picture have, from `--preprocess`."""

from __future__ import annotations

import functools
from typing import Any

import keras

from keras_explain.cli.failures import CommandError
from keras_explain.cli.models import Source
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.synthesis import value_range

_SCALES = {
    "none": (0.0, 255.0),
    "scale01": (0.0, 1.0),
    "scale11": (-1.0, 1.0),
    "tf": (-1.0, 1.0),
}


def settings(how: str, source: Source) -> dict[str, Any]:
    """Returns what `--preprocess` means to `maximize` and `deep_dream`."""
    if how in _SCALES:
        return {"value_range": _SCALES[how]}
    if how != "auto":
        prepare = keras.applications.imagenet_utils.preprocess_input
        return {"preprocess": functools.partial(prepare, mode=how)}
    if source.application is not None:
        module = source.application.module
        return {"preprocess": module.preprocess_input}
    return {}


def find(
    model: keras.Model, graph: Graph, given: dict[str, Any]
) -> value_range.ValueRange:
    """Returns the values that pictures have.

    Args:
        model: The model.
        graph: Its recorded run.
        given: What `settings` returned.

    Raises:
        CommandError: If neither the model nor the command line says.
    """
    try:
        return value_range.find(model, graph, **given)
    except ValueError as error:
        raise CommandError(
            message(
                "The model does not say which values its pixels have.",
                "a model that does not begin with Rescaling or Normalization",
                "Pass --preprocess as it was trained: none for pixels of 0 to "
                "255, scale01 for 0 to 1, scale11 for -1 to 1, or caffe or "
                "torch.",
            )
        ) from error


def text(found: value_range.ValueRange) -> str:
    """Returns the range for people."""
    return f"{found.low:g} to {found.high:g}, {found.source}"
