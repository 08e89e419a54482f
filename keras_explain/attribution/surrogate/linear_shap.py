"""LinearSHAP: Shapley values of an affine score, from its weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.surrogate import gaussian, hidden
from keras_explain.engine import sampling
from keras_explain.engine.baselines import check_finite
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_integer, check_seed
from keras_explain.engine.errors import message, near
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import Evaluation, ScoreFunction

_DEPENDENCE = ("independent", "correlated")
# More values would need the inverses of too many, too large matrices.
_MOST_VALUES = 256
# Points at which the score is held against its affine form, and how far off
# it may be, as a share of how much it changes; the second in half precision.
_POINTS, _TOLERANCES = 8, (1e-3, 5e-2)

_each = tf.nest.map_structure


@register(
    "linear_shap",
    family="surrogate",
    title="LinearSHAP",
    paper="Lundberg and Lee, 2017",
    cost="1 gradient and 10 forward passes",
    needs="an affine score",
)
class LinearSHAP(Explainer):
    """Shapley values of a score that is affine in its inputs.

    Use it for linear and logistic regression, and with `layer=` for the
    linear end of a network: it is exact there. Costs one gradient and ten
    forward passes, with `"correlated"` also the pseudo-inverses of blocks of
    the covariance: 2^D for up to 10 values, beyond that
    `2 num_permutations (D - 1)`.

        independent: phi_j = w_j (x_j - E x_j)
        correlated:  phi_j = mean over orders of
                     E[f | those before j, and j] - E[f | those before j],
                     E[f | x_S] - E f = w C[:, S] C[S, S]^+ (x_S - E x_S)

    with the mean and the covariance `C` of the background, as for a normal
    distribution. With `"correlated"` a value that the model does not use
    gets a share for what it says about those that it uses. That the score is
    affine is checked at random points.

    Args:
        model, layer: See `Explainer`.
        background: `(rows, ...)` array of inputs, or a list or dict of them
            for several inputs. `None` is one row of zeros.
        feature_dependence: `"independent"` or `"correlated"`.
        num_permutations: Number of random orders for `"correlated"` with
            more than 10 values.
        seed: Integer. The same seed gives the same orders.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        score; the values add up to the score minus its mean over the
        background. `details` has `"standard_errors"`, zero where nothing is
        drawn.

    Raises:
        ValueError: If the score is not affine, the background does not fit
            or equals the input, or `"correlated"` meets a background of
            one row or more than 256 values.

    Example:

    >>> explainer = keras_explain.attribution.surrogate.LinearSHAP(
    ...     model, background=np.zeros((1, 8, 8, 3)), layer="conv2")
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 6])

    References:
        Lundberg, Lee, 2017. A Unified Approach to Interpreting Model
        Predictions. https://arxiv.org/abs/1705.07874
        Aas, Jullum, Loland, 2021. Explaining individual predictions when
        features are dependent. https://arxiv.org/abs/1903.10464
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        background: Any = None,
        feature_dependence: str = "independent",
        num_permutations: int = 25,
        seed: int = 0,
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        if feature_dependence not in _DEPENDENCE:
            known = near(str(feature_dependence), _DEPENDENCE)
            raise ValueError(
                message(
                    "There is no such dependence of features.",
                    f"feature_dependence={feature_dependence!r}",
                    f"Near names: {known}.",
                )
            )
        check_seed(seed)
        check_integer("num_permutations", num_permutations)
        if num_permutations < 2:
            raise ValueError(
                message(
                    "Standard errors need at least two orders.",
                    f"num_permutations={num_permutations}",
                    "Pass 2 or more.",
                )
            )
        check_finite(background, "background")
        self.background = background
        self.feature_dependence = feature_dependence
        self.num_permutations = num_permutations
        self.seed = seed

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        given = self.background
        if given is None:
            return {"rows": _each(lambda t: tf.zeros_like(t[:1]), inputs)}
        found = hidden.background(given, inputs)
        number = tf.nest.flatten(found)[0].shape[0]
        if self.feature_dependence == "correlated" and number < 2:
            raise ValueError(
                message(
                    "A covariance needs a background of several rows.",
                    f"{number} row",
                    "Pass some of the training inputs: `x_train[:100]`.",
                )
            )
        return {"rows": found}

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        off = np.asarray(notes["affine"])
        bent = np.flatnonzero(~(off <= 1))
        if bent.size:
            raise ValueError(
                message(
                    "LinearSHAP explains scores that are affine in what is "
                    "explained.",
                    f"a score that bends, at samples {bent[:8].tolist()}",
                    "Pass the `layer` behind which only linear layers follow, "
                    "or use KernelSHAP.",
                )
            )
        same = np.flatnonzero(np.asarray(notes["distance"]) == 0)
        if same.size:
            raise ValueError(
                message(
                    "The background equals the input: there is nothing to "
                    "explain.",
                    f"samples {same[:8].tolist()}",
                    "Pass some of the training inputs: `x_train[:100]`.",
                )
            )

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.differentiate()
        function = function.settled(at.indices)
        rows = hidden.at_layer(
            function, function.extra["rows"], self.batch_size
        )
        rows = _each(lambda t: tf.cast(t, tf.float32), rows)
        mean = _each(lambda t: tf.reduce_mean(t, 0, keepdims=True), rows)
        point = _each(lambda t: tf.cast(t, tf.float32), at.point)
        away = _each(tf.subtract, point, mean)
        values = _each(tf.multiply, at.gradient, away)
        errors = _each(tf.zeros_like, values)
        if self.feature_dependence == "correlated":
            values, errors = self._correlated(at.gradient, away, rows, mean)
        start = self._score_at(function, at, mean)
        delta = sampling.total(values) - (at.score - start)
        notes = {
            "affine": self._bend(function, at, point),
            "distance": hidden.distance(point, mean),
        }
        return Attribution(
            values, at, delta, notes, {"standard_errors": errors}
        )

    def _score_at(
        self, function: ScoreFunction, at: Evaluation, mean: Any
    ) -> tf.Tensor:
        full = _each(
            lambda m, x: tf.broadcast_to(tf.cast(m, x.dtype), tf.shape(x)),
            mean,
            at.point,
        )
        return function.evaluate(full).score

    def _bend(
        self, function: ScoreFunction, at: Evaluation, point: Any
    ) -> tf.Tensor:
        """How far the score is from affine; at most 1 where it is."""
        half = any(c.dtype.endswith("float16") for c in function.graph.calls)
        steps = []
        flat = tf.nest.flatten(point)
        for stream, (x, kind) in enumerate(
            zip(flat, tf.nest.flatten(at.point), strict=True)
        ):
            shape = tf.shape(x)[1:]
            if half:  # all positions as one: small changes would be rounded
                shape = tf.concat([tf.ones_like(shape[:-1]), shape[-1:]], 0)
            ids = tf.range(_POINTS)
            noise = sampling.normal(ids, 0, shape, 2001 + stream)
            size = sampling.largest(x)
            size = tf.where(size > 0, size, 1.0)
            step = noise[:, tf.newaxis] * sampling.expand(size, x)
            step = step + tf.zeros_like(x)
            steps.append(step if kind.dtype.is_floating else 0 * step)
        moved = [
            tf.cast(x + step, kind.dtype)
            for x, step, kind in zip(
                flat, steps, tf.nest.flatten(at.point), strict=True
            )
        ]
        many = function.repeated(_POINTS)
        moved = sampling.stack(tf.nest.pack_sequence_as(at.point, moved))
        score = tf.reshape(many.evaluate(moved).score, [_POINTS, -1])
        change = score - at.score
        expected = tf.zeros_like(change)
        for step, slope in zip(
            steps, tf.nest.flatten(at.gradient), strict=True
        ):
            axes = list(range(2, step.shape.rank))
            expected += tf.reduce_sum(step * slope, axes)
        largest = tf.reduce_max(tf.abs(change), 0)
        largest += (0.1 if half else 1e-3) * tf.abs(at.score)
        off = tf.reduce_max(tf.abs(change - expected), 0)
        return off / (_TOLERANCES[half] * largest + 1e-30)

    def _correlated(
        self, gradient: Any, away: Any, rows: Any, mean: Any
    ) -> tuple[Any, Any]:
        flat = tf.nest.flatten(away)
        size = sum(int(np.prod(t.shape[1:].as_list() or [1])) for t in flat)
        if size > _MOST_VALUES:
            raise ValueError(
                message(
                    "The covariance of so many values is too large to "
                    "condition on.",
                    f"{size} values",
                    f"Up to {_MOST_VALUES} work; explain a `layer` with "
                    'fewer, or pass feature_dependence="independent".',
                )
            )
        centered = _joined(_each(tf.subtract, rows, mean))
        arguments = [_joined(gradient), _joined(away), centered]
        values, errors = tf.numpy_function(
            self._solve, arguments, [tf.float32] * 2
        )
        return _split(values, away), _split(errors, away)

    def _solve(
        self, weights: np.ndarray, away: np.ndarray, centered: np.ndarray
    ) -> list[np.ndarray]:
        weights, away, centered = (
            a.astype(np.float64) for a in (weights, away, centered)
        )
        found = gaussian.shapley(
            weights,
            away,
            centered.T @ centered / (len(centered) - 1),
            self.num_permutations,
            self.seed,
        )
        return [a.astype(np.float32) for a in found]


def _joined(structure: Any) -> tf.Tensor:
    """All values of each row, `(rows, values)`."""
    flat = tf.nest.flatten(structure)
    rows = tf.shape(flat[0])[0]
    return tf.concat([tf.reshape(t, [rows, -1]) for t in flat], 1)


def _split(values: tf.Tensor, like: Any) -> Any:
    """Takes `_joined` apart again."""
    flat, start = [], 0
    for t in tf.nest.flatten(like):
        size = int(np.prod(t.shape[1:].as_list() or [1]))
        part = tf.reshape(values[:, start : start + size], tf.shape(t))
        flat.append(tf.ensure_shape(part, [None, *t.shape[1:]]))
        start += size
    return tf.nest.pack_sequence_as(like, flat)
