"""Attributions to the features of a table, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import draw_title, new_figure, title_room, wrap
from keras_explain.plots.color import colorize, finite_array

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

WIDTH = 6.5

_NAME_WIDTH = 30


def bars(
    attribution: Any,
    values: Any = None,
    *,
    feature_names: Sequence[str] | None = None,
    max_features: int = 15,
    title: str | None = None,
) -> Figure:
    """Draws the attribution of one sample as bars, the strongest above.

    Args:
        attribution: Array of shape `(features,)`.
        values: The features themselves, written next to their names.
        feature_names: A text for each feature; by default its number.
        max_features: How many bars to draw. The features left out are added
            up in one last bar, so that the bars sum to the whole.
        title: Text above the bars.

    Returns:
        A `matplotlib.figure.Figure`, with one axes.

    Raises:
        ValueError: If the numbers of features differ or values are NaN or
            infinite.

    Example:

    >>> from keras_explain.plots import bars
    >>> figure = bars([0.2, -0.7], feature_names=["age", "income"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['income', 'age']
    """
    scores, labels = ranked(
        attribution,
        values,
        feature_names=feature_names,
        max_features=max_features,
    )
    figure = new_figure(WIDTH, block_height(labels) + title_room(title, WIDTH))
    draw_bars(figure, scores, labels, title=title)
    return figure


def ranked(
    attribution: Any,
    values: Any = None,
    *,
    feature_names: Sequence[str] | None = None,
    max_features: int = 15,
) -> tuple[np.ndarray, list[str]]:
    """Returns the lengths of the bars and their labels, the strongest first."""
    scores = finite_array(attribution, "attribution")
    if max_features < 1:
        raise ValueError(
            message(
                "`max_features` must be at least 1.",
                f"max_features={max_features}",
            )
        )
    if scores.ndim != 1:
        raise ValueError(
            message(
                "An attribution with one axis, the features, was expected.",
                f"attribution of shape {scores.shape}",
                "Pass one sample, without its batch axis.",
            )
        )
    count = len(scores)
    if feature_names is None:
        feature_names = [f"feature {index}" for index in range(count)]
    _check_count("feature_names", len(feature_names), count)
    labels = [str(name) for name in feature_names]
    if values is not None:
        shown = np.asarray(values).ravel().tolist()
        _check_count("values", len(shown), count)
        labels = [
            f"{label} = {value:.4g}"
            if isinstance(value, float)
            else f"{label} = {value}"
            for label, value in zip(labels, shown, strict=False)
        ]
    # Stable, so that equal features keep their order.
    order = np.argsort(-np.abs(scores), kind="stable")
    kept, rest = order[:max_features], order[max_features:]
    lengths, names = scores[kept], [labels[index] for index in kept]
    if len(rest):
        lengths = np.append(lengths, scores[rest].sum())
        names.append(f"sum of {len(rest)} others")
    return lengths, names


def _check_count(name: str, received: int, expected: int) -> None:
    if received != expected:
        raise ValueError(
            message(
                f"`{name}` must have one entry per feature, {expected}.",
                f"{received} entries",
            )
        )


def block_height(labels: Sequence[str]) -> float:
    """Returns the height in inches that so many bars take."""
    lines = sum(wrap(label, _NAME_WIDTH).count("\n") + 1 for label in labels)
    return max(0.24 * lines, 0.6) + 0.6


def draw_bars(
    place: FigureBase,
    scores: np.ndarray,
    labels: Sequence[str],
    *,
    title: str | None = None,
) -> None:
    """Draws horizontal bars into a figure or a part of one."""
    axes = place.subplots()
    # Length already tells the magnitude; color repeats the sign only.
    colors = colorize(0.75 * np.sign(scores), signed=True) / 255
    rows = np.arange(len(scores))
    axes.barh(rows, scores, color=colors, height=0.75)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(
        rows, [wrap(label, _NAME_WIDTH) for label in labels], parse_math=False
    )
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_xlabel("attribution")
    axes.spines[["top", "right"]].set_visible(False)
    draw_title(place, title, WIDTH)
