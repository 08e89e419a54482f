"""Calibration by a function of the logits that has few numbers to fit."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads, optimum
from keras_explain.calibration.calibrated import CalibrationLayer, registered
from keras_explain.calibration.ensemble import Ensemble
from keras_explain.calibration.wrapping import Calibrator
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message


@registered
class TemperatureLayer(CalibrationLayer):
    """Softmax (or sigmoid) of logits over a temperature."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"temperature": ()}

    def map(self, logits: tf.Tensor) -> tf.Tensor:
        return heads.probabilities(
            logits / tf.convert_to_tensor(self.constants["temperature"])
        )


@registered
class AffineLayer(CalibrationLayer):
    """Softmax (or sigmoid) of a linear map of the logits.

    Args:
        num_classes: Size of the last axis.
        diagonal: Whether each class is scaled on its own.
        **options: Of `keras.layers.Layer`.
    """

    def __init__(self, num_classes: int, diagonal: bool, **options: Any):
        super().__init__(num_classes, **options)
        self.diagonal = diagonal

    def shapes(self) -> dict[str, tuple[int, ...]]:
        count = self.num_classes
        weights = (count,) if self.diagonal else (count, count)
        return {"weights": weights, "bias": (count,)}

    def map(self, logits: tf.Tensor) -> tf.Tensor:
        weights = tf.convert_to_tensor(self.constants["weights"])
        if self.diagonal:
            scores = logits * weights
        else:
            scores = tf.tensordot(logits, weights, [[-1], [1]])
        bias = tf.convert_to_tensor(self.constants["bias"])
        return heads.probabilities(scores + bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "diagonal": self.diagonal}


def renormalized(values: tf.Tensor) -> tf.Tensor:
    """Makes each row sum to one; a row of zeros becomes uniform.

    A single column, the probability of class 1, stays what it is.
    """
    classes = values.shape[-1]
    if classes == 1:
        return values
    total = tf.reduce_sum(values, axis=-1, keepdims=True)
    return tf.where(
        total > 0,
        tf.math.divide_no_nan(values, total),
        tf.fill(tf.shape(values), 1.0 / classes),
    )


