"""Figures outside `pyplot`, and labels that fit into them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

LABEL_SIZE = 10
TITLE_SIZE = 11

_KEY_HEIGHT = 0.55


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure, in inches, that lays itself out.

    It is made without `pyplot`, which would keep it alive until closed, would
    pick a window system, and is not safe in threads.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def stack(
    width: float,
    heights: Sequence[float],
    draw: Callable[[int, FigureBase], None],
    key: np.ndarray | None = None,
) -> Figure:
    """Returns a figure of parts below each other.

    Args:
        width: Width of the figure in inches.
        heights: Height of each part in inches.
        draw: Draws into a part, given its index and the part.
        key: The colors from weak to strong, or from against to for, to show
            below all parts; `None` shows none.
    """
    room = [] if key is None else [_KEY_HEIGHT]
    figure = new_figure(width, sum(heights) + sum(room))
    parts = figure.subfigures(
        len(heights) + len(room),
        1,
        squeeze=False,
        height_ratios=[*heights, *room],
    )[:, 0]
    for index in range(len(heights)):
        draw(index, parts[index])
    if key is not None:
        draw_key(parts[-1], key)
    return figure


def draw_key(place: FigureBase, key: np.ndarray) -> None:
    """Draws what colors say, without numbers: each map has its own scale.

    A key with an odd number of colors has a zero in its middle.
    """
    axes = place.subplots(1, 3, width_ratios=[1, 2, 1])
    blank(axes[0])
    blank(axes[2])
    axes[1].imshow(key[np.newaxis], aspect="auto")
    axes[1].set_yticks([])
    last = len(key) - 1
    if len(key) % 2:
        ticks, labels = [0, last / 2, last], ["against", "0", "for"]
    else:
        ticks, labels = [0, last], ["0", "strongest"]
    axes[1].set_xticks(ticks, labels, fontsize=8)


def blank(axes: Axes) -> None:
    """Keeps the room and the labels of an axes and draws nothing in it."""
    axes.patch.set_visible(False)
    _clear(axes)


def characters(width: float, size: float) -> int:
    """Returns how many characters of a font size fit into a width in inches."""
    # Letters of the default font are 0.6 of its size wide on average.
    return max(int(width * 72 / (0.6 * size)), 4)


def wrap(label: Any, width: int) -> str:
    """Breaks a label into lines of at most `width` characters.

    Names such as `resnet50/conv5_block3_out` and `IntegratedGradients` have no
    blanks: if too long, they are broken at their own joints, and only where
    those do not help, between any two letters.
    """
    lines = []
    for paragraph in str(label).splitlines():
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}" if line else word
            if len(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            *full, line = _break(word, width)
            lines.extend(full)
        lines.append(line)
    return "\n".join(lines)


# Behind a separator, before a bracket, and before the capital in camelCase.
_JOINT = re.compile(r"(?<=[/_.:,-])(?=[^/_.:,-])|(?=\()|(?<=[a-z0-9])(?=[A-Z])")


def _break(word: str, width: int) -> list[str]:
    """Returns the lines that one word takes."""
    lines = []
    line = ""
    for piece in _JOINT.split(word):
        if line and len(line + piece) > width:
            lines.append(line)
            line = ""
        line += piece
        while len(line) > width:
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line]


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Shows an 8-bit picture without ticks or frame."""
    axes.imshow(picture, interpolation="antialiased")
    # Room to spare goes below. The layout measures titles as if there were
    # none above, and would push long titles over the edge.
    axes.set_anchor("N")
    _clear(axes)


def _clear(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def title_room(title: str | None, width: float) -> float:
    """Returns the height in inches that `draw_title` takes."""
    if not title:
        return 0.0
    lines = wrap(title, characters(width, TITLE_SIZE)).count("\n") + 1
    return 0.19 * lines + 0.12


def draw_title(place: FigureBase, title: str | None, width: float) -> None:
    """Writes a title above a part of a figure, `width` inches wide."""
    if title:
        text = wrap(title, characters(width, TITLE_SIZE))
        place.suptitle(text, fontsize=TITLE_SIZE, parse_math=False)
