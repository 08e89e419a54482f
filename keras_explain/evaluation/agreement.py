"""Whether maps are where people look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.evaluation.judged import Judge, Judgeable
from keras_explain.evaluation.localization import single_map
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import take
from keras_explain.evaluation.similarity import downsized, spearman


def human_agreement(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    size: int | Sequence[int] = 14,
    **settings: Any,
) -> Evaluation:
    """How far a map orders the parts of a picture as people's attention does.

    High is good: 1 is the same order, 0 none. Costs the explanation.

        agreement = mean_annotators spearman(down(a), down(h))

    Both maps are averaged down to a grid, and equal values take the average
    of their ranks. A constant map of either kind, or one with NaN, is not
    valid. To know what a value is worth, compare with the agreement of
    people among each other, and with that of a blob in the center:
    `lambda inputs, target: blobs`.

    Args:
        explainer, target: See `pointing_game`.
        data: `(inputs, attention)`, or a dataset of such batches; attention
            maps `(batch, *positions)` of any resolution, or `(batch,
            annotators, *positions)`.
        size: Of the grid along each axis; 14 in the paper.
        settings: See `pointing_game`.

    Returns:
        An `Evaluation`: a rank correlation for each sample.

    Raises:
        ValueError: If the grid has fewer than two cells, or attention or
            maps do not fit.
        TypeError: See `pointing_game`.

    Example:

    >>> attention = np.random.default_rng(0).uniform(size=(2, 8, 8))
    >>> keras_explain.evaluation.human_agreement(
    ...     keras_explain.Saliency(model), (images, attention), size=4).n_valid
    2

    References:
        Das et al., 2017. Human Attention in Visual Question Answering.
        https://arxiv.org/abs/1606.03556
    """
    sizes = np.ravel(size)
    if np.any(sizes < 1) or np.prod(sizes) < 2:
        raise ValueError(
            message(
                "A correlation needs a grid of several cells.",
                f"size={size!r}",
                "Pass such as 14.",
            )
        )
    judge = Judge(explainer, target, take(settings, ("of",)))
    found = []
    for batch in judge.batches(data, "Evaluating", truth=True):
        values = single_map(judge, batch, judge.explain(batch))
        axes = values.ndim - 1
        grid = tuple(int(s) for s in np.broadcast_to(sizes, axes))
        attention = np.asarray(batch.truth, np.float64)
        if attention.ndim == axes + 2 and attention.shape[-1] == 1:
            attention = attention[..., 0]
        if attention.ndim == axes + 1:
            attention = attention[:, np.newaxis]
        if attention.ndim != axes + 2:
            raise ValueError(
                message(
                    "An attention map has the axes of its picture.",
                    f"attention of shape {np.shape(batch.truth)} for maps of "
                    f"shape {values.shape}",
                    "Pass (batch, *positions), or (batch, annotators, "
                    "*positions).",
                )
            )
        mine = downsized(values, grid).reshape(len(values), -1)
        each = [
            spearman(mine, downsized(theirs, grid).reshape(len(values), -1))
            for theirs in np.moveaxis(attention, 1, 0)
        ]
        found.append(np.mean(each, 0))
    return evaluated(
        "human_agreement",
        np.concatenate(found),
        judge.about(size=sizes.tolist()),
    )
