"""A law about pairs of features that count alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.evaluation import positions
from keras_explain.evaluation.features import SAME, judge_of_scores, score_of
from keras_explain.evaluation.judged import Judgeable
from keras_explain.evaluation.result import Evaluation, evaluated


def symmetry(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    pairs: Sequence[tuple[Any, Any]],
    **settings: Any,
) -> Evaluation:
    """How far the attributions of features are apart that count alike.

    Zero is the law: two features that the score treats alike, and that have
    the same value, must have the same attribution. Costs an explanation and
    two forward passes for each pair.

        error = max_{(i, j)} |a_i - a_j| / max_k |a_k|  at x with x_j = x_i

    A pair is left out for a sample whose score changes where its values are
    exchanged, as the score then does not treat them alike.

    Args:
        explainer, data, target: See `deletion`.
        pairs: Of positions: numbers in the order of the axes, or tuples with
            a number for each axis, such as `((0, 1), (0, 2))` for two pixels
            of the first row.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: the error of each sample; NaN where no pair is
        treated alike.

    Raises:
        ValueError: If a position is out of range, or the model has several
            inputs.
        TypeError: See `deletion`.

    Example:

    >>> sums = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> sums.set_weights([np.ones((3, 1)), np.zeros(1)])
    >>> keras_explain.evaluation.symmetry(
    ...     keras_explain.Gradient(sums), np.ones((2, 3)), pairs=[(0, 2)]).mean
    0.0

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    judge = judge_of_scores(explainer, target, settings)
    found = []
    for batch in judge.batches(data, "Evaluating"):
        wanted = judge.settle(batch)
        clean = score_of(judge, batch.inputs, wanted, batch)
        each = []
        for i, j in _numbered(pairs, batch.inputs):
            swapped = score_of(
                judge, _moved(batch.inputs, [(i, j), (j, i)]), wanted, batch
            )
            alike = np.abs(swapped - clean) <= SAME * (1 + np.abs(clean))
            equal = _moved(batch.inputs, [(j, i)])
            maps = judge.again(batch, equal, wanted)
            a = np.asarray(positions.joined(judge.reduce(maps, equal)))
            scale = np.abs(a).max(1)
            scale = np.where(scale > 0, scale, 1)
            error = np.abs(a[:, i] - a[:, j]) / scale
            each.append(np.where(alike, error, -np.inf))
        largest = np.max(each, axis=0)
        found.append(np.where(np.isfinite(largest), largest, np.nan))
    return evaluated(
        "symmetry", np.concatenate(found), judge.about(pairs=repr(pairs))
    )


def _numbered(pairs: Any, inputs: Any) -> list[tuple[int, int]]:
    if len(tf.nest.flatten(inputs)) != 1:
        raise ValueError(
            message(
                "Pairs of positions are those of one input.",
                f"{len(tf.nest.flatten(inputs))} inputs",
                "Use a model with one input.",
            )
        )
    sizes = positions.axes_of(tf.nest.flatten(inputs)[0])
    found = []
    for pair in pairs:
        try:
            first, second = (
                int(np.ravel_multi_index(tuple(p), sizes)) if np.ndim(p) else
                int(np.ravel_multi_index((p,), (math.prod(sizes),)))
                for p in pair
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise ValueError(
                message(
                    f"A pair holds two positions within {sizes}.",
                    f"{pair!r}",
                    "Pass such as (0, 5), or ((0, 1), (2, 3)).",
                )
            ) from error
        found.append((first, second))
    if not found:
        raise ValueError(
            message("Symmetry compares pairs of positions.", f"pairs={pairs!r}")
        )
    return found


def _moved(inputs: Any, moves: list[tuple[int, int]]) -> Any:
    """The inputs with values of positions put on others, `(to, from)`."""

    def move(x: tf.Tensor) -> tf.Tensor:
        array = np.array(x)
        flat = array.reshape(len(array), math.prod(positions.axes_of(x)), -1)
        before = flat.copy()
        for to, source in moves:
            flat[:, to] = before[:, source]
        return tf.constant(array)

    return tf.nest.map_structure(move, inputs)
