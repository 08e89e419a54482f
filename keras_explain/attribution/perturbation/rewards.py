"""What a mask is rewarded for: the score, or its lead over other classes."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_explain.engine.class_target import Class, find_output
from keras_explain.engine.errors import message
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Target, View

NAMES = ("simple", "contrastive")


def rewarded(function: ScoreFunction, reward: str) -> ScoreFunction:
    """Returns the function with the reward in place of the score.

    Args:
        function: What is explained, its classes settled.
        reward: `"simple"` for the score of the target; `"contrastive"` for
            how far the score of a class is above that of the best other
            class, `y_c - max_{c' != c} y_c'`.

    Raises:
        ValueError: If there are no other classes.
    """
    if reward == "simple":
        return function
    if not isinstance(function.target, Class):
        raise ValueError(
            message(
                "The contrastive reward compares a class with the others.",
                f"a target {type(function.target).__name__}",
                "Pass a class as the target, or `reward='simple'`.",
            )
        )
    return dataclasses.replace(function, ending=_lead)


def _lead(target: Target, view: View) -> tf.Tensor:
    """The score of a class minus that of the best other one."""
    parameters = view.parameters()
    number = find_output(view.heads, target.output)  # type: ignore[attr-defined]
    kind, output, before = view.outputs[number]
    if output.shape.rank == 1 or output.shape[-1] == 1:
        raise ValueError(
            message(
                "The contrastive reward compares a class with the others.",
                "an output with a single value",
                "Pass `reward='simple'`.",
            )
        )
    index = parameters["index"]
    own = target.score(_again(view, view.outputs, parameters))
    lowest = before.dtype.min / 2
    bounded = kind in ("softmax", "sigmoid", "probability")
    outputs = list(view.outputs)
    outputs[number] = (
        kind,
        _without(output, index, 0.0 if bounded else lowest),
        _without(before, index, 0.0 if kind == "probability" else lowest),
    )
    free = {k: v for k, v in parameters.items() if k != "index"}
    others = _again(view, outputs, free)
    target.score(others)  # finds the best of them
    best = {**parameters, "index": others.indices[0]}
    return own - target.score(_again(view, view.outputs, best))


def _again(view: View, outputs: list, parameters: dict[str, tf.Tensor]) -> View:
    """The view with other outputs, for a target that has not looked yet."""
    return View(
        view.heads,
        view.structure,
        outputs,
        view.activations,
        [parameters],
        view.linear,
    )


def _without(scores: tf.Tensor, index: tf.Tensor, value: float) -> tf.Tensor:
    """The scores with those of one class set to a value."""
    hidden = tf.one_hot(index, scores.shape[-1], True, False, dtype=tf.bool)
    for _ in range(scores.shape.rank - 2):
        hidden = hidden[:, tf.newaxis]
    return tf.where(hidden, tf.cast(value, scores.dtype), scores)
