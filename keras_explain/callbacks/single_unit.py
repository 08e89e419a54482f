"""Classifiers that end in one unit: which of two classes it speaks for."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.callbacks.samples import Samples
from keras_explain.engine import checks
from keras_explain.engine.class_target import Class, as_target
from keras_explain.engine.each_target import Each
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Head
from keras_explain.engine.recording import record
from keras_explain.engine.targets import Target


class Sides(NamedTuple):
    """The class that is explained of each sample, 0 or 1.

    Attributes:
        classes: `(number,)`.
        probabilities: `(number,)`, those of these classes.
    """

    classes: np.ndarray
    probabilities: np.ndarray


class SingleUnit:
    """The only unit of a model: the score of class 1 against class 0.

    Args:
        model: A model with one output of shape `(batch, 1)` or `(batch,)`.
        head: That output, as it was recorded.
    """

    def __init__(self, model: keras.Model, head: Head):
        self.model = model
        self.kind = head.kind

        def read(inputs: Any) -> tf.Tensor:
            (output,) = tf.nest.flatten(model(inputs, training=False))
            output = tf.reshape(tf.cast(output, tf.float32), [-1])
            return output if self.kind == "sigmoid" else tf.sigmoid(output)

        self._read = tf.function(read, autograph=False, reduce_retracing=True)

    @classmethod
    def of(cls, model: keras.Model, inputs: Any) -> SingleUnit | None:
        """Returns the only unit of a model, `None` if there are others."""
        inputs = checks.standardize(model, inputs)
        specs = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), inputs
        )
        with tf.init_scope():
            heads = record(model, specs).heads
        if len(heads) != 1 or len(heads[0].shape) > 2:
            return None
        single = len(heads[0].shape) == 1 or heads[0].shape[-1] == 1
        return cls(model, heads[0]) if single else None

    def sides(
        self, samples: Samples, target: Any, named: bool
    ) -> tuple[Target, Sides | None]:
        """Returns what to explain, and which class that speaks for.

        Args:
            samples: What is explained.
            target: That of an `ExplanationLogger`.
            named: Whether the two classes have names.

        Returns:
            A target for the explainer; and the sides, or `None` where the
            unit may be a regression.
        """
        known = samples.classes
        two = known is not None and np.isin(known, (0, 1)).all()
        if isinstance(target, str) and known is not None:
            target, chosen, named = evidence(known), known, True
        else:
            target, chosen = as_target(target), None
        is_one = isinstance(target, Class) and target.of == "logit"
        linear = self.kind == "linear" and (named or two)
        if not (self.kind == "sigmoid" or linear):
            return target, None
        if chosen is None and not is_one:
            return target, None
        p = np.asarray(
            self._read(checks.standardize(self.model, samples.inputs))
        )
        if chosen is None and target.index is not None:
            chosen = np.ones(len(p), int)  # as the engine counts: its score
        elif chosen is None:
            chosen = (p > 0.5).astype(int)
            target = evidence(chosen)
        return target, Sides(chosen, np.where(chosen == 1, p, 1 - p))


def evidence(classes: np.ndarray) -> Target:
    """Returns the target that speaks for one of two classes.

    Args:
        classes: `(number,)`, 0 or 1 for each sample.

    Raises:
        ValueError: If there are other classes.
    """
    if not np.isin(classes, (0, 1)).all():
        raise ValueError(
            message(
                "A single unit tells two classes apart, 0 and 1.",
                f"labels from {classes.min()} to {classes.max()}",
                "For a regression leave `target=None`.",
            )
        )
    unit = Class(0)
    if np.all(classes == 1):
        return unit
    if np.all(classes == 0):
        return -unit
    return Each(tuple(unit if index else -unit for index in classes))
