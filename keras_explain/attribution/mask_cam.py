"""Class activation maps weighted by what changes when a channel is masked."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.class_activation import (
    ClassActivationMap,
    spatial_axes,
    spatial_input,
)
from keras_explain.engine import sampling
from keras_explain.engine.catalogue import register
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.score import Evaluation, ScoreFunction


class _MaskedChannels(ClassActivationMap):
    """One more run of the model for each channel of the layer."""

    def __init__(
        self,
        model: keras.Model,
        *,
        max_channels: int | None = None,
        placement: str = "receptive_field",
        layer: Any = None,
        batch_size: int = 32,
    ):
        super().__init__(model, placement=placement, layer=layer)
        if max_channels is not None and max_channels < 1:
            raise ValueError(
                message(
                    "At least one channel has to be masked.",
                    f"max_channels={max_channels}",
                    "Pass a positive number, or None for all channels.",
                )
            )
        self.max_channels = max_channels
        self.batch_size = batch_size

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        function = function.settled(at.indices)
        a = tf.cast(at.point, tf.float32)
        chosen = self._chosen(a)  # (batch, tried)
        tried = chosen.shape[1]

        def scores(numbers: tf.Tensor) -> tf.Tensor:
            many = function.repeated(tf.size(numbers))
            channels = tf.transpose(tf.gather(chosen, numbers, axis=1))
            found = self._masked(many, a, at, channels)
            found = tf.reshape(found, [tf.size(numbers), function.batch])
            # Each chunk fills its own columns of (batch, tried).
            return tf.matmul(found, tf.one_hot(numbers, tried), True)

        score = sampling.accumulate(
            scores, tried, self.batch_size, function.batch
        )
        maps = _rows(a, tf.transpose(chosen))  # (tried, batch, *spatial)
        weights = tf.transpose(self._weights(maps, score, at.score))
        weights = sampling.expand(weights, maps)
        combined = tf.nn.relu(tf.reduce_sum(weights * maps, 0))
        return Attribution(self._to_inputs(combined, function), at)

    def _chosen(self, a: tf.Tensor) -> tf.Tensor:
        """The channels to mask, `(batch, tried)`: all, or the most varied."""
        channels = a.shape[-1]
        if self.max_channels is None or self.max_channels >= channels:
            everyone = tf.range(channels)[tf.newaxis]
            return tf.repeat(everyone, tf.shape(a)[0], axis=0)
        spread = tf.math.reduce_variance(a, spatial_axes(a))
        return tf.math.top_k(spread, self.max_channels).indices

    def _masked(
        self,
        many: ScoreFunction,
        a: tf.Tensor,
        at: Evaluation,
        channels: tf.Tensor,
    ) -> tf.Tensor:
        """Scores with one channel masked in each row.

        Args:
            many: The function on the batch repeated for each channel.
            a: The feature map, `(batch, *spatial, channels)`.
            at: The run on the inputs as they are.
            channels: `(k, batch)` numbers of the channels.

        Returns:
            `(k * batch,)`.
        """
        raise NotImplementedError

    def _weights(
        self, maps: tf.Tensor, score: tf.Tensor, clean: tf.Tensor
    ) -> tf.Tensor:
        """Returns `(batch, tried)` from maps `(tried, batch, *spatial)`."""
        raise NotImplementedError


def _rows(a: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Returns the channels `(k, batch)` as maps `(k, batch, *spatial)`."""
    rank = a.shape.rank
    first = tf.transpose(a, [0, rank - 1, *range(1, rank - 1)])
    picked = tf.gather(first, tf.transpose(channels), axis=1, batch_dims=1)
    return tf.transpose(picked, [1, 0, *range(2, rank)])


