"""Whether a map survives a constant that the model takes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.evaluation.axioms import relative_error
from keras_explain.evaluation.copies import judged_for
from keras_explain.evaluation.faithfulness import check_floating
from keras_explain.evaluation.judged import Judge
from keras_explain.evaluation.positions import finite
from keras_explain.evaluation.randomization import judge_of
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import check_tolerance, take


class Shifted(keras.Model):
    """A model that takes a constant off its inputs first.

    It shares the weights of the model, and leaves it as it is.
    """

    def __init__(self, inner: keras.Model, shift: float | np.ndarray):
        super().__init__(name=f"shifted_{inner.name}")
        self.inner = inner
        offset = (-np.asarray(shift, np.float32)).tolist()
        self.undo = keras.layers.Rescaling(1.0, offset=offset, name="undo")

    def call(self, inputs: Any, training: bool = False) -> Any:
        undone = tf.nest.map_structure(
            lambda x: self.undo(x) if x.dtype in _FLOATS else x, inputs
        )
        return self.inner(undone, training=training)


_FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64,
           "float16", "bfloat16", "float32", "float64")  # fmt: skip


def shift_invariance(
    explainer: Explainer | Callable,
    data: Any,
    target: Any = None,
    *,
    shift: Any = 1.0,
    tolerance: float = 1e-3,
    **settings: Any,
) -> Evaluation:
    """How much a map changes with a constant that the model takes back.

    Zero is the law: two models that compute the same of pictures with and
    without an offset should explain them alike. The gradient keeps it;
    gradient times input does not; methods with a baseline do only if the
    baseline moves too. Costs a second explanation.

        error = max_i |a_i - b_i| / max_i max(|a_i|, |b_i|),
        a = a(f, x),  b = a(f', x + m),  f'(x) = f(x - m)

    It is 0 where the law holds, 1 where one of the maps is zero everywhere,
    and at most 2. Differs from the paper, which puts `m` into the
    biases of the first layer: that is not the same where the layer pads its
    input with zeros, so that here the constant is taken off before it.

    Args:
        explainer: An explainer, which is made anew for `f'` from its config;
            or a callable `(model, inputs, target) -> maps`, with `model=`.
        data, target: See `pointing_game`.
        shift: `m`: a number, or an array of the shape of one sample.
        tolerance: How far the scores of both may be apart, as a share of the
            largest.
        settings: See `deletion`; without `reduce` and `of`.

    Returns:
        An `Evaluation`: the relative error of each sample; NaN where a map
        holds NaN.

    Raises:
        ValueError: If the shift does not fit, or is so large that rounding
            changes the scores.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> result = keras_explain.evaluation.shift_invariance(explainer, images)
    >>> bool(result.mean < 1e-4)
    True

    References:
        Kindermans et al., 2019. The (Un)reliability of Saliency Methods.
        https://arxiv.org/abs/1711.00867
    """
    check_tolerance(tolerance)
    own = take(settings, ("reduce", "of"))
    judge = judge_of(explainer, target, own)
    other: Judge | None = None
    found = []
    for batch in judge.batches(data, "Evaluating"):
        check_floating(batch.inputs, "A constant is added to the inputs.")
        moved = tf.nest.map_structure(lambda x: _plus(x, shift), batch.inputs)
        if other is None:
            model = Shifted(judge.explained_model, shift)
            model(moved)
            other = Judge(judged_for(explainer, model), target,
                          dataclasses.replace(own, model=model))  # fmt: skip
        explained = judge.explain(batch)
        _check_scores(judge, other, (batch, moved, explained.target), tolerance)
        maps = other.again(batch, moved, explained.target)
        valid = explained.finite & finite(maps)
        error = relative_error(maps, explained.maps)
        found.append(np.where(valid, error, np.nan))
    return evaluated(
        "shift_invariance", np.concatenate(found),
        judge.about(shift=np.asarray(shift).tolist(), tolerance=tolerance),
    )  # fmt: skip


def _plus(x: tf.Tensor, shift: Any) -> tf.Tensor:
    if not x.dtype.is_floating:
        return x
    constant = np.asarray(shift)
    fits = np.all(np.isfinite(constant)) and constant.ndim < x.shape.rank
    if not fits or any(
        a not in (1, b)
        for a, b in zip(constant.shape[::-1], tuple(x.shape)[:0:-1],
                        strict=False)
    ):  # fmt: skip
        raise ValueError(
            message(
                "The shift is a number, or an array for one sample.",
                f"a shift of shape {constant.shape} for inputs {x.shape}",
                "All samples are shifted alike.",
            )
        )
    return x + tf.cast(constant, x.dtype)


def _check_scores(
    first: Judge, second: Judge, about: tuple, tolerance: float
) -> None:
    batch, moved, target = about
    one = first.score(batch, batch.inputs, target)
    other = second.score(batch, moved, target)
    gap = np.abs(one - other).max()
    if not gap <= tolerance * max(np.abs(one).max(), 1e-6):
        raise ValueError(
            message(
                "The shifted model does not compute the same.",
                f"scores that are up to {gap:.3g} apart",
                "Pass a smaller `shift`: it is lost in rounding.",
            )
        )
