"""Shapley values: exact, or sampled over orders of the features."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.surrogate import estimates
from keras_explain.attribution.surrogate.base import SurrogateExplainer
from keras_explain.attribution.surrogate.coalitions import permutations
from keras_explain.attribution.surrogate.estimates import (
    Solution,
    complete,
)
from keras_explain.attribution.surrogate.features import Features
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_integer, check_seed
from keras_explain.engine.errors import message

# More would take more than 65536 forward passes for each sample.
_MOST_FEATURES = 16


@register(
    "shapley_values",
    family="surrogate",
    title="Shapley values",
    paper="Shapley, 1953",
    cost="2^M forward passes, M up to 16 features",
)
class ShapleyValues(SurrogateExplainer):
    """What each feature adds to the score, averaged over all orders.

    Use it for the exact answer with few features, and to judge methods that
    estimate it. Costs 2^M forward passes for M features, and as many times
    the rows of a background.

        phi_j = sum_{S without j} |S|! (M - |S| - 1)! / M! (v(S + j) - v(S))

    `v(S)` is the score with the features of `S` shown, averaged over the
    rows of a background. It is the only way to share `v(all) - v(0)` that is
    complete, symmetric, linear in `v`, and gives nothing to a feature that
    never matters.

    Args:
        model, layer, batch_size: See `Explainer`.
        segmenter: See `LIME`. The default cuts pictures into 3 x 3 blocks,
            volumes into 2 x 2 x 2, series into 9 pieces.
        fill: What hides, see `LIME` and `KernelSHAP`. The default is zero.
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output). Signed; each value has
        the whole Shapley value of its feature, in units of the score: the
        sum over features, not over values, is `v(all) - v(0)`. `details` has
        `"segments"`, `"standard_errors"` (zero), `"num_features"` and
        `"baseline_score"`, v(0).

    Raises:
        ValueError: If there are more than 16 features, a segment map, fill
            or background does not fit, or the fill equals the input.

    Example:

    >>> explainer = keras_explain.attribution.surrogate.ShapleyValues(model)
    >>> explanation = explainer.explain(images)
    >>> explanation.details["num_features"]
    array([9, 9], dtype=int32)

    References:
        Shapley, 1953. A Value for n-person Games. In Contributions to the
        Theory of Games II. https://doi.org/10.1515/9781400881970-018
    """

    pieces = 9
    superpixels = "grid"
    _facts = ("delta", "baseline_score")

    def _prepare(self, count: int) -> np.ndarray:
        if count > _MOST_FEATURES:
            raise ValueError(
                message(
                    "Exact Shapley values take up to "
                    f"{_MOST_FEATURES} features: there are 2^M coalitions.",
                    f"{count} features",
                    "Use KernelSHAP or ShapleySampling, or coarser segments: "
                    "`segmenter=`.",
                )
            )
        return np.zeros((1, count))  # the coalitions are numbers in binary

    def _number(self, features: Features) -> tf.Tensor:
        return tf.bitwise.left_shift(1, features.size)

    def _coalitions(self, features: Features, ids: tf.Tensor) -> tf.Tensor:
        bits = tf.range(features.size)
        shown = tf.bitwise.right_shift(ids[:, tf.newaxis], bits)
        return tf.bitwise.bitwise_and(shown, 1)[:, tf.newaxis]

    def _solve(self, scores: np.ndarray, count: int) -> Solution:
        scores = scores[: 2**count]
        values = estimates.exact(scores, count)
        return complete(values, 0 * values, scores[0], scores[-1])


@register(
    "shapley_sampling",
    family="surrogate",
    title="Shapley value sampling",
    paper="Castro et al., 2009",
    cost="2 num_permutations (M - 1) forward passes, M features",
)
class ShapleySampling(SurrogateExplainer):
    """What each feature adds to the score, averaged over random orders.

    Use it where there are too many features for `ShapleyValues`, and where
    `KernelSHAP` is too noisy: the error does not grow with the features, and
    a feature that never matters gets exactly nothing. Costs
    `2 num_permutations (M - 1) + 2` forward passes for M features.

        phi_j = mean over orders of v(those before j, and j) - v(those before)

    Differs from the paper: each order is used with its reverse, which calms
    the estimate; both are one draw of the standard errors, that fall with
    the root of `num_permutations`.

    Args:
        model, layer: See `Explainer`.
        segmenter, batch_size: See `LIME`; pictures are cut by `"slic"`.
        fill: What hides, see `LIME` and `KernelSHAP`. The default is zero.
        num_permutations: Number of orders, at least 2.
        seed: Integer. The same seed gives the same orders.

    Output shape:
        That of the inputs (or of the layer's output). Signed; each value has
        the whole Shapley value of its feature, in units of the score: the
        sum over features, not over values, is `v(all) - v(0)`. `details` has
        `"segments"`, `"standard_errors"`, `"num_features"` and
        `"baseline_score"`, v(0).

    Raises:
        ValueError: If `num_permutations` < 2, a segment map, fill or
            background does not fit, or the fill equals the input.
        ImportError: If superpixels are asked for without scikit-image.

    Example:

    >>> explainer = keras_explain.attribution.surrogate.ShapleySampling(
    ...     model, segmenter="grid", num_permutations=4)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Castro, Gomez, Tejada, 2009. Polynomial calculation of the Shapley
        value based on sampling. https://doi.org/10.1016/j.cor.2008.04.004
        Mitchell et al., 2022. Sampling Permutations for Shapley Value
        Estimation. https://arxiv.org/abs/2104.12199
    """

    _facts = ("delta", "baseline_score")
    _table_type = tf.int32

    def __init__(
        self,
        model: keras.Model,
        *,
        segmenter: Any = None,
        fill: Any = "zero",
        num_permutations: int = 25,
        seed: int = 0,
        batch_size: int = 32,
        layer: Any = None,
    ):
        super().__init__(
            model,
            segmenter=segmenter,
            fill=fill,
            batch_size=batch_size,
            layer=layer,
        )
        check_seed(seed)
        check_integer("num_permutations", num_permutations)
        if num_permutations < 2:
            raise ValueError(
                message(
                    "Standard errors need at least two orders.",
                    f"num_permutations={num_permutations}",
                    "Pass 2 or more.",
                )
            )
        self.num_permutations = num_permutations
        self.seed = seed

    def _prepare(self, count: int) -> np.ndarray:
        return permutations(count, self.num_permutations, self.seed)

    def _number(self, features: Features) -> tf.Tensor:
        return 2 + self.num_permutations * 2 * (features.size - 1)

    def _coalitions(self, features: Features, ids: tf.Tensor) -> tf.Tensor:
        steps = tf.maximum(features.size - 1, 1)
        step = tf.maximum(ids - 2, 0)
        size = (step % steps + 1)[:, tf.newaxis, tf.newaxis]
        backward = (step // steps % 2)[:, tf.newaxis, tf.newaxis] == 1
        place = tf.gather(features.table, step // (2 * steps))
        count = features.counts[:, tf.newaxis]
        shown = tf.where(backward, place >= count - size, place < size)
        number = ids[:, tf.newaxis, tf.newaxis]
        return (shown & (number > 0)) | (number == 1)

    def _solve(self, scores: np.ndarray, count: int) -> Solution:
        places = permutations(count, self.num_permutations, self.seed)
        games = scores.shape[1]
        # As many steps as the sample of the batch with most features takes.
        steps = (len(scores) - 2) // (2 * len(places))
        between = scores[2:].reshape(len(places), 2, steps, games)
        number = len(places) * 2 * (count - 1)
        taken = between[:, :, : count - 1].reshape(number, games)
        scores = np.concatenate([scores[:2], taken])
        values, errors = estimates.walks(places, scores)
        return complete(values, errors, scores[0], scores[1])
