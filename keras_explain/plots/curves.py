"""Many curves that are to be compared, a few in each panel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import (
    draw_title,
    new_figure,
    title_room,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

Curve = tuple[Any, Any]

# Told apart also by who sees no red or green (Paul Tol's bright colors).
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_STYLES = ("--", (0, (1.2, 1.2)), "-.", (0, (5, 1, 1, 1, 1, 1)))
MOST_IN_PANEL = len(_COLORS)
_WIDTH, _HEIGHT, _COLUMNS = 3.1, 2.5, 3


def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    behind: Mapping[str, Curve] | None = None,
    x_label: str = "",
    y_label: str = "",
    title: str | None = None,
) -> Figure:
    """Draws curves in panels that share both axes.

    Args:
        panels: `{heading: {name: (x, y)}}`, with up to six curves in each.
        behind: Curves that are drawn in gray in every panel, to compare with.
        x_label: Below the panels.
        y_label: Beside them.
        title: Text above all.

    Returns:
        A `matplotlib.figure.Figure`, with an axes for each panel.

    Raises:
        ValueError: If there is no panel, too many curves are in one, or a
            curve has not as many `x` as `y`.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots.curves import curves
    >>> x = np.linspace(0, 1, 5)
    >>> len(curves({"one": {"a": (x, x)}, "two": {"b": (x, x**2)}}).axes)
    2
    """
    _check(panels, behind or {})
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = _WIDTH * columns
    figure = new_figure(width, _HEIGHT * rows + title_room(title, width))
    grid = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True
    ).ravel()
    for axes, (heading, named) in zip(grid, panels.items(), strict=False):
        _draw(axes, named, behind or {})
        axes.set_title(wrap(heading, 40), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=7)
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes in grid[: len(panels)][-columns:]:  # nothing is below them
        axes.xaxis.set_tick_params(labelbottom=True)
    if behind:
        handles = grid[0].lines[: len(behind)]
        shown = figure.legend(
            handles=handles, loc="outside upper left", ncols=len(behind),
            fontsize=7, frameon=False,
        )  # fmt: skip
        _plain(shown)
    figure.supxlabel(x_label, fontsize=9, parse_math=False)
    figure.supylabel(y_label, fontsize=9, parse_math=False)
    draw_title(figure, title, width)
    return figure


def _check(
    panels: Mapping[str, Mapping[str, Curve]], behind: Mapping[str, Curve]
) -> None:
    if not panels or max(map(len, panels.values())) > MOST_IN_PANEL:
        counts = [len(named) for named in panels.values()]
        raise ValueError(
            message(
                f"A panel holds up to {MOST_IN_PANEL} curves, and there is at "
                "least one panel.",
                f"panels of {counts} curves",
                "Put some of them into another panel.",
            )
        )
    everything = {**behind}
    for named in panels.values():
        everything.update(named)
    for name, (x, y) in everything.items():
        if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
            raise ValueError(
                message(
                    "A curve has as many x as y.",
                    f"{name!r} with shapes {np.shape(x)} and {np.shape(y)}",
                )
            )


def _draw(
    axes: Axes, named: Mapping[str, Curve], behind: Mapping[str, Curve]
) -> None:
    for number, (name, (x, y)) in enumerate(behind.items()):
        style = _STYLES[number % len(_STYLES)]
        axes.plot(x, y, color="0.5", linewidth=1.1, linestyle=style,
                  label=_label(name))  # fmt: skip
    lines = [
        axes.plot(x, y, color=color, linewidth=1.4, label=_label(name))[0]
        for color, (name, (x, y)) in zip(_COLORS, named.items(), strict=False)
    ]
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    if lines:
        _plain(
            axes.legend(
                handles=lines, fontsize=6, framealpha=0.8, handlelength=1.6,
                labelspacing=0.25, borderpad=0.3,
            )
        )  # fmt: skip


def _plain(legend: Legend) -> None:
    """Names are no formulas."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _label(name: str) -> str:
    # A legend leaves out what begins with an underscore.
    return wrap(name.lstrip("_") or " ", 30)
