"""GradientSHAP: gradients expected between a background and the input."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.background import (
    check_background,
    fit_background,
)
from keras_explain.attribution.differences import check_distance
from keras_explain.attribution.relevance import tokens
from keras_explain.engine import sampling
from keras_explain.engine.catalogue import register
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.score import ScoreFunction
from keras_explain.rules.differences import References
from keras_explain.rules.endings import Ending

_each = tf.nest.map_structure
# Streams of random numbers; those of the noise are counted from zero.
_ROWS, _PLACES = 1001, 1002


@register(
    "gradient_shap",
    family="deep_lift",
    title="GradientSHAP",
    paper="Erion et al., 2021",
    cost="num_samples gradients",
)
class GradientSHAP(Explainer):
    """The gradient at random points between a background and the input.

    Use it like `DeepSHAP` where a model has operations that rules of
    differences do not know: it asks for gradients alone. It estimates
    integrated gradients averaged over the background (expected gradients).
    Costs `num_samples` gradients; `Explanation.delta` is what chance leaves
    over, and falls with the root of `num_samples`.

        attribution = mean_j (x - b_j) d score(b_j + a_j (x - b_j)) / d x

    with `b_j` a random row of the background and `a_j` random in [0, 1]. The
    draws are the same for all samples, so that a batch of n equals n batches
    of one. With `layer=` the points lie in the space of the layer's output.
    Models of tokens are explained at their embedding, with one value for
    each token.

    Args:
        model, layer: See `Explainer`.
        background: `(rows, ...)` array of inputs, or a list or dict of them
            for several inputs. `None` is one row of zeros.
        num_samples: Number of draws.
        noise_stddev: Standard deviation of noise on `x`, as a share of the
            range (maximum minus minimum) of each sample.
        seed: Integer. The same seed gives the same draws.
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output; `(batch, steps)` for
        tokens). Signed; units of the score.

    Raises:
        ValueError: If the background is empty, does not fit or equals an
            input in all of its rows that were drawn, if `num_samples` is
            less than 1 or `noise_stddev` negative.

    Example:

    >>> background = np.random.default_rng(0).normal(size=(5, 8, 8, 3))
    >>> explainer = keras_explain.GradientSHAP(
    ...     model, background=background, num_samples=8
    ... )
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Lundberg, Lee, 2017. A Unified Approach to Interpreting Model
        Predictions. https://arxiv.org/abs/1705.07874
        Erion et al., 2021. Improving performance of deep learning models
        with axiomatic attribution priors and expected gradients.
        https://arxiv.org/abs/1906.10670
    """

    delta_costs = True

    def __init__(
        self,
        model: keras.Model,
        *,
        background: Any = None,
        num_samples: int = 32,
        noise_stddev: float = 0.0,
        seed: int = 0,
        batch_size: int = 32,
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        check_background(background)
        if num_samples < 1 or noise_stddev < 0:
            raise ValueError(
                message(
                    "GradientSHAP needs num_samples >= 1 and "
                    "noise_stddev >= 0.",
                    f"num_samples={num_samples}, noise_stddev={noise_stddev}",
                )
            )
        self.background = background
        self.num_samples = num_samples
        self.noise_stddev = noise_stddev
        self.seed = seed
        self.batch_size = batch_size

    def _call(self, graph: Graph) -> Call | None:
        return super()._call(graph) or tokens(graph)

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        return {"background": fit_background(self.background, inputs)}

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        function = function.settled(at.indices)
        background = function.extra["background"]
        count = tf.shape(tf.nest.flatten(background)[0])[0]
        bare = dataclasses.replace(function, extra={})

        def part(ids: tf.Tensor) -> Any:
            chosen = self._chosen(ids, count)
            rows = _each(lambda t: tf.gather(t, chosen), background)
            start = function.at(rows).value()
            return self._draws(bare, at.point, start, ids)

        sums = sampling.accumulate(
            part, self.num_samples, self.batch_size, function.batch
        )
        values, distance = _each(lambda s: s / self.num_samples, sums)
        before = self._mean_score(bare, at.point, background, count)
        delta = sampling.total(values) - (at.score - before)
        if self.layer is None and function.call is not None:
            values = tf.reduce_sum(values, -1)  # one for each token
        return Attribution(values, at, delta, {"distance": distance})

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        check_distance(notes)

    def _draws(
        self, function: ScoreFunction, point: Any, start: Any, ids: tf.Tensor
    ) -> Any:
        """Sums over some draws of the products, and of the distances."""
        x = self._noisy(point, ids)
        b = _each(_start, start, point)
        away = _each(tf.subtract, x, b)
        alphas = _uniform(ids, self.seed, _PLACES)
        points = _each(
            lambda b, d, p: _between(alphas, b, d, p), b, away, point
        )
        many = function.repeated(tf.size(ids))
        found = many.differentiate(sampling.stack(points)).gradient
        gradients = sampling.unstack(found, function.batch)
        values = _each(lambda d, g: tf.reduce_sum(d * g, 0), away, gradients)
        return values, tf.reduce_sum(sampling.largest(away, 2), 0)

    def _noisy(self, point: Any, ids: tf.Tensor) -> Any:
        """The point with noise, `(draws, batch, ...)`."""
        flat = []
        for stream, x in enumerate(tf.nest.flatten(point)):
            values = tf.cast(x, tf.float32)[tf.newaxis]
            if self.noise_stddev and x.dtype.is_floating:
                axes = list(range(2, values.shape.rank))
                span = tf.reduce_max(values, axes, True) - tf.reduce_min(
                    values, axes, True
                )
                noise = sampling.normal(ids, self.seed, tf.shape(x)[1:], stream)
                values += noise[:, tf.newaxis] * (self.noise_stddev * span)
            flat.append(values)
        return tf.nest.pack_sequence_as(point, flat)

    def _chosen(self, ids: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The row of the background of each draw."""
        share = _uniform(ids, self.seed, _ROWS)
        row = tf.cast(share * tf.cast(count, tf.float32), tf.int32)
        return tf.minimum(row, count - 1)

    def _mean_score(
        self,
        function: ScoreFunction,
        point: Any,
        background: Any,
        count: tf.Tensor,
    ) -> tf.Tensor:
        """The mean score of the rows that were drawn, for each sample."""

        def one(ids: tf.Tensor) -> tf.Tensor:
            chosen = self._chosen(ids, count)
            row = _each(lambda t: tf.gather(t, chosen[:1]), background)
            if function.call is not None or not _in_floats(function.inputs):
                start = function.at(row).value()
                full = _each(lambda r, x: _full(r, x), start, point)
                return function.evaluate(full).score
            ending = Ending(function, References(shared=True))
            scored = dataclasses.replace(function, ending=ending.of_reference)
            return scored.at(row).evaluate().score

        # Draw by draw, whatever the batch.
        sums = sampling.accumulate(one, self.num_samples, 1, tf.constant(1))
        return sums / self.num_samples


