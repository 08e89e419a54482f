"""Laws about single features: those that count, and those that do not."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.baselines import check_finite, fit_baseline
from keras_explain.engine.checks import check_count
from keras_explain.engine.errors import ExplainWarning
from keras_explain.engine.masking import Masked, blend
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.scoring import Measure
from keras_explain.engine.targets import Target
from keras_explain.evaluation import positions
from keras_explain.evaluation.faithfulness import check_floating
from keras_explain.evaluation.judged import Batch, Judge, Judgeable
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import Settings, as_text, take

# Scores that differ by less than this share of themselves are the same.
SAME = 1e-5


def sensitivity_a(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    baseline: Any = 0.0,
    num_features: int = 8,
    **settings: Any,
) -> Evaluation:
    """How often a feature that alone changes the score gets an attribution.

    1 is the law: where an input and the baseline differ in one feature and
    in their scores, that feature must have an attribution. A gradient breaks
    it where a unit is saturated. Costs `num_features` explanations.

    Random positions, the same for all samples, are tried: the input is the
    baseline with this position of `x`. An attribution counts as one from a
    millionth of the largest of its map on. All channels of a position are
    one feature.

    Args:
        explainer, data, target: See `deletion`.
        baseline: See `completeness`; the same as that of the explainer.
        num_features: How many positions are tried.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: of the features that change the score, the share
        with an attribution; NaN where none of them does. `details["tried"]`
        is how many do.

    Raises:
        ValueError: If the baseline does not fit.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.InputXGradient(model)
    >>> result = keras_explain.evaluation.sensitivity_a(
    ...     explainer, images, num_features=2)
    >>> result.details["tried"].shape
    (2,)

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    check_count("num_features", num_features)
    judge = judge_of_scores(explainer, target, settings)
    kept, tried = [], []
    for batch in judge.batches(data, "Evaluating"):
        wanted = judge.settle(batch)
        fitted = fit_baseline(baseline, batch.inputs, batch.rows)
        check_finite(fitted, "baseline")
        start = score_of(judge, fitted, wanted, batch)
        counts = np.zeros((2, batch.size))
        for position in _positions(batch.inputs, num_features,
                                   judge.settings.seed):  # fmt: skip
            alone = _only(batch.inputs, fitted, position)
            score = score_of(judge, alone, wanted, batch)
            moved = np.abs(score - start) > SAME * (1 + np.abs(start))
            if not moved.any():
                continue
            shown = _instead(moved, alone)
            a = _magnitudes(judge, batch, shown, wanted)
            there = a[:, position] > 1e-6 * a.max(1)
            counts += [moved & there, moved]
        kept.append(counts[0])
        tried.append(counts[1])
    number = np.concatenate(tried)
    share = np.concatenate(kept) / np.where(number > 0, number, np.nan)
    return evaluated(
        "sensitivity_a", share,
        judge.about(num_features=num_features, baseline=as_text(baseline)),
        details={"tried": number},
    )  # fmt: skip


def sensitivity_b(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    num_features: int = 32,
    num_draws: int = 4,
    **settings: Any,
) -> Evaluation:
    """How much attribution goes to features that change nothing.

    Zero is the law, also called dummy. Costs the explanation and
    `num_features * num_draws` forward passes.

        error = max_{dummy i} |a_i| / max_i |a_i|

    Random positions, the same for all samples, are tried. One counts as a
    dummy if the score stays as it is whatever value, out of `num_draws`
    random ones, all its channels are given; they are drawn from the range of
    the sample, widened by half of it at both ends. More draws make it less
    likely that a feature is taken for one by mistake.

    Args:
        explainer, data, target: See `deletion`.
        num_features: How many positions are tried.
        num_draws: How many values each is given.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: the error of each sample; NaN where there are no
        dummies, or the map holds NaN. `details["dummies"]` is how many there
        are.

    Raises:
        ValueError: If an option is out of range, or the inputs hold integers
            only.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> result = keras_explain.evaluation.sensitivity_b(
    ...     explainer, images, num_features=4)
    >>> result.details["dummies"].shape
    (2,)

    References:
        Sundararajan et al., 2017. Axiomatic Attribution for Deep Networks.
        https://arxiv.org/abs/1703.01365
    """
    check_count("num_features", num_features)
    check_count("num_draws", num_draws)
    judge = judge_of_scores(explainer, target, settings)
    own = judge.settings
    scorer = judge.scorer(_replaced(num_draws, own.seed, own.batch_size))
    errors, dummies = [], []
    for batch in judge.batches(data, "Evaluating"):
        check_floating(batch.inputs, "Features are given random values.")
        explained = judge.explain(batch)
        a = _total(judge, explained.maps, batch.inputs)
        tried = np.array(_positions(batch.inputs, num_features, own.seed))
        wanted = judge.scored(explained.target, "logit")
        run = scorer.run(batch.inputs, wanted, batch.rows,
                         tried=tried.astype(np.int32))  # fmt: skip
        clean = run["score"][:, np.newaxis]
        same = np.abs(run["after"] - clean) <= SAME * (1 + np.abs(clean))
        same = same.reshape(batch.size, -1, num_draws).all(2)
        largest = np.where(same, a[:, tried], 0).max(1)
        scale = np.where(a.max(1) > 0, a.max(1), 1)
        valid = same.any(1) & explained.finite
        errors.append(np.where(valid, largest / scale, np.nan))
        dummies.append(same.sum(1))
    return evaluated(
        "sensitivity_b", np.concatenate(errors),
        judge.about(num_features=num_features, num_draws=num_draws),
        details={"dummies": np.concatenate(dummies)},
    )  # fmt: skip


