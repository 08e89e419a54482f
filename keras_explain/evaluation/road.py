"""Removal that leaves no trace: hidden pixels are filled in from around."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.checks import check_choice
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.inpainting import inpaint
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.scoring import Measure
from keras_explain.evaluation import positions
from keras_explain.evaluation.judged import Batch, Judge, Judgeable
from keras_explain.evaluation.removal import (
    ORDERS,
    Removal,
    position_ranks,
    removal_arguments,
)
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import SCORES, take

# Enough for a picture: the noise that is added is a hundred times larger.
_TOLERANCE = 1e-4
_USUAL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def road(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    order: str = "morf",
    shares: Sequence[float] = _USUAL,
    noise_stddev: float = 0.01,
    **settings: Any,
) -> Evaluation:
    """Remove and debias: how well a class survives when pixels are taken out.

    With `order="morf"`, the most relevant pixels first, low is good; with
    `"lerf"`, high; `"gap"` is the second minus the first. Unlike `deletion`,
    the shape of what is removed cannot be read off the picture: each pixel
    becomes the weighted mean of its neighbours (see
    `keras_explain.engine.inpainting`), plus a little noise. Costs a forward
    pass and some solver steps for each share; `"gap"` twice as many.

        ROAD = mean_p accuracy(x with the share p removed)

    The accuracy of a sample is 1 where the class is still the predicted one.
    `of="probability"` takes a smoother score. For the accuracy of the paper
    pass the labels as target.

    Ties are decided as in `deletion`; samples whose map holds NaN are not
    valid. A share of 1 leaves the mean of each channel.

    Args:
        explainer, data, target: See `deletion`.
        order: `"morf"`, `"lerf"`, `"random"` or `"gap"`.
        shares: How much is removed, each above 0 and up to 1, ascending.
        noise_stddev: Standard deviation of the noise, as a share of the
            standard deviation of each input.
        settings: See `deletion`; `of` may be `"accuracy"`, the default.

    Returns:
        An `Evaluation`: the mean over the shares for each sample; the curve
        over them, with a first point for the inputs as they are.

    Raises:
        ValueError: If an option is out of range, a map does not fit, or the
            inputs have no positions to fill from.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Saliency(model)
    >>> result = keras_explain.evaluation.road(explainer, images, shares=[0.5])
    >>> result.curve["x"].tolist()
    [0.0, 0.5]

    References:
        Rong et al., 2022. A Consistent and Efficient Evaluation Strategy for
        Attribution Methods. https://arxiv.org/abs/2202.00449
    """
    check_choice("order", order, (*ORDERS, "gap"))
    given = _shares(shares)
    if not noise_stddev >= 0:
        raise ValueError(
            message(
                "`noise_stddev` is a share of the spread of the inputs.",
                f"noise_stddev={noise_stddev!r}",
                "Pass such as 0.01, or 0 for none.",
            )
        )
    of = settings.pop("of", None) or "accuracy"
    check_choice("of", of, ("accuracy", *SCORES))
    own = take(settings)
    own = own if of == "accuracy" else dataclasses.replace(own, of=of)
    judge = Judge(explainer, target, own, scores=True)
    orders = ["lerf", "morf"] if order == "gap" else [order]
    removals = [Removal("zero", one) for one in orders]
    scorers = [
        judge.scorer(_measure(r, noise_stddev, own.seed, of, own.batch_size))
        for r in removals
    ]
    parts: dict[str, list] = {"valid": [], "class": [], "curve": []}
    for batch in judge.batches(data, "Evaluating"):
        _check_positions(batch)
        explained = judge.explain(batch)
        wanted = judge.scored(explained.target, "logit")
        found = []
        for removal, scorer in zip(removals, scorers, strict=True):
            arguments = removal_arguments(removal, judge, batch, explained)
            number = len(arguments["ties"])
            counts = np.rint(np.array([0.0, *given]) * number)
            arguments["counts"] = counts.astype(np.int32)
            scores = scorer.run(batch.inputs, wanted, batch.rows, **arguments)
            found.append(scores["scores"].astype(np.float64))
        parts["curve"].append(found[0] - found[1] if order == "gap"
                              else found[0])  # fmt: skip
        parts["valid"].append(explained.finite)
        parts["class"].append(explained.classes)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return evaluated(
        "road",
        np.where(joined["valid"], joined["curve"][:, 1:].mean(1), np.nan),
        {**judge.about(order=order, shares=given, noise_stddev=noise_stddev),
         "of": of},
        curve=([0.0, *given], joined["curve"]),
        details={"class": joined["class"]},
    )  # fmt: skip


def _shares(shares: Sequence[float]) -> list[float]:
    found = [float(share) for share in np.ravel(shares)]
    rising = all(a < b for a, b in zip(found, found[1:], strict=False))
    if not found or not rising or found[0] <= 0 or found[-1] > 1:
        raise ValueError(
            message(
                "`shares` says how much is removed: from above 0 up to 1, "
                "ascending.",
                f"shares={shares!r}",
                "Pass such as [0.1, 0.3, 0.5].",
            )
        )
    return found


def _check_positions(batch: Batch) -> None:
    flat = tf.nest.flatten(batch.inputs)
    if not any(x.dtype.is_floating and x.shape.rank > 2 for x in flat):
        raise ValueError(
            message(
                "Pixels are filled in from those around them.",
                f"inputs of shape {[tuple(x.shape) for x in flat]}",
                "Tables and tokens have no neighbours: use `deletion`.",
            )
        )


def _measure(
    removal: Removal, noise: float, seed: int, of: str, batch_size: int
) -> Measure:
    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        extra = function.extra
        rank = position_ranks(removal, extra)
        bare = dataclasses.replace(function, extra={})

        def scores(ids: tf.Tensor) -> tf.Tensor:
            counts = tf.gather(extra["counts"], ids)
            kept = rank >= counts[:, tf.newaxis, tf.newaxis]
            masks = positions.in_shape(
                tf.cast(kept, tf.float32), at.point, extra["maps"]
            )
            points = [
                _debiased(x, mask, ids, noise, (seed, stream))
                for stream, (x, mask) in enumerate(
                    zip(
                        tf.nest.flatten(at.point),
                        tf.nest.flatten(masks),
                        strict=True,
                    )
                )
            ]
            many = bare.repeated(tf.size(ids))
            many = many.at(tf.nest.pack_sequence_as(at.point, points))
            found = _survives(many) if of == "accuracy" else (
                many.evaluate().score)  # fmt: skip
            return tf.reshape(found, [tf.size(ids), function.batch])

        number = tf.size(extra["counts"])
        found = sampling.collect(scores, number, batch_size, function.batch)
        return {"scores": tf.transpose(found)}

    return measure


def _debiased(
    x: tf.Tensor,
    mask: tf.Tensor | None,
    ids: tf.Tensor,
    noise: float,
    source: tuple[int, int],
) -> tf.Tensor:
    """Fills in what masks `(k, batch, ...)` hide, `(k * batch, ...)`."""
    copies = tf.tile(x, [tf.size(ids)] + [1] * (x.shape.rank - 1))
    if mask is None or x.shape.rank < 3 or not x.dtype.is_floating:
        return copies
    kept = sampling.stack(mask)
    found = inpaint(copies, kept, tolerance=_TOLERANCE)
    axes = list(range(1, x.shape.rank))
    spread = tf.math.reduce_std(tf.cast(x, tf.float32), axes, keepdims=True)
    drawn = sampling.normal(ids, source[0], tf.shape(x)[1:], source[1])
    drawn = sampling.stack(drawn[:, tf.newaxis] * (noise * spread))
    return found + tf.cast((1 - kept) * drawn, found.dtype)


def _survives(function: ScoreFunction) -> tf.Tensor:
    """1 where the class that was settled on is the predicted one."""
    leaves = list(function.target.leaves())
    if len(leaves) != 1 or not isinstance(leaves[0], Class):
        raise ValueError(
            message(
                "An accuracy is that of a class.",
                f"target={function.target!r}",
                'Pass a class, or such as `of="logit"`.',
            )
        )
    (given,) = function.parameters
    free = dataclasses.replace(
        function,
        target=dataclasses.replace(leaves[0], index=None),
        parameters=[{k: v for k, v in given.items() if k != "index"}],
    )
    heads = function.graph.heads
    if all(head.shape[-1] == 1 or len(head.shape) < 2 for head in heads):
        raise ValueError(
            message(
                "One output alone is always the predicted one.",
                f"a model with outputs {[head.shape for head in heads]}",
                'Pass `of="probability"` or `of="logit"`.',
            )
        )
    found = free.evaluate().indices[0]
    return tf.cast(tf.equal(found, given["index"]), tf.float32)