@registered
class PlattLayer(CalibrationLayer):
    """A sigmoid over the log odds of each class, then renormalized."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        count = self.num_classes
        return {"slope": (count,), "intercept": (count,)}

    def map(self, logits: tf.Tensor) -> tf.Tensor:
        slope = tf.convert_to_tensor(self.constants["slope"])
        intercept = tf.convert_to_tensor(self.constants["intercept"])
        odds = heads.log_odds(logits)
        return renormalized(tf.sigmoid(odds * slope + intercept))


class TemperatureScaling(Calibrator):
    """Divides the logits by one number, the temperature `T`.

    The first thing to try: with one number to fit it needs few samples (some
    hundreds), cannot overfit, and never changes which class is predicted. It
    fits networks that are too sure of themselves everywhere by the same
    factor, as most are.

    With logits `z` the probabilities are `softmax(z / T)`, for one unit
    `sigmoid(z / T)`. `T` minimizes the negative log likelihood, which is
    convex in `1 / T`; it is found to machine precision in float64. `T > 1`
    makes the model less sure. Under a head that cannot be set aside,
    `softmax(log(p) / T)` is the same.

    A model that makes no mistake on the data has no best temperature: `T`
    ends at the bound `e^-10`, or at `e^10` for one that is worse than
    chance, with a warning.

    Args:
        model, from_logits: As for `Calibrator`.

    Raises:
        TypeError, ValueError: As for `Calibrator`.

    Example:

    >>> logits = np.log([[0.2, 0.8], [0.3, 0.7]])
    >>> scaling = keras_explain.calibration.TemperatureScaling()
    >>> round(scaling.fit_logits(logits, [1, 0]).temperature, 4)
    2.3937

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern
        Neural Networks", 2017, https://arxiv.org/abs/1706.04599
    """

    needs_several: ClassVar[bool] = False

    def __init__(
        self,
        model: keras.Model | Ensemble | None = None,
        *,
        from_logits: bool | str = "auto",
    ):
        super().__init__(model, from_logits=from_logits)
        self._temperature = 1.0

    @property
    def temperature(self) -> float:
        """The fitted `T`: above one for a model that was too sure."""
        _ = self.layer
        return self._temperature

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> CalibrationLayer:
        self._temperature, end = optimum.temperature(logits, labels)
        if end:
            warn(f"{_ENDS[end]} T = {self._temperature:.3g}.")
        layer = TemperatureLayer(logits.shape[-1])
        return layer.fitted(temperature=self._temperature)


_ENDS = {
    "low": "The model makes no mistake on these samples: any lower "
    "temperature would be better still. Fit on more samples, or on ones it "
    "was not trained on.",
    "high": "The model is no better than chance on these samples: any higher "
    "temperature would be better still. Look at the order of the classes.",
    "flat": "The logits of a sample are all the same: no temperature is "
    "better than another.",
}


class _AffineScaling(Calibrator):
    """What vector and matrix scaling share: everything but the shape."""

    _diagonal: ClassVar[bool]
    odir: tuple[float, float] | None = None

    @property
    def weights(self) -> np.ndarray:
        """The fitted `W`, `(classes, classes)`; its diagonal, `(classes,)`."""
        return self._constant("weights")

    @property
    def bias(self) -> np.ndarray:
        """The fitted `b`, `(classes,)`."""
        return self._constant("bias")

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> CalibrationLayer:
        loss = optimum.AffineLoss(
            logits, labels, self._diagonal, self.odir or (0.0, 0.0)
        )
        weights, bias, reached = optimum.affine(loss)
        if not reached:
            warn(
                f"{type(self).__name__} was stopped before its optimum: the "
                "samples may be told apart without error, so that there is "
                "none. Use TemperatureScaling, or more samples."
            )
        layer = AffineLayer(logits.shape[-1], self._diagonal)
        return layer.fitted(weights=weights, bias=bias)


class VectorScaling(_AffineScaling):
    """Scales and shifts the logit of each class on its own.

    For models that are sure of some classes and not of others, and where
    there are some dozens of samples of each class. It may change which class
    is predicted.

    With logits `z` the probabilities are `softmax(w * z + b)`. `w` and `b`,
    `(classes,)`, minimize the negative log likelihood, a convex problem,
    solved by L-BFGS in float64 from `w = 1, b = 0`.

    A constant added to all logits of a sample does change the result, so
    that logits and the log of probabilities, where these are all there is,
    lead to different fits of the same kind.

    Args:
        model, from_logits: As for `Calibrator`.

    Raises:
        TypeError, ValueError: As for `Calibrator`.

    Example:

    >>> noise = np.random.default_rng(0)
    >>> logits = noise.normal(size=(300, 3))
    >>> labels = noise.integers(0, 3, 300)
    >>> scaling = keras_explain.calibration.VectorScaling()
    >>> scaling.fit_logits(logits, labels).weights.shape
    (3,)

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern
        Neural Networks", 2017, https://arxiv.org/abs/1706.04599
    """

    _diagonal: ClassVar[bool] = True


class MatrixScaling(_AffineScaling):
    """Maps the logits by a full matrix and shifts them.

    For few classes and many samples: there are `classes ** 2 + classes`
    numbers to fit, and without a penalty it overfits where those are not few
    against the samples. It may change which class is predicted.

    With logits `z` the probabilities are `softmax(W z + b)`. `W` and `b`
    minimize

        NLL + lam / (K (K - 1)) sum_{i != j} W_ij^2 + mu / K sum_j b_j^2

    a convex problem, solved by L-BFGS in float64 from `W = I, b = 0`. The
    penalty on what is off the diagonal and on the intercept is called ODIR.
    On a model of which only probabilities can be seen this is Dirichlet
    calibration.

    Args:
        model, from_logits: As for `Calibrator`.
        odir: `(lam, mu)`, both at least zero; `None` for no penalty. Choose
            them by the likelihood of samples that are not fitted on, from
            1e-3 to 10 or so.

    Raises:
        TypeError, ValueError: As for `Calibrator`, or if `odir` is no pair
            of numbers that are at least zero.

    Example:

    >>> noise = np.random.default_rng(0)
    >>> logits = noise.normal(size=(300, 3))
    >>> labels = noise.integers(0, 3, 300)
    >>> scaling = keras_explain.calibration.MatrixScaling(odir=(0.1, 0.1))
    >>> scaling.fit_logits(logits, labels).weights.shape
    (3, 3)

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern
        Neural Networks", 2017, https://arxiv.org/abs/1706.04599

        M. Kull, M. Perello-Nieto, M. Kängsepp, T. Silva Filho, H. Song,
        P. Flach, "Beyond temperature scaling: Obtaining well-calibrated
        multiclass probabilities with Dirichlet calibration", 2019,
        https://arxiv.org/abs/1910.12656
    """

    _diagonal: ClassVar[bool] = False

    def __init__(
        self,
        model: keras.Model | Ensemble | None = None,
        *,
        odir: tuple[float, float] | None = None,
        from_logits: bool | str = "auto",
    ):
        super().__init__(model, from_logits=from_logits)
        if odir is not None and (
            np.shape(odir) != (2,) or not np.all(np.asarray(odir) >= 0)
        ):
            raise ValueError(
                message(
                    "`odir` weighs two penalties, off the diagonal and on "
                    "the intercept.",
                    f"odir={odir!r}",
                    "Pass `(lam, mu)`, both at least zero, or None.",
                )
            )
        self.odir = odir


class PlattScaling(Calibrator):
    """Fits a sigmoid to the score of each class against the others.

    For two classes it is the classic. With more, each class is fitted alone
    and the probabilities are divided by their sum; vector scaling, which
    fits them together, is often better then.

    With the score `f` the probability is `sigmoid(slope * f + intercept)`
    (the paper writes `1 / (1 + exp(A f + B))`, so `A = -slope` and
    `B = -intercept`). The labels are taken as `(N+ + 1) / (N+ + 2)` and
    `1 / (N- + 2)`, for `N+` samples of the class and `N-` of others. For one
    unit `f` is its logit; for several, the log odds `log(p / (1 - p))` of the
    class, which are the same for logits that differ by a constant.

    Args:
        model, from_logits: As for `Calibrator`.

    Raises:
        TypeError, ValueError: As for `Calibrator`.

    Example:

    >>> platt = keras_explain.calibration.PlattScaling()
    >>> platt = platt.fit_logits([[-3.0], [-1.0], [1.0], [3.0]], [0, 1, 0, 1])
    >>> platt.calibrate([[0.0]]).round(3)
    array([[0.5]], dtype=float32)

    References:
        J. Platt, "Probabilistic Outputs for Support Vector Machines and
        Comparisons to Regularized Likelihood Methods", 1999, Advances in
        Large Margin Classifiers,
        https://citeseerx.ist.psu.edu/document?doi=10.1.1.41.1639

        B. Zadrozny, C. Elkan, "Transforming Classifier Scores into Accurate
        Multiclass Probability Estimates", 2002, KDD,
        https://doi.org/10.1145/775047.775151
    """

    @property
    def slope(self) -> np.ndarray:
        """Of each class, `(classes,)`."""
        return self._constant("slope")

    @property
    def intercept(self) -> np.ndarray:
        """Of each class, `(classes,)`."""
        return self._constant("intercept")

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> CalibrationLayer:
        classes = logits.shape[-1]
        odds = np.asarray(heads.log_odds(tf.convert_to_tensor(logits)))
        truths = [1] if classes == 1 else range(classes)
        fits = [
            optimum.platt(odds[:, k], labels == truth)
            for k, truth in enumerate(truths)
        ]
        slope, intercept = zip(*fits, strict=True)
        return PlattLayer(classes).fitted(slope=slope, intercept=intercept)
