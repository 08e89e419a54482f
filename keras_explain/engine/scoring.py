"""Scores of inputs as they are and of altered ones, compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.class_target import Class
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import Evaluation, ScoreFunction
from keras_explain.engine.targets import Sum, Target

Measure = Callable[[ScoreFunction, Evaluation], dict[str, Any]]


class Scorer(Explainer):
    """Asks a model for scores, in the way in which explainers do.

    The class is settled on the inputs as they are; whatever is altered
    afterwards is scored for that class. It is compiled once, reads the
    weights at every call, and refuses what an explainer refuses.

    Not for several threads at once: what a call is given is kept on the way.

    Args:
        model: A built `keras.Model` of any kind. Not changed.
        measure: Mathematics under trace: from the function, its classes
            settled, and the run on the inputs as they are, to tensors with a
            row for each sample. `None` for the score only.
    """

    def __init__(self, model: keras.Model, measure: Measure | None = None):
        super().__init__(model)
        self._measure = measure
        self._given: dict[str, Any] = {}

    def run(
        self,
        inputs: Any,
        target: Target,
        rows: slice | None = None,
        **given: Any,
    ) -> dict[str, Any]:
        """Returns what was measured, as NumPy.

        Args:
            inputs: A batch, as the model takes it.
            target: What is scored; already that of these samples.
            rows: Where the batch is in the whole.
            given: Tensors that the measure finds in `function.extra`.

        Returns:
            `score`, `(batch,)`; `indices`, those of each `Class` in the
            target; and what the measure returned.
        """
        self._given = given
        try:
            # A sum of one: advice about the gradient of a probability would
            # be out of place, as nothing is differentiated here.
            found = self._run(inputs, Sum((target,), (1.0,)), rows)
        finally:
            self._given = {}
        found = tf.nest.map_structure(np.asarray, found)
        return {"score": found["score"], **found["details"]}

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        return tf.nest.map_structure(tf.convert_to_tensor, self._given)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        details: dict[str, Any] = {"indices": list(at.indices)}
        if self._measure is not None:
            found = self._measure(function.settled(at.indices), at)
            details.update(found)
        # A map that is nowhere zero: there is none to be warned about.
        return Attribution(tf.ones_like(at.score), at, details=details)


def settled_on(target: Target, indices: list[np.ndarray]) -> Target:
    """Returns a target with the class that a run has found, if it is one.

    A target that is made of several finds its classes anew in each run.
    """
    if isinstance(target, Class):
        return dataclasses.replace(target, index=indices[0])
    return target


def scored_as(target: Target, of: str | None) -> Target:
    """Returns a target whose classes are scored in another way.

    Args:
        target: Any; those of no class stay as they are.
        of: `"logit"`, `"probability"`, `"log_probability"`, or `None` to
            leave it.
    """
    if of is None:
        return target
    if isinstance(target, Class):
        return dataclasses.replace(target, of=of)
    if isinstance(target, Sum):
        each = tuple(scored_as(one, of) for one in target.targets)
        return dataclasses.replace(target, targets=each)
    return target
