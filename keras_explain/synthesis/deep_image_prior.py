"""Pictures drawn by a network whose weights are optimized."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.networks import Hourglass, build, first_weights
from keras_explain.synthesis.parts import Parameterization, registered
from keras_explain.synthesis.randomness import Randomness

# Largest value of the input where it is noise.
_NOISE = 0.1


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class DeepImagePrior(Parameterization):
    """What an untrained network draws; its weights are optimized.

    Use it to restore pictures, see `restore`, and for pictures that
    maximize a target or invert a representation without the noise that
    gradients favor: a network of convolutions fits what repeats itself long
    before it fits noise. Costs a gradient of the network for each step and
    row: rows have networks of their own.

    `x = f_w(z)` for a fixed input `z`, by default `z ~ U(0, 0.1)`; at each
    step `z + n` with `n ~ N(0, input_noise^2)`.

    Args:
        network: A `Hourglass`.
        size: Height and width, where the model leaves them open.
        network_input: `"noise"`, `"grid"` for positions from 0 to 1 (of a
            network with two input channels), or an array
            `(height, width, channels)` such as another picture of the scene.
        input_noise: Standard deviation of what is added to the input at
            each step; 0 for nothing.
        seed: Of the input. The weights are drawn from the seed of the run.
        learning_rate: Of Adam, where no optimizer is given.

    Raises:
        ValueError: If a picture is too small for the scales of the network,
            or the input does not fit it.

    Example:

    >>> from keras_explain.synthesis.deep_image_prior import DeepImagePrior
    >>> from keras_explain.synthesis.networks import Hourglass
    >>> prior = DeepImagePrior(Hourglass((32,) * 4), seed=1)
    >>> round(float(prior.optimizer().learning_rate), 4)
    0.01

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """

    network: Hourglass = dataclasses.field(default_factory=Hourglass)
    size: int | None = None
    network_input: Any = "noise"
    input_noise: float = 1 / 30
    seed: int = 0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        if isinstance(self.network, dict):  # as it was saved
            self._set("network", keras.saving.deserialize_keras_object(
                self.network))  # fmt: skip
        if not isinstance(self.network, Hourglass):
            raise TypeError(
                message(
                    "The network of a deep image prior is untrained, and "
                    "described by a `Hourglass`.",
                    repr(self.network),
                    "Pass such as `Hourglass((32,) * 4)`. For a trained "
                    "decoder there is `Generator`.",
                )
            )
        self._check_count("size", optional=True)
        self._check_number("input_noise", 0)
        self._check_count("seed", 0)
        self._check_number("learning_rate", 0)
        if isinstance(self.network_input, str):
            self._check_choice("network_input", ("noise", "grid"))
        else:
            self._check_array("network_input")

    def get_config(self) -> dict[str, Any]:
        """Returns the options, with the network as Keras saves it."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        network = _network(self.network, tuple(shape))
        drawn = first_weights(network, random)
        # As one vector for each row, which one update of the optimizer takes:
        # the loop is traced six times as fast as with a hundred of them.
        return [tf.concat([tf.reshape(w, [random.rows, -1]) for w in drawn], 1)]

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        code = self._code(shape)
        return self._drawn(values, shape, [code] * values[0].shape[0])

    def sampled(
        self,
        values: list[tf.Tensor],
        shape: tuple[int, ...],
        random: Randomness,
    ) -> tf.Tensor:
        if not self.input_noise:
            return self.images(values, shape)
        code = self._code(shape)
        noise = random.normal(code.shape[1:], self.input_noise)
        codes = [code + noise[row : row + 1] for row in range(random.rows)]
        return self._drawn(values, shape, codes)

    def _drawn(
        self,
        values: list[tf.Tensor],
        shape: tuple[int, ...],
        codes: list[tf.Tensor],
    ) -> tf.Tensor:
        """One network after the other: no convolution takes weights by row."""
        network = _network(self.network, tuple(shape))
        shapes = [w.shape for w in network.trainable_variables]
        parts = tf.split(values[0], [math.prod(s) for s in shapes], axis=1)
        drawn = []
        for row, code in enumerate(codes):
            weights = [
                tf.reshape(part[row], shape)
                for part, shape in zip(parts, shapes, strict=True)
            ]
            drawn.append(network.stateless_call(weights, [], code)[0])
        return tf.concat(drawn, 0)

    def _code(self, shape: tuple[int, ...]) -> tf.Tensor:
        """Returns the input, `(1, height, width, channels)`."""
        wanted = self.network.input_shape(shape)
        if isinstance(self.network_input, str):
            return _made_code(self.network_input, wanted, self.seed)
        code = np.asarray(self.network_input)
        if code.shape != wanted:
            raise ValueError(
                message(
                    f"The network takes an input of shape {wanted}.",
                    f"a network_input of shape {code.shape}",
                    "Sides are rounded up to a multiple of "
                    f"{2**self.network.depth}; pass "
                    "`Hourglass(input_channels=...)` for other channels.",
                )
            )
        return tf.constant(code[np.newaxis], tf.float32)


