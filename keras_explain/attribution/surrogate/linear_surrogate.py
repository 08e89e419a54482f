"""The linear model that LIME fits around a sample, by scikit-learn."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from keras_explain.engine.checks import check_integer, check_seed
from keras_explain.engine.errors import message, near

KERNELS = ("cosine", "l2")
# Width of the cosine kernel; that of the L2 kernel grows with the root of
# the number of features.
_COSINE_WIDTH, _L2_WIDTH = 0.25, 0.75
# Ridge penalties: of the model itself, and of the one that ranks features.
_ALPHA, _RANKING_ALPHA = 1.0, 0.01
# Up to so many features are added one by one; more are ranked at once.
_MOST_STEPS = 6


class Fit(NamedTuple):
    """A linear model of the neighborhood of a sample.

    Attributes:
        coefficients: `(features,)`, zero for those that were left out.
        errors: Their standard errors.
        intercept: The score where no feature is shown.
        r2: Share of the weighted variance that is explained.
    """

    coefficients: np.ndarray
    errors: np.ndarray
    intercept: float
    r2: float


@dataclasses.dataclass(frozen=True)
class LinearSurrogate:
    """How LIME fits its linear model.

    Args:
        num_features: K, how many features the model may use; `None` for
            all. Up to 6 are chosen by forward selection, more by the
            largest coefficients of a model of all features.
        kernel: `"cosine"`, on d = 1 - the cosine between a coalition and
            the full one; or `"l2"`, on d = the root of the number of hidden
            features.
        kernel_width: sigma in exp(-d^2 / sigma^2). `None` for 0.25 with
            `"cosine"`, and 0.75 times the root of the number of features
            with `"l2"`.
        seed: Integer. The same seed gives the same neighbors.

    Raises:
        ValueError: If there is no such kernel, or a number is not positive.
    """

    num_features: int | None = None
    kernel: str = "cosine"
    kernel_width: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(
                message(
                    "There is no such kernel.",
                    f"kernel={self.kernel!r}",
                    f"Near names: {near(str(self.kernel), KERNELS)}.",
                )
            )
        check_seed(self.seed)
        if self.num_features is not None:
            check_integer("num_features", self.num_features)
        if self.num_features is not None and self.num_features < 1:
            raise ValueError(
                message(
                    "The linear model uses at least one feature.",
                    f"num_features={self.num_features}",
                    "Pass a positive number, or None for all features.",
                )
            )
        if self.kernel_width is not None and not self.kernel_width > 0:
            raise ValueError(
                message(
                    "The width of the kernel is positive.",
                    f"kernel_width={self.kernel_width}",
                    "Pass such as 0.25, or None for the default.",
                )
            )

    def proximity(self, masks: np.ndarray) -> np.ndarray:
        """The weight of neighbors, sqrt(exp(-d^2 / sigma^2))."""
        features = masks.shape[1]
        shown = masks.sum(1, dtype=np.float64)
        if self.kernel == "cosine":
            distance = 1 - np.sqrt(shown / features)
            width = self.kernel_width or _COSINE_WIDTH
        else:
            distance = np.sqrt(features - shown)
            width = self.kernel_width or _L2_WIDTH * np.sqrt(features)
        return np.sqrt(np.exp(-np.square(distance / width)))

    def fit(
        self, masks: np.ndarray, counts: np.ndarray, scores: np.ndarray
    ) -> Fit:
        """Fits the scores of one sample.

        Args:
            masks: `(neighbors, features)`.
            counts: How often each neighbor was drawn.
            scores: `(neighbors,)`.
        """
        from sklearn.linear_model import Ridge

        z = masks.astype(np.float64)
        weights = counts * self.proximity(masks)
        # A large constant would only round.
        shift = scores[0]
        y = scores - shift
        used = self._selected(z, y, weights)
        model = Ridge(alpha=_ALPHA).fit(z[:, used], y, weights)
        errors = np.zeros(z.shape[1])
        rest = y - model.predict(z[:, used])
        errors[used] = _errors(z[:, used], rest, weights, counts)
        coefficients = np.zeros(z.shape[1])
        coefficients[used] = model.coef_
        mean = np.average(y, weights=weights)
        spread = np.sum(weights * np.square(y - mean))
        unexplained = np.sum(weights * np.square(rest))
        r2 = 1 - unexplained / spread if spread > 0 else 1.0
        return Fit(coefficients, errors, float(model.intercept_ + shift), r2)

    def _selected(
        self, z: np.ndarray, y: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """The features the model uses."""
        from sklearn.linear_model import LinearRegression, Ridge

        features = z.shape[1]
        wanted = self.num_features
        if wanted is None or wanted >= features:
            return np.arange(features)
        if wanted > _MOST_STEPS:
            found = Ridge(alpha=_RANKING_ALPHA).fit(z, y, weights)
            order = np.argsort(-np.abs(found.coef_), kind="stable")
            return np.sort(order[:wanted])
        used: list[int] = []
        for _ in range(wanted):
            scores = np.full(features, -np.inf)
            for k in set(range(features)) - set(used):
                columns = z[:, [*used, k]]
                found = LinearRegression().fit(columns, y, weights)
                rest = y - found.predict(columns)
                scores[k] = -np.sum(weights * np.square(rest))
            used.append(int(np.argmax(scores)))
        return np.sort(np.array(used))


def _errors(
    z: np.ndarray, rest: np.ndarray, weights: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Sandwich standard errors of ridge coefficients over the draws.

    H^-1 (sum_i w_i^2 e_i^2 z_i z_i') H^-1 with H = Z' W Z + alpha I, the
    intercept in Z and not penalized; `counts` draws share a row.
    """
    full = np.concatenate([z, np.ones((len(z), 1))], 1)
    penalty = np.full(full.shape[1], _ALPHA)
    penalty[-1] = 0
    inner = full.T @ (full * weights[:, np.newaxis]) + np.diag(penalty)
    # Each of the `counts` draws of a row weighs `weights / counts`.
    terms = full * (weights * rest / np.sqrt(counts))[:, np.newaxis]
    lever = terms @ np.linalg.pinv(inner, hermitian=True)
    return np.sqrt(np.sum(np.square(lever), 0))[:-1]
