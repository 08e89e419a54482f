"""Occlusion: what the score loses when a window hides a part."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.perturbation import windows
from keras_explain.attribution.perturbation.hiding import Hiding
from keras_explain.engine import incremental, saving
from keras_explain.engine.catalogue import register
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Graph
from keras_explain.engine.masking import Masked
from keras_explain.engine.pieces import Chosen
from keras_explain.engine.receptive_field import Box, Span
from keras_explain.engine.score import ScoreFunction


@register(
    "occlusion",
    family="perturbation",
    title="Occlusion",
    paper="Zeiler & Fergus, 2014",
    cost="a forward for each window, or the part of it that can change",
)
class Occlusion(Hiding):
    """The drop of the score when a window hides a part of the input.

    Use it where gradients are not to be trusted, and to see what a gradient
    cannot say: how much a whole region counts. Costs a forward pass for each
    window; in a convolutional network only the part of each feature map that
    the window can reach is computed again.

        attribution_i = mean_{w over i} (score(x) - score(x without w))

    A window moves by `stride` from the first position on; the last one is
    cut at the border, so that there are `1 + ceil((size - window) / stride)`
    along an axis. A value that no window hides, because the stride is larger
    than the window, gets zero.

    Differs from the paper: it fills with grey and shows the score itself;
    here each window's drop is given to the values it hides.

    Args:
        model, layer: See `Explainer`.
        window: Cells that are hidden at once: a number for all axes of
            positions, with all channels; or a tuple over the axes of
            positions, and over the channels too if they are to be hidden in
            turn. For several inputs a number for all, or a list or dict with
            one for each. `None` is an eighth of each axis, and one value of
            a table.
        stride: Cells from one window to the next, given like the window;
            `None` for windows side by side.
        fill: What takes the place of hidden values: `"mean"` of each sample
            and channel; `"zero"`; `"blur"`; a number; or an array for one
            sample (a list or dict of them for several inputs).
        incremental: Whether only what a window can reach is computed again:
            `"auto"` where it saves time, `True` wherever it is possible,
            `False` never. The result is the same, but for the rounding of
            sums (1e-5 of the largest value).
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        score.

    Raises:
        TypeError: If a window or stride is no whole number.
        ValueError: If a window or stride is less than 1, a window is larger
            than the input, or the fill is not finite.

    Example:

    >>> keras_explain.Occlusion(model, window=4, stride=2)(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Zeiler, Fergus, 2014. Visualizing and Understanding Convolutional
        Networks. https://arxiv.org/abs/1311.2901
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        window: Any = None,
        stride: Any = None,
        fill: Any = "mean",
        incremental: bool | str = "auto",
        layer: Any = None,
        batch_size: int = 32,
    ):
        super().__init__(model, fill=fill, layer=layer, batch_size=batch_size)
        windows.check_cells("window", window)
        windows.check_cells("stride", stride)
        if incremental not in ("auto", True, False):
            raise ValueError(
                message(
                    "There is no such way to run a model again.",
                    f"incremental={incremental!r}",
                    'Pass "auto", True or False.',
                )
            )
        self.window = windows.plain(window)
        self.stride = windows.plain(stride)
        self.incremental = incremental

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        shapes = self._shapes(inputs, graph)
        several = isinstance(shapes, (list, tuple, dict))
        flat = tf.nest.flatten(shapes) if several else [shapes]
        given = zip(
            windows.parts("window", self.window, shapes),
            windows.parts("stride", self.stride, shapes),
            flat,
            strict=True,
        )
        for k, (window, stride, shape) in enumerate(given):
            name = f"input {k}" if len(flat) > 1 else "an input"
            name = name if self.layer is None else "the layer's output"
            windows.check_fit(window, stride, shape, name)
        return super()._extra(inputs, rows, graph)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        masked = self._masked(function)
        grids = self._grids(masked.at.point)
        total = sum(grid.number for grid in grids)
        boxes = [
            self._box(grid, tensor)
            for grid, tensor in zip(
                grids, tf.nest.flatten(masked.at.point), strict=True
            )
        ]
        if self._pays(masked.function, boxes):
            scores = self._collect_parts(masked, grids, boxes)
        else:
            scores = masked.collect(
                lambda ids: _masks(grids, ids, masked.at.point),
                total,
                self.batch_size,
            )
        found = _spread(masked.at.score - scores, grids)
        values = tf.nest.pack_sequence_as(masked.at.point, found)
        return Attribution(values, masked.at)

    def _grids(self, point: Any) -> list[windows.Grid]:
        given = zip(
            windows.parts("window", self.window, point),
            windows.parts("stride", self.stride, point),
            tf.nest.flatten(point),
            strict=True,
        )
        return [
            windows.grid(window, stride, tensor.shape, tf.shape(tensor))
            for window, stride, tensor in given
        ]

    def _box(self, grid: windows.Grid, tensor: tf.Tensor) -> Box | None:
        """What the windows hide, if parts of a map can be run alone."""
        if tensor.shape.rank < 3 or not tensor.dtype.is_floating:
            return None
        if None in tensor.shape[1:]:
            return None
        return tuple(map(_span, grid.axes[:-1]))

    def _pays(self, function: ScoreFunction, boxes: list[Box | None]) -> bool:
        known = [box for box in boxes if box is not None]
        if not self.incremental or not known or function.rules:
            return False
        if self.incremental is True:
            return True
        return saving.pays(function, known)

    def _collect_parts(
        self,
        masked: Masked,
        grids: list[windows.Grid],
        boxes: list[Box | None],
    ) -> tf.Tensor:
        """The scores, from runs of what the windows can reach.

        One sample after the other, so that the memory taken by the feature
        maps that are kept does not grow with the batch.
        """
        limit = 1.0 if self.incremental is True else saving.LIMIT

        def sample(row: tf.Tensor) -> tf.Tensor:
            kept = incremental.Clean(masked.function, row, limit)
            fills = tf.nest.map_structure(
                lambda t: tf.gather(t, row[tf.newaxis]), masked.fill
            )
            found = []
            for number, (grid, box) in enumerate(
                zip(grids, boxes, strict=True)
            ):
                scores = _scores(kept, fills, number, grid, box)
                found.append(
                    incremental.collect(scores, grid.number, self.batch_size)
                )
            return tf.concat(found, 0)

        rows = tf.range(masked.function.batch)
        scores = tf.map_fn(
            sample, rows, parallel_iterations=1, fn_output_signature=tf.float32
        )
        return tf.transpose(scores)


