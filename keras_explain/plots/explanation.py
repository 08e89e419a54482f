"""The figure that fits an attribution: picture, series, text, volume, table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.plots import series, slices, table, tokens
from keras_explain.plots.batch import Samples, check, kind
from keras_explain.plots.canvas import (
    LABEL_SIZE,
    blank,
    characters,
    draw_picture,
    draw_title,
    stack,
    title_room,
    wrap,
)
from keras_explain.plots.color import (
    colorize,
    colorize_on_white,
    levels,
    to_displayable,
    value_range,
)
from keras_explain.plots.heatmaps import blend, heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

_CELL = 2.0
_SAMPLES_PER_LINE = 4


def plot_attributions(
    inputs: Any,
    attributions: Any,
    *,
    titles: Sequence[str] | None = None,
    max_outputs: int = 8,
    signed: bool | None = None,
    percentile: float = 99.5,
) -> Figure:
    """Draws a batch of attributions in the way that fits their shape.

    Inputs and attributions of shape

    - `(n, height, width, channels)`: pictures, above their heat maps;
    - `(n, steps, channels)`, at most 8 channels and fewer than steps: lines;
    - `(n, height, width)`, if not read as steps: gray pictures;
    - `(n, depth, height, width, channels)`: slices;
    - `(n, features)`: bars;
    - `(n, tokens)`, with strings as inputs or with attributions of shape
      `(n, tokens, features)`, as to an embedding: tokens.

    Attributions may lack the channels of their inputs.

    Each sample has a scale of its own; whether signs are shown is decided for
    the whole batch, so that colors mean the same in all its samples.

    Args:
        inputs: What was explained, or `None` to draw the attributions alone,
            as for a layer whose output is not a picture.
        attributions: One attribution per sample.
        titles: A text for each sample.
        max_outputs: How many samples to draw, at most.
        signed: Whether to show signs: red for positive, blue for negative.
            `None` is `True` if any value is negative.
        percentile: Magnitudes above this percentile of a sample share the
            strongest color. Bars are never clipped.

    Returns:
        A `matplotlib.figure.Figure`, not known to `pyplot`.

    Raises:
        TypeError: If inputs or attributions are not one array.
        ValueError: If shapes do not fit, values are NaN or infinite, or an
            option is out of its range.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import plot_attributions
    >>> images, maps = np.zeros((2, 8, 8, 3)), np.ones((2, 8, 8))
    >>> figure = plot_attributions(images, maps, titles=["cat", "dog"])
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['cat', 'dog']
    """
    samples = check(
        inputs,
        attributions,
        titles=titles,
        max_outputs=max_outputs,
        signed=signed,
        percentile=percentile,
    )
    return _DRAW[kind(samples)](samples)


def _draw_pictures(samples: Samples) -> Figure:
    columns = []
    shown_range = None
    if samples.inputs is not None:
        shown_range = value_range(samples.inputs)
    for index, attribution in enumerate(samples.attributions):
        picture = None
        if attribution.ndim == 1 and samples.inputs is not None:
            # One value per step, over a series with too many channels for
            # lines: it holds for all of them.
            attribution = np.broadcast_to(
                attribution[:, np.newaxis], samples.inputs.shape[1:]
            )
        if samples.inputs is not None:
            picture = to_displayable(
                samples.inputs[index], shown_range=shown_range
            )
        colored = heatmap(
            attribution,
            picture,
            signed=samples.signed,
            percentile=samples.percentile,
        )
        columns.append([colored] if picture is None else [picture, colored])
    height, width = columns[0][0].shape[:2]
    cell_height = _CELL * min(max(height / width, 0.3), 2.5)
    key = _picture_key(samples)
    if len(columns) == 1:
        return _draw_pair(columns[0], samples.titles[0], cell_height, key)
    per_line = min(len(columns), _SAMPLES_PER_LINE)
    bands = [
        slice(start, start + per_line)
        for start in range(0, len(columns), per_line)
    ]
    # A title that wraps over many lines must not eat into the pictures.
    heads = [_head(title) for title in samples.titles]
    heights = [
        len(columns[0]) * (cell_height + 0.08)
        + 0.18 * max(head.count("\n") + bool(head) for head in heads[band])
        + 0.1
        for band in bands
    ]

    def draw(index: int, part: FigureBase) -> None:
        band = bands[index]
        _draw_band(part, columns[band], heads[band], per_line)

    return stack(per_line * (_CELL + 0.08), heights, draw, key)


def _head(title: str | None) -> str:
    return wrap(title or "", characters(_CELL, LABEL_SIZE))


def _picture_key(samples: Samples) -> np.ndarray:
    values = levels(samples.signed)
    if samples.inputs is None:
        return colorize(values, signed=samples.signed)
    return blend(values, 127.5, signed=samples.signed)


def _draw_pair(
    pictures: list[np.ndarray],
    title: str | None,
    cell_height: float,
    key: np.ndarray,
) -> Figure:
    """Draws one sample with its heat map beside it, larger."""
    # One sample has room: half as large again.
    width = len(pictures) * 1.5 * (_CELL + 0.08)

    def draw(_: int, part: FigureBase) -> None:
        cells = part.subplots(1, len(pictures), squeeze=False)[0]
        for axes, picture in zip(cells, pictures, strict=True):
            draw_picture(axes, picture)
        draw_title(part, title, width)

    room = title_room(title, width) + 0.1
    return stack(width, [1.5 * cell_height + room], draw, key)


def _draw_band(
    part: FigureBase,
    columns: list[list[np.ndarray]],
    heads: list[str],
    per_line: int,
) -> None:
    """Draws samples side by side, each above its heat map."""
    cells = part.subplots(len(columns[0]), per_line, squeeze=False)
    for place in range(per_line):
        if place >= len(columns):
            for axes in cells[:, place]:
                blank(axes)
            continue
        for axes, picture in zip(cells[:, place], columns[place], strict=True):
            draw_picture(axes, picture)
        if heads[place]:
            cells[0, place].set_title(
                heads[place], fontsize=LABEL_SIZE, parse_math=False
            )


def _white_key(samples: Samples) -> np.ndarray:
    return colorize_on_white(levels(samples.signed), signed=samples.signed)


def _draw_series(samples: Samples) -> Figure:
    # Without inputs, the line is the attribution itself.
    inputs = samples.inputs
    values = samples.attributions if inputs is None else inputs
    height = series.block_height(values.shape[2])
    heights = [
        height + title_room(title, series.WIDTH) for title in samples.titles
    ]

    def draw(index: int, part: FigureBase) -> None:
        lines, normalized = series.per_channel(
            values[index],
            samples.attributions[index],
            samples.signed,
            samples.percentile,
        )
        colors = colorize_on_white(normalized, signed=samples.signed)
        series.draw_signal(part, lines, colors, title=samples.titles[index])

    return stack(series.WIDTH, heights, draw, _white_key(samples))


def _draw_tokens(samples: Samples) -> Figure:
    words = [tokens.readable(row) for row in samples.tokens()]
    heights = [
        tokens.block_height(row) + title_room(title, tokens.WIDTH)
        for row, title in zip(words, samples.titles, strict=True)
    ]

    def draw(index: int, part: FigureBase) -> None:
        normalized = samples.normalized(index, 1)
        colors = colorize_on_white(normalized, signed=samples.signed)
        tokens.draw_tokens(
            part, words[index], colors, title=samples.titles[index]
        )

    return stack(tokens.WIDTH, heights, draw, _white_key(samples))


def _draw_table(samples: Samples) -> Figure:
    rows = [
        table.ranked(
            attribution,
            None if samples.inputs is None else samples.inputs[index],
        )
        for index, attribution in enumerate(samples.attributions)
    ]
    heights = [
        table.block_height(labels) + title_room(title, table.WIDTH)
        for (_, labels), title in zip(rows, samples.titles, strict=True)
    ]

    def draw(index: int, part: FigureBase) -> None:
        scores, labels = rows[index]
        table.draw_bars(part, scores, labels, title=samples.titles[index])

    # No key: the axis of the bars already tells signs and sizes.
    return stack(table.WIDTH, heights, draw)


def _draw_slices(samples: Samples) -> Figure:
    strips = [
        slices.cut(
            attribution,
            None if samples.inputs is None else samples.inputs[index],
            signed=samples.signed,
            percentile=samples.percentile,
        )
        for index, attribution in enumerate(samples.attributions)
    ]
    width, height = slices.strip_size(strips[0][0])
    heights = [height + title_room(title, width) for title in samples.titles]

    def draw(index: int, part: FigureBase) -> None:
        rows, depths = strips[index]
        slices.draw_slices(part, rows, depths, title=samples.titles[index])

    return stack(width, heights, draw, _picture_key(samples))


_DRAW: dict[str, Callable[[Samples], Figure]] = {
    "pictures": _draw_pictures,
    "series": _draw_series,
    "tokens": _draw_tokens,
    "slices": _draw_slices,
    "table": _draw_table,
}
