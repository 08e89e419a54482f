"""LIME: a sparse linear model of the score around a sample."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_explain.attribution.surrogate.base import SurrogateExplainer
from keras_explain.attribution.surrogate.coalitions import neighbors
from keras_explain.attribution.surrogate.estimates import Solution
from keras_explain.attribution.surrogate.linear_surrogate import (
    LinearSurrogate,
)
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_integer
from keras_explain.engine.errors import message, near


@register(
    "lime",
    family="surrogate",
    title="LIME",
    paper="Ribeiro et al., 2016",
    cost="num_samples forward passes",
)
class LIME(SurrogateExplainer):
    """The coefficients of a linear model of the score around a sample.

    Use it to say in a few features what a model of any kind looks at: it
    needs no gradient. Costs `num_samples` forward passes at most (equal
    neighbors are run once), and the cutting of the pictures. Other seeds
    give other maps: look at `details["standard_errors"]`.

        min_g sum_z pi(z) (f(h(z)) - g(z))^2 + |coefficients of g|^2

    with `z` the features that are shown, each with probability one half; `h`
    hides the others; `pi(z) = sqrt(exp(-d^2 / sigma^2))` with `d` the
    distance of `z` from the full sample. `g` is linear, with K features.

    The samples of a batch with as many features share their neighbors.
    Differs from the paper: `g` is a ridge regression, as in the authors'
    code, and not a Lasso path; features of tables are the values themselves,
    not their quartiles, and are hidden by the fill; pictures are scaled to
    [0, 1] before they are cut, and the kernel of quickshift (4 for 224
    pixels) grows with the picture.

    Args:
        model, layer, batch_size: See `Explainer`.
        segmenter: What the features are; `None` for superpixels of a picture
            (quickshift), equal pieces of a series, blocks of a volume, the
            values of a table, the tokens of a text. Else `"quickshift"`,
            `"slic"`, `"grid"`, `"each"`; a function from a picture to a map
            of integers; such a map; or a list or dict of them.
        fill: What hides: `"zero"`, `"mean"`, `"blur"`, `"segment_mean"`,
            `"inpaint"`, a number, an array of one sample, or `(rows, ...)`
            of them as a background. `None` is the mean of each segment of a
            picture, the mean of a series or volume, and zero elsewhere.
        num_samples: Number of neighbors.
        surrogate: A `LinearSurrogate`, or a dict of its options: the number
            of features K, the kernel, its width, and the seed.
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output). Signed; each value has
        the coefficient of its feature, in units of the score. `details` has
        `"segments"`, `"standard_errors"`, `"num_features"`, and for each
        sample `"intercept"` and `"r2"`, the fit of the linear model.

    Raises:
        ValueError: If an option is out of range, a segment map or fill does
            not fit, or the fill equals the input.
        ImportError: If superpixels are asked for without scikit-image.

    Example:

    >>> explainer = keras_explain.attribution.surrogate.LIME(
    ...     model, segmenter="grid", num_samples=50,
    ...     surrogate={"num_features": 5})
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Ribeiro, Singh, Guestrin, 2016. "Why Should I Trust You?": Explaining
        the Predictions of Any Classifier. https://arxiv.org/abs/1602.04938
    """

    superpixels = "quickshift"
    _facts = ("intercept", "r2")

    def __init__(
        self,
        model: keras.Model,
        *,
        segmenter: Any = None,
        fill: Any = None,
        num_samples: int = 1000,
        surrogate: LinearSurrogate | dict[str, Any] | None = None,
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
        check_integer("num_samples", num_samples)
        if num_samples < 2:
            raise ValueError(
                message(
                    "A linear model needs at least two neighbors.",
                    f"num_samples={num_samples}",
                    "Pass several times the number of features.",
                )
            )
        if surrogate is None or isinstance(surrogate, dict):
            surrogate = _surrogate(surrogate or {})
        self.num_samples = num_samples
        self.surrogate = surrogate

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "surrogate": dataclasses.asdict(self.surrogate)}

    def _prepare(self, count: int) -> np.ndarray:
        return neighbors(count, self.num_samples, self.surrogate.seed)[0]

    def _solve(self, scores: np.ndarray, count: int) -> Solution:
        masks, counts = neighbors(count, self.num_samples, self.surrogate.seed)
        fits = [
            self.surrogate.fit(masks, counts, column)
            for column in scores[: len(masks)].T
        ]
        return Solution(
            np.stack([fit.coefficients for fit in fits]),
            np.stack([fit.errors for fit in fits]),
            np.array([[fit.intercept, fit.r2] for fit in fits]),
        )


def _surrogate(options: dict[str, Any]) -> LinearSurrogate:
    known = [field.name for field in dataclasses.fields(LinearSurrogate)]
    for name in options:
        if name not in known:
            raise TypeError(
                message(
                    "The linear surrogate has no such option.",
                    f"{name}={options[name]!r}",
                    f"Near names: {near(str(name), known)}.",
                )
            )
    return LinearSurrogate(**options)
