"""Grids of pictures: rows of samples, columns of methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import (
    LABEL_SIZE,
    blank,
    characters,
    draw_picture,
    draw_title,
    new_figure,
    title_room,
    wrap,
)
from keras_explain.plots.color import to_displayable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_LABEL_WIDTH = 18


def grid(
    pictures: Sequence[Sequence[Any]],
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    cell_labels: Sequence[Sequence[str]] | None = None,
    title: str | None = None,
    cell_size: float = 1.9,
) -> Figure:
    """Draws pictures side by side, usually one sample per row.

    To compare methods, put the image into the first column and one heat map
    per method into the others.

    Args:
        pictures: Rows of images, as `to_displayable` takes them: make heat
            maps with `heatmap` first. `None` leaves a cell empty, and so does
            the end of a short row.
        row_labels: A text for each row, on its left.
        column_labels: A text for each column, above the first row.
        cell_labels: Rows of texts, one above each picture; in place of
            `column_labels`.
        title: Text above all.
        cell_size: Width of a cell in inches.

    Returns:
        A `matplotlib.figure.Figure`, with one axes per cell, row by row.

    Raises:
        ValueError: If there is no picture, the number of labels differs
            from that of rows or columns, or cells and columns both have
            labels.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import grid, heatmap
    >>> image, attribution = np.eye(8), np.ones((8, 8))
    >>> row = [image, heatmap(attribution, image)]
    >>> len(grid([row], column_labels=["image", "GradCAM"]).axes)
    2
    """
    shown = [
        [None if cell is None else to_displayable(cell) for cell in row]
        for row in pictures
    ]
    columns = max((len(row) for row in shown), default=0)
    sizes = [cell.shape for row in shown for cell in row if cell is not None]
    if not sizes:
        raise ValueError(
            message(
                "There is no picture to draw.", f"{len(shown)} rows, all empty"
            )
        )
    _check_labels("row_labels", row_labels, len(shown))
    _check_labels("column_labels", column_labels, columns)
    names = [] if row_labels is None else row_labels
    heads = _heads(shown, column_labels, cell_labels, cell_size)
    # Cells have the shape of the pictures, within reason.
    ratio = max(height / width for height, width, _ in sizes)
    ratio = min(max(ratio, 0.3), 2.5)
    lines = sum(
        max((head.count("\n") + 1 for head in row if head), default=0)
        for row in heads
    )
    width = columns * (cell_size + 0.08) + (1.5 if len(names) else 0.1)
    height = len(shown) * (cell_size * ratio + 0.08) + 0.18 * lines + 0.1
    figure = new_figure(width, height + title_room(title, width))
    cells = figure.subplots(len(shown), columns, squeeze=False)
    for axes, row in zip(cells, shown, strict=True):
        for cell, picture in zip_longest(axes, row):
            if picture is None:
                blank(cell)
            else:
                draw_picture(cell, picture)
    for axes, texts in zip(cells, heads, strict=False):
        for cell, text in zip(axes, texts, strict=False):
            cell.set_title(text, fontsize=LABEL_SIZE, parse_math=False)
    for axes, label in zip(cells[:, 0], names, strict=False):
        axes.set_ylabel(
            wrap(label, _ROW_LABEL_WIDTH),
            rotation=0,
            ha="right",
            va="center",
            fontsize=LABEL_SIZE,
            parse_math=False,
        )
    draw_title(figure, title, width)
    return figure


def _heads(
    shown: list[list[Any]],
    column_labels: Sequence[str] | None,
    cell_labels: Sequence[Sequence[str]] | None,
    cell_size: float,
) -> list[list[str]]:
    """The texts above the cells, row by row; rows without are left out."""
    if column_labels is not None and cell_labels is not None:
        raise ValueError(
            message(
                "Texts stand above the columns or above each cell.",
                "`column_labels` and `cell_labels`",
                "Pass one of them.",
            )
        )
    rows = [] if column_labels is None else [column_labels]
    if cell_labels is not None:
        _check_labels("cell_labels", cell_labels, len(shown))
        for labels, row in zip(cell_labels, shown, strict=True):
            _check_labels("cell_labels", labels, len(row))
        rows = list(cell_labels)
    room = characters(cell_size, LABEL_SIZE)
    return [[wrap(label, room) for label in row] for row in rows]


def _check_labels(
    name: str, labels: Sequence[Any] | None, expected: int
) -> None:
    if isinstance(labels, str):
        raise TypeError(
            message(
                f"`{name}` must be a list of texts.",
                f"the text {labels!r}",
                f"Pass [{labels!r}].",
            )
        )
    if labels is not None and len(labels) != expected:
        raise ValueError(
            message(
                f"`{name}` needs {expected} texts, one for each.",
                f"{len(labels)}: {list(labels)!r}",
            )
        )