def _in_floats(inputs: Any) -> bool:
    return all(t.dtype.is_floating for t in tf.nest.flatten(inputs))


def _full(row: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """One row for each sample; integers stay as they are."""
    if not x.dtype.is_floating:
        return x
    return tf.broadcast_to(tf.cast(row, x.dtype), tf.shape(x))


def _start(row: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Rows of the background, `(draws, 1, ...)`."""
    if not x.dtype.is_floating:  # beside floats they stay as they are
        return tf.cast(x, tf.float32)[tf.newaxis]
    return tf.cast(row, tf.float32)[:, tf.newaxis]


def _between(
    alphas: tf.Tensor, b: tf.Tensor, away: tf.Tensor, x: tf.Tensor
) -> tf.Tensor:
    """Points on the way, `(draws, batch, ...)`, in the input's dtype."""
    points = b + sampling.expand(alphas, away) * away
    if x.dtype.is_floating:
        return points
    shape = tf.concat([tf.shape(alphas), tf.shape(x)], 0)
    return tf.broadcast_to(x[tf.newaxis], shape)


def _uniform(ids: tf.Tensor, seed: int, stream: int) -> tf.Tensor:
    """Random numbers in [0, 1), one for each draw whatever the chunk."""
    first = (seed * 1000003 + stream) % (2**31 - 1)

    def draw(number: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([], tf.stack([first, number]))

    return tf.map_fn(draw, ids, fn_output_signature=tf.float32)
