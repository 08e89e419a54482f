"""What the score does while the relevant parts of an input go or come."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_explain.engine.checks import check_choice
from keras_explain.evaluation.judged import Judge, Judgeable
from keras_explain.evaluation.removal import (
    ORDERS,
    Removal,
    one_length,
    removal_arguments,
    removal_measure,
)
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import Settings, as_text, take


def deletion(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    steps: int = 100,
    fill: Any = "zero",
    **settings: Any,
) -> Evaluation:
    """The area under the score while the most relevant pixels are deleted.

    Low is good: if the map is right, the score falls at once. Costs
    `steps + 1` forward passes for each sample, besides the explanation.

        AUC = sum_k (s_k + s_{k+1}) / 2 * (x_{k+1} - x_k)

    with `s_k` the score after the share `x_k` of the positions has been
    replaced, in the order of the map. All channels of a position go
    together. The steps are of equal size, up to rounding, and lead to the
    end; with fewer positions than `steps` each step is one position.

    Equal values of a map are taken in a random order that depends on the
    seed and on the number of positions only, so that a constant map scores
    what chance scores. Samples whose map holds NaN are not valid.

    The score is the probability of the class, as in the paper, and the class
    is the one predicted for the whole input.

    Args:
        explainer: An `Explainer`, or a callable `(inputs, target) -> maps`
            (with `model=`) that gets arrays and class indices.
        data: An array, a list or dict for a model with several inputs, a
            `tf.data.Dataset` or `PyDataset`; of inputs, or of `(inputs, y)`,
            of which `y` is left aside. It is streamed.
        target: `None` for the class predicted for each sample, a class
            index, an array of them, or a `keras_explain.Target`.
        steps: Most steps.
        fill: What takes the place of deleted pixels: `"zero"`, `"mean"` of
            each channel, `"blur"`, `"uniform"` noise in the range of each
            sample, a number or an array. In the paper zero, which is the
            mean color of normalized images.
        settings: `model`, `reduce`, `of`, `seed`, `batch_size`, `verbose`;
            see `Settings`.

    Returns:
        An `Evaluation`: the AUC of each sample; the curve over the share of
        deleted positions; `details["class"]`, -1 where the target is none.

    Raises:
        ValueError: If an option is out of range or a map does not fit.
        TypeError: If there is no such setting.

    Example:

    >>> explainer = keras_explain.Saliency(model)
    >>> result = keras_explain.evaluation.deletion(explainer, images, steps=8)
    >>> result.per_sample.shape, result.curve["y"].shape
    ((2,), (9,))

    References:
        Petsiuk et al., 2018. RISE: Randomized Input Sampling for Explanation
        of Black-box Models. https://arxiv.org/abs/1806.07421
    """
    removal = Removal(fill, steps=steps)
    return _area("deletion", explainer, data, target, removal, settings)


def insertion(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    steps: int = 100,
    fill: Any = "blur",
    **settings: Any,
) -> Evaluation:
    """The area under the score while the most relevant pixels are put back.

    High is good: if the map is right, a few pixels are enough. Costs as
    much as `deletion`, and is defined as it, but that the curve begins with
    an input that is hidden as a whole and ends with the input.

    Differs from the authors' code: the blur is a Gaussian of a tenth of each
    axis, where theirs has a standard deviation of 5 pixels of 224.

    Args:
        explainer, data, target, steps, settings: See `deletion`.
        fill: What the input is hidden by; see `deletion`. A blur makes
            fewer new edges than a constant. Tokens take a number.

    Returns:
        An `Evaluation`; see `deletion`. The curve is over the share of
        positions that are there.

    Raises:
        ValueError, TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Saliency(model)
    >>> result = keras_explain.evaluation.insertion(explainer, images, steps=8)
    >>> result.n_valid
    2

    References:
        Petsiuk et al., 2018. RISE: Randomized Input Sampling for Explanation
        of Black-box Models. https://arxiv.org/abs/1806.07421
    """
    removal = Removal(fill, steps=steps, inserts=True)
    return _area("insertion", explainer, data, target, removal, settings)


def perturbation_curve(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    order: str = "morf",
    region: int = 9,
    fill: Any = "uniform",
    **settings: Any,
) -> Evaluation:
    """The mean drop of the score while regions go one by one: AOPC.

    With `order="morf"`, the most relevant region first, high is good; with
    `"lerf"`, the least relevant first, low is good; `"gap"` is the first
    minus the second, which leaves out how easily a model is disturbed.
    `"random"` is what any map should be better than. Costs `steps + 1`
    forward passes for each sample; `"gap"` twice as many.

        AOPC = 1 / (L + 1) * sum_{k=0..L} f(x_0) - f(x_k)

    with `x_k` the input after `k` regions have been replaced. The relevance
    of a region is the sum of the map over it. Ties are decided as in
    `deletion`. The score is the logit.

    Differs from the paper: the noise is uniform in the range of each sample,
    and drawn once, not anew for each run.

    Args:
        explainer, data, target: See `deletion`.
        order: `"morf"`, `"lerf"`, `"gap"` or `"random"`.
        region: Positions along each axis of a region. Tables and tokens have
            no neighbours; their regions are of one value.
        fill: What takes the place of a region; see `deletion`.
        settings: `steps`, at most how many regions go: `L`, by default 100;
            and those of `deletion`.

    Returns:
        An `Evaluation`: the AOPC of each sample; the curve of scores over
        the number of regions that have gone (of differences, for `"gap"`).

    Raises:
        ValueError, TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Saliency(model)
    >>> keras_explain.evaluation.perturbation_curve(
    ...     explainer, images, region=2, steps=4).curve["x"].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]

    References:
        Samek et al., 2017. Evaluating the Visualization of What a Deep
        Neural Network Has Learned. https://arxiv.org/abs/1509.06321
    """
    check_choice("order", order, (*ORDERS, "gap"))
    steps = settings.pop("steps", 100)
    orders = ["morf", "lerf"] if order == "gap" else [order]
    removals = [
        Removal(fill, one, region, steps, whole=False) for one in orders
    ]
    judge = Judge(explainer, target, take(settings), scores=True)
    counts, curves, found = _curves(judge, data, removals, "logit")
    drops = [(c[:, :1] - c).mean(1) for c in curves]
    curve = curves[0]
    if order == "gap":
        drops, curve = [drops[0] - drops[1]], curves[1] - curves[0]
    return evaluated(
        "perturbation_curve",
        np.where(found["valid"], drops[0], np.nan),
        judge.about(
            order=order, region=region, steps=steps, fill=as_text(fill)
        ),
        curve=(counts[0], curve),
        details={"class": found["class"]},
    )


def _area(
    name: str,
    explainer: Judgeable,
    data: Any,
    target: Any,
    removal: Removal,
    settings: dict[str, Any],
) -> Evaluation:
    judge = Judge(explainer, target, take(settings), scores=True)
    shares, curves, found = _curves(judge, data, [removal], "probability")
    middles = (curves[0][:, 1:] + curves[0][:, :-1]) / 2
    area = (middles * np.diff(shares[0])).sum(1)
    return evaluated(
        name,
        np.where(found["valid"], area, np.nan),
        judge.about(steps=removal.steps, fill=as_text(removal.fill)),
        curve=(shares[0], curves[0]),
        details={"class": found["class"]},
    )


def _curves(
    judge: Judge, data: Any, removals: list[Removal], usual: str
) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, np.ndarray]]:
    """The scores `(samples, steps + 1)` under each of several removals.

    Returns:
        Where the points are, the curves, and `valid` and `class` of each
        sample.
    """
    own: Settings = judge.settings
    scorers = [
        judge.scorer(removal_measure(r, own.seed, own.batch_size))
        for r in removals
    ]
    x: list[np.ndarray] = [np.zeros(0)] * len(removals)
    curves: list[list[np.ndarray]] = [[] for _ in removals]
    about: dict[str, list[np.ndarray]] = {"valid": [], "class": []}
    for batch in judge.batches(data, "Evaluating"):
        explained = judge.explain(batch)
        wanted = judge.scored(explained.target, usual)
        about["valid"].append(explained.finite)
        about["class"].append(explained.classes)
        for k, (removal, scorer) in enumerate(
            zip(removals, scorers, strict=True)
        ):
            given = removal_arguments(removal, judge, batch, explained)
            found = scorer.run(batch.inputs, wanted, batch.rows, **given)
            curves[k].append(found["scores"].astype(np.float64))
            x[k] = given["counts"].astype(np.float64)
            if removal.whole:
                x[k] /= x[k][-1]
    joined = [one_length(parts) for parts in curves]
    return x, joined, {k: np.concatenate(v) for k, v in about.items()}