def judge_of_scores(
    explainer: Judgeable, target: Any, given: dict[str, Any]
) -> Judge:
    """Returns a judge with the settings of these measures."""
    own: Settings = take(given, ("reduce",))
    return Judge(explainer, target, own, scores=True)


def score_of(
    judge: Judge, inputs: Any, target: Target, batch: Batch
) -> np.ndarray:
    """Returns the logits, or what the settings say, of other inputs."""
    return judge.score(batch, inputs, judge.scored(target, "logit"))


def _keys(inputs: Any) -> dict[str, Any]:
    return {str(k): x for k, x in enumerate(tf.nest.flatten(inputs))}


def _count(inputs: Any) -> int:
    return sum(math.prod(positions.axes_of(x)) for x in tf.nest.flatten(inputs))


def _positions(inputs: Any, number: int, seed: int) -> list[int]:
    """Random positions, the same for all samples of this shape."""
    count = _count(inputs)
    random = np.random.default_rng([seed, count])
    return random.permutation(count)[:number].tolist()


def _only(inputs: Any, rest: Any, position: int) -> Any:
    """The baseline, with one position of the inputs."""
    kept = np.zeros((1, 1, _count(inputs)), np.float32)
    kept[..., position] = 1
    masks = positions.in_shape(tf.constant(kept), inputs, _keys(inputs))
    return tf.nest.map_structure(lambda x: x[0], blend(inputs, rest, masks))


def _instead(chosen: np.ndarray, inputs: Any) -> Any:
    """Inputs of which those that are not chosen are another that is.

    Where an input is the baseline, a method may refuse to explain it; what
    is said there does not count.
    """
    rows = np.where(chosen, np.arange(len(chosen)), np.argmax(chosen))
    return tf.nest.map_structure(lambda x: tf.gather(x, rows), inputs)


def _magnitudes(
    judge: Judge, batch: Batch, inputs: Any, target: Target
) -> np.ndarray:
    with warnings.catch_warnings():  # a map of zeros is what is looked for
        warnings.simplefilter("ignore", ExplainWarning)
        maps = judge.again(batch, inputs, target)
    return _total(judge, maps, inputs)


def _total(judge: Judge, maps: Any, inputs: Any) -> np.ndarray:
    """Magnitudes at all positions, zero for inputs without a map."""
    found = positions.reduced(maps, inputs, "magnitude")
    batch = tf.nest.flatten(inputs)[0].shape[0]
    parts = [
        np.asarray(found[key], np.float64).reshape(batch, -1)
        if key in found
        else np.zeros((batch, math.prod(positions.axes_of(x))))
        for key, x in _keys(inputs).items()
    ]
    return np.concatenate(parts, 1)


def _replaced(num_draws: int, seed: int, batch_size: int) -> Measure:
    """Measures the score with one position at a time given another value."""

    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        tried = function.extra["tried"]
        masked = Masked(dataclasses.replace(function, extra={}), at, at.point)
        sizes = [
            tf.reduce_prod(tf.shape(x)[1:-1] if x.shape.rank > 2
                           else tf.shape(x)[1:])
            for x in tf.nest.flatten(at.point)
        ]  # fmt: skip
        count = tf.add_n(sizes)

        def scores(ids: tf.Tensor) -> tf.Tensor:
            chosen = tf.gather(tried, ids // num_draws)
            kept = tf.one_hot(chosen, count, 0.0, 1.0)[:, tf.newaxis]
            masks = positions.in_shape(kept, at.point, _keys(at.point))
            drawn = sampling.normal(ids, seed, [], 0)
            share = 2 * tf.math.mod(1e3 * drawn, 1.0) - 0.5  # in [-0.5, 1.5]
            fill = tf.nest.map_structure(lambda x: _between(x, share), at.point)
            return masked.scores(masks, fill)

        number = tf.size(tried) * num_draws
        found = sampling.collect(scores, number, batch_size, function.batch)
        return {"after": tf.transpose(found)}

    return measure


def _between(x: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Values `(k, batch, ...)` at a share of the range of each sample."""
    if not x.dtype.is_floating:
        return tf.repeat(x[tf.newaxis], tf.size(share), axis=0)
    axes = list(range(1, x.shape.rank))
    low = tf.reduce_min(x, axes, keepdims=True)[tf.newaxis]
    high = tf.reduce_max(x, axes, keepdims=True)[tf.newaxis]
    width = tf.where(high > low, high - low, tf.ones_like(low))
    share = sampling.expand(tf.cast(share, x.dtype), low)
    return low + share * width
