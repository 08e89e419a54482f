"""Networks whose shape alone prefers natural pictures to noise."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_explain.engine.errors import message
from keras_explain.synthesis.parts import Part, registered
from keras_explain.synthesis.randomness import Randomness

# Slope of the rectifier below zero, and what keeps a variance off zero.
_SLOPE = 0.2
_EPSILON = 1.001e-5  # the least that cuDNN takes


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Hourglass(Part):
    """The shape of an encoder and decoder with skip connections.

    Use it as `DeepImagePrior(Hourglass(...))`. Wide networks of many scales
    do best, and cost most: a step of the default one takes about 6 times as
    long as that of `Hourglass((32,) * 4)`. Skip connections keep details
    sharp, and spoil the filling of large holes.

    At each scale: a convolution that halves the sides and another one; the
    scales below; doubled sides; a convolution, and one of a single pixel.
    Each is followed by batch normalization with the statistics of the batch,
    and by a leaky ReLU. Skip connections are convolutions of a single pixel
    that join the decoder at the same scale. The last is a sigmoid.

    Args:
        channels: Of each scale, from the finest to the coarsest.
        skip_channels: Of each skip connection; 0 for none. This and what
            follows is one value for all scales, or one for each.
        input_channels: Of the input.
        upsampling: `"bilinear"` or `"nearest"`.
        downsampling: `"stride"` of a convolution, or `"average"` of what it
            gives.
        kernel_down: Size of the convolutions on the way down; odd.
        kernel_up: On the way up.
        skip_kernel: Of the skip connections.
        one_by_one: Whether there is a second convolution on the way up.
        padding: `"reflect"` or `"zero"`.

    Raises:
        TypeError: If an option is of the wrong kind.
        ValueError: If it does not fit the number of scales, or there is no
            such choice.

    Example:

    >>> from keras_explain.synthesis.networks import Hourglass
    >>> Hourglass((32, 32), skip_channels=(0, 4)).depth
    2

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """

    channels: tuple[int, ...] = (128,) * 5
    skip_channels: Any = 4
    input_channels: int = 32
    upsampling: Any = "bilinear"
    downsampling: str = "stride"
    kernel_down: Any = 3
    kernel_up: Any = 3
    skip_kernel: int = 1
    one_by_one: bool = True
    padding: str = "reflect"

    def __post_init__(self) -> None:
        self._check_count("input_channels")
        self._check_choice("downsampling", ("stride", "average"))
        self._check_choice("padding", ("reflect", "zero"))
        self._check_choice("one_by_one", (True, False))
        if isinstance(self.channels, numbers.Integral) or not self.channels:
            raise TypeError(
                message(
                    "Hourglass takes a tuple as `channels`, with the number "
                    "of each scale.",
                    f"channels={self.channels!r}",
                    "Pass such as `(32,) * 4`.",
                )
            )
        self._set("channels", tuple(self.channels))
        for name, low in (("channels", 1), ("skip_channels", 0)):
            self._check_scales(name, low)
        for name in ("kernel_down", "kernel_up", "skip_kernel"):
            self._check_scales(name, 1, odd=True)
        self._check_scales("upsampling", ("bilinear", "nearest"))

    @property
    def depth(self) -> int:
        """How many times the sides are halved."""
        return len(self.channels)

    def at(self, name: str, scale: int) -> Any:
        """Returns an option at one scale; 0 is the finest."""
        value = getattr(self, name)
        return value[scale] if isinstance(value, tuple) else value

    def input_shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Returns `(height, width, channels)` of the input.

        Sides that cannot be halved as often as there are scales are rounded
        up; what the network makes is cropped.

        Args:
            shape: Of the picture that is made.

        Raises:
            ValueError: If it is no picture, or too small for the scales.
        """
        if len(shape) != 3:
            raise ValueError(
                message(
                    "An hourglass makes pictures of shape "
                    "(height, width, channels).",
                    f"shape={tuple(shape)}",
                )
            )
        cell = 2**self.depth
        # A reflection needs more cells than it adds, and the statistics of
        # a single cell are none.
        reach = max(
            self.at(name, self.depth - 1) // 2
            for name in ("kernel_down", "kernel_up", "skip_kernel")
        )
        least = cell * max(2, reach + 1)
        if min(shape[:2]) < least:
            fitting = max(self.depth - math.ceil(math.log2(
                least / max(min(shape[:2]), 1))), 1)  # fmt: skip
            raise ValueError(
                message(
                    f"A network of {self.depth} scales makes pictures with "
                    f"sides of at least {least}.",
                    f"sides of {shape[0]} and {shape[1]}",
                    f"Use fewer scales, such as `Hourglass(({self.channels[0]}"
                    f",) * {fitting})`, or enlarge the pictures.",
                )
            )
        height, width = (-(-size // cell) * cell for size in shape[:2])
        return height, width, self.input_channels

    def _check_scales(
        self, name: str, allowed: Any, *, odd: bool = False
    ) -> None:
        """Raises unless an option is a value for all scales or for each."""
        value = getattr(self, name)
        if isinstance(value, (list, tuple)):
            value = tuple(value)
            self._set(name, value)
            if len(value) != self.depth:
                raise ValueError(
                    message(
                        f"Hourglass takes `{name}` for all scales at once, "
                        f"or for each of the {self.depth}.",
                        f"{name}={value!r}",
                    )
                )
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(allowed, tuple):
                fits, what = one in allowed, " or ".join(map(repr, allowed))
            else:
                whole = isinstance(one, numbers.Integral)
                fits = whole and not isinstance(one, bool) and one >= allowed
                fits = fits and not (odd and one % 2 == 0)
                what = f"integers from {allowed}" + ", odd" * odd
            if not fits:
                raise ValueError(
                    message(
                        f"Hourglass takes as `{name}` {what}.",
                        f"{name}={value!r}",
                    )
                )


@keras.saving.register_keras_serializable("keras_explain")
class BatchStandardization(layers.Layer):
    """Batch normalization that uses the statistics of the batch, always.

    It has no running statistics: a network that is fitted to one picture is
    never used in another way than it was fitted.
    """

    def build(self, input_shape: Any) -> None:
        size = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=size,
                                     initializer="ones")  # fmt: skip
        self.beta = self.add_weight(name="beta", shape=size,
                                    initializer="zeros")  # fmt: skip

    def call(self, inputs: Any) -> Any:
        # In one operation: a third of the time of means and products.
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=_EPSILON,
            is_training=True,
        )[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@keras.saving.register_keras_serializable("keras_explain")
class ReflectPadding2D(layers.Layer):
    """Adds a border in which the picture is mirrored.

    Args:
        size: Width of the border; less than the sides.
    """

    def __init__(self, size: int, **options: Any):
        super().__init__(**options)
        self.size = size

    def call(self, inputs: Any) -> Any:
        both = [self.size, self.size]
        return tf.pad(inputs, [[0, 0], both, both, [0, 0]], "REFLECT")

    def compute_output_shape(self, input_shape: Any) -> Any:
        rows, *sides, channels = input_shape
        grown = [side and side + 2 * self.size for side in sides]
        return (rows, *grown, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def hourglass(
    shape: Sequence[int],
    channels: Sequence[int] = (128,) * 5,
    *,
    seed: int = 0,
    **options: Any,
) -> keras.Model:
    """Returns the network of the deep image prior as a Keras model.

    Use it to look at the network, or to fit it in a loop of your own;
    `restore` and its relatives make theirs themselves.

    Weights and biases are drawn from `U(-1 / sqrt(n), 1 / sqrt(n))`, where
    `n` is the number of inputs of a convolution, as in the published code.

    Args:
        shape: `(height, width, channels)` of the pictures it makes.
        channels: As for `Hourglass`.
        seed: Same seed, same weights.
        **options: The other arguments of `Hourglass`.

    Returns:
        A Keras model that takes `(batch, height, width, input_channels)`,
        with sides rounded up to a multiple of `2 ** len(channels)`, and
        makes `(batch, *shape)` in `[0, 1]`.

    Raises:
        TypeError: If an option is of the wrong kind.
        ValueError: If an option has no such value, or the pictures are too
            small for so many scales.

    Example:

    >>> from keras_explain.synthesis.networks import hourglass
    >>> network = hourglass((60, 64, 3), (16, 16))
    >>> network.input_shape, network.output_shape
    ((None, 60, 64, 32), (None, 60, 64, 3))

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """
    network = build(Hourglass(tuple(channels), **options), tuple(shape))
    drawn = first_weights(network, Randomness([seed], [0]))
    for weight, values in zip(network.trainable_variables, drawn, strict=True):
        weight.assign(values[0])
    return network


def build(settings: Hourglass, shape: tuple[int, ...]) -> keras.Model:
    """Returns the network with weights that are still zero.

    Nothing of it depends on, or changes, the state of Keras: names, seeds
    and the policy of precision are its own.
    """
    height, width, _ = settings.input_shape(shape)
    x = inputs = keras.Input((height, width, settings.input_channels),
                             name="code", dtype="float32")  # fmt: skip
    x = _scale(x, settings, 0)
    x = _made(layers.Conv2D, "last", shape[-1], 1,
              kernel_initializer="zeros", activation="sigmoid")(x)  # fmt: skip
    spare = [height - shape[0], width - shape[1]]
    if any(spare):
        crop = [(size // 2, size - size // 2) for size in spare]
        x = _made(layers.Cropping2D, "crop", crop)(x)
    return keras.Model(inputs, x, name="hourglass")


def first_weights(network: keras.Model, random: Randomness) -> list[tf.Tensor]:
    """Returns first values, each `(rows, *shape)`, of all its weights."""
    found = []
    for layer in network.layers:
        for weight in layer.trainable_variables:
            if weight.name in ("gamma", "beta"):
                one = tf.cast(weight.name == "gamma", tf.float32)
                found.append(tf.fill([random.rows, *weight.shape], one))
                continue
            reach = 1 / math.sqrt(math.prod(layer.kernel.shape[:-1]))
            found.append(random.uniform(weight.shape, -reach, reach))
    return found


def _scale(x: Any, settings: Hourglass, scale: int) -> Any:
    """One scale with all that are below it."""

    def at(option: str) -> Any:
        return settings.at(option, scale)

    name = f"scale{scale}"
    filters = settings.channels[scale]
    down = _convolved(x, settings, f"{name}_down", filters, at("kernel_down"),
                      halve=True)  # fmt: skip
    down = _convolved(
        down, settings, f"{name}_encode", filters, at("kernel_down")
    )
    if scale + 1 < settings.depth:
        down = _scale(down, settings, scale + 1)
    up = _made(layers.UpSampling2D, f"{name}_up", 2,
               interpolation=at("upsampling"))(down)  # fmt: skip
    if at("skip_channels"):
        skip = _convolved(x, settings, f"{name}_skip", at("skip_channels"),
                          at("skip_kernel"))  # fmt: skip
        up = _made(layers.Concatenate, f"{name}_join")([skip, up])
    up = _made(BatchStandardization, f"{name}_join_norm")(up)
    up = _convolved(up, settings, f"{name}_decode", filters, at("kernel_up"))
    if settings.one_by_one:
        up = _convolved(up, settings, f"{name}_mix", filters, 1)
    return up


def _convolved(
    x: Any,
    settings: Hourglass,
    name: str,
    filters: int,
    kernel: int,
    *,
    halve: bool = False,
) -> Any:
    """A convolution, normalized and rectified."""
    if kernel > 1:
        # Both sides alike; "same" pads one side only where it halves.
        pad = {"reflect": ReflectPadding2D, "zero": layers.ZeroPadding2D}
        x = _made(pad[settings.padding], f"{name}_pad", kernel // 2)(x)
    strided = halve and settings.downsampling == "stride"
    x = _made(layers.Conv2D, f"{name}_conv", filters, kernel,
              strides=2 if strided else 1,
              kernel_initializer="zeros")(x)  # fmt: skip
    if halve and not strided:
        x = _made(layers.AveragePooling2D, f"{name}_pool", 2)(x)
    x = _made(BatchStandardization, f"{name}_norm")(x)
    return _made(layers.LeakyReLU, f"{name}_relu", _SLOPE)(x)


def _made(kind: Any, name: str, *args: Any, **options: Any) -> Any:
    return kind(*args, name=name, dtype="float32", **options)