def _span(axis: windows.Axis) -> Span:
    low = np.arange(axis.number) * axis.stride
    return Span(low, low + axis.window, axis.length).clipped(axis.length)


def _masks(grids: list[windows.Grid], ids: tf.Tensor, point: Any) -> Any:
    """Masks of windows that are numbered through all inputs."""
    found, first = [], 0
    for grid in grids:
        found.append(tf.cast(grid.kept(ids - first), tf.float32))
        first = first + grid.number
    return tf.nest.pack_sequence_as(point, found)


def _spread(drops: tf.Tensor, grids: list[windows.Grid]) -> list[tf.Tensor]:
    """Shares the drops `(windows, batch)` out to the inputs."""
    found, first = [], 0
    for grid in grids:
        found.append(grid.spread(drops[first : first + grid.number]))
        first = first + grid.number
    return found


def _scores(
    kept: incremental.Clean,
    fills: Any,
    number: int,
    grid: windows.Grid,
    box: Box | None,
) -> Any:
    """Returns the function from windows over one input to their scores."""
    x = tf.nest.flatten(kept.point)[number]
    fill = tf.nest.flatten(fills)[number]

    def whole(ids: tf.Tensor) -> tf.Tensor:
        shown = tf.where(grid.kept(ids)[:, 0], x, fill)
        chosen = Chosen([], tf.size(ids))
        return kept.scores(number, shown, chosen, None)

    def piece(ids: tf.Tensor) -> tf.Tensor:
        *index, channel = grid.index(ids)
        chosen = Chosen(index, tf.size(ids))
        channels = grid.axes[-1].hidden(channel)
        shape = [-1] + [1] * len(index) + [channels.shape[1]]
        hidden = chosen.changed(box) & tf.reshape(channels, shape)
        reads = [(span.start, span.size) for span in box]
        values = tf.where(hidden, chosen.cut(fill, reads), chosen.cut(x, reads))
        return kept.scores(number, values, chosen, box)

    return whole if box is None else piece
