"""Proper scores: they reward a model that says what it believes."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration.classification import MeanScore
from keras_explain.calibration.inputs import Samples

_FLOOR = float(np.finfo(np.float32).tiny)


@keras.saving.register_keras_serializable(package="keras_explain")
class BrierScore(MeanScore):
    """Squared distance of the predicted distribution to the label.

    `mean over samples of sum_k (p_k - 1[y = k])**2`, from 0 (certain and
    right) to 2 (certain and wrong); a uniform guess over K classes has
    `1 - 1/K`. It falls both with better accuracy and with better
    calibration.

    This is Brier's own definition, over all classes, also for two. For
    binary models scikit-learn counts class 1 alone, which is half of it.
    TensorFlow Probability leaves out the constant 1.

    Args:
        **options: `from_logits`, `num_classes`, `ignore_class`, `name`,
            `dtype`, as in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import BrierScore
    >>> metric = BrierScore()
    >>> metric.update_state([1, 0], [[0.2, 0.8], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)
    0.2

    References:
        Brier, 1950, "Verification of forecasts expressed in terms of
        probability".
        https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """

    def _score(self, samples: Samples) -> tf.Tensor:
        probabilities = samples.probabilities
        target = tf.one_hot(samples.labels, samples.num_classes)
        return tf.reduce_sum(tf.square(probabilities - target), -1)


@keras.saving.register_keras_serializable(package="keras_explain")
class NegativeLogLikelihood(MeanScore):
    """How surprised the model is by the labels, in nats.

    `mean over samples of -log p_y`, from 0 upwards; a uniform guess over K
    classes has `log K`. One label that the model took for impossible
    outweighs many good predictions.

    From logits it is `logsumexp(z) - z_y`, which is exact for any logits.
    From probabilities a `p_y` below 1.2e-38, the smallest number float32
    holds in full precision, counts as that: such a sample costs 87.3 nats
    and not infinity. Prefer logits: in float32 a softmax rounds
    probabilities near one to one.

    Args:
        **options: `from_logits`, `num_classes`, `ignore_class`, `name`,
            `dtype`, as in `ExpectedCalibrationError`.

    Example:

    >>> from keras_explain.calibration import NegativeLogLikelihood
    >>> metric = NegativeLogLikelihood(from_logits=True)
    >>> metric.update_state([1, 0], [[0.0, 0.0], [0.0, 0.0]])
    >>> round(float(metric.result()), 4)
    0.6931

    References:
        Gneiting and Raftery, 2007, "Strictly proper scoring rules,
        prediction, and estimation".
        https://doi.org/10.1198/016214506000001437
    """

    def _score(self, samples: Samples) -> tf.Tensor:
        if samples.from_logits:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(
                samples.labels, samples.outputs
            )
        right = tf.gather(samples.outputs, samples.labels, batch_dims=1)
        return -tf.math.log(tf.maximum(right, _FLOOR))
