"""What was changed in the channels of a layer: before, after, difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.grids import grid
from keras_explain.plots.heatmaps import heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def change(
    before: Any,
    after: Any,
    *,
    num_channels: int = 3,
    titles: Sequence[str] | None = None,
    max_outputs: int = 4,
) -> Figure:
    """Draws the channels of activations that have changed most.

    The first row of a sample is the mean over its channels; a row for each
    of the most changed channels follows, those with the largest mean
    magnitude of the difference first. The three pictures of a row have one
    scale: red for positive, blue for negative values.

    Args:
        before, after: `(batch, height, width, channels)`.
        num_channels: How many channels to draw of each sample, at most.
        titles: A text for each sample.
        max_outputs: How many samples to draw, at most.

    Returns:
        A `matplotlib.figure.Figure`, with three axes in each row: before,
        after, and after minus before.

    Raises:
        ValueError: If both are not of this one shape, or hold NaN.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import change
    >>> before = np.ones((1, 4, 4, 8))
    >>> figure = change(before, before * np.arange(8), num_channels=2)
    >>> [axes.get_ylabel() for axes in figure.axes[::3]]
    ['mean', 'channel 7', 'channel 6']
    """
    one, other = (np.asarray(a, np.float64) for a in (before, after))
    if one.ndim != 4 or one.shape != other.shape:
        raise ValueError(
            message(
                "Activations before and after are pictures of one shape, "
                "(batch, height, width, channels).",
                f"shapes {one.shape} and {other.shape}",
                "Take a layer with two axes of positions.",
            )
        )
    rows, labels = [], []
    for k in range(min(len(one), max_outputs)):
        size = np.abs(other[k] - one[k]).mean((0, 1))
        most = np.argsort(-size, kind="stable")[:num_channels]
        head = "mean" if titles is None else f"{titles[k]}: mean"
        rows.append(_row(one[k].mean(-1), other[k].mean(-1)))
        labels.append(head)
        for channel in most:
            rows.append(_row(one[k, ..., channel], other[k, ..., channel]))
            labels.append(f"channel {channel}")
    return grid(
        rows,
        row_labels=labels,
        column_labels=["before", "after", "after - before"],
    )


def _row(before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Three pictures with one scale."""
    values = np.concatenate([before, after, after - before], axis=1)
    colored = heatmap(values, signed=bool(values.min() < 0), percentile=100)
    return np.split(colored, 3, axis=1)
