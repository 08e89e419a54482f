"""RISE: the score of what random masks leave, mask by mask."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.perturbation.hiding import Hiding
from keras_explain.attribution.perturbation.random_masks import (
    RandomMasks,
    content_seeds,
)
from keras_explain.engine import sampling
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_count, check_seed
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.score import ScoreFunction


@register(
    "rise",
    family="perturbation",
    title="RISE",
    paper="Petsiuk et al., 2018",
    cost="num_masks forwards",
)
class RISE(Hiding):
    """The mean score of what is left where a position is kept.

    Use it for a smooth map of any model, without gradients: it finds what is
    enough for the score, whatever its form. Costs `num_masks` forward
    passes; `Explanation.details["standard_errors"]` says how far chance may
    have moved each value, and falls with the root of `num_masks`.

        S(i) = E[f(x * M) | M(i)] = mean_k f(x * M_k) + cov_k(f, M_k(i)) / p

    A mask is a grid of `cells + 1` random cells along each axis, each kept
    with probability `p`, enlarged linearly and cropped at a random place of
    its own. The values of a table, and tokens, are kept or hidden one by
    one. Masks are made when they are needed and not held.

    Differs from the paper: it divides the sum of `f M(i)` by `N p`. Here the
    score's own mean is set apart and the covariance has the divisor `N - 1`.
    The expectation is the same and exact for any number of masks, but a
    constant in the score no longer brings the masks themselves into the map.
    The score is that of the target: the logit by default; for the
    probability of the paper pass `target=Class(index, of="probability")`.

    Args:
        model, layer: See `Explainer`.
        num_masks: Number of masks, at least 2.
        cells: Coarse cells along each axis of positions.
        keep_probability: That a cell is kept, between 0 and 1.
        shared: Whether all samples have the same masks. Otherwise those of a
            sample are drawn by its values, so that errors of samples are
            independent, and a batch of n still equals n batches of one.
        seed: Integer. The same seed gives the same masks.
        **options: `batch_size`, most rows the model sees at once, 32 by
            default; `fill`, what takes the place of hidden values as in
            `FeatureAblation`, `"zero"` by default.

    Output shape:
        That of the inputs (or of the layer's output), the same for all
        channels of a position. Units of the score; above the mean where a
        position speaks for the target.

    Raises:
        TypeError: If `num_masks` or `cells` is no whole number.
        ValueError: If `num_masks` is less than 2, `cells` less than 1, or
            `keep_probability` not between 0 and 1.

    Example:

    >>> keras_explain.RISE(model, num_masks=20, cells=4)(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Petsiuk, Das, Saenko, 2018. RISE: Randomized Input Sampling for
        Explanation of Black-box Models. https://arxiv.org/abs/1806.07421
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        num_masks: int = 4000,
        cells: int = 8,
        keep_probability: float = 0.5,
        shared: bool = True,
        seed: int = 0,
        layer: Any = None,
        **options: Any,
    ):
        super().__init__(model, layer=layer, **options)
        check_count("num_masks", num_masks)
        check_count("cells", cells)
        check_seed(seed)
        if num_masks == 1:
            raise ValueError(
                message(
                    "One mask says nothing about where the score comes from.",
                    "num_masks=1",
                    "Pass at least 2; some thousands make a smooth map.",
                )
            )
        if not 0 < keep_probability < 1:
            raise ValueError(
                message(
                    "A cell is kept with a probability between 0 and 1.",
                    f"keep_probability={keep_probability}",
                    "At 0 nothing is left to score, and at 1 nothing hidden; "
                    "the paper takes 0.5.",
                )
            )
        self.num_masks = num_masks
        self.cells = cells
        self.keep_probability = keep_probability
        self.shared = shared
        self.seed = seed

    @classmethod
    def _option_names(cls) -> list[str]:
        more = [n for n in Hiding._option_names() if n != "layer"]
        return [*super()._option_names(), *more]

    def _attribute(self, function: ScoreFunction) -> Attribution:
        masked = self._masked(function)
        point = masked.at.point
        if self.shared:
            seeds = tf.constant([self.seed], tf.int32)
        else:
            seeds = content_seeds(function.inputs, self.seed)
        flat = tf.nest.flatten(point)
        random = RandomMasks(flat, self.cells, self.keep_probability)

        def masks(ids: tf.Tensor) -> Any:
            return tf.nest.pack_sequence_as(point, random.draw(seeds, ids))

        scores = masked.collect(masks, self.num_masks, self.batch_size)
        values, errors = self._mean(masks, scores, function.batch)

        def whole(found: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
            return tf.broadcast_to(found, tf.shape(tensor))

        pack = tf.nest.pack_sequence_as
        values = pack(point, list(map(whole, values, flat)))
        errors = pack(point, list(map(whole, errors, flat)))
        return Attribution(
            values, masked.at, details={"standard_errors": errors}
        )

    def _mean(
        self, masks: Any, scores: tf.Tensor, batch: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Weighs the masks, drawn once more, with their scores.

        They are drawn twice and not held: that takes little next to a run
        of the model, and the mean of all scores is known the second time.
        """
        number, p = self.num_masks, self.keep_probability
        mean = tf.reduce_mean(scores, 0)
        apart = (scores - mean) / p  # (masks, batch)

        def sums(ids: tf.Tensor) -> Any:
            weights = tf.gather(apart, ids)

            def both(mask: tf.Tensor) -> list[tf.Tensor]:
                weigh = _shared if self.shared else _own
                return [weigh(weights, mask), weigh(weights**2, mask**2)]

            return list(map(both, tf.nest.flatten(masks(ids))))

        rows = tf.maximum(batch, 1)
        found = sampling.accumulate(sums, number, self.batch_size, rows)
        values, errors = [], []
        for total, squares in found:
            level = sampling.expand(mean, total)
            values.append(level + total / (number - 1))
            spread = tf.nn.relu(squares - total**2 / number)
            errors.append(tf.sqrt(spread / (number * (number - 1))))
        return values, errors


def _shared(weights: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Sums masks `(k, 1, ...)` with weights `(k, batch)`."""
    return tf.tensordot(weights, masks[:, 0], [[0], [0]])


def _own(weights: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Sums masks `(k, batch, ...)` with weights `(k, batch)`."""
    return tf.reduce_sum(sampling.expand(weights, masks) * masks, 0)
