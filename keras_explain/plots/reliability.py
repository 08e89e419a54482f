"""Reliability diagrams: how often a model is right, by how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import draw_title, new_figure, title_room

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEEDED = ("accuracy", "confidence", "count", "edges")
_BAR, _GAP, _SURE = "#4477aa", "#ee6677", "#bbbbbb"
_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_WIDTH = 3.6


def reliability_diagram(
    curves: Any,
    *,
    confidence_level: float = 0.95,
    num_bootstraps: int = 1000,
    seed: int = 0,
    title: str | None = None,
) -> Figure:
    """Draws accuracy against confidence, and how many samples stand behind.

    A calibrated model has its bars on the diagonal; the red part is what is
    missing to it (too sure, where it lies above the bar) or too much. The
    whiskers are a bootstrap interval of each bin's accuracy: a gap inside of
    them may be chance. Below is the share of samples in each bin.

    Args:
        curves: A `calibration.ReliabilityDiagram` or what its `curve()`
            returns: a dictionary of `accuracy`, `confidence` and `count` of
            shape `(num_bins,)`, NaN where a bin is empty, and `edges` of shape
            `(num_bins + 1,)` from 0 to 1. Or `{name: curve}`, to be drawn
            side by side, such as before and after calibration.
        confidence_level: Of the whiskers, between 0 and 1.
        num_bootstraps: Number of resamples for them; 0 for no whiskers.
        seed: Of the resamples.
        title: Text above all.

    Returns:
        A `matplotlib.figure.Figure`, with two axes for each curve.

    Raises:
        TypeError: If it is no curve.
        ValueError: If a curve lacks a part or holds no samples, or parts do
            not fit together.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import reliability_diagram
    >>> curve = {
    ...     "accuracy": np.array([0.2, 0.6]),
    ...     "confidence": np.array([0.3, 0.9]),
    ...     "count": np.array([10.0, 30.0]),
    ...     "edges": np.array([0.0, 0.5, 1.0]),
    ... }
    >>> len(reliability_diagram({"before": curve, "after": curve}).axes)
    4
    """
    named = curves if _is_named(curves) else {"": curves}
    checked = {name: _checked(curve) for name, curve in named.items()}
    if not 0 < confidence_level < 1:
        raise ValueError(
            message(
                "`confidence_level` is between 0 and 1.",
                f"confidence_level={confidence_level}",
                "Pass 0.95.",
            )
        )
    width = _WIDTH * len(checked) + 0.3
    figure = new_figure(width, 4.6 + title_room(title, width))
    rows = figure.subplots(
        2, len(checked), squeeze=False, sharex=True, sharey="row",
        height_ratios=(3, 1),
    )  # fmt: skip
    for number, (name, curve) in enumerate(checked.items()):
        above, below = rows[:, number]
        _draw_bars(above, curve)
        if num_bootstraps:
            spread = _bootstrap(curve, confidence_level, num_bootstraps, seed)
            _draw_whiskers(above, curve, spread)
        _draw_counts(below, curve)
        above.set_title(name or "", fontsize=9, parse_math=False)
        below.set_xlabel("confidence", fontsize=8)
        for axes in (above, below):
            axes.tick_params(labelsize=7)
    rows[0, 0].set_ylabel("accuracy", fontsize=8)
    rows[1, 0].set_ylabel("samples", fontsize=8)
    rows[0, 0].legend(fontsize=7, loc="upper left")
    draw_title(figure, title, width)
    return figure


def _is_named(curves: Any) -> bool:
    return isinstance(curves, Mapping) and not any(
        name in curves for name in _NEEDED
    )


def _checked(curve: Any) -> dict[str, np.ndarray]:
    curve = curve.curve() if hasattr(curve, "curve") else curve
    if not isinstance(curve, Mapping):
        raise TypeError(
            message(
                "A reliability diagram is drawn of a curve.",
                type(curve).__name__,
                "Pass a `ReliabilityDiagram`, what its `curve()` returns, or "
                "`{name: curve}`.",
            )
        )
    missing = [name for name in _NEEDED if name not in curve]
    if missing:
        raise ValueError(
            message(
                "A reliability diagram is drawn of four arrays.",
                f"no {', '.join(missing)}",
                "Pass what `ReliabilityDiagram.curve()` returns.",
            )
        )
    found = {name: np.asarray(curve[name], float) for name in _NEEDED}
    shapes = [found[name].shape for name in _NEEDED]
    number = found["edges"].size - 1
    if shapes != [(number,)] * 3 + [(number + 1,)]:
        raise ValueError(
            message(
                "The parts of a reliability diagram do not fit together.",
                f"shapes {shapes}",
                "There is one edge more than bins; of a classwise curve pass "
                "one class.",
            )
        )
    if not found["count"].sum() > 0:
        raise ValueError(
            message(
                "A diagram of no samples would be empty.",
                f"counts that sum to {found['count'].sum():g}",
                "Call `update_state(labels, probabilities)` first; counts are "
                "NaN where the metric was given values that are none.",
            )
        )
    return found


def _draw_bars(axes: Axes, curve: dict[str, np.ndarray]) -> None:
    left, width = curve["edges"][:-1], np.diff(curve["edges"])
    accuracy, confidence = curve["accuracy"], curve["confidence"]
    options: dict[str, Any] = {
        "align": "edge",
        "linewidth": 0.6,
        "edgecolor": "white",
    }
    axes.bar(left, np.nan_to_num(accuracy), width, color=_BAR,
             label="accuracy", **options)  # fmt: skip
    # Where the mean confidence of a bin is, and not its middle.
    axes.bar(
        left, np.nan_to_num(confidence - accuracy), width,
        bottom=np.nan_to_num(accuracy), color=_GAP, alpha=0.45,
        label="gap", **options,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    error = np.nansum(curve["count"] * np.abs(accuracy - confidence)) / np.sum(
        curve["count"]
    )
    axes.text(
        0.97, 0.04, f"ECE {error:.3f}", ha="right", fontsize=8,
        transform=axes.transAxes, bbox=_LABEL,
    )  # fmt: skip


def _bootstrap(
    curve: dict[str, np.ndarray], level: float, times: int, seed: int
) -> np.ndarray:
    """Bounds of the accuracy of each bin, `(2, num_bins)`.

    To draw the samples of a bin anew is to draw its number of hits.
    """
    random = np.random.default_rng(seed)
    count = np.rint(curve["count"]).astype(int)
    share = np.clip(np.nan_to_num(curve["accuracy"]), 0, 1)
    hits = random.binomial(count, share, (times, count.size))
    tail = (1 - level) / 2
    bounds = np.quantile(hits, (tail, 1 - tail), axis=0)
    return bounds / np.maximum(count, 1)


def _draw_whiskers(
    axes: Axes, curve: dict[str, np.ndarray], bounds: np.ndarray
) -> None:
    filled = curve["count"] >= 1
    middle = (curve["edges"][:-1] + curve["edges"][1:]) / 2
    accuracy = curve["accuracy"]
    reach = np.maximum([accuracy - bounds[0], bounds[1] - accuracy], 0)
    axes.errorbar(
        middle[filled], accuracy[filled], reach[:, filled], fmt="none",
        ecolor="black", elinewidth=0.9, capsize=2,
    )  # fmt: skip


def _draw_counts(axes: Axes, curve: dict[str, np.ndarray]) -> None:
    share = curve["count"] / curve["count"].sum()
    axes.bar(
        curve["edges"][:-1], share, np.diff(curve["edges"]), align="edge",
        color=_SURE, linewidth=0.6, edgecolor="white",
    )  # fmt: skip
    axes.set_ylim(bottom=0)
