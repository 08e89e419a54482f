"""How pixels of 0 to 255 become what a model takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_explain.cli.applications import Application
from keras_explain.engine.graph import Graph

_RESCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide",
              "Multiply", "Subtract"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A function on `(batch, height, width, channels)` float32 pixels.

    Attributes:
        text: What it does, for people.
        function: The function.
        notice: What a person should be told about the choice; or empty.
    """

    text: str
    function: Callable[[np.ndarray], np.ndarray]
    notice: str = ""


def choose(
    how: str, application: Application | None, graph: Graph
) -> Preprocessing:
    """Returns the preprocessing asked for, or the one that fits the model."""
    if how != "auto":
        return _named(how)
    if application is not None:
        return Preprocessing(
            f"that of {application.name}", application.preprocess
        )
    if begins_by_rescaling(graph):
        return _named("none")
    chosen = _named("scale01")
    return dataclasses.replace(
        chosen,
        notice="The model does not say how its pixels were prepared; they "
        "are divided by 255. If it was trained in another way, pass "
        "--preprocess.",
    )


def begins_by_rescaling(graph: Graph) -> bool:
    """Whether the model rescales pixels before it does anything else."""
    for call in graph.calls:
        if not call.on_path:
            continue
        if call.kind in _RESCALING:
            return True
        if getattr(call.operation, "weights", None):
            return False
    return False


def _named(how: str) -> Preprocessing:
    texts = {
        "none": "none, pixels from 0 to 255",
        "scale01": "pixels divided by 255",
        "scale11": "pixels scaled to -1 to 1",
        "tf": "pixels scaled to -1 to 1",
        "caffe": "caffe: BGR less the means of ImageNet",
        "torch": "torch: standardized by ImageNet",
    }

    def scaled(images: np.ndarray) -> np.ndarray:
        if how == "none":
            return images
        if how == "scale01":
            return images / 255.0
        if how in ("scale11", "tf"):
            return images / 127.5 - 1.0
        prepare = keras.applications.imagenet_utils.preprocess_input
        return np.asarray(prepare(images.copy(), mode=how))

    return Preprocessing(texts[how], scaled)
