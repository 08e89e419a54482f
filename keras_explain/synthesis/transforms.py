"""Random changes that what a model sees in a picture must survive.

Amounts are shares of the size of the picture, so that one setting fits small
and large ones. The result has the size of the picture, and the model sees no
other. Gradients are exact, also at the borders.

References:
    Olah et al., 2017. Feature Visualization.
    https://distill.pub/2017/feature-visualization
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.parts import Transform, registered
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.resampling import (
    interpolate,
    move,
    rotate,
    scale_and_shift,
)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Pad(Transform):
    """Shrinks the picture into a frame of one value.

    Use it before transforms that move the picture, so that its border stays
    in view. For signals, images and volumes.

    Args:
        fraction: Width of the frame on each side, as a share of the size of
            the picture. The picture shrinks by `1 / (1 + 2 fraction)`.
        value: Of the frame; mid-gray of pictures in `[0, 1]`.

    Example:

    >>> from keras_explain.synthesis.transforms import Pad
    >>> from keras_explain.synthesis.randomness import Randomness
    >>> framed = Pad(0.25)(np.ones((1, 8, 8, 3), "float32"),
    ...                    Randomness([0], [0]))
    >>> float(framed[0, 0, 0, 0]), float(framed[0, 4, 4, 0])
    (0.5, 1.0)
    """

    fraction: float = 0.05
    value: float = 0.5

    def __post_init__(self) -> None:
        self._check_number("fraction", 0)
        self._check_number("value")

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        scale = tf.constant([1 / (1 + 2 * self.fraction)], images.dtype)
        outer = images - self.value
        for axis in range(len(_positions(self, images))):
            outer = interpolate(outer, scale, tf.zeros_like(scale), axis,
                                clamp=False)  # fmt: skip
        return outer + self.value


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Jitter(Transform):
    """Moves the picture by whole pixels, to each side alike.

    For signals, images and volumes.

    Args:
        fraction: Largest move, as a share of the size; of small pictures
            at least one pixel.
        border: What comes in at the other side: `"edge"` for the outermost
            pixels again, `"wrap"` for what left, as in DeepDream.

    Example:

    >>> from keras_explain.synthesis.transforms import Jitter
    >>> Jitter(0.1, border="wrap")
    Jitter(fraction=0.1, border='wrap')
    """

    fraction: float = 0.03
    border: str = "edge"

    def __post_init__(self) -> None:
        self._check_number("fraction", 0, 1)
        self._check_choice("border", ("edge", "wrap"))

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        sizes = _positions(self, images)
        if not self.fraction:
            return images
        largest = [max(1, round(self.fraction * size)) for size in sizes]
        shifts = [random.integers((1,), -m, m + 1) for m in largest]
        return move(images, tf.concat(shifts, 1), wrap=self.border == "wrap")


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Scale(Transform):
    """Enlarges or shrinks the picture about its center.

    What is enlarged is cut off at the border; around what is shrunk the
    outermost pixels continue. For signals, images and volumes.

    Args:
        low, high: The factor is uniform between these.

    Example:

    >>> from keras_explain.synthesis.transforms import Scale
    >>> Scale(0.8, 1.2)
    Scale(low=0.8, high=1.2)
    """

    low: float = 0.9
    high: float = 1.1

    def __post_init__(self) -> None:
        self._check_number("low", 0.1, 10)
        self._check_number("high", self.low, 10)

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        axes = len(_positions(self, images))
        factor = random.uniform((1,), self.low, self.high)
        scales = tf.repeat(factor, axes, 1)
        return scale_and_shift(images, scales, tf.zeros_like(scales))


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Rotate(Transform):
    """Turns the picture about its center.

    In the corners the outermost pixels continue. Volumes turn in each of
    their three planes. For images and volumes.

    Args:
        degrees: The angle is uniform up to this, in both directions.

    Example:

    >>> from keras_explain.synthesis.transforms import Rotate
    >>> Rotate(5)
    Rotate(degrees=5)
    """

    degrees: float = 10.0

    def __post_init__(self) -> None:
        self._check_number("degrees", 0, 180)

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        axes = len(_positions(self, images, 2))
        largest = float(np.deg2rad(self.degrees))
        if not largest:
            return images
        for plane in [(0, 1), (0, 2), (1, 2)][: 1 if axes == 2 else 3]:
            angles = random.uniform((), -largest, largest)
            images = rotate(images, angles, plane)
        return images


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Crop(Transform):
    """Enlarges a random part of the picture to its whole size.

    For signals, images and volumes.

    Args:
        low, high: The side of the part is uniform between these shares of
            the size.
        spread: Standard deviation of its center around that of the picture,
            as a share of the size; `None` for anywhere. The part never
            leaves the picture.

    Example:

    >>> from keras_explain.synthesis.transforms import Crop
    >>> Crop(0.2, 0.5, spread=0.15)
    Crop(low=0.2, high=0.5, spread=0.15)

    References:
        Fel et al., 2023. Unlocking Feature Visualization for Deep Networks
        with MAgnitude Constrained Optimization.
        https://arxiv.org/abs/2306.06805
    """

    low: float = 0.5
    high: float = 1.0
    spread: float | None = None

    def __post_init__(self) -> None:
        self._check_number("low", 0.01, 1)
        self._check_number("high", self.low, 1)
        if self.spread is not None:
            self._check_number("spread", 0)

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        sizes = _positions(self, images)
        side = random.uniform((1,), self.low, self.high)
        slack = (1 - side) / 2
        if self.spread is None:
            center = random.uniform((len(sizes),), -1, 1) * slack
        else:
            center = random.normal((len(sizes),), self.spread)
            center = tf.clip_by_value(center, -slack, slack)
        scales = tf.repeat(1 / side, len(sizes), 1)
        shifts = -center * scales * tf.constant(sizes, tf.float32)
        return scale_and_shift(images, scales, shifts)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Flip(Transform):
    """Mirrors the picture half of the time.

    For signals, images and volumes.

    Args:
        axis: Of the positions; the last by default: left becomes right, the
            end of a signal its beginning.

    Example:

    >>> from keras_explain.synthesis.transforms import Flip
    >>> Flip()
    Flip(axis=-1)
    """

    axis: int = -1

    def __post_init__(self) -> None:
        self._check_count("axis", -3)

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        axes = len(_positions(self, images))
        if not -axes <= self.axis < axes:
            raise ValueError(
                message(
                    f"The inputs have {axes} axes of positions.",
                    f"Flip(axis={self.axis})",
                    "Count them from 0 without batch and channels, or from "
                    "the last, -1.",
                )
            )
        coin = random.integers((*[1] * axes, 1), 0, 2)
        mirrored = tf.reverse(images, [1 + self.axis % axes])
        return tf.where(coin > 0, mirrored, images)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Noise(Transform):
    """Adds noise to each value. For inputs of any kind.

    Args:
        stddev: Its standard deviation, in units of the pictures: those in
            `[0, 1]` have a range of one.
        distribution: `"normal"` or `"uniform"`.

    Example:

    >>> from keras_explain.synthesis.transforms import Noise
    >>> Noise(0.1, "uniform")
    Noise(stddev=0.1, distribution='uniform')
    """

    stddev: float = 0.05
    distribution: str = "normal"

    def __post_init__(self) -> None:
        self._check_number("stddev", 0)
        self._check_choice("distribution", ("normal", "uniform"))

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        shape = images.shape[1:]
        if self.distribution == "normal":
            return images + random.normal(shape, self.stddev)
        reach = self.stddev * 3**0.5
        return images + random.uniform(shape, -reach, reach)


def robust(strength: float = 1.0, axes: int = 2) -> tuple[Transform, ...]:
    """Returns the transforms that most feature visualizations are made with.

    Pad, jitter, scale, rotate and jitter again, in amounts that are those of
    Lucid for 128 pixels. Its jitter cuts off as much as it moves; here the
    frame is so much thinner instead.

    Args:
        strength: Factor of all amounts; 0 changes nothing.
        axes: Number of axes between batch and channels. Signals are not
            rotated; inputs without positions get noise only.

    Example:

    >>> from keras_explain.synthesis.transforms import robust
    >>> [type(t).__name__ for t in robust(0.5)]
    ['Pad', 'Jitter', 'Scale', 'Rotate', 'Jitter']

    References:
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
    """
    if not 0 <= strength <= 5:
        raise ValueError(
            message(
                "The strength of transforms lies between 0 and 5.",
                f"strength={strength!r}",
            )
        )
    if axes == 0:
        return (Noise(0.05 * strength),)
    turn = (Rotate(10.0 * strength),) if axes > 1 else ()
    return (
        Pad(6 / 128 * strength),
        Jitter(4 / 128 * strength),
        Scale(1 - 0.1 * strength, 1 + 0.1 * strength),
        *turn,
        Jitter(2 / 128 * strength),
    )


def _positions(
    transform: Transform, images: tf.Tensor, fewest: int = 1
) -> list[int]:
    """Returns the sizes of the axes that a transform acts on, or raises."""
    sizes = list(images.shape)[1:-1]
    if fewest <= len(sizes) <= 3:
        return sizes
    name = type(transform).__name__
    what = "images and volumes" if fewest > 1 else "signals, images and volumes"
    raise ValueError(
        message(
            f"{name} is for {what}: inputs with {fewest} to 3 axes between "
            "batch and channels.",
            f"inputs of shape {tuple(images.shape)}",
            "Leave it out of the transforms; `Noise` fits inputs of any kind.",
        )
    )
