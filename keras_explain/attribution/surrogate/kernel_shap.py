"""KernelSHAP: Shapley values as a weighted regression."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_explain.attribution.surrogate import estimates
from keras_explain.attribution.surrogate.base import SurrogateExplainer
from keras_explain.attribution.surrogate.coalitions import (
    KernelPlan,
    kernel_plan,
)
from keras_explain.attribution.surrogate.estimates import (
    Solution,
    complete,
)
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_integer, check_seed
from keras_explain.engine.errors import message


@register(
    "kernel_shap",
    family="surrogate",
    title="KernelSHAP",
    paper="Lundberg and Lee, 2017",
    cost="num_samples forward passes (2 M + 2048)",
)
class KernelSHAP(SurrogateExplainer):
    """Shapley values of features, from a regression on coalitions.

    Use it for a fair share of the score on any model, with up to some
    hundred features: it needs no gradient. Costs `num_samples + 2` forward
    passes, and as many times the rows of a background; exact where
    `num_samples` reaches 2^M - 2, with M features.

        min_phi sum_S w(S) (v(S) - v(0) - sum_{j in S} phi_j)^2
        such that sum_j phi_j = v(all) - v(0),
        w(S) = (M - 1) / (C(M, |S|) |S| (M - |S|))

    `v(S)` is the score with the features of `S` shown, averaged over the
    rows of a background. Small and large coalitions are enumerated while
    draws would hit them all; the others are drawn in pairs of complements,
    each pair is run once, and counts as often as it was drawn. `details`
    has standard errors: the sandwich covariance of the regression over the
    pairs that were drawn; zero where all coalitions were enumerated.

    The samples of a batch with as many features share their coalitions.
    Differs from the authors' code: nothing is left out by a Lasso.

    Args:
        model, layer: See `Explainer`.
        segmenter, batch_size: See `LIME`; pictures are cut by `"slic"`.
        fill: What hides, as for `LIME`. An array with an axis of rows is a
            background, over which `v` is averaged. The default is zero.
        num_samples: Most coalitions beside the empty and the full one;
            `None` for 2 M + 2048.
        seed: Integer. The same seed gives the same coalitions.

    Output shape:
        That of the inputs (or of the layer's output). Signed; each value has
        the whole Shapley value of its feature, in units of the score: the
        sum over features, not over values, is `v(all) - v(0)`. `details` has
        `"segments"`, `"standard_errors"`, `"num_features"` and
        `"baseline_score"`, v(0).

    Raises:
        ValueError: If an option is out of range, a segment map, fill or
            background does not fit, or the fill equals the input.
        ImportError: If superpixels are asked for without scikit-image.

    Example:

    >>> explainer = keras_explain.attribution.surrogate.KernelSHAP(
    ...     model, segmenter="grid", num_samples=100)
    >>> explanation = explainer.explain(images)
    >>> bool(np.all(np.abs(explanation.delta) < 1e-5))
    True

    References:
        Lundberg, Lee, 2017. A Unified Approach to Interpreting Model
        Predictions. https://arxiv.org/abs/1705.07874
        Covert, Lee, 2021. Improving KernelSHAP: Practical Shapley Value
        Estimation via Linear Regression. https://arxiv.org/abs/2012.01536
    """

    pieces = 50
    _facts = ("delta", "baseline_score")

    def __init__(
        self,
        model: keras.Model,
        *,
        segmenter: Any = None,
        fill: Any = "zero",
        num_samples: int | None = None,
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
        if num_samples is not None:
            check_integer("num_samples", num_samples)
        if num_samples is not None and num_samples < 2:
            raise ValueError(
                message(
                    "KernelSHAP looks at a coalition and its complement at "
                    "least.",
                    f"num_samples={num_samples}",
                    "Pass several times the number of features, or None.",
                )
            )
        self.num_samples = num_samples
        self.seed = seed

    def _plan(self, count: int) -> KernelPlan:
        return kernel_plan(
            count, self.num_samples or 2 * count + 2048, self.seed
        )

    def _prepare(self, count: int) -> np.ndarray:
        return self._plan(count).masks

    def _solve(self, scores: np.ndarray, count: int) -> Solution:
        plan = self._plan(count)
        scores = scores[: len(plan.masks)]
        values, errors = estimates.kernel(plan, scores)
        return complete(values, errors, scores[0], scores[1])
