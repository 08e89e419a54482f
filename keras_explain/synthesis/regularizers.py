"""Penalties: what pictures should be like besides exciting the target.

Each is taken off the score, for each picture on its own. The pictures are as
the parameterization makes them: in `[0, 1]`, or raw.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.checks import check_built, check_model
from keras_explain.engine.errors import message
from keras_explain.synthesis.parts import Regularizer, registered


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Lp(Regularizer):
    """Prefers values near one value, large deviations least of all.

    `weight * sum |x - center|^p`, over all values of a picture. A power of 6
    keeps the values in range and hardly touches the rest.

    Args:
        weight: Factor, not negative.
        p: Power, at least 1.
        center: Number, or array that broadcasts to a picture, such as the
            mean of the training data.

    Example:

    >>> from keras_explain.synthesis.regularizers import Lp
    >>> Lp(0.1, p=1).penalty(keras.ops.ones((2, 4, 4, 1))).numpy()
    array([1.6, 1.6], dtype=float32)

    References:
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
    """

    weight: float
    p: float = 6.0
    center: Any = 0.0

    def __post_init__(self) -> None:
        self._check_number("weight", 0)
        self._check_number("p", 1)
        self._check_array("center")

    def penalty(self, images: tf.Tensor) -> tf.Tensor:
        return self.weight * _power_sum(images - self.center, self.p)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class L2(Regularizer):
    """Prefers values near one value.

    `weight * sum (x - center)^2`, over all values of a picture. The maximum
    of a linear score `w x` under it is `center + w / (2 weight)`.

    Args:
        weight: Factor, not negative.
        center: Number, or array that broadcasts to a picture. The authors
            subtract the mean of the training data and use 0.

    Example:

    >>> from keras_explain.synthesis.regularizers import L2
    >>> L2(0.5).penalty(keras.ops.ones((2, 3))).numpy()
    array([1.5, 1.5], dtype=float32)

    References:
        Simonyan et al., 2013. Deep Inside Convolutional Networks.
        https://arxiv.org/abs/1312.6034
    """

    weight: float
    center: Any = 0.0

    def __post_init__(self) -> None:
        self._check_number("weight", 0)
        self._check_array("center")

    def penalty(self, images: tf.Tensor) -> tf.Tensor:
        return self.weight * _power_sum(images - self.center, 2)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class TotalVariation(Regularizer):
    """Prefers smooth pictures.

    `weight * sum (sum_a (x(i + e_a) - x(i))^2)^(beta / 2)` over pixels `i`
    and channels, with the axes `a` of the positions; at the last pixel of an
    axis the difference is zero. With `beta=2` edges become blurred, with 1
    they stay sharp and surfaces become flat.

    Args:
        weight: Factor, not negative. The default is what `invert` takes for
            the middle of a network: that of Mahendran and Vedaldi, whose
            pictures have other units, for pictures of three channels from 0
            to 1 and of any size. It suits scores of about one, as inversions
            have; multiply it by what logits reach.
        beta: 1, 1.5 or 2.

    Raises:
        ValueError: If the pictures have no positions.

    Example:

    >>> from keras_explain.synthesis.regularizers import TotalVariation
    >>> signal = keras.ops.array([[[0.0], [0.0], [3.0]]])
    >>> TotalVariation(1.0, beta=1).penalty(signal).numpy()
    array([3.], dtype=float32)

    References:
        Rudin et al., 1992. Nonlinear total variation based noise removal
        algorithms. https://doi.org/10.1016/0167-2789(92)90242-F
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
    """

    weight: float = 2.73e-4
    beta: float = 2.0

    def __post_init__(self) -> None:
        self._check_number("weight", 0)
        self._check_choice("beta", (1, 1.5, 2))

    def penalty(self, images: tf.Tensor) -> tf.Tensor:
        sizes = position_sizes(self, images)
        square = tf.add_n(
            [
                tf.square(_differences(images, axis))
                for axis in range(1, len(sizes) + 1)
            ]
        )
        if self.beta != 2:
            # The power has an infinite slope at zero, and zero times that
            # is no number: it must not be computed there at all.
            flat = tf.equal(square, 0)
            safe = tf.where(flat, tf.ones_like(square), square)
            power = tf.pow(safe, self.beta / 2)
            square = tf.where(flat, tf.zeros_like(square), power)
        return self.weight * _sum(square)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class ExpertDensity(Regularizer):
    """Prefers pictures that a density model finds probable.

    `-weight * log p(x)`.

    Args:
        weight: Factor, not negative.
        model: Keras model that gives the log density of pictures as the
            parameterization makes them, `(batch,)` or `(batch, 1)`. It runs
            as in inference, and its weights stay as they are.

    Raises:
        ValueError: If the model gives anything else.

    Example:

    >>> from keras_explain.synthesis.regularizers import ExpertDensity
    >>> flat = keras.Sequential([keras.Input((4,)),
    ...                          keras.layers.Dense(1, "log_sigmoid")])
    >>> ExpertDensity(0.1, flat).penalty(keras.ops.ones((2, 4))).shape
    TensorShape([2])

    References:
        Nguyen et al., 2017. Plug & Play Generative Networks.
        https://arxiv.org/abs/1612.00005
    """

    weight: float
    model: keras.Model

    def __post_init__(self) -> None:
        self._check_number("weight", 0)
        check_model(self.model)
        check_built(self.model)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Raises unless the model is there: its name alone is saved."""
        if isinstance(config["model"], str):
            raise ValueError(
                message(
                    "Of the density model only the name is saved.",
                    f"model={config['model']!r}",
                    "Pass the model itself: `ExpertDensity(weight, model)`.",
                )
            )
        return cls(**config)

    def penalty(self, images: tf.Tensor) -> tf.Tensor:
        density = tf.cast(self.model(images, training=False), tf.float32)
        if density.shape.rank == 2 and density.shape[1] == 1:
            density = density[:, 0]
        if density.shape.rank != 1:
            raise ValueError(
                message(
                    "A density model gives one number for each picture, "
                    "(batch,) or (batch, 1).",
                    f"an output of shape {density.shape}",
                    "End it with the sum of its terms.",
                )
            )
        return -self.weight * density


def position_sizes(part: Any, images: tf.Tensor) -> list[int]:
    """Returns the sizes of the axes between batch and channels, or raises."""
    sizes = list(images.shape)[1:-1]
    if not 1 <= len(sizes) <= 3:
        raise ValueError(
            message(
                f"{type(part).__name__} is for signals, images and volumes: "
                "inputs with one to three axes between batch and channels.",
                f"inputs of shape {tuple(images.shape)}",
                "Use `L2` or `Lp` for inputs of another kind.",
            )
        )
    return sizes


def _power_sum(values: tf.Tensor, power: float) -> tf.Tensor:
    if power == 2:
        return _sum(tf.square(values))
    size = tf.abs(values)
    return _sum(size if power == 1 else tf.pow(size, power))


def _sum(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, list(range(1, values.shape.rank)))


def _differences(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns what is added from each pixel to the next, and 0 at the end."""
    rank = images.shape.rank
    first = [int(k == axis) for k in range(rank)]
    count = [images.shape[k] - 1 if k == axis else -1 for k in range(rank)]
    upper = tf.slice(images, first, count)
    lower = tf.slice(images, [0] * rank, count)
    return tf.pad(upper - lower, [[0, end] for end in first])
