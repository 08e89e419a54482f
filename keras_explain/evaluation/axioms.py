"""Laws that authors ask of attributions, measured and not only answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.baselines import fit_baseline
from keras_explain.engine.class_target import as_target
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.recording import record
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Target
from keras_explain.evaluation import positions
from keras_explain.evaluation.judged import (
    Batch,
    Judge,
    Judgeable,
    specs_of,
)
from keras_explain.evaluation.positions import finite
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import (
    Settings,
    as_text,
    check_tolerance,
    take,
)


def completeness(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    baseline: Any = None,
    **settings: Any,
) -> Evaluation:
    """How far the attributions are from adding up to the score.

    Zero is what integrated gradients, DeepLIFT and Shapley values promise,
    up to rounding; the number is there to be read, not only yes or no. Costs
    two forward passes.

        residual = |sum_i a_i - (f(x) - f(x'))|

    Args:
        explainer, data, target: See `deletion`.
        baseline: `x'`: a number, an array for one sample or for all, or a
            structure of them. `None` is the `baseline` of the explainer, if
            it has one, and else zero.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: the residual of each sample, in units of the score;
        `details["relative"]` is its share of `|f(x) - f(x')|`, NaN where
        that is zero.

    Raises:
        ValueError: If the baseline does not fit, or the maps are not of the
            shape of what is explained: a class activation map adds up to
            nothing.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.IntegratedGradients(model, num_steps=8)
    >>> result = keras_explain.evaluation.completeness(explainer, images)
    >>> bool(result.details["relative"].max() < 0.1)
    True

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    judge = Judge(explainer, target, take(settings, ("reduce",)), scores=True)
    if baseline is None:
        baseline = getattr(explainer, "baseline", None)
    baseline = 0.0 if baseline is None else baseline
    scorer = judge.scorer(_at_baseline)
    residuals, relative = [], []
    for batch in judge.batches(data, "Evaluating"):
        explained = judge.explain(batch)
        _check_adds_up(judge, batch, explained.maps)
        wanted = judge.scored(explained.target, "logit")
        made = callable(baseline)
        fitted = fit_baseline(
            baseline(batch.inputs) if made else baseline,
            batch.inputs,
            None if made else batch.rows,
        )
        found = scorer.run(batch.inputs, wanted, batch.rows, baseline=fitted)
        change = found["score"].astype(np.float64) - found["baseline"]
        total = sum(
            np.asarray(m, np.float64).reshape(batch.size, -1).sum(1)
            for m in tf.nest.flatten(explained.maps)
        )
        residual = np.where(explained.finite, np.abs(total - change), np.nan)
        residuals.append(residual)
        size = np.abs(change)
        relative.append(residual / np.where(size > 0, size, np.nan))
    return evaluated(
        "completeness",
        np.concatenate(residuals),
        judge.about(baseline=as_text(baseline)),
        details={"relative": np.concatenate(relative)},
    )


def _check_adds_up(judge: Judge, batch: Batch, maps: Any) -> None:
    """Raises unless there is a value for each value that is explained.

    That is one of the inputs, or of the output of the layer. A callable may
    have summed the channels.
    """
    flat = [tuple(np.shape(m)) for m in tf.nest.flatten(maps)]
    explainer: Any = judge.explainer
    if not isinstance(explainer, Explainer):
        xs = tf.nest.flatten(batch.inputs)
        if flat == [(batch.size, *positions.axes_of(x)) for x in xs]:
            return
    elif getattr(explainer, "layer", None) is not None:
        graph = record(explainer.model, specs_of(batch.inputs))
        shape = graph.find(explainer.layer).shape
        if shape is None or tf.TensorShape(shape[1:]).is_compatible_with(
            flat[0][1:]
        ):
            return
    positions.check_same_shape(
        maps,
        batch.inputs,
        "Completeness adds up one attribution for each value.",
    )


def _at_baseline(function: ScoreFunction, at: Run) -> dict[str, Any]:
    moved = function.at(function.extra["baseline"])
    return {"baseline": moved.evaluate().score}


def implementation_invariance(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    other: Judgeable,
    tolerance: float = 1e-3,
    **settings: Any,
) -> Evaluation:
    """How far the maps of two models are apart that compute the same.

    Zero is the law: a map should depend on the function, and not on how it
    is written down; folding a batch normalization must not change it. Costs
    both explanations.

        error = max_i |a_i - b_i| / max_i max(|a_i|, |b_i|)

    It is 0 for equal maps, 1 where one of them is zero everywhere, and at
    most 2.

    Args:
        explainer, data, target: See `pointing_game`.
        other: The same method for the other model.
        tolerance: Where both have a model: how far their scores may be
            apart, as a share of the largest score of the batch.
        settings: See `deletion`; without `reduce` and `of`.

    Returns:
        An `Evaluation`: the relative error of each sample; NaN where a map
        holds NaN.

    Raises:
        ValueError: If the models do not compute the same, or the maps are of
            different shapes.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> keras_explain.evaluation.implementation_invariance(
    ...     explainer, images, other=keras_explain.Gradient(model)).mean
    0.0

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    check_tolerance(tolerance)
    own = take(settings, ("reduce", "of"))
    first = Judge(explainer, target, own)
    second = Judge(other, target, Settings(**_without_model(own)))
    found = []
    for batch in first.batches(data, "Evaluating"):
        explained = first.explain(batch)
        _check_same_function(first, second, batch, explained.target, tolerance)
        maps = second.again(batch, batch.inputs, explained.target)
        valid = explained.finite & finite(maps)
        error = relative_error(maps, explained.maps)
        found.append(np.where(valid, error, np.nan))
    return evaluated(
        "implementation_invariance",
        np.concatenate(found),
        first.about(other=second.about()["explainer"], tolerance=tolerance),
    )


def _without_model(settings: Settings) -> dict[str, Any]:
    return {"seed": settings.seed, "batch_size": settings.batch_size}


def _check_same_function(
    first: Judge, second: Judge, batch: Batch, target: Target, tolerance: float
) -> None:
    if first.model is None or second.model is None:
        return
    scores = [judge.score(batch, batch.inputs, target)
              for judge in (first, second)]  # fmt: skip
    gap = np.abs(scores[0] - scores[1]).max()
    if not gap <= tolerance * max(np.abs(scores[0]).max(), 1e-6):
        raise ValueError(
            message(
                "The two models do not compute the same.",
                f"scores that are up to {gap:.3g} apart",
                "Implementation invariance compares two ways to write one "
                "function.",
            )
        )


def linearity(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    other: Any,
    factors: tuple[float, float] = (1.0, 1.0),
    **settings: Any,
) -> Evaluation:
    """How far the map of a weighted sum is from the sum of the maps.

    Zero is the law. Costs three explanations. Both targets are scores of one
    model; that of their sum is explained through the same network.

        error = max_i |l_i - r_i| / max_i max(|l_i|, |r_i|),
        l = phi(a f + b g),  r = a phi(f) + b phi(g)

    It is 0 where the law holds, 1 where one side is zero everywhere, and at
    most 2.

    Args:
        explainer, data: See `pointing_game`.
        target: `f`; see `deletion`.
        other: `g`, such as another class.
        factors: `a` and `b`.
        settings: See `deletion`; without `reduce` and `of`. A callable needs
            the `model`, and gets targets in place of indices for the sum.

    Returns:
        An `Evaluation`: the relative error of each sample; NaN where a map
        holds NaN.

    Raises:
        ValueError: If there are no two factors.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> result = keras_explain.evaluation.linearity(
    ...     explainer, images, 1, other=2, factors=(2.0, -1.0))
    >>> bool(result.mean < 1e-4)
    True

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    if np.shape(factors) != (2,) or not np.all(np.isfinite(factors)):
        raise ValueError(
            message(
                "`factors` are two numbers, one for each target.",
                f"factors={factors!r}",
                "Pass such as (1.0, -1.0).",
            )
        )
    judge = Judge(explainer, target, take(settings, ("reduce", "of")),
                  scores=True)  # fmt: skip
    theirs = as_target(other)
    a, b = map(float, factors)
    found = []
    for batch in judge.batches(data, "Evaluating"):
        first = judge.explain(batch)
        second = judge.explain(batch._replace(target=theirs.rows(batch.rows)))
        both = a * first.target + b * second.target
        maps = judge.again(batch, batch.inputs, both)
        parts = tf.nest.map_structure(
            lambda f, g: a * np.asarray(f) + b * np.asarray(g),
            first.maps, second.maps,
        )  # fmt: skip
        valid = first.finite & second.finite & finite(maps)
        error = relative_error(parts, maps)
        found.append(np.where(valid, error, np.nan))
    return evaluated(
        "linearity",
        np.concatenate(found),
        judge.about(other=repr(theirs), factors=[a, b]),
    )


def relative_error(maps: Any, others: Any) -> np.ndarray:
    """Returns the largest difference as a share of the largest magnitude.

    The magnitude is that of either map. So it is 0 of maps that are zero
    everywhere, 1 where only one is, whichever, and never above 2.

    Raises:
        ValueError: If the maps are of different shapes.
    """
    pairs = list(
        zip(tf.nest.flatten(maps), tf.nest.flatten(others), strict=False)
    )
    shapes = [
        [tuple(np.shape(m)) for m in tf.nest.flatten(structure)]
        for structure in (maps, others)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            message(
                "Maps can only be compared value by value.",
                f"maps of shape {shapes[0]} and {shapes[1]}",
                "Use the same method and the same kind of layer for both.",
            )
        )
    gap, size = [], []
    for one, other in pairs:
        a, b = (np.asarray(m, np.float64).reshape(len(m), -1)
                for m in (one, other))  # fmt: skip
        gap.append(np.abs(a - b).max(1))
        size.append(np.maximum(np.abs(a).max(1), np.abs(b).max(1)))
    largest, scale = np.max(gap, 0), np.max(size, 0)
    return largest / np.where(scale > 0, scale, 1.0)
