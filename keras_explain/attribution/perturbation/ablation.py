"""Feature ablation: what the score loses without one segment."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.perturbation import segments as maps
from keras_explain.attribution.perturbation.hiding import Hiding
from keras_explain.engine.catalogue import register
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import ScoreFunction


@register(
    "feature_ablation",
    family="perturbation",
    title="Feature ablation",
    paper="Zeiler & Fergus, 2014",
    cost="a forward for each segment",
)
class FeatureAblation(Hiding):
    """The drop of the score when one segment is hidden.

    Use it where you know what belongs together: superpixels of an image,
    words of a text, columns of a table that are one category. Costs a
    forward pass for each segment.

        attribution_i = score(x) - score(x without the segment of i)

    Args:
        model, layer: See `Explainer`.
        segments: Array of integers; values with equal numbers are one
            segment and are hidden together. Of the shape of one sample, or
            of its positions, to hide all channels; with a row for each
            sample if they have segments of their own; a list or dict of
            them for several inputs, where equal numbers in several inputs
            are one segment. `None` is each value of a table, and else a grid
            of at most 64 boxes with all channels.
        fill: What takes the place of hidden values: `"zero"`; `"mean"` of
            each sample and channel; `"blur"`; a number; or an array for one
            sample (a list or dict of them for several inputs).
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output); all values of a
        segment have the same. Signed; units of the score.

    Raises:
        TypeError: If the segments are no integers.
        ValueError: If a map of segments is of another size than the inputs.

    Example:

    >>> halves = np.arange(8)[:, None] // 4 + np.zeros((8, 8), int)
    >>> explainer = keras_explain.FeatureAblation(model, segments=halves)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Zeiler, Fergus, 2014. Visualizing and Understanding Convolutional
        Networks. https://arxiv.org/abs/1311.2901
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        segments: Any = None,
        fill: Any = "zero",
        layer: Any = None,
        batch_size: int = 32,
    ):
        super().__init__(model, fill=fill, layer=layer, batch_size=batch_size)
        self._maps = maps.Segments(segments)
        self.segments = segments

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        extra = super()._extra(inputs, rows, graph)
        if self.segments is not None:
            shapes = self._shapes(inputs, graph)
            extra["segments"] = self._maps.fit(shapes, rows)
        return extra

    def _attribute(self, function: ScoreFunction) -> Attribution:
        masked = self._masked(function)
        point = masked.at.point
        if self.segments is None:
            drawn, number = maps.default(point)
        else:
            drawn, number = function.extra["segments"], self._maps.number

        def kept(ids: tf.Tensor) -> Any:
            def mask(segments: tf.Tensor) -> tf.Tensor:
                numbers = tf.reshape(ids, [-1] + [1] * segments.shape.rank)
                return tf.cast(segments != numbers, tf.float32)

            return tf.nest.map_structure(mask, drawn)

        scores = masked.collect(kept, number, self.batch_size)
        drops = tf.transpose(masked.at.score - scores)  # (batch, segments)

        def spread(segments: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
            rows = tf.shape(drops)[:1]
            shape = tf.concat([rows, tf.shape(segments)[1:]], 0)
            found = tf.gather(
                drops, tf.broadcast_to(segments, shape), batch_dims=1
            )
            return tf.broadcast_to(found, tf.shape(tensor))

        values = tf.nest.map_structure(spread, drawn, point)
        return Attribution(values, masked.at)