class Recipe(NamedTuple):
    """What the authors of the deep image prior took for a task.

    Attributes:
        prior: The network, its input and the learning rate.
        steps: How many steps they made.
    """

    prior: DeepImagePrior
    steps: int


_FIVE = Hourglass()
_NARROW = (16, 32, 64, 128, 128)

#: The settings of the published notebooks, task by task, for pictures of 512
#: pixels or so. `"inversion"` and `"maximization"` begin from a network with
#: odd sizes of kernels.
PUBLISHED: dict[str, Recipe] = {
    "denoising": Recipe(DeepImagePrior(_FIVE), 3000),
    "strong denoising": Recipe(DeepImagePrior(_FIVE, input_noise=1 / 20), 3000),
    "JPEG artifacts": Recipe(
        DeepImagePrior(Hourglass((8, 16, 32, 64, 128), (0, 0, 0, 4, 4), 3)),
        2400,
    ),
    "super-resolution x4": Recipe(
        DeepImagePrior(_FIVE, input_noise=0.03), 2000
    ),
    "super-resolution x8": Recipe(
        DeepImagePrior(_FIVE, input_noise=0.05), 4000
    ),
    "inpainting text": Recipe(
        DeepImagePrior(
            Hourglass(skip_channels=128, upsampling="nearest"),
            input_noise=0.03,
        ),
        6001,
    ),
    "inpainting a region": Recipe(
        DeepImagePrior(
            Hourglass(
                skip_channels=0, input_channels=2, upsampling="nearest"
            ),
            network_input="grid",
            input_noise=0.03,
        ),
        5001,
    ),
    "inpainting a large hole": Recipe(
        DeepImagePrior(
            Hourglass(
                (*_NARROW, 128), 0, 1, "nearest", kernel_down=5,
                one_by_one=False,
            ),
            input_noise=0.0,
        ),
        3001,
    ),
    "inpainting half of the pixels": Recipe(
        DeepImagePrior(_FIVE, input_noise=0.03, learning_rate=1e-3), 11000
    ),
    "inpainting most of the pixels": Recipe(
        DeepImagePrior(
            Hourglass(_NARROW, 0, downsampling="average"), input_noise=0.0
        ),
        1000,
    ),
    "inversion": Recipe(
        DeepImagePrior(
            Hourglass(
                (*_NARROW, 128), upsampling="nearest", padding="zero",
                downsampling="average", kernel_down=(7, 7, 5, 5, 3, 3),
                kernel_up=(7, 7, 5, 5, 3, 3),
            ),
            input_noise=0.0,
            learning_rate=1e-3,
        ),
        3100,
    ),
    "maximization": Recipe(
        DeepImagePrior(
            Hourglass(
                (*_NARROW, 128), (0, 4, 4, 4, 4, 4), downsampling="average",
                kernel_down=(5, 3, 5, 5, 3, 5), kernel_up=(5, 3, 5, 3, 5, 3),
            ),
            input_noise=0.03,
            learning_rate=1e-3,
        ),
        3100,
    ),
    "flash": Recipe(
        DeepImagePrior(
            Hourglass(
                input_channels=3,
                upsampling=("nearest",) * 2 + ("bilinear",) * 3,
            ),
            input_noise=0.0,
            learning_rate=0.1,
        ),
        601,
    ),
}  # fmt: skip


@functools.lru_cache(maxsize=8)
def _network(settings: Hourglass, shape: tuple[int, ...]) -> keras.Model:
    """The layers; weights are always given to them."""
    with tf.init_scope():
        return build(settings, shape)


@functools.lru_cache(maxsize=8)
def _made_code(kind: str, shape: tuple[int, int, int], seed: int) -> tf.Tensor:
    """Returns a fixed input, drawn once and not at each step."""
    with tf.init_scope():
        if kind == "noise":
            random = Randomness([seed], [0], stream=2)
            return random.uniform(shape, 0.0, _NOISE)
        height, width, channels = shape
        if channels != 2:
            raise ValueError(
                message(
                    "A grid has two channels: right and down.",
                    f"a network with input_channels={channels}",
                    "Pass `Hourglass(input_channels=2)`.",
                )
            )
        right, down = np.meshgrid(
            np.arange(width) / (width - 1), np.arange(height) / (height - 1)
        )
        return tf.constant(np.stack([right, down], -1)[np.newaxis], tf.float32)
