"""Pictures that a network draws: from weights of its own, or from a code."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import check_built, check_model
from keras_explain.engine.errors import message
from keras_explain.synthesis.parts import (
    Parameterization,
    given_rows,
    registered,
)
from keras_explain.synthesis.randomness import Randomness


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class CPPN(Parameterization):
    """A small network that maps a position to a color.

    Use it for smooth, graphic pictures without a resolution: the numbers
    that are found draw the picture at any size. Leave the transforms out,
    and give it some hundred steps. For signals, images and volumes.

    `h_0 = p`, `h_k = a(W_k h_{k-1} + b_k)` and `x = sigmoid(W h + b)`, for
    positions `p` from `-sqrt(3)` to `sqrt(3)` and
    `a(z) = [atan(z) / 0.67, atan(z)^2 / 0.6]`. The last weights start at
    zero: the first picture is mid-gray. Each row has weights of its own.
    The learning rate is 0.002 where Lucid takes 0.005: with that a run may
    end in a picture of one saturated color, whose gradient is zero.

    Args:
        size: Height and width, where the model leaves them open.
        layers: Number of hidden layers.
        width: Of each, before the two parts of `a`.

    Raises:
        ValueError: If the inputs have no positions, or more than three.

    Example:

    >>> from keras_explain.synthesis.generators import CPPN
    >>> CPPN(224)
    CPPN(size=224, layers=8, width=24)

    References:
        Stanley, 2007. Compositional pattern producing networks.
        https://doi.org/10.1007/s10710-007-9028-8
        Mordvintsev et al., 2018. Differentiable Image Parameterizations.
        https://distill.pub/2018/differentiable-parameterizations
    """

    size: int | None = None
    layers: int = 8
    width: int = 24

    learning_rate = 2e-3

    def __post_init__(self) -> None:
        self._check_count("size", optional=True)
        self._check_count("layers")
        self._check_count("width")

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        values = []
        inputs = len(_grid(shape)[0])
        for _ in range(self.layers):
            stddev = math.sqrt(1 / inputs)
            values.append(random.normal((inputs, self.width), stddev))
            values.append(tf.zeros([random.rows, 1, self.width]))
            inputs = 2 * self.width
        values.append(tf.zeros([random.rows, inputs, shape[-1]]))
        values.append(tf.zeros([random.rows, 1, shape[-1]]))
        return values

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        *hidden, weights, bias = values
        h = tf.constant(_grid(shape)[np.newaxis], values[0].dtype)
        for w, b in zip(hidden[::2], hidden[1::2], strict=True):
            angle = tf.atan(tf.matmul(h, w) + b)
            h = tf.concat([angle / 0.67, tf.square(angle) / 0.6], -1)
        colors = tf.sigmoid(tf.matmul(h, weights) + bias)
        return tf.reshape(colors, [-1, *shape])


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Generator(Parameterization):
    """What a decoder draws from a code; the code is optimized.

    Use it for pictures as natural as the decoder can make them. They show
    what the decoder knows as well as what the model wants: what the decoder
    cannot draw is never found.

    `x = (G(h) - low) / (high - low)`, with the `output_range` of the decoder
    `G`, clipped to `[0, 1]`. After each step `h <- (1 - decay) h`, clipped to
    the `code_range`.

    Args:
        decoder: Built Keras model with one input and one output: the
            pictures the model takes. It runs as in inference, and its
            weights stay as they are. Of a `Generator` that is saved it
            leaves its name only.
        code_shape: Of one code, where the decoder leaves sizes open.
        stddev: Standard deviation of the first code.
        initial: Code to start from, instead of noise: one, one for each
            facet, or one for each row.
        code_range: `(low, high)` that codes are clipped to, numbers or
            arrays that broadcast to a code; `None` for no limit. Nguyen et
            al. take 0 and three standard deviations of real codes.
        decay: By which share the code shrinks at each step; Nguyen et al.
            take 0.01.
        output_range: `(low, high)` of the decoder: `(0, 1)` after a
            sigmoid, `(-1, 1)` after a hyperbolic tangent; `None` if it
            makes raw values as the model takes them.

    Raises:
        ValueError: If the decoder has several inputs, does not say the
            shape of its codes, or draws pictures of another shape.

    Example:

    >>> from keras_explain.synthesis.generators import Generator
    >>> decoder = keras.Sequential([keras.Input((8,)),
    ...                             keras.layers.Dense(48, "tanh"),
    ...                             keras.layers.Reshape((4, 4, 3))])
    >>> Generator(decoder, output_range=(-1, 1)).code_shape
    (8,)

    References:
        Nguyen et al., 2016. Synthesizing the preferred inputs for neurons in
        neural networks via deep generator networks.
        https://arxiv.org/abs/1605.09304
    """

    decoder: keras.Model
    code_shape: Any = None
    stddev: float = 1.0
    initial: Any = None
    code_range: Any = None
    decay: float = 0.0
    output_range: Any = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_model(self.decoder)
        check_built(self.decoder)
        self._check_number("stddev", 0)
        self._check_number("decay", 0, 1)
        self._check_array("initial")
        for name in ("code_range", "output_range"):
            if getattr(self, name) is not None:
                self._set(name, _checked_range(name, getattr(self, name)))
        self._set("code_shape", _code_shape(self.decoder, self.code_shape))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Raises unless the decoder is there: its name alone is saved."""
        if isinstance(config["decoder"], str):
            raise ValueError(
                message(
                    "Of the decoder only the name is saved.",
                    f"decoder={config['decoder']!r}",
                    "Pass the decoder itself: `Generator(decoder)`.",
                )
            )
        return cls(**config)

    @property
    def bounded(self) -> bool:
        return self.output_range is not None

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        if self.initial is None:
            codes = random.normal(self.code_shape, self.stddev)
        else:
            codes = given_rows(self.initial, self.code_shape, random)
        return [self._clipped(codes)]

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        (codes,) = values
        pictures = self.decoder(codes, training=False)
        if not tf.is_tensor(pictures) or pictures.shape[1:] != tuple(shape):
            drawn = tf.nest.map_structure(lambda t: t.shape, pictures)
            raise ValueError(
                message(
                    f"The model takes pictures of shape {tuple(shape)}, and "
                    "the decoder is to draw them.",
                    f"a decoder that gives {drawn}",
                    "Add `Resizing` or `Cropping2D` at its end, or pass "
                    "`size=` for a model that takes any size.",
                )
            )
        pictures = tf.cast(pictures, tf.float32)
        if self.output_range is None:
            return pictures
        low, high = self.output_range
        return tf.clip_by_value((pictures - low) / (high - low), 0.0, 1.0)

    def project(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        return [self._clipped((1 - self.decay) * codes) for codes in values]

    def _clipped(self, codes: tf.Tensor) -> tf.Tensor:
        if self.code_range is None:
            return codes
        low, high = self.code_range
        return tf.clip_by_value(codes, low, high)


def _grid(shape: tuple[int, ...]) -> np.ndarray:
    """Returns the positions of the pixels, `(count, axes)`."""
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            message(
                "CPPN makes signals, images and volumes: inputs with one to "
                "three axes before the channels.",
                f"inputs of shape {tuple(shape)}",
                "Use `Pixels()` for these.",
            )
        )
    reach = math.sqrt(3)
    axes = [
        np.linspace(-reach, reach, size) if size > 1 else np.zeros(1)
        for size in shape[:-1]
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return grid.reshape(-1, len(axes))


def _checked_range(name: str, given: Any) -> tuple[Any, Any]:
    """Returns `(low, high)`, or raises unless it is a range."""
    pair = [np.asarray(bound, np.float32) for bound in given]
    if len(pair) != 2 or not np.all(pair[0] < pair[1]):
        raise ValueError(
            message(
                f"Generator takes {name} as (low, high), low under high.",
                f"{name}={given!r}",
            )
        )
    low, high = (b if b.ndim else float(b) for b in pair)
    return low, high


def _code_shape(decoder: keras.Model, given: Any) -> tuple[int, ...]:
    """Returns the shape of one code, or raises if it is not known."""
    declared: list[tuple[Any, ...] | None]
    try:
        declared = [tuple(spec.shape[1:]) for spec in decoder.inputs]
    except (AttributeError, ValueError, TypeError):  # subclassed
        declared = [None] if given is not None else []
    if len(declared) > 1:
        raise ValueError(
            message(
                "Generator takes a decoder with one input.",
                f"{len(declared)} inputs",
                "Wrap it in a model that fixes the others.",
            )
        )
    if given is not None:
        given = tuple(int(size) for size in given)
        known = declared[0]
        fits = known is None or (
            len(known) == len(given)
            and all(k in (None, g) for k, g in zip(known, given, strict=True))
        )
        if fits:
            return given
        raise ValueError(
            message(
                f"The decoder takes codes of shape {known}.",
                f"code_shape={given}",
            )
        )
    known = declared[0] if declared else None
    if known is None or None in known:
        raise ValueError(
            message(
                "The decoder does not say the shape of its codes.",
                f"decoder {decoder.name!r}",
                "Pass it: `Generator(decoder, code_shape=(128,))`.",
            )
        )
    return known
