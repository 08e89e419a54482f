"""The base of class activation maps: one layer, one map, laid on the input."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.errors import candidates, message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.placement import receptive_fields
from keras_explain.engine.resizing import resize
from keras_explain.engine.score import ScoreFunction

PLACEMENTS = ("receptive_field", "grid")


class ClassActivationMap(Explainer):
    """Combines the channels of a feature map into one map of the input.

    What is made of the layer a method defines in `_attribute`, and lays it on
    the input with `_to_inputs`.
    """

    signed = False

    def __init__(
        self,
        model: keras.Model,
        *,
        placement: str = "receptive_field",
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        if placement not in PLACEMENTS:
            raise ValueError(
                message(
                    "Cells of a map are placed on the input in one of two "
                    "ways.",
                    f"placement={placement!r}",
                    f"Pass {' or '.join(map(repr, PLACEMENTS))}.",
                )
            )
        self.placement = placement

    def _call(self, graph: Graph) -> Call:
        if self.layer is not None:
            call = graph.find(self.layer)
            if call.shape is None or len(call.shape) < 3:
                raise ValueError(
                    message(
                        f"{type(self).__name__} needs a layer with output "
                        "(batch, height, width, channels), or with one or "
                        "three spatial axes.",
                        f"layer={self.layer!r}, whose output is {call.shape}",
                        _qualifying(graph),
                    )
                )
            return call
        found = graph.automatic_spatial
        if found is None:
            raise ValueError(
                message(
                    f"{type(self).__name__} needs a feature map, and no "
                    "layer of the model has a spatial output.",
                    f"a model of {len(graph.layers)} layers",
                    "Use `Gradient` or `IntegratedGradients`.",
                )
            )
        return found

    def _to_inputs(self, maps: tf.Tensor, function: ScoreFunction) -> tf.Tensor:
        """Lays `(batch, *spatial)` maps on the spatial axes of the input."""
        like = spatial_input(function.inputs, maps.shape.rank - 1)
        if like is None:
            return maps
        axes = like.shape.rank - 2 if like.shape.rank > 2 else 1
        sizes = _sizes(like, axes)
        if maps.shape.rank == 2 and axes == 2:
            return resize(_to_grid(maps, like), sizes)
        seen = None
        if self.placement == "receptive_field" and function.call is not None:
            seen = receptive_fields(function.graph, function.call, sizes)
        grids = seen and [(axis.center, axis.spacing) for axis in seen]
        return resize(maps, sizes, grids)


class GradientActivationMap(ClassActivationMap):
    """A map made of a feature map and its gradient."""

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.differentiate()
        activation = tf.cast(at.point, tf.float32)
        maps = self._combine(activation, at.gradient)
        return Attribution(self._to_inputs(maps, function), at)

    def _combine(self, a: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        """The mathematics: `(batch, *spatial, channels)` twice to a map."""
        raise NotImplementedError


def _qualifying(graph: Graph) -> str:
    names = [graph.address(call) for call in graph.spatial()]
    last = graph.automatic_spatial
    if last is None:
        return "No layer of this model qualifies."
    return (
        f"Layers that qualify: {candidates(names, 6)}. Pass one of them, or "
        f"`layer=None` for {graph.address(last)!r}."
    )


def spatial_axes(a: tf.Tensor) -> list[int]:
    """The axes between the batch and the channels."""
    return list(range(1, a.shape.rank - 1))


def weighted_sum(a: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sums channels with `(batch, channels)` weights."""
    for _ in spatial_axes(a):
        weights = weights[:, tf.newaxis]
    return tf.reduce_sum(weights * a, -1)


def spatial_input(inputs: Any, num_axes: int) -> tf.Tensor | None:
    """The first input that a map with so many axes can be laid upon."""
    flat = tf.nest.flatten(inputs)
    wanted = [(num_axes + 2,)]
    if num_axes == 1:  # time steps; else the tokens of an image; else words
        wanted = [(3,), (4,), (2,)]
    for ranks in wanted:
        for tensor in flat:
            if tensor.shape.rank in ranks:
                return tensor
    return None


def _sizes(like: tf.Tensor, axes: int) -> list[int | tf.Tensor]:
    dynamic = tf.shape(like)
    return [
        like.shape[k] if like.shape[k] is not None else dynamic[k]
        for k in range(1, axes + 1)
    ]


def _to_grid(maps: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Lays the tokens of a vision transformer out as a grid.

    A token too many is a class token, and comes first.
    """
    tokens, height, width = maps.shape[1], like.shape[1], like.shape[2]
    if tokens and height and width:
        for extra in (0, 1):
            rows = round(((tokens - extra) * height / width) ** 0.5)
            if rows and (tokens - extra) % rows == 0:
                columns = (tokens - extra) // rows
                if rows * width == columns * height:
                    grid = maps[:, extra:]
                    return tf.reshape(grid, [-1, rows, columns])
    raise ValueError(
        message(
            "The tokens of the layer do not form a grid on the image.",
            f"{tokens} tokens for an image of {height} x {width} pixels",
            "Pass a `layer` with output (batch, height, width, channels), "
            "or one with a token for each patch.",
        )
    )