@register(
    "score_cam",
    family="cam",
    title="Score-CAM",
    paper="Wang et al., 2020",
    cost="a forward for each channel",
    needs="a feature map",
)
class ScoreCAM(_MaskedChannels):
    """The feature map, its channels weighted by the score of what they show.

    Use it where gradients are not to be trusted: it needs none. Costs a
    forward pass for each channel of the layer, which is much for a layer of
    2,048: `max_channels` takes those that vary most.

        map = relu(sum_k w_k A_k),  w = softmax_k(score(x * up(A_k)))

    with `up(A_k)` the channel, resized to the input and scaled to [0, 1]. A
    channel without variation has no weight. The subtraction of a baseline
    score in the paper cancels in the softmax.

    The score is that of the target: the logit by default; the authors' code
    takes the probability, `target=Class(index, of="probability")`.

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.
        max_channels: How many channels to try, those of largest variance
            over the positions; `None` for all.
        batch_size: Most rows the model sees at once.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.ScoreCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Wang et al., 2020. Score-CAM: Score-Weighted Visual Explanations for
        Convolutional Neural Networks. https://arxiv.org/abs/1910.01279
    """

    def _masked(
        self,
        many: ScoreFunction,
        a: tf.Tensor,
        at: Evaluation,
        channels: tf.Tensor,
    ) -> tf.Tensor:
        masks = self._to_inputs(sampling.stack(_rows(a, channels)), many)
        axes = list(range(1, masks.shape.rank))
        low = tf.reduce_min(masks, axes, keepdims=True)
        high = tf.reduce_max(masks, axes, keepdims=True)
        masks = tf.math.divide_no_nan(masks - low, high - low)
        chosen = spatial_input(many.inputs, a.shape.rank - 2)
        if chosen is None or not chosen.dtype.is_floating:
            raise ValueError(
                message(
                    "ScoreCAM multiplies the inputs with masks.",
                    "inputs that hold integers, or have no such axes",
                    "Use `AblationCAM`, which masks the layer.",
                )
            )

        def masked(x: tf.Tensor) -> tf.Tensor:
            if x is not chosen:
                return x
            mask = sampling.expand(masks, x)
            return x * tf.cast(mask, x.dtype)

        many = many.at(tf.nest.map_structure(masked, many.inputs))
        return many.seen_from(None, {}).evaluate().score

    def _weights(
        self, maps: tf.Tensor, score: tf.Tensor, clean: tf.Tensor
    ) -> tf.Tensor:
        axes = list(range(2, maps.shape.rank))
        flat = tf.reduce_max(maps, axes) == tf.reduce_min(maps, axes)
        flat = tf.transpose(flat)
        score = tf.where(flat, score.dtype.min, score)
        return tf.where(flat, 0.0, tf.nn.softmax(score))


@register(
    "ablation_cam",
    family="cam",
    title="Ablation-CAM",
    paper="Desai & Ramaswamy, 2020",
    cost="a run of the part behind the layer for each channel",
    needs="a feature map",
)
class AblationCAM(_MaskedChannels):
    """The feature map, its channels weighted by the drop without them.

    Use it as Score-CAM: without gradients, and faster, because only the part
    of the model behind the layer runs again. Costs one such run for each
    channel.

        map = relu(sum_k w_k A_k),  w_k = (score - score without k) / |score|

    Differs from the paper: it divides by the magnitude of the score, so that
    a negative logit does not turn the map around.

    Args:
        model, layer: See `Explainer`.
        placement: See `GradCAM`.
        max_channels: How many channels to try, those of largest variance
            over the positions; `None` for all.
        batch_size: Most rows the model sees at once.

    Output shape:
        As `GradCAM`. Non-negative.

    Example:

    >>> keras_explain.AblationCAM(model)(images).shape
    TensorShape([2, 8, 8])

    References:
        Desai, Ramaswamy, 2020. Ablation-CAM: Visual Explanations for Deep
        Convolutional Network via Gradient-free Localization.
        https://doi.org/10.1109/WACV45572.2020.9093360
    """

    def _masked(
        self,
        many: ScoreFunction,
        a: tf.Tensor,
        at: Evaluation,
        channels: tf.Tensor,
    ) -> tf.Tensor:
        off = tf.one_hot(channels, a.shape[-1], 0.0, 1.0)  # (k, batch, K)
        for _ in spatial_axes(a):
            off = off[:, :, tf.newaxis]
        kept = sampling.stack(a * off)
        return many.evaluate(tf.cast(kept, at.point.dtype)).score

    def _weights(
        self, maps: tf.Tensor, score: tf.Tensor, clean: tf.Tensor
    ) -> tf.Tensor:
        clean = clean[:, tf.newaxis]
        return tf.math.divide_no_nan(clean - score, tf.abs(clean))
