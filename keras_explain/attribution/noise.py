"""Wrappers: any explainer, averaged over noisy copies of the inputs."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.gradient import Gradient
from keras_explain.engine import catalogue, sampling
from keras_explain.engine.catalogue import register
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.weight_check import WeightCheckingExplainer

_each = tf.nest.map_structure


class NoiseWrapper(WeightCheckingExplainer):
    """Draws noisy copies and sums what an explainer says about them.

    Args:
        explainer: An explainer, or a model for its `Gradient`.
        num_samples: Number of noisy copies.
        noise_stddev: Standard deviation of the noise, as a share of the
            range (maximum minus minimum) of each input.
        seed: Integer. The same seed gives the same noise.
        batch_size: Most rows the model sees at once.
    """

    def __init__(
        self,
        explainer: Explainer | keras.Model,
        *,
        num_samples: int = 50,
        noise_stddev: float = 0.15,
        seed: int = 0,
        batch_size: int = 32,
    ):
        if not isinstance(explainer, Explainer):
            explainer = Gradient(explainer)
        super().__init__(explainer.model, layer=explainer.layer)
        if num_samples < 1 or noise_stddev < 0:
            raise ValueError(
                message(
                    "Noise needs num_samples >= 1 and noise_stddev >= 0.",
                    f"num_samples={num_samples}, noise_stddev={noise_stddev}",
                )
            )
        self.explainer = explainer
        self.num_samples = num_samples
        self.noise_stddev = noise_stddev
        self.seed = seed
        self.batch_size = batch_size

    def get_config(self) -> dict[str, Any]:
        return {
            "explainer": self.explainer.get_config(),
            "explainer_name": self.explainer.catalogue_name,
            **super().get_config(),
        }

    @classmethod
    def from_config(
        cls, model: keras.Model, config: dict[str, Any]
    ) -> Explainer:
        config = dict(config)
        inner = catalogue.find(config.pop("explainer_name")).cls
        explainer = inner.from_config(model, config.pop("explainer"))
        return cls(explainer, **config)

    @property
    def _looks_at_weights(self) -> bool:
        return getattr(self.explainer, "_looks_at_weights", False)

    def _call(self, graph: Graph) -> Call | None:
        return self.explainer._call(graph)

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        return self.explainer._extra(inputs, rows, graph)

    def _bind(self, function: ScoreFunction) -> ScoreFunction:
        return self.explainer._bind(function)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        shift, at = self._start(function)
        function = function.settled(at.indices)
        tokens = not any(
            x.dtype.is_floating for x in tf.nest.flatten(function.inputs)
        )
        source = at.point if tokens else function.inputs

        def moments(numbers: tf.Tensor) -> Any:
            noisy = self._noisy(source, numbers)
            many = function.repeated(tf.size(numbers))
            if tokens:  # the noise goes to the layer: their embedding
                added = _each(lambda new, old: new - old, noisy, source)
                many = many.shifted(sampling.stack(added))
            else:
                many = many.at(sampling.stack(noisy))
            values = self.explainer._attribute(many).values
            values = sampling.unstack(values, function.batch)
            return self._moments(values, shift)

        sums = sampling.accumulate(
            moments, self.num_samples, self.batch_size, function.batch
        )
        means = _each(lambda s: s / self.num_samples, sums)
        return Attribution(self._result(means), at)

    def _start(self, function: ScoreFunction) -> tuple[Any, Any]:
        """Returns what `_moments` needs from the inputs as they are."""
        return None, function.evaluate()

    def _noisy(self, inputs: Any, numbers: tf.Tensor) -> Any:
        """Returns noisy copies, `(k, batch, ...)`; integers as they are."""
        flat = tf.nest.flatten(inputs)
        noisy = []
        for stream, x in enumerate(flat):
            copies = tf.repeat(x[tf.newaxis], tf.size(numbers), axis=0)
            if x.dtype.is_floating:
                axes = list(range(1, x.shape.rank))
                span = tf.reduce_max(x, axes, True) - tf.reduce_min(
                    x, axes, True
                )
                noise = sampling.normal(
                    numbers, self.seed, tf.shape(x)[1:], stream
                )
                copies += noise[:, tf.newaxis] * (self.noise_stddev * span)
            noisy.append(copies)
        return tf.nest.pack_sequence_as(inputs, noisy)

    def _moments(self, values: Any, shift: Any) -> Any:
        """Sums over the first axis of what is averaged."""
        raise NotImplementedError

    def _result(self, means: Any) -> Any:
        return means


@register(
    "smooth_grad",
    family="noise",
    title="SmoothGrad",
    paper="Smilkov et al., 2017",
    cost="num_samples times the wrapped method",
    wraps=True,
)
class SmoothGrad(NoiseWrapper):
    """The mean of an explanation over noisy copies of the inputs.

    Use it to calm a gradient that jumps from pixel to pixel. Costs
    `num_samples` times the wrapped explainer, and one forward pass.

        attribution = mean_j explainer(x + e_j),  e_j ~ N(0, (s * range(x))^2)

    The noise is relative to the value range of each input: 0.15 means the
    same for pixels in [0, 1] and in [0, 255]. Where the inputs are tokens it
    is added to the layer that the wrapped explainer attributes to. The class
    of the clean inputs is explained in all copies. The samples of a batch
    share their noise, so that a result does not depend on the batch.

    Args:
        explainer: An explainer, or a model for its `Gradient`.
        num_samples: Number of noisy copies.
        noise_stddev: Standard deviation of the noise, as a share of the
            range (maximum minus minimum) of each input.
        seed: Integer. The same seed gives the same noise.
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the wrapped explainer.

    Raises:
        ValueError: If `num_samples` < 1 or `noise_stddev` < 0.

    Example:

    >>> explainer = keras_explain.SmoothGrad(
    ...     keras_explain.GradCAM(model), num_samples=8)
    >>> explainer(images).shape
    TensorShape([2, 8, 8])

    References:
        Smilkov et al., 2017. SmoothGrad: removing noise by adding noise.
        https://arxiv.org/abs/1706.03825
    """

    @property
    def signed(self) -> bool:  # type: ignore[override]
        return self.explainer.signed

    def _moments(self, values: Any, shift: Any) -> Any:
        return _each(lambda v: tf.reduce_sum(v, 0), values)


@register(
    "square_grad",
    family="noise",
    title="SmoothGrad-Squared",
    paper="Hooker et al., 2019",
    cost="num_samples times the wrapped method",
    wraps=True,
)
class SquareGrad(NoiseWrapper):
    """The mean square of an explanation over noisy copies of the inputs.

    Use it for where, not for or against: it did best in the authors' test
    that removes what a map points at and trains again. Costs `num_samples`
    times the wrapped explainer, and one forward pass.

        attribution = mean_j explainer(x + e_j)^2

    Args:
        explainer, num_samples, noise_stddev, seed, batch_size: See
            `SmoothGrad`.

    Output shape:
        That of the wrapped explainer. Non-negative.

    Example:

    >>> explainer = keras_explain.SquareGrad(model, num_samples=8)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Hooker et al., 2019. A Benchmark for Interpretability Methods in
        Deep Neural Networks. https://arxiv.org/abs/1806.10758
    """

    signed = False

    def _moments(self, values: Any, shift: Any) -> Any:
        return _each(lambda v: tf.reduce_sum(tf.square(v), 0), values)


@register(
    "var_grad",
    family="noise",
    title="VarGrad",
    paper="Adebayo et al., 2018",
    cost="num_samples times the wrapped method",
    wraps=True,
)
class VarGrad(NoiseWrapper):
    """The variance of an explanation over noisy copies of the inputs.

    Use it to see where an explanation cannot be relied upon, or as a map of
    its own. Costs `num_samples + 1` times the wrapped explainer.

        attribution = mean_j (explainer(x + e_j) - mean)^2

    Args:
        explainer, num_samples, noise_stddev, seed, batch_size: See
            `SmoothGrad`.

    Output shape:
        That of the wrapped explainer. Non-negative.

    Example:

    >>> explainer = keras_explain.VarGrad(model, num_samples=8)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Adebayo et al., 2018. Local Explanation Methods for Deep Neural
        Networks Lack Sensitivity to Parameter Values.
        https://arxiv.org/abs/1810.03307
    """

    signed = False

    def _start(self, function: ScoreFunction) -> tuple[Any, Any]:
        # Deviations from the clean explanation: the difference of two large
        # means would lose the digits.
        found = self.explainer._attribute(function)
        return found.values, found.evaluation

    def _moments(self, values: Any, shift: Any) -> Any:
        away = _each(tf.subtract, values, shift)
        return {
            "first": _each(lambda v: tf.reduce_sum(v, 0), away),
            "second": _each(lambda v: tf.reduce_sum(tf.square(v), 0), away),
        }

    def _result(self, means: Any) -> Any:
        return _each(
            lambda first, second: tf.nn.relu(second - tf.square(first)),
            means["first"],
            means["second"],
        )
