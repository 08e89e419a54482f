"""Whether attributions are what the score does when inputs change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.checks import check_choice, check_count
from keras_explain.engine.errors import message
from keras_explain.engine.fills import check_fill, fill_arguments, filled
from keras_explain.engine.masking import Masked
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.scoring import Measure
from keras_explain.evaluation import positions
from keras_explain.evaluation.judged import Judge, Judgeable
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import as_text, check_noise, take
from keras_explain.evaluation.similarity import pearson

_PERTURBATIONS = ("noise", "noisy_baseline", "removal")


def sensitivity_n(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    sizes: int | Sequence[int] = 10,
    subsets: int = 100,
    fill: Any = "zero",
    **settings: Any,
) -> Evaluation:
    """How well sums of attributions tell what removing pixels does.

    High is good: 1 at every `n` for exact attributions of a model that is a
    sum of functions of one pixel each. Costs `subsets` forward passes for
    each size and sample.

        r_n = pearson_S(sum_{i in S} a_i, f(x) - f(x without S)),  |S| = n

    over random subsets of `n` positions, the same for all samples, for each
    sample on its own; then the mean over the sizes. All channels of a
    position go together, and their attributions are summed with their signs.
    A size at which either side does not vary, such as that of all positions,
    is left out; a sample without any other is not valid. The score is the
    logit.

    Args:
        explainer, data, target: See `deletion`.
        sizes: The sizes, or how many: from 1 to 0.8 times the number of
            positions, at equal distances of their logarithms.
        subsets: How many subsets of each size; at least two.
        fill: What takes the place of removed pixels; see `deletion`.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: the mean correlation of each sample; the curve over
        the sizes.

    Raises:
        ValueError: If an option is out of range, or a map does not fit.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.InputXGradient(model)
    >>> keras_explain.evaluation.sensitivity_n(
    ...     explainer, images, sizes=[1, 8, 32], subsets=10).curve["x"].tolist()
    [1.0, 8.0, 32.0]

    References:
        Ancona et al., 2018. Towards Better Understanding of Gradient-based
        Attribution Methods for Deep Neural Networks.
        https://arxiv.org/abs/1711.06104
    """
    check_count("subsets", subsets, 2)
    if isinstance(sizes, int):
        check_count("sizes", sizes)
    check_fill(fill)
    judge = Judge(explainer, target, take(settings, ("reduce",)), scores=True)
    own = judge.settings
    scorer = judge.scorer(_subset_measure(fill, own.seed, subsets,
                                          own.batch_size))  # fmt: skip
    curves, valid, x = [], [], np.zeros(0)
    for batch in judge.batches(data, "Evaluating"):
        explained = judge.explain(batch)
        values = judge.reduce(explained.maps, batch.inputs)
        x = _sizes(sizes, positions.number_of(values))
        given = {
            "maps": values,
            "sizes": x.astype(np.int32),
            **fill_arguments(fill, batch.inputs, batch.rows),
        }
        wanted = judge.scored(explained.target, "logit")
        found = scorer.run(batch.inputs, wanted, batch.rows, **given)
        pairs = found["pairs"].astype(np.float64)  # (batch, runs, 2)
        drops = found["score"].astype(np.float64)[:, None] - pairs[..., 0]
        rows = (batch.size * len(x), subsets)
        each = pearson(pairs[..., 1].reshape(rows), drops.reshape(rows))
        curves.append(each.reshape(batch.size, -1))
        valid.append(explained.finite)
    curve = np.concatenate(curves)
    curve[~np.concatenate(valid)] = np.nan
    return evaluated(
        "sensitivity_n", mean_of_known(curve),
        judge.about(sizes=x.tolist(), subsets=subsets, fill=as_text(fill)),
        curve=(x, curve),
    )  # fmt: skip


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each row over what is no NaN; NaN for none."""
    there = ~np.isnan(values)
    sums = np.where(there, values, 0.0).sum(1)
    number = there.sum(1)
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)


def _sizes(given: int | Sequence[int], number: int) -> np.ndarray:
    if isinstance(given, int):
        last = max(1.0, 0.8 * number)
        return np.unique(np.rint(np.geomspace(1, last, given)))
    found = np.asarray(given, np.float64).ravel()
    if not found.size or np.any(
        (found < 1) | (found > number) | (found % 1 != 0)
    ):
        raise ValueError(
            message(
                "`sizes` are numbers of positions.",
                f"sizes={given!r} of {number} positions",
                "Pass integers from 1 to that number, or how many sizes.",
            )
        )
    return found


