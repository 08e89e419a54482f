"""Methods that add up gradients along a path from a baseline."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.baselines import fit_baseline
from keras_explain.engine.catalogue import register
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import ScoreFunction

_each = tf.nest.map_structure
_METHODS = ("gauss_legendre", "left", "right", "middle", "trapezoid")


@register(
    "integrated_gradients",
    family="path",
    title="Integrated gradients",
    paper="Sundararajan et al., 2017",
    cost="num_steps gradients",
)
class IntegratedGradients(Explainer):
    """The gradient averaged on the way from a baseline to the input.

    Use it when attributions must add up: they sum to the score of the input
    minus the score of the baseline, and `Explanation.delta` is what the
    numerical integral misses. Costs `num_steps` gradients and two forward
    passes.

        attribution = (x - b) * sum_k w_k d score(b + a_k (x - b)) / d x

    With `layer=` the path runs in the space of the layer's output, from its
    value on the baseline to its value on the input.

    Differs from the paper: the nodes `a_k` and weights `w_k` are those of
    Gauss and Legendre by default, in place of a Riemann sum. The weights of
    every method sum to one.

    Args:
        model, layer: See `Explainer`.
        baseline: What counts as "nothing there", in the units of the inputs
            (after preprocessing: 0 is black only if black is 0). A number;
            an array of the shape of one sample, or with one row for each
            sample; a list or dict of those for several inputs; or a function
            `inputs -> baseline`.
        num_steps: Number of gradients. 50 is enough for most networks; look
            at `delta`.
        method: `"gauss_legendre"`, `"left"`, `"right"`, `"middle"` or
            `"trapezoid"`.
        batch_size: Most rows the model sees at once.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        score.

    Raises:
        ValueError: If the baseline does not fit or equals an input, if
            `num_steps` is too small or there is no such `method`.

    Example:

    >>> explainer = keras_explain.IntegratedGradients(model, num_steps=16)
    >>> explanation = explainer.explain(images, target=3)
    >>> bool(abs(explanation.delta).max() < 0.01)
    True

    References:
        Sundararajan, Taly, Yan, 2017. Axiomatic Attribution for Deep
        Networks. https://arxiv.org/abs/1703.01365
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        baseline: Any = 0.0,
        num_steps: int = 50,
        method: str = "gauss_legendre",
        layer: Any = None,
        batch_size: int = 32,
    ):
        super().__init__(model, layer=layer)
        if method not in _METHODS:
            raise ValueError(
                message(
                    "There is no such quadrature.",
                    f"method={method!r}",
                    f"Pass one of {', '.join(map(repr, _METHODS))}.",
                )
            )
        smallest = 2 if method == "trapezoid" else 1
        if num_steps < smallest:
            raise ValueError(
                message(
                    f"{method!r} needs at least {smallest} "
                    f"step{'s' * (smallest > 1)}.",
                    f"num_steps={num_steps}",
                )
            )
        self.baseline = baseline
        self.num_steps = num_steps
        self.method = method
        self.batch_size = batch_size

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        baseline = self.baseline
        if callable(baseline):
            baseline, rows = baseline(inputs), None
        return {"baseline": fit_baseline(baseline, inputs, rows)}

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        function = function.settled(at.indices)
        # The rest of the model sees the inputs, masks of tokens included: the
        # path leads through the layer alone.
        start = function.evaluate(
            function.at(function.extra["baseline"]).value()
        )
        x, b = _each(_float, at.point), _each(_float, start.point)
        difference = _each(tf.subtract, x, b)
        nodes, weights = (
            tf.constant(values, tf.float32)
            for values in sampling.quadrature(self.method, self.num_steps)
        )

        def gradients(steps: tf.Tensor) -> Any:
            alphas = tf.gather(nodes, steps)
            points = _each(
                lambda b, d, at: _between(alphas, b, d, at),
                b, difference, at.point,
            )  # fmt: skip
            many = function.repeated(tf.size(steps))
            found = many.differentiate(sampling.stack(points)).gradient
            return _each(
                lambda g: tf.tensordot(tf.gather(weights, steps), g, 1),
                sampling.unstack(found, function.batch),
            )

        mean = sampling.accumulate(
            gradients, self.num_steps, self.batch_size, function.batch
        )
        values = _each(tf.multiply, difference, mean)
        delta = sampling.total(values) - (at.score - start.score)
        return Attribution(
            values, at, delta, {"distance": sampling.largest(difference)}
        )

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        same = np.nonzero(np.asarray(notes["distance"]) == 0)[0]
        if same.size:
            raise ValueError(
                message(
                    "The baseline equals the input: there is no path.",
                    f"samples {same[:8].tolist()}",
                    "Pass a `baseline` that stands for a missing input: the "
                    "mean color, a blurred copy, noise.",
                )
            )


def _float(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def _between(
    alphas: tf.Tensor, b: tf.Tensor, difference: tf.Tensor, at: tf.Tensor
) -> tf.Tensor:
    """Points on the path, `(k, batch, ...)`; integers stay as they are."""
    alphas = sampling.expand(alphas, b[tf.newaxis])
    if not at.dtype.is_floating:
        return at[tf.newaxis] + tf.cast(0 * alphas, at.dtype)
    return b + alphas * difference
