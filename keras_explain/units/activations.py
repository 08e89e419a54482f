"""What the units of a layer make of some inputs."""

from __future__ import annotations

from typing import Any

import keras

from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.score import ScoreFunction


class Activations(Explainer):
    """The output of a layer at any depth, as it is.

    It is used like an explainer, and like one it reads the weights at every
    call. Costs one forward pass.

    Args:
        model: A built `keras.Model` of any kind. Not changed.
        layer: The layer, or its path (`"backbone/conv5"`).

    Output shape:
        That of the layer's output.

    Raises:
        ValueError: If no layer is named, or the model calls none of that
            name.

    Example:

    >>> from keras_explain.units import Activations
    >>> layer = model.layers[1].name
    >>> Activations(model, layer=layer)(images).shape[0]
    2
    """

    catalogue_name = "activations"

    def __init__(self, model: keras.Model, *, layer: Any = None):
        if layer is None:
            raise ValueError(
                message(
                    "Activations are those of a layer.",
                    "layer=None",
                    "Pass its name; `keras-explain layers MODEL` lists them.",
                )
            )
        super().__init__(model, layer=layer)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        return Attribution(at.point, at)
