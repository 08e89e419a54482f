"""Attributions to volumes, as a strip of slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import (
    LABEL_SIZE,
    draw_picture,
    draw_title,
    new_figure,
    title_room,
)
from keras_explain.plots.color import (
    collapse_channels,
    colorize,
    finite_array,
    gray,
    is_signed,
    normalize,
    to_displayable,
    value_range,
)
from keras_explain.plots.heatmaps import blend

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

CELL = 1.45


def volume(
    attribution: Any,
    image: Any = None,
    *,
    num_slices: int = 8,
    title: str | None = None,
    signed: bool | None = None,
    percentile: float = 99.5,
) -> Figure:
    """Draws slices of a volume with their heat maps below.

    The slices are spread evenly over the depth, except that the nearest one
    gives way to the slice with the largest sum of magnitudes, so that the
    strongest place is always seen. All slices share one scale.

    Args:
        attribution: Array of shape `(depth, height, width)`, or with channels
            last, which are added up.
        image: The volume itself, of the same size, or `None`.
        num_slices: How many slices to show, at most.
        title: Text above the slices.
        signed: Whether to show signs: red for positive, blue for negative.
            `None` is `True` if any value is negative.
        percentile: Magnitudes above this percentile share the strongest color.

    Returns:
        A `matplotlib.figure.Figure`: with an image, a row of its slices and a
        row of heat maps, else the heat maps alone.

    Raises:
        ValueError: If sizes differ or values are NaN or infinite.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import volume
    >>> len(volume(np.ones((20, 8, 8)), num_slices=5).axes)
    5
    """
    if num_slices < 1:
        raise ValueError(
            message(
                "`num_slices` must be at least 1.", f"num_slices={num_slices}"
            )
        )
    rows, depths = cut(
        attribution,
        image,
        num_slices=num_slices,
        signed=signed,
        percentile=percentile,
    )
    width, height = strip_size(rows)
    figure = new_figure(width, height + title_room(title, width))
    draw_slices(figure, rows, depths, title=title)
    return figure


def cut(
    attribution: Any,
    image: Any = None,
    *,
    num_slices: int = 8,
    signed: bool | None = None,
    percentile: float = 99.5,
) -> tuple[list[list[np.ndarray]], list[int]]:
    """Returns rows of pictures of the slices, and where those were cut."""
    if signed is None:
        signed = is_signed(attribution)
    values = collapse_channels(attribution, 3)
    depths = choose_depths(values, num_slices)
    normalized = normalize(values, percentile=percentile, signed=signed)
    if image is None:
        return [
            [colorize(normalized[depth], signed=signed) for depth in depths]
        ], depths
    content = finite_array(image, "image")
    if content.shape[:3] != values.shape or content.ndim not in (3, 4):
        raise ValueError(
            message(
                "The attribution and the volume differ in size.",
                f"attribution of shape {values.shape}, image of shape "
                f"{content.shape}",
                "Resize the attribution to the volume first, or pass "
                "`image=None` to draw it alone.",
            )
        )
    shown_range = value_range(image)
    pictures = [
        to_displayable(content[depth], shown_range=shown_range)
        for depth in depths
    ]
    maps = [
        blend(normalized[depth], gray(picture), signed=signed)
        for depth, picture in zip(depths, pictures, strict=True)
    ]
    return [pictures, maps], depths


def choose_depths(values: np.ndarray, num_slices: int) -> list[int]:
    """Returns evenly spread indices, one moved to the strongest slice."""
    depth = len(values)
    # The middles of equal parts: first and last slices are mostly empty.
    count = min(num_slices, depth)
    chosen = ((np.arange(count) + 0.5) * depth / count).astype("int64")
    strongest = int(np.abs(values).sum(axis=(1, 2)).argmax())
    chosen[np.abs(chosen - strongest).argmin()] = strongest
    return [int(index) for index in np.sort(chosen)]


def strip_size(rows: list[list[np.ndarray]]) -> tuple[float, float]:
    """Returns the width and height in inches of rows of slices."""
    height, width = rows[0][0].shape[:2]
    ratio = min(max(height / width, 0.3), 2.5)
    return (
        max(len(rows[0]) * (CELL + 0.08), 3.0),
        len(rows) * (CELL * ratio + 0.08) + 0.35,
    )


def draw_slices(
    place: FigureBase,
    rows: list[list[np.ndarray]],
    depths: list[int],
    *,
    title: str | None = None,
) -> None:
    """Draws rows of slices into a figure or a part of one."""
    cells = place.subplots(len(rows), len(depths), squeeze=False)
    for axes, row in zip(cells, rows, strict=True):
        for cell, picture in zip(axes, row, strict=True):
            draw_picture(cell, picture)
    for axes, depth in zip(cells[0], depths, strict=True):
        axes.set_title(f"slice {depth}", fontsize=LABEL_SIZE)
    draw_title(place, title, strip_size(rows)[0])
