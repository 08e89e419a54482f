"""How a score ends behind the outputs of a model, as a difference.

A logit is one of the outputs and needs no rule. A probability, a mean square
or a function of the user bends what the model gives, and its difference has
to be divided as at any nonlinearity.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import tensorflow as tf

from keras_explain.engine.class_target import Class, find_output
from keras_explain.engine.relevance import Shares, connect, cut
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Target, View
from keras_explain.engine.unit_targets import Channel, Direction, Neuron
from keras_explain.rules.differences import References, averaged_gradient
from keras_explain.rules.softmax_differences import softmax_multipliers

# Scores are cheap next to a model: many points, for steep ones.
_NODES = 64
# Up to this difference a sigmoid has the slope in the middle.
_NEAR = 3e-3


class Ending:
    """Scores both runs, that on the reference after the one on the inputs.

    Args:
        function: What is explained.
        references: Says whether one row stands for the batch.

    Attributes:
        before: What the target looks at in the run on the reference, as
            `looked_at` returns it, with a row for each sample.
    """

    def __init__(self, function: ScoreFunction, references: References):
        self.function = function
        self.batch = function.batch
        self.parameters = function.parameters
        self.references = references
        self.before: list[tf.Tensor] = []
        self._view: View | None = None

    def of_reference(self, target: Target, view: View) -> tf.Tensor:
        """The score of each sample's class, for a run on the reference."""
        rows = [self._rows(t) for t in _tensors(view)]
        return self._score(target, view, rows)

    def against(self, before: list[tf.Tensor]) -> tf.Tensor:
        """Sets `before`, and returns the score of each sample's class on it."""
        self.before = [self._rows(t) for t in before]
        view = cast(View, self._view)
        found = _with(view, self.before, self.parameters)
        return self.function.target.score(found)

    def of_inputs(self, target: Target, view: View) -> tf.Tensor:
        """The score on the inputs, whose gradient is its multipliers."""
        tensors = _tensors(view)
        for k, (kind, output, before) in enumerate(view.outputs):
            if kind in ("softmax", "sigmoid") and output is not before:
                tensors[2 * k] = self._head(kind, output, before, k)
        score = self._score(target, view, tensors)
        self._view = view
        self.parameters = self.function.settled(view.indices).parameters
        kinds = [kind for kind, _, _ in view.outputs]
        if all(_is_linear(leaf, view, kinds) for leaf in target.leaves()):
            return score

        def again(*points: tf.Tensor) -> tf.Tensor:
            return target.score(_with(view, list(points), self.parameters))

        def backward(upstream: tf.Tensor) -> Shares:
            ends = [
                (cut(x), tf.cast(r, x.dtype))
                for x, r in zip(tensors, self.before, strict=True)
            ]
            return Shares(averaged_gradient(again, ends, upstream, _NODES))

        return connect(score, tensors, backward)

    def _score(
        self, target: Target, view: View, tensors: list[tf.Tensor]
    ) -> tf.Tensor:
        found = _with(view, tensors, self.parameters)
        score = target.score(found)
        view.indices.extend(found.indices)
        view.probabilities.extend(found.probabilities)
        return score

    def _head(
        self, kind: str, output: tf.Tensor, before: tf.Tensor, number: int
    ) -> tf.Tensor:
        """The probabilities, with exact multipliers."""

        def backward(upstream: tf.Tensor) -> Shares:
            x = tf.cast(before, tf.float32)
            r = tf.cast(self.before[2 * number + 1], tf.float32)
            given = tf.cast(upstream, tf.float32)
            if kind == "softmax":
                return Shares([softmax_multipliers(x, r, given)])
            middle = tf.nn.sigmoid((x + r) / 2)
            near = tf.abs(x - r) < _NEAR
            far = (tf.nn.sigmoid(x) - tf.nn.sigmoid(r)) / (x - r)
            return Shares([given * tf.where(near, middle * (1 - middle), far)])

        return connect(output, [before], backward)

    def _rows(self, tensor: tf.Tensor) -> tf.Tensor:
        """A tensor of the reference with a row for each sample."""
        if not self.references.shared:
            return tensor
        times = self.batch // tf.shape(tensor)[0]
        rows = tf.tile(tensor, [times] + [1] * (tensor.shape.rank - 1))
        rows.set_shape([None, *tensor.shape[1:]])
        return rows


def looked_at(
    function: ScoreFunction, point: Any = None
) -> tuple[list[tf.Tensor], Any]:
    """Runs a model; returns what a target may look at, and the point."""
    found: list[tf.Tensor] = []

    def look(_: Target, view: View) -> tf.Tensor:
        found.extend(cut(t) for t in _tensors(view))
        return tf.zeros([])

    run = dataclasses.replace(function, ending=look).evaluate(point)
    return found, run.point


def _tensors(view: View) -> list[tf.Tensor]:
    """What a target may look at: outputs, what is before them, layers."""
    pairs = [t for _, *pair in view.outputs for t in pair]
    return [*pairs, *view.activations.values()]


def _with(view: View, tensors: list[tf.Tensor], parameters: list[dict]) -> View:
    """Returns a view of other tensors, in the order of `_tensors`."""
    number = len(view.outputs)
    outputs = [
        (kind, tensors[2 * k], tensors[2 * k + 1])
        for k, (kind, _, _) in enumerate(view.outputs)
    ]
    given = iter(tensors[: 2 * number : 2])
    structure = tf.nest.map_structure(
        lambda t: next(given) if tf.is_tensor(t) else t, view.structure
    )
    layers = dict(zip(view.activations, tensors[2 * number :], strict=True))
    return View(view.heads, structure, outputs, layers, parameters)


def _is_linear(leaf: Target, view: View, kinds: list[str]) -> bool:
    """Whether a target is affine in what it looks at."""
    if isinstance(leaf, Class):
        kind = kinds[find_output(view.heads, leaf.output)]
        if leaf.of == "logit":
            return kind != "probability"
        return leaf.of == "probability" and kind in ("softmax", "sigmoid")
    if isinstance(leaf, Direction):
        return not leaf.cosine_power
    return isinstance(leaf, (Neuron, Channel))
