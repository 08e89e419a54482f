"""A network that inverts a layer, learned from pictures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_explain.engine import batching
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Call
from keras_explain.synthesis import value_range as ranges
from keras_explain.synthesis.looking import outputs_of
from keras_explain.synthesis.match import Match
from keras_explain.synthesis.objective import record_rows, sample_shape
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.settings import USUAL_SIZE, filled


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts.

    Attributes:
        pixels: Of the mean square error of pixels between 0 and 1.
        features: Of the relative square error of the comparator's output.
        adversarial: Of the cross entropy of a discriminator that is to take
            the pictures for real; 0 for none.
    """

    pixels: float = 1.0
    features: float = 0.1
    adversarial: float = 0.001

    def __post_init__(self) -> None:
        given = dataclasses.astuple(self)
        if min(given) < 0 or not 0 < sum(given) < math.inf:
            raise ValueError(
                message(
                    "Weights of losses are not negative, and not all zero.",
                    repr(self),
                )
            )


class LearnedInverter:
    """A decoder from a layer's output back to pictures.

    Use it where `invert` is too slow, or to see what a layer says about
    pictures of the kind it was trained on: the decoder fills in what is
    usual. Costs a training; an inversion then is one forward pass.

    `L = a |x - G(f)|^2 + b |C(x) - C(G(f))|^2 / |C(x)|^2 - c log D(G(f), f)`
    with the layer's output `f`, the decoder `G`, the comparator's output `C`
    and a discriminator `D`, which is trained in turn.

    Args:
        model: A built Keras model with one input of pictures.
        layer: Layer to invert, or its path.
        comparator: Layer in whose eyes pictures are compared; by default
            the same. The authors compare in a layer of another network.
        decoder: A Keras model from the layer's output to pictures between 0
            and 1; by default one of up-convolutions.
        weights: A `LossWeights`.
        size, value_range, preprocess: As for `maximize`.

    Example:

    >>> from keras_explain.synthesis import LearnedInverter
    >>> inverter = LearnedInverter(model, "conv1", value_range=(-10, 10))
    >>> history = inverter.fit(images, epochs=1, verbose=0)
    >>> inverter.invert(images).images.shape
    (2, 8, 8, 3)

    References:
        Dosovitskiy and Brox, 2016. Generating Images with Perceptual
        Similarity Metrics based on Deep Networks.
        https://arxiv.org/abs/1602.02644
    """

    def __init__(
        self,
        model: keras.Model,
        layer: Any,
        *,
        comparator: Any = None,
        decoder: keras.Model | None = None,
        weights: LossWeights | None = None,
        **reading: Any,
    ):
        self.model = model
        self.weights = weights or LossWeights()
        self.shape = filled(
            sample_shape(model), reading.pop("size", None) or USUAL_SIZE
        )
        if len(self.shape) != 3:
            raise ValueError(
                message(
                    "A learned inverter makes pictures.",
                    f"a model that takes {self.shape}",
                    "Use `invert` for other inputs.",
                )
            )
        graph, _ = record_rows(model, 1, self.shape)
        self.value_range = ranges.find(model, graph, **reading)
        self.call = graph.find(layer)
        other = graph.find(layer if comparator is None else comparator)
        sample = tuple((self.call.shape or ())[1:])
        self.decoder = decoder or up_convolutions(sample, self.shape)
        _check_decoder(self.decoder, sample, self.shape)
        self._game = _Game(self, other)
        self._game.compile(jit_compile=False)

    def fit(self, data: Any, **options: Any) -> keras.callbacks.History:
        """Trains the decoder on pictures.

        Args:
            data: Pictures in the model's range of values: an array, or a
                `tf.data.Dataset` of batches, whose labels are left aside.
            options: Those of `keras.Model.fit`, such as `epochs`.

        Returns:
            The history, with each part of the loss.
        """
        if not isinstance(data, tf.data.Dataset):
            data = self.value_range.check(data, "The pictures")
        else:
            data = data.map(_pictures_alone)
            options.setdefault("shuffle", False)  # that is up to the dataset
        return self._game.fit(data, **options)

    def features(self, images: Any) -> np.ndarray:
        """Returns the layer's output for pictures."""
        images = self.value_range.check(images, "The pictures")
        parts = [
            self._features(tf.constant(part))
            for part, _ in batching.batches(images, 32)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def invert(self, images: Any) -> Synthesis:
        """Returns what the decoder makes of the layer's output.

        Args:
            images: `(rows, height, width, channels)` in the model's range.

        Returns:
            A `Synthesis` whose score is the negative relative error of the
            layer's output.

        Raises:
            ValueError: If the layer answers to a picture with zeros: nothing
                is left to invert.
        """
        wanted = self.features(images)
        for row in wanted:
            Match(self.call.path, row)  # which refuses zeros
        made = self.decoder.predict(wanted, verbose=0)
        values = np.asarray(self.value_range.values(made), np.float32)
        got = self.features(values)
        axes = tuple(range(1, wanted.ndim))
        error = np.sum((got - wanted) ** 2, axes)
        error = error / np.sum(wanted**2, axes)
        return Synthesis(
            images=values,
            score=-error,
            history={},
            frames={},
            steps=0,
            stopped="finished",
            titles=[f"{self.call.path} inverted"] * len(values),
            settings={"weights": repr(self.weights)},
            value_range=(self.value_range.low, self.value_range.high),
            state={},
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _features(self, images: tf.Tensor) -> tf.Tensor:
        return outputs_of(self.model, [self.call], self.value_range, images)[0]


class _Game(keras.Model):
    """The training: a decoder, and a discriminator against it."""

    def __init__(self, inverter: LearnedInverter, comparator: Call):
        super().__init__()
        # Not as attributes that Keras tracks: the model is not to be trained.
        self._looks = (inverter.model, [inverter.call, comparator],
                       inverter.value_range)  # fmt: skip
        self._parts = inverter.weights
        self.decoder = inverter.decoder
        sample = tuple((inverter.call.shape or ())[1:])
        self.judge = discriminator(inverter.shape, sample)
        self.pace = keras.optimizers.Adam(1e-3, beta_1=0.9)
        self.judge_pace = keras.optimizers.Adam(2e-4, beta_1=0.5)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        model, calls, value_range = self._looks
        values = tf.cast(data, tf.float32)
        pictures = value_range.pictures(values)
        features, compared = outputs_of(model, calls, value_range, values)
        with tf.GradientTape() as tape:
            made = self.decoder(features, training=True)
            _, again = outputs_of(
                model, calls, value_range, value_range.values(made)
            )
            losses = {
                "pixels": tf.reduce_mean(tf.square(made - pictures)),
                "features": tf.reduce_mean(tf.square(again - compared))
                / (tf.reduce_mean(tf.square(compared)) + 1e-12),
                "adversarial": _taken_for(self.judge([made, features]), 1.0),
            }
            total = tf.add_n(
                [getattr(self._parts, name) * v for name, v in losses.items()]
            )
        weights = self.decoder.trainable_variables
        self.pace.apply(tape.gradient(total, weights), weights)
        if self._parts.adversarial:
            losses["discriminator"] = self._judge(
                pictures, tf.stop_gradient(made), features
            )
        return {"loss": total, **losses}

    def _judge(
        self, real: tf.Tensor, made: tf.Tensor, features: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = _taken_for(self.judge([real, features]), 1.0)
            loss += _taken_for(self.judge([made, features]), 0.0)
        weights = self.judge.trainable_variables
        self.judge_pace.apply(tape.gradient(loss, weights), weights)
        return loss


def up_convolutions(
    features: tuple[int, ...], shape: tuple[int, ...], width: int = 256
) -> keras.Model:
    """Returns a decoder of up-convolutions.

    Args:
        features: Shape of the layer's output for one sample.
        shape: Of a picture.
        width: Channels of the first convolution; half as many after each
            doubling of the size, at least 32.
    """
    inputs = keras.Input(features)
    x = inputs
    if len(features) == 3:
        x = layers.Conv2D(width, 3, padding="same")(x)
        x = layers.LeakyReLU(0.3)(x)
        size = features[:2]
    else:
        x = layers.Flatten()(x)
        x = layers.Dense(16 * width)(x)
        x = layers.LeakyReLU(0.3)(x)
        x = layers.Reshape((4, 4, width))(x)
        size = (4, 4)
    while size[0] < shape[0] or size[1] < shape[1]:
        width = max(width // 2, 32)
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same")(x)
        x = layers.LeakyReLU(0.3)(x)
        size = (2 * size[0], 2 * size[1])
    x = layers.Conv2D(shape[-1], 3, padding="same")(x)
    if size != tuple(shape[:2]):
        x = layers.Resizing(shape[0], shape[1])(x)
    return keras.Model(inputs, layers.Activation("sigmoid")(x), name="decoder")


def discriminator(
    shape: tuple[int, ...], features: tuple[int, ...]
) -> keras.Model:
    """Returns a small network that tells made pictures from real ones."""
    picture, code = keras.Input(shape), keras.Input(features)
    x = picture
    for width in (32, 64, 128):
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(0.3)(x)
    x = layers.GlobalAveragePooling2D()(x)
    y = code
    if len(features) == 3:
        y = layers.GlobalAveragePooling2D()(y)
    else:
        y = layers.Flatten()(y)
    y = layers.Dense(64)(y)
    joined = layers.Concatenate()([x, layers.LeakyReLU(0.3)(y)])
    joined = layers.LeakyReLU(0.3)(layers.Dense(64)(joined))
    return keras.Model([picture, code], layers.Dense(1)(joined))


def _taken_for(logits: tf.Tensor, label: float) -> tf.Tensor:
    labels = tf.fill(tf.shape(logits), label)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    return tf.reduce_mean(losses)


def _pictures_alone(*element: Any) -> Any:
    return element[0]


def _check_decoder(
    decoder: keras.Model, features: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    takes = tuple(decoder.inputs[0].shape[1:])
    gives = tuple(decoder.outputs[0].shape[1:])
    fits = all(
        len(mine) == len(wanted)
        and all(a in (None, b) for a, b in zip(mine, wanted, strict=True))
        for mine, wanted in ((takes, features), (gives, shape))
    )
    if not fits:
        raise ValueError(
            message(
                f"The decoder makes pictures of shape {shape} from features "
                f"of shape {features}.",
                f"one that makes {gives} from {takes}",
                "Leave `decoder` out to have one made.",
            )
        )
