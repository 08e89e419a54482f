"""Attributions to time series, as colors behind their lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import draw_title, new_figure, title_room, wrap
from keras_explain.plots.color import (
    colorize_on_white,
    finite_array,
    is_signed,
    normalize,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, FigureBase

WIDTH = 8.0


def signal(
    values: Any,
    attribution: Any,
    *,
    channel_labels: Sequence[str] | None = None,
    title: str | None = None,
    signed: bool | None = None,
    percentile: float = 99.5,
    colormap: str | Colormap | None = None,
) -> Figure:
    """Draws a time series over the colors of its attribution.

    Args:
        values: Array of shape `(steps,)` or `(steps, channels)`.
        attribution: Array of the same shape, or of shape `(steps,)`, which is
            then drawn behind every channel. All channels share one scale.
        channel_labels: A text for each channel.
        title: Text above the lines.
        signed: Whether to show signs: red for positive, blue for negative.
            `None` is `True` if any value is negative.
        percentile: Magnitudes above this percentile share the strongest color.
        colormap: A color map of Matplotlib or its name.

    Returns:
        A `matplotlib.figure.Figure`, with one axes per channel.

    Raises:
        ValueError: If shapes do not fit or values are NaN or infinite.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import signal
    >>> steps = np.linspace(0, 6, 50)
    >>> len(signal(np.sin(steps), np.cos(steps)).axes)
    1
    """
    if signed is None:
        signed = is_signed(attribution)
    lines, normalized = per_channel(values, attribution, signed, percentile)
    count = lines.shape[1]
    if channel_labels is not None and len(channel_labels) != count:
        raise ValueError(
            message(
                f"`channel_labels` needs {count} texts, one per channel.",
                f"{list(channel_labels)!r}",
            )
        )
    colors = colorize_on_white(normalized, signed=signed, colormap=colormap)
    figure = new_figure(WIDTH, block_height(count) + title_room(title, WIDTH))
    draw_signal(
        figure, lines, colors, title=title, channel_labels=channel_labels
    )
    return figure


def block_height(channels: int) -> float:
    """Returns the height in inches of the axes of so many channels."""
    return max(1.0 * channels, 1.6) + 0.4


def per_channel(
    values: Any, attribution: Any, signed: bool, percentile: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and normalized attributions as `(steps, channels)`."""
    lines = finite_array(values, "values")
    scores = finite_array(attribution, "attribution")
    if lines.ndim == 1:
        lines = lines[:, np.newaxis]
    if scores.ndim == 1:
        scores = scores[:, np.newaxis]
    if (
        lines.ndim != 2
        or len(scores) != len(lines)
        or scores.shape[1:] not in ((1,), lines.shape[1:])
    ):
        raise ValueError(
            message(
                "The attribution must have the shape of the values, (steps,) "
                "or (steps, channels), or one value per step.",
                f"values of shape {lines.shape}, attribution of shape "
                f"{scores.shape}",
            )
        )
    normalized = normalize(scores, percentile=percentile, signed=signed)
    return lines, np.broadcast_to(normalized, lines.shape)


def draw_signal(
    place: FigureBase,
    lines: np.ndarray,
    colors: np.ndarray,
    *,
    title: str | None = None,
    channel_labels: Sequence[str] | None = None,
) -> None:
    """Draws `(steps, channels)` lines into a figure or a part of one."""
    count = lines.shape[1]
    rows = place.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for channel, axes in enumerate(rows):
        _draw_line(axes, lines[:, channel], colors[:, channel])
        if channel_labels is not None:
            axes.set_ylabel(
                wrap(channel_labels[channel], 16),
                rotation=0,
                ha="right",
                va="center",
                labelpad=8,
                parse_math=False,
            )
    rows[-1].set_xlabel("step")
    draw_title(place, title, WIDTH)


def _draw_line(axes: Axes, values: np.ndarray, colors: np.ndarray) -> None:
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 0.5
    bottom, top = low - margin, high + margin
    steps = len(values)
    axes.imshow(
        colors[np.newaxis],
        extent=(-0.5, steps - 0.5, bottom, top),
        aspect="auto",
        interpolation="antialiased",
    )
    # A white edge keeps the line visible on the darkest colors.
    axes.plot(values, color="white", linewidth=3.0, alpha=0.7)
    axes.plot(values, color="black", linewidth=1.2)
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(bottom, top)
