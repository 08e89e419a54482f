"""Regularizers that change pixels after a step, or their gradient before it.

They need pixels to work on: `Pixels` with `bounds="clip"` or `None`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.engine.smoothing import blur
from keras_explain.synthesis.bilateral import bilateral
from keras_explain.synthesis.parts import Regularizer, registered
from keras_explain.synthesis.regularizers import position_sizes


class PixelOperator(Regularizer):
    """A regularizer that works on pixels and on no other values."""

    @property
    def needs_pixels(self) -> bool:
        return True


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Blur(PixelOperator):
    """Blurs the picture now and then: high frequencies must keep coming back.

    `x <- G_sigma x`; the Gaussian is cut off at the borders.

    Args:
        sigma: Standard deviation of the Gaussian, in pixels.
        every: Number of steps from one blur to the next.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import Blur
    >>> Blur(0.5, every=4)
    Blur(sigma=0.5, every=4)

    References:
        Yosinski et al., 2015. Understanding Neural Networks Through Deep
        Visualization. https://arxiv.org/abs/1506.06579
    """

    sigma: float
    every: int = 4

    def __post_init__(self) -> None:
        self._check_number("sigma", 0)
        self._check_count("every")

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        sigmas = [self.sigma] * len(position_sizes(self, images))
        return _regularly(self.every, step, images, lambda x: blur(x, sigmas))


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Bilateral(PixelOperator):
    """Smooths surfaces and keeps edges.

    Each pixel becomes the mean of its neighbors, weighted by
    `exp(-|i - j|^2 / (2 sigma_space^2) - |x_i - x_j|^2 / (2 sigma_range^2))`
    with the distance of all channels together, within `2 sigma_space` along
    each axis. Tyka publishes no amounts; these are ours.

    Args:
        sigma_space: In pixels.
        sigma_range: In units of the pictures.
        every: Number of steps from one filtering to the next.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import Bilateral
    >>> Bilateral(1.5)
    Bilateral(sigma_space=1.5, sigma_range=0.1, every=4)

    References:
        Tyka, 2016. Class visualization with bilateral filters.
        https://mtyka.github.io/deepdream/2016/02/05/bilateral-class-vis.html
        Tomasi and Manduchi, 1998. Bilateral Filtering for Gray and Color
        Images. https://doi.org/10.1109/ICCV.1998.710815
    """

    sigma_space: float = 1.0
    sigma_range: float = 0.1
    every: int = 4

    def __post_init__(self) -> None:
        self._check_number("sigma_space", 0, 10)
        self._check_number("sigma_range", 1e-6)
        self._check_count("every")

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        position_sizes(self, images)
        return _regularly(
            self.every,
            step,
            images,
            lambda x: bilateral(x, self.sigma_space, self.sigma_range),
        )


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Decay(PixelOperator):
    """Draws pixels to a center by a share of their distance, at each step.

    `x <- center + (1 - rate) (x - center)`.

    Args:
        rate: Between 0 and 1.
        center: Number, or array that broadcasts to a picture: mid-gray of
            pictures in `[0, 1]`; 0 for raw values whose mean is taken off,
            as in the paper.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import Decay
    >>> Decay(0.01)
    Decay(rate=0.01, center=0.5)

    References:
        Yosinski et al., 2015. Understanding Neural Networks Through Deep
        Visualization. https://arxiv.org/abs/1506.06579
    """

    rate: float
    center: Any = 0.5

    def __post_init__(self) -> None:
        self._check_number("rate", 0, 1)
        self._check_array("center")

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        return images - self.rate * (images - self.center)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class SmallNorm(PixelOperator):
    """Erases pixels that differ little from the center.

    Those whose norm over the channels, of `x - center`, lies under a
    percentile of the norms of the picture become the center: what matters
    stands out.

    Args:
        percentile: Between 0, which erases nothing, and 100.
        center: Number, or array that broadcasts to a picture; see `Decay`.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import SmallNorm
    >>> x = keras.ops.array([[[0.5], [0.6], [0.9]]])
    >>> SmallNorm(60).project(x, x, 0).numpy().ravel()
    array([0.5, 0.5, 0.9], dtype=float32)

    References:
        Yosinski et al., 2015. Understanding Neural Networks Through Deep
        Visualization. https://arxiv.org/abs/1506.06579
    """

    percentile: float
    center: Any = 0.5

    def __post_init__(self) -> None:
        self._check_number("percentile", 0, 100)
        self._check_array("center")

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        position_sizes(self, images)
        norms = tf.norm(images - self.center, axis=-1)
        return _erase(images, norms, self.percentile, self.center)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class SmallContribution(PixelOperator):
    """Erases pixels that hardly matter to the score.

    Those whose `|sum_c (x - center) g|`, the first-order change of the score
    if the pixel were the center, lies under a percentile of the picture
    become the center. The magnitude is taken as in the paper; a variant in
    the authors' code keeps the sign.

    Args:
        percentile: Between 0, which erases nothing, and 100.
        center: Number, or array that broadcasts to a picture; see `Decay`.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import SmallContribution
    >>> x = keras.ops.array([[[0.4], [0.6], [0.9]]])
    >>> gradient = keras.ops.array([[[5.0], [1.0], [1.0]]])
    >>> SmallContribution(40).project(x, gradient, 0).numpy().ravel()
    array([0.4, 0.5, 0.9], dtype=float32)

    References:
        Yosinski et al., 2015. Understanding Neural Networks Through Deep
        Visualization. https://arxiv.org/abs/1506.06579
    """

    percentile: float
    center: Any = 0.5

    def __post_init__(self) -> None:
        self._check_number("percentile", 0, 100)
        self._check_array("center")

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        position_sizes(self, images)
        share = tf.reduce_sum((images - self.center) * gradient, -1)
        return _erase(images, tf.abs(share), self.percentile, self.center)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class GradientBlur(PixelOperator):
    """Blurs, strongly at first: from coarse shapes to fine ones.

    `sigma` falls in equal steps from `sigma_start`, at step 0, to
    `sigma_end`, at step `steps` and after. Olah et al. count Oygaard among
    those who take high frequencies out of the gradient, and so does the
    default here; his published code blurs the picture after each step,
    which is `of="image"`. A blurred gradient leaves the details that are
    there, a blurred picture loses them.

    Args:
        sigma_start, sigma_end: Standard deviations, in pixels. The code has
            2.5 and 0.78 for pictures of 224 pixels.
        steps: Number of steps from one to the other.
        of: `"gradient"`, or `"image"` as in the code.

    Example:

    >>> from keras_explain.synthesis.pixel_operators import GradientBlur
    >>> GradientBlur(2.5, 0.78, steps=190).of
    'gradient'

    References:
        Oygaard, 2015. Visualizing GoogLeNet Classes.
        https://www.auduno.com/2015/07/29/visualizing-googlenet-classes/
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
    """

    sigma_start: float
    sigma_end: float
    steps: int
    of: str = "gradient"

    def __post_init__(self) -> None:
        self._check_number("sigma_start", 0)
        self._check_number("sigma_end", 0)
        self._check_count("steps")
        self._check_choice("of", ("gradient", "image"))

    def gradient(self, gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        if self.of != "gradient":
            return gradient
        return self._blurred(gradient, step)

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        return self._blurred(images, step) if self.of == "image" else images

    def _blurred(self, values: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        axes = len(position_sizes(self, values))
        done = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        change = self.sigma_end - self.sigma_start
        sigma = self.sigma_start + change * done
        return blur(values, [sigma] * axes)


def _regularly(
    every: int,
    step: tf.Tensor,
    images: tf.Tensor,
    change: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Applies `change` at the last of each `every` steps."""
    if every == 1:
        return change(images)
    due = tf.equal(tf.math.floormod(step + 1, every), 0)
    return tf.cond(due, lambda: change(images), lambda: images)


def _erase(
    images: tf.Tensor, values: tf.Tensor, percentile: float, center: Any
) -> tf.Tensor:
    """Sets pixels to the center whose value is under a percentile.

    Args:
        images: `(rows, *positions, channels)`.
        values: `(rows, *positions)`.
        percentile: Of the values of a row, interpolated linearly.
        center: Number or array.
    """
    flat = tf.reshape(values, [-1, values.shape[1:].num_elements()])
    ordered = tf.sort(flat, axis=1)
    place = percentile / 100 * (ordered.shape[1] - 1)
    below, share = int(place), place - int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    limit = (1 - share) * ordered[:, below] + share * ordered[:, above]
    for _ in values.shape[1:]:
        limit = limit[:, tf.newaxis]
    small = (values < limit)[..., tf.newaxis]
    erased = tf.broadcast_to(tf.cast(center, images.dtype), tf.shape(images))
    return tf.where(small, erased, images)
