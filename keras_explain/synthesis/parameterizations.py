"""Pictures as pixels, frequencies, phases or pyramids.

What the numbers stand for decides which pictures gradient ascent finds:
steps of equal length in pixels give high frequencies, which networks answer
to and people do not see.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.resizing import resize
from keras_explain.synthesis.natural_images import (
    correlate_colors,
    falloff,
    half_spectrum,
    inverse_fourier,
)
from keras_explain.synthesis.parts import (
    Parameterization,
    given_rows,
    registered,
)
from keras_explain.synthesis.randomness import Randomness

# Half a step of an 8-bit picture: black and white have finite logits.
_DARKEST = 0.5 / 255


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Pixels(Parameterization):
    """Every pixel is a number of its own.

    Use it to start from a picture, for signals and tables, and where
    regularizers work on pixels. Pictures of deep networks turn out noisy:
    prefer `Fourier` there.

    `x = sigmoid(v)`, `x = v` clipped to `[0, 1]` after each step, or
    `x = v` without bounds.

    Args:
        size: Height and width, where the model leaves them open.
        stddev: Standard deviation of the first values around mid-gray
            (around 0 without bounds).
        initial: What to start from, instead of noise: one picture, one for
            each facet, or one for each row; in `[0, 1]` unless `bounds` is
            `None`. A sigmoid never reaches 0 or 1: such pixels start half a
            gray level from it.
        bounds: `"sigmoid"`, `"clip"`, or `None` for raw values as the model
            takes them.

    Raises:
        ValueError: If the initial picture leaves the bounds or has another
            shape than the model takes.

    Example:

    >>> from keras_explain.synthesis.parameterizations import Pixels
    >>> Pixels(bounds="clip").in_pixels
    True

    References:
        Simonyan et al., 2013. Deep Inside Convolutional Networks.
        https://arxiv.org/abs/1312.6034
    """

    size: int | None = None
    stddev: float = 0.01
    initial: Any = None
    bounds: str | None = "sigmoid"

    def __post_init__(self) -> None:
        self._check_count("size", optional=True)
        self._check_number("stddev", 0)
        self._check_choice("bounds", ("sigmoid", "clip", None))
        self._check_array("initial")
        if self.initial is None:
            return
        low, high = float(np.min(self.initial)), float(np.max(self.initial))
        if self.bounds is not None and not (low >= 0 and high <= 1):
            raise ValueError(
                message(
                    f"With bounds={self.bounds!r}, 0 is the darkest and 1 "
                    "the brightest pixel.",
                    f"an initial picture from {low:g} to {high:g}",
                    "Divide 8-bit pictures by 255, or pass `bounds=None` "
                    "for values as the model takes them.",
                )
            )

    @property
    def bounded(self) -> bool:
        return self.bounds is not None

    @property
    def in_pixels(self) -> bool:
        return self.bounds != "sigmoid"

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        if self.initial is None:
            gray = 0.5 if self.bounds == "clip" else 0.0
            values = gray + random.normal(shape, self.stddev)
        else:
            values = given_rows(self.initial, shape, random)
            if self.bounds == "sigmoid":
                x = tf.clip_by_value(values, _DARKEST, 1 - _DARKEST)
                values = tf.math.log(x) - tf.math.log1p(-x)
        return self.project([values])

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        (pixels,) = values
        return tf.sigmoid(pixels) if self.bounds == "sigmoid" else pixels

    def project(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        if self.bounds != "clip":
            return values
        return [tf.clip_by_value(pixels, 0.0, 1.0) for pixels in values]


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Fourier(Parameterization):
    """A spectrum like that of photographs, in independent colors.

    Use it by default, for signals, images and volumes alike: low and high
    frequencies grow in the proportion in which nature has them.

    `x = sigmoid(C F^-1(w z))` with the orthonormal inverse Fourier transform
    `F^-1`, weights `w ~ 1 / f^decay` whose mean square is one, and `C` the
    correlation of the colors. So the first picture has about the same
    contrast at all sizes, near mid-gray: `sqrt(2) stddev` before the
    sigmoid. Lucid scales by the size instead, which holds for images with a
    decay of one only.

    Args:
        size: Height and width, where the model leaves them open.
        stddev: Standard deviation of the first values.
        decay: How fast high frequencies fall off; 0 treats all alike.
        decorrelate: Whether values stand for independent colors; of
            pictures with three channels only.

    Raises:
        ValueError: If the inputs have no positions, or more than three.

    Example:

    >>> from keras_explain.synthesis.parameterizations import Fourier
    >>> Fourier(224, decay=1.5)
    Fourier(size=224, stddev=0.01, decay=1.5, decorrelate=True)

    References:
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
        Mordvintsev et al., 2018. Differentiable Image Parameterizations.
        https://distill.pub/2018/differentiable-parameterizations
    """

    size: int | None = None
    stddev: float = 0.01
    decay: float = 1.0
    decorrelate: bool = True

    def __post_init__(self) -> None:
        self._check_count("size", optional=True)
        self._check_number("stddev", 0)
        self._check_number("decay", 0)

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        positions = _positions(self, shape)
        numbers = (2, shape[-1], *half_spectrum(positions))
        return [random.normal(numbers, self.stddev)]

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        positions = _positions(self, shape)
        weights = tf.constant(falloff(positions, self.decay), values[0].dtype)
        weighted = values[0] * weights
        pictures = inverse_fourier(weighted[:, 0], weighted[:, 1], positions)
        if self.decorrelate:
            pictures = correlate_colors(pictures)
        return tf.sigmoid(pictures)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class MACO(Parameterization):
    """The phases of a picture whose spectrum is fixed.

    Use it where `Fourier` gives noise: in deep networks and vision
    transformers. Transforms that crop and add noise belong to it.

    `x = sigmoid(C s(F^-1(m e^(i p))))` with phases `p`, magnitudes `m`, the
    correlation `C` of the colors and `s(y) = (y - mean y) / std y`.
    Phases are standardized as well, and scaled to the standard deviation of
    a uniform phase: with a deviation of one, as in the code of the authors,
    they stay near each other at first, and a bright spot at the origin
    stands out.

    Args:
        size: Height and width, where the model leaves them open.
        magnitude: `(channels, *frequencies)`, see `natural_magnitude`. The
            authors use the mean over ImageNet. It is not shipped here, so
            without one `1 / f` takes its place: natural on the whole, but
            alike in all directions and colors.
        decorrelate: Whether values stand for independent colors; of
            pictures with three channels only.

    Raises:
        ValueError: If the magnitude has another shape than the spectrum of
            the pictures, is negative or zero everywhere.

    Example:

    >>> from keras_explain.synthesis.parameterizations import MACO
    >>> type(MACO(224).optimizer()).__name__
    'Nadam'

    References:
        Fel et al., 2023. Unlocking Feature Visualization for Deep Networks
        with MAgnitude Constrained Optimization.
        https://arxiv.org/abs/2306.06805
    """

    size: int | None = None
    magnitude: Any = None
    decorrelate: bool = True

    learning_rate = 1.0

    def __post_init__(self) -> None:
        self._check_count("size", optional=True)
        self._check_array("magnitude")
        if self.magnitude is None:
            return
        low, high = np.min(self.magnitude), np.max(self.magnitude)
        if low < 0 or high == 0:
            raise ValueError(
                message(
                    "A magnitude is not negative, and somewhere positive.",
                    f"values from {low:g} to {high:g}",
                    "Make it with `natural_magnitude(images)`.",
                )
            )

    def optimizer(self) -> Any:
        return keras.optimizers.Nadam(self.learning_rate)

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        numbers = (shape[-1], *half_spectrum(_positions(self, shape)))
        return [random.uniform(numbers, -np.pi, np.pi)]

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        positions = _positions(self, shape)
        magnitude = tf.constant(self._magnitude(shape), values[0].dtype)
        phase = np.pi / np.sqrt(3.0) * _standardized(values[0])
        pictures = _standardized(
            inverse_fourier(
                magnitude * tf.cos(phase),
                magnitude * tf.sin(phase),
                positions,
            )
        )
        if self.decorrelate:
            pictures = correlate_colors(pictures)
        return tf.sigmoid(pictures)

    def _magnitude(self, shape: tuple[int, ...]) -> np.ndarray:
        positions = shape[:-1]
        if self.magnitude is None:
            return falloff(positions, 1.0)
        expected = (shape[-1], *half_spectrum(positions))
        if self.magnitude.shape != expected:
            raise ValueError(
                message(
                    f"The spectrum of pictures of shape {tuple(shape)} has "
                    f"shape {expected}.",
                    f"a magnitude of shape {self.magnitude.shape}",
                    "Make it with `natural_magnitude(images)` from pictures "
                    "of that shape.",
                )
            )
        return self.magnitude


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class LaplacianPyramid(Parameterization):
    """A sum of pictures at full, half, quarter... resolution.

    Use it as a cheaper, more local relative of `Fourier`: coarse structure
    can grow without waves across the whole picture.

    `x = sigmoid(C sum_k U_k v_k)`, where level `k` has `1 / 2^k` of the size
    and `U_k` enlarges it by linear interpolation.

    Args:
        size: Height and width, where the model leaves them open.
        levels: Number of resolutions; 1 is plain pixels.
        stddev: Standard deviation of the first values of each level.
        decorrelate: Whether values stand for independent colors; of
            pictures with three channels only.

    Raises:
        ValueError: If the inputs have no positions, or more than three.

    Example:

    >>> from keras_explain.synthesis.parameterizations import LaplacianPyramid
    >>> LaplacianPyramid(levels=3).levels
    3

    References:
        Burt and Adelson, 1983. The Laplacian Pyramid as a Compact Image
        Code. https://doi.org/10.1109/TCOM.1983.1095851
        Mordvintsev et al., 2018. Differentiable Image Parameterizations.
        https://distill.pub/2018/differentiable-parameterizations
    """

    size: int | None = None
    levels: int = 4
    stddev: float = 0.01
    decorrelate: bool = True

    def __post_init__(self) -> None:
        self._check_count("size", optional=True)
        self._check_count("levels")
        self._check_number("stddev", 0)

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        positions = _positions(self, shape)
        shapes = [
            [*(-(-n // 2**level) for n in positions), shape[-1]]
            for level in range(self.levels)
        ]
        return [random.normal(numbers, self.stddev) for numbers in shapes]

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        positions = _positions(self, shape)
        pictures = tf.add_n([resize(level, positions) for level in values])
        pictures = tf.ensure_shape(pictures, [None, *shape])
        if self.decorrelate:
            pictures = correlate_colors(pictures)
        return tf.sigmoid(pictures)


def _standardized(values: tf.Tensor) -> tf.Tensor:
    """Brings each row to mean zero and standard deviation one."""
    axes = list(range(1, values.shape.rank))
    centered = values - tf.reduce_mean(values, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axes, keepdims=True)
    return centered * tf.math.rsqrt(variance + 1e-10)


def _positions(part: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the sizes of the axes before the channels, or raises."""
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            message(
                f"{type(part).__name__} makes signals, images and volumes: "
                "inputs with one to three axes before the channels.",
                f"inputs of shape {tuple(shape)}",
                "Use `Pixels()` for these.",
            )
        )
    return tuple(shape[:-1])
