"""The score while the regions of an input go, or come, one after another."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import check_count
from keras_explain.engine.errors import message
from keras_explain.engine.fills import check_fill, fill_arguments, filled
from keras_explain.engine.masking import Masked
from keras_explain.engine.score import Evaluation as Run
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.scoring import Measure
from keras_explain.evaluation import positions
from keras_explain.evaluation.judged import Batch, Explained, Judge

ORDERS = ("morf", "lerf", "random")


@dataclasses.dataclass(frozen=True)
class Removal:
    """How the parts of an input go.

    Attributes:
        fill: What takes the place of hidden parts; see `deletion`.
        order: `"morf"`, the most relevant first; `"lerf"`, the least; or
            `"random"`, the same for all samples.
        region: Positions along each axis of a region.
        steps: Most steps.
        inserts: Whether they come instead of going.
        whole: Whether the steps lead to the end, or are of one region each.
    """

    fill: Any
    order: str = "morf"
    region: int = 1
    steps: int = 100
    inserts: bool = False
    whole: bool = True

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("region", self.region)
        if not (isinstance(self.fill, str) and self.fill == "uniform"):
            check_fill(self.fill)

    def counts(self, number: int) -> np.ndarray:
        """Returns how many regions have gone before each run."""
        steps = min(self.steps, number)
        last = number if self.whole else steps
        return np.rint(np.linspace(0, last, steps + 1)).astype(np.int32)


def removal_measure(removal: Removal, seed: int, batch_size: int) -> Measure:
    """Returns what measures the scores, `(batch, steps + 1)`."""

    def measure(function: ScoreFunction, at: Run) -> dict[str, Any]:
        extra = function.extra
        rank = position_ranks(removal, extra)
        fill = hidden(removal.fill, at.point, extra.get("fill"), seed)
        # What a batch is given need not be repeated for each mask.
        bare = dataclasses.replace(function, extra={})

        def masks(ids: tf.Tensor) -> Any:
            counts = tf.gather(extra["counts"], ids)
            chosen = rank < counts[:, tf.newaxis, tf.newaxis]
            kept = chosen if removal.inserts else ~chosen
            kept = tf.cast(kept, tf.float32)
            return positions.in_shape(kept, at.point, extra["maps"])

        number = tf.size(extra["counts"])
        masked = Masked(bare, at, fill)
        return {
            "scores": tf.transpose(masked.collect(masks, number, batch_size))
        }

    return measure


def position_ranks(removal: Removal, extra: Any) -> tf.Tensor:
    """Returns the rank of the region of each position, `(batch, positions)`."""
    values = positions.joined(extra["maps"])
    regions = extra["regions"]
    summed = tf.math.unsorted_segment_sum(
        tf.transpose(values), regions, tf.size(extra["ties"])
    )
    sign = {"morf": 1.0, "lerf": -1.0, "random": 0.0}[removal.order]
    summed = tf.transpose(summed) * tf.cast(sign, summed.dtype)
    ranks = positions.ranks(summed, extra["ties"])
    return tf.gather(ranks, regions, axis=1)


def removal_arguments(
    removal: Removal, judge: Judge, batch: Batch, explained: Explained
) -> dict[str, Any]:
    """Returns what the measure is given for a batch."""
    values = judge.reduce(explained.maps, batch.inputs)
    values = {  # the order of NaN does not matter: it is no result
        key: tf.where(tf.math.is_finite(value), value, tf.zeros_like(value))
        for key, value in values.items()
    }
    regions = positions.regions(values, batch.inputs, removal.region)
    number = int(regions.max()) + 1
    if removal.region > 1 and number == 1:
        raise ValueError(
            message(
                "A region covers the whole input.",
                f"region={removal.region} for inputs of shape "
                f"{[tuple(x.shape) for x in tf.nest.flatten(batch.inputs)]}",
                "Pass a smaller `region`, so that there is an order.",
            )
        )
    random = np.random.default_rng([judge.settings.seed, number])
    given: dict[str, Any] = {
        "maps": values,
        "regions": regions,
        "ties": random.permutation(number).astype(np.int32),
        "counts": removal.counts(number),
    }
    given |= fill_arguments(removal.fill, batch.inputs, batch.rows)
    return given


def hidden(fill: Any, point: Any, given: Any, seed: int) -> Any:
    """Returns what takes the place of hidden parts.

    Args:
        fill: `"uniform"`: between the smallest and the largest value of each
            sample, the same share of it for all samples; or see `filled`.
        point, given: See `filled`.
        seed: Integer.
    """
    if not (isinstance(fill, str) and fill == "uniform"):
        return filled(fill, point, given)
    drawn = []
    for stream, x in enumerate(tf.nest.flatten(point)):
        if not x.dtype.is_floating:
            raise ValueError(
                message(
                    "Numbers of tokens or categories have no range to draw "
                    "from.",
                    'fill="uniform" for integers',
                    "Pass `fill=0`, or the number of the token that stands "
                    "for a missing one.",
                )
            )
        axes = list(range(1, x.shape.rank))
        low = tf.reduce_min(x, axes, keepdims=True)
        high = tf.reduce_max(x, axes, keepdims=True)
        share = tf.random.stateless_uniform(
            tf.shape(x)[1:], [seed % (2**31 - 1), stream]
        )
        drawn.append(low + tf.cast(share, x.dtype) * (high - low))
    return tf.nest.pack_sequence_as(point, drawn)


def one_length(curves: list[np.ndarray]) -> np.ndarray:
    """Joins the curves of batches, or raises where they do not fit."""
    lengths = {curve.shape[1] for curve in curves}
    if len(lengths) > 1:
        raise ValueError(
            message(
                "All samples need a curve of the same length.",
                f"curves of {sorted(lengths)} points",
                "Inputs of several sizes have fewer regions than steps: pass "
                "a smaller `steps`.",
            )
        )
    return np.concatenate(curves)