def _subset_measure(
    fill: Any, seed: int, subsets: int, batch_size: int
) -> Measure:
    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        extra = function.extra
        values = positions.joined(extra["maps"])
        hidden = filled(fill, at.point, extra.get("fill"))
        masked = Masked(dataclasses.replace(function, extra={}), at, hidden)
        width = tf.shape(values)[1]

        def pairs(ids: tf.Tensor) -> tf.Tensor:
            drawn = sampling.normal(ids, seed, [width], 0)
            order = tf.argsort(tf.argsort(drawn, axis=1), axis=1)
            size = tf.gather(extra["sizes"], ids // subsets)
            gone = order < size[:, tf.newaxis]
            kept = tf.cast(~gone, tf.float32)[:, tf.newaxis]
            masks = positions.in_shape(kept, at.point, extra["maps"])
            scores = masked.scores(masks)
            gone = tf.cast(gone, values.dtype)
            sums = tf.matmul(gone, values, transpose_b=True)
            return tf.stack([scores, tf.cast(sums, scores.dtype)], -1)

        number = subsets * tf.size(extra["sizes"])
        found = sampling.collect(pairs, number, batch_size, function.batch)
        return {"pairs": tf.transpose(found, [1, 0, 2])}

    return measure


def _scaled_to_fit(dots: np.ndarray, drops: np.ndarray) -> np.ndarray:
    """Scales each row of `dots` to fit that of `drops` best."""
    squares = (dots**2).sum(1, keepdims=True)
    beta = (dots * drops).sum(1, keepdims=True)
    none = np.zeros_like(beta)
    return dots * np.divide(beta, squares, out=none, where=squares > 0)


def infidelity(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    perturbation: str | Callable = "noise",
    num_samples: int = 50,
    noise_stddev: float = 0.1,
    normalize: bool = False,
    **settings: Any,
) -> Evaluation:
    """How far attributions are from what small changes do to the score.

    Low is good. Costs `num_samples` forward passes for each sample.

        infidelity = E_I[(sum_i I_i a_i - (f(x) - f(x - I)))^2]

    over perturbations `I`, the same for all samples but for their scale. The
    explainer must give a value for each input value. The score is the logit.

    Noise asks for attributions that are slopes, such as a gradient.
    Attributions that add up to the score, such as those of integrated
    gradients, are asked what happens without some of the values: there `I`
    is 1 for each that is removed, and the score is taken without them.

    Args:
        explainer, data, target: See `deletion`.
        perturbation: For slopes `"noise"`, normal, or `"noisy_baseline"`,
            the input minus such noise, so that the noise remains. For what
            adds up `"removal"`, each value set to zero with a chance of one
            half. Or a function `(inputs, number)` of TensorFlow operations
            that gives the perturbation `I` with this number, in the shape of
            the inputs; or the pair of `I` and of the perturbed inputs, if
            those are not `x - I`.
        num_samples: How many perturbations; with `normalize` at least two.
        noise_stddev: Standard deviation of the noise, as a share of the
            range (maximum minus minimum) of each input.
        normalize: Whether the attributions are scaled to fit best, by
            `beta = E[(I a) d] / E[(I a)^2]` with `d` the change of the
            score, so that only their proportions count.
        settings: See `deletion`; without `reduce`.

    Returns:
        An `Evaluation`: a squared difference of scores for each sample; NaN
        where a map holds NaN.

    Raises:
        ValueError: If an option is out of range, the maps are not of the
            shape of the inputs, or the inputs hold integers only.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> result = keras_explain.evaluation.infidelity(
    ...     explainer, images, num_samples=4)
    >>> result.mean >= 0
    True

    References:
        Yeh et al., 2019. On the (In)fidelity and Sensitivity of
        Explanations. https://arxiv.org/abs/1901.09392
    """
    if not callable(perturbation):
        check_choice("perturbation", perturbation, _PERTURBATIONS)
    check_count("num_samples", num_samples)
    if normalize and num_samples < 2:
        raise ValueError(
            message(
                "Any map can be scaled to fit a single perturbation.",
                f"num_samples={num_samples} and normalize=True",
                "Pass a larger `num_samples`, such as 50.",
            )
        )
    check_noise(noise_stddev)
    judge = Judge(explainer, target, take(settings, ("reduce",)), scores=True)
    own = judge.settings
    scorer = judge.scorer(
        _noise_measure(perturbation, num_samples, (noise_stddev, own.seed),
                       own.batch_size)
    )  # fmt: skip
    found, valid = [], []
    for batch in judge.batches(data, "Evaluating"):
        check_floating(batch.inputs, "Infidelity adds noise to the inputs.")
        explained = judge.explain(batch)
        positions.check_same_shape(
            explained.maps, batch.inputs,
            "Infidelity needs an attribution for each input value.",
        )  # fmt: skip
        maps = dict(enumerate(tf.nest.flatten(explained.maps)))
        given = {str(k): tf.cast(m, tf.float32) for k, m in maps.items()}
        wanted = judge.scored(explained.target, "logit")
        run = scorer.run(batch.inputs, wanted, batch.rows, a=given)
        pairs = run["pairs"].astype(np.float64)
        dots, after = pairs[..., 1], pairs[..., 0]
        drops = run["score"].astype(np.float64)[:, None] - after
        if normalize:
            dots = _scaled_to_fit(dots, drops)
        found.append(((dots - drops) ** 2).mean(1))
        valid.append(explained.finite)
    return evaluated(
        "infidelity",
        np.where(np.concatenate(valid), np.concatenate(found), np.nan),
        judge.about(
            perturbation=perturbation if isinstance(perturbation, str)
            else getattr(perturbation, "__name__", repr(perturbation)),
            num_samples=num_samples, noise_stddev=noise_stddev,
            normalize=normalize,
        ),
    )  # fmt: skip


def check_floating(inputs: Any, why: str) -> None:
    """Raises `ValueError` if all inputs hold integers."""
    if not any(x.dtype.is_floating for x in tf.nest.flatten(inputs)):
        raise ValueError(
            message(
                why,
                "inputs that hold integers only",
                "Tokens take no noise: use `deletion` or `sensitivity_n`.",
            )
        )


def _noise_measure(
    perturbation: str | Callable,
    num_samples: int,
    noise: tuple[float, int],
    batch_size: int,
) -> Measure:
    own = callable(perturbation)

    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        bare = dataclasses.replace(function, extra={})
        xs = tf.nest.flatten(at.point)
        a = [function.extra["a"][str(k)] for k in range(len(xs))]

        def pairs(ids: tf.Tensor) -> tf.Tensor:
            if callable(perturbation):
                flat, moved = _own(perturbation(at.point, ids[0]), xs)
            else:
                drawn = [_drawn(perturbation, x, ids, noise, k)
                         for k, x in enumerate(xs)]  # fmt: skip
                flat, moved = map(list, zip(*drawn, strict=True))
            points = sampling.stack(tf.nest.pack_sequence_as(at.point, moved))
            many = bare.repeated(tf.size(ids)).at(points)
            score = many.evaluate().score
            score = tf.reshape(score, [tf.size(ids), function.batch])
            dots = [
                tf.reduce_sum(tf.cast(i, tf.float32) * m,
                              list(range(2, i.shape.rank)))
                for x, i, m in zip(xs, flat, a, strict=True)
                if x.dtype.is_floating
            ]  # fmt: skip
            return tf.stack([score, tf.add_n(dots)], -1)

        # A function of one's own gives one perturbation at a time.
        rows = 1 if own else batch_size
        found = sampling.collect(pairs, num_samples, rows, function.batch)
        return {"pairs": tf.transpose(found, [1, 0, 2])}

    return measure


def _own(
    given: Any, xs: list[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """What a function of one's own gave, each `(1, batch, ...)`."""
    pair = isinstance(given, tuple) and len(given) == 2
    flat = [_fitted(part, xs) for part in (given if pair else (given,))]
    if pair:
        return flat[0], flat[1]
    moved = [x[tf.newaxis] - i for x, i in zip(xs, flat[0], strict=True)]
    return flat[0], moved


def _fitted(given: Any, xs: list[tf.Tensor]) -> list[tf.Tensor]:
    flat = tf.nest.flatten(given)
    if len(flat) != len(xs):
        raise ValueError(
            message(
                "A perturbation has the structure of the inputs.",
                f"{len(flat)} tensors for {len(xs)} inputs",
                "Return it alone, or a tuple of it and the perturbed inputs.",
            )
        )
    return [
        tf.broadcast_to(tf.cast(i, x.dtype), tf.shape(x))[tf.newaxis]
        for i, x in zip(flat, xs, strict=True)
    ]


def _drawn(
    kind: str, x: tf.Tensor, ids: tf.Tensor, noise: tuple[float, int],
    stream: int,
) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
    """Perturbations and perturbed inputs, each `(k, batch, ...)`."""
    copies = tf.repeat(x[tf.newaxis], tf.size(ids), axis=0)
    if not x.dtype.is_floating:
        return tf.zeros_like(copies), copies
    drawn = sampling.normal(ids, noise[1], tf.shape(x)[1:], stream)
    drawn = tf.cast(drawn[:, tf.newaxis], x.dtype)
    if kind == "removal":
        gone = tf.cast(drawn > 0, x.dtype) + tf.zeros_like(copies)
        return gone, copies * (1 - gone)
    drawn = drawn * (noise[0] * span(x))
    if kind == "noisy_baseline":
        return copies - drawn, copies * 0 + drawn
    return drawn, copies - drawn


def span(x: tf.Tensor) -> tf.Tensor:
    """Returns the range of each input; of a constant one its magnitude."""
    axes = list(range(1, x.shape.rank))
    low = tf.reduce_min(x, axes, keepdims=True)
    high = tf.reduce_max(x, axes, keepdims=True)
    return tf.where(high > low, high - low, tf.abs(high))
