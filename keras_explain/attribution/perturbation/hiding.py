"""What the methods that hide parts of an input have in common."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import check_count
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.fills import (
    check_fill,
    check_tokens,
    fill_arguments,
    filled,
)
from keras_explain.engine.graph import Graph
from keras_explain.engine.masking import Masked
from keras_explain.engine.score import ScoreFunction


class Hiding(Explainer):
    """Hides parts of the input, or of a layer's output, and scores the rest.

    Args:
        model, layer: See `Explainer`.
        fill: What takes the place of hidden parts: `"zero"`; `"mean"` of
            each sample and channel; `"blur"`; a number; or an array for one
            sample (a list or dict of them for several inputs).
        batch_size: Most rows the model sees at once.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        fill: Any = "zero",
        layer: Any = None,
        batch_size: int = 32,
    ):
        super().__init__(model, layer=layer)
        check_fill(fill)
        check_count("batch_size", batch_size)
        self.fill = fill
        self.batch_size = batch_size

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        if self.layer is None:
            check_tokens(self.fill, inputs, graph)
        if self.layer is None or isinstance(self.fill, str):
            return fill_arguments(self.fill, inputs, rows)
        if np.ndim(self.fill) == 0:
            return {}
        values = tf.convert_to_tensor(self.fill, tf.float32)
        return {"fill": values[tf.newaxis]}  # of one output of the layer

    def _masked(self, function: ScoreFunction) -> Masked:
        """The run as it is, and the score under masks."""
        at = function.evaluate()
        given = function.extra.get("fill")
        fill = filled(self.fill, at.point, given)
        return Masked(function.settled(at.indices), at, fill)

    def _shapes(self, inputs: Any, graph: Graph) -> Any:
        """Shapes of the point with the batch axis, before the trace."""
        call = self._call(graph)
        if call is None:
            return tf.nest.map_structure(lambda t: t.shape, inputs)
        return tf.TensorShape(call.shape or [None])
