"""Guided backpropagation, kept where Grad-CAM points."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.backprop import GuidedBackprop
from keras_explain.attribution.cam import GradCAM
from keras_explain.engine.catalogue import register
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.score import ScoreFunction


@register(
    "guided_grad_cam",
    family="backprop",
    title="Guided Grad-CAM",
    paper="Selvaraju et al., 2017",
    cost="2 gradients",
    needs="ReLUs and a feature map",
)
class GuidedGradCAM(Explainer):
    """Guided backpropagation times the Grad-CAM map.

    Use it for pictures that are both fine and about the class. It inherits
    the faults of guided backpropagation. Costs a gradient and a `GradCAM`.

        attribution = guided gradient * resized Grad-CAM map

    Args:
        model: See `Explainer`.
        layer: The layer of the Grad-CAM map; `None` for the last feature
            map.

    Output shape:
        That of the inputs. Signed. Inputs the map does not lie on (a vector
        beside an image) keep their guided gradient.

    Raises:
        ValueError: As `GuidedBackprop` and `GradCAM`.

    Example:

    >>> keras_explain.GuidedGradCAM(model)(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Selvaraju et al., 2017. Grad-CAM: Visual Explanations from Deep
        Networks. https://arxiv.org/abs/1610.02391
    """

    def __init__(self, model: keras.Model, *, layer: Any = None):
        super().__init__(model, layer=layer)
        self._guided = GuidedBackprop(model)
        self._grad_cam = GradCAM(model, layer=layer)

    def _call(self, graph: Graph) -> Call | None:
        return self._grad_cam._call(graph)

    def _bind(self, function: ScoreFunction) -> ScoreFunction:
        return self._grad_cam._bind(function)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        cam = self._grad_cam._attribute(function)
        function = function.settled(cam.evaluation.indices)
        guided = self._guided._attribute(self._guided._bind(function))

        def product(values: tf.Tensor) -> tf.Tensor:
            if values.shape.rank == cam.values.shape.rank + 1:
                return values * cam.values[..., tf.newaxis]
            return values

        values = tf.nest.map_structure(product, guided.values)
        return Attribution(values, cam.evaluation)
