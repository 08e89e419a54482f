"""Whether erasing what speaks for one class makes it another."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.fills import check_fill, fill_arguments, filled
from keras_explain.engine.masking import Masked
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.evaluation import positions
from keras_explain.evaluation.judged import Batch, Judge, Judgeable
from keras_explain.evaluation.positions import finite
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import as_text, take


def log_odds_erasure(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    other: Any,
    share: float = 0.2,
    fill: Any = "zero",
    **settings: Any,
) -> Evaluation:
    """How far erasing pixels moves the log odds from one class to another.

    High is good. What the map of one class has over that of another is
    erased; if both maps are right, the model should turn to the other, as an
    8 becomes a 3 where its left side is erased. Costs two explanations and
    two forward passes for each sample.

        delta = [z_c0 - z_ct](x) - [z_c0 - z_ct](x'),  S = a_c0 - a_ct

    with the logits `z` of the classes, and `x'` the input without the
    positions whose `S` is positive and larger than the one on place
    `share * n + 1`. Values that equal that one stay, so that less than the
    share may go: a constant `S` erases nothing, and has a delta of zero.
    The difference of two logits is that of the log probabilities.

    Args:
        explainer, data: See `deletion`.
        target: The class `c0`: `None` for the predicted one, an index, or an
            array of them.
        other: The class `ct`: an index or an array of them.
        share: Largest share of the positions to erase; in the paper 157 of
            784.
        fill: What takes their place; see `deletion`.
        settings: See `deletion`.

    Returns:
        An `Evaluation`: the delta of each sample, NaN where both classes are
        the same or a map holds NaN; `details` has `flipped`, whether the
        other class is ahead afterwards, the number `erased`, and `class`.

    Raises:
        ValueError: If an option is out of range, the target is no class, or
            a map does not fit.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.InputXGradient(model)
    >>> result = keras_explain.evaluation.log_odds_erasure(
    ...     explainer, images, other=1)
    >>> bool(result.details["erased"].max() <= 13)
    True

    References:
        Shrikumar et al., 2017. Learning Important Features Through
        Propagating Activation Differences. https://arxiv.org/abs/1704.02685
    """
    if not 0 < share <= 1:
        raise ValueError(
            message(
                "`share` is how much is erased at most.",
                f"share={share!r}",
                "Pass a number above 0 and up to 1.",
            )
        )
    check_fill(fill)
    judge = Judge(explainer, target, take(settings, ("of",)), scores=True)
    if not isinstance(judge.target, Class) or judge.target.of != "logit":
        raise ValueError(
            message(
                "Log odds are those of two classes.",
                f"target={judge.target!r}",
                "Pass the index of a class, and the other as `other`.",
            )
        )
    scorer = judge.scorer(_measure(fill, judge.settings.batch_size))
    parts: dict[str, list] = {}
    for batch in judge.batches(data, "Evaluating"):
        for name, values in _erased(judge, scorer, batch, (other, share, fill)):
            parts.setdefault(name, []).append(values)
    found = {name: np.concatenate(values) for name, values in parts.items()}
    delta = np.where(found.pop("valid"), found.pop("delta"), np.nan)
    return evaluated(
        "log_odds_erasure",
        delta,
        judge.about(
            other=np.asarray(other).tolist(), share=share, fill=as_text(fill)
        ),
        details=found,
    )


def _erased(judge: Judge, scorer: Any, batch: Batch, options: tuple) -> Any:
    other, share, fill = options
    first = judge.explain(batch)
    second = judge.target.rows(batch.rows)
    index = np.asarray(other)
    index = index[batch.rows] if index.ndim else index
    second = dataclasses.replace(second, index=index)  # type: ignore[type-var]
    maps = judge.again(batch, batch.inputs, second)
    own = judge.reduce(first.maps, batch.inputs)
    theirs = judge.reduce(maps, batch.inputs)
    values = {k: np.asarray(own[k] - theirs[k], np.float64) for k in own}
    flat = np.concatenate(
        [values[k].reshape(batch.size, -1) for k in sorted(values, key=int)], 1
    )
    place = round(share * flat.shape[1])
    limit = np.zeros(len(flat))
    if place < flat.shape[1]:
        limit = np.sort(flat, axis=1)[:, ::-1][:, place]
    gone = flat > np.maximum(limit, 0)[:, np.newaxis]
    given = {
        "kept": (~gone).astype(np.float32),
        "maps": own,
        **fill_arguments(fill, batch.inputs, batch.rows),
    }
    found = scorer.run(batch.inputs, first.target - second, batch.rows, **given)
    valid = first.finite & finite(maps) & (first.classes != index)
    yield "valid", valid
    yield "delta", found["score"].astype(np.float64) - found["after"]
    yield "flipped", found["after"] < 0
    yield "erased", gone.sum(1)
    yield "class", first.classes


def _measure(fill: Any, batch_size: int) -> Any:
    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        extra = function.extra
        hidden = filled(fill, at.point, extra.get("fill"))
        bare = dataclasses.replace(function, extra={})
        kept = extra["kept"][tf.newaxis]
        masks = positions.in_shape(kept, at.point, extra["maps"])
        return {"after": Masked(bare, at, hidden).scores(masks)[0]}

    return measure
