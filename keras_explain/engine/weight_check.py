"""Refuses models with weights that are not numbers before rules hide them.

A gradient carries NaN to the map, where it is seen. Rules need not: one that
ignores weights, or keeps the positive ones, makes a clean map of a broken
network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import interception
from keras_explain.engine.diagnosis import broken_message
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.explanation import Explanation
from keras_explain.engine.targets import Target


class WeightCheckingExplainer(Explainer):
    """Base of the methods whose rules could hide weights that are NaN.

    Weights are read once: at the first call, and again at each `explain`,
    `stream` and `trace`, since the model may have been trained in between.
    """

    _weights_seen = False

    @property
    def _looks_at_weights(self) -> bool:
        """Whether it does; a wrapper does if what it wraps does."""
        return True

    def stream(
        self, data: Any, target: Any = None, batch_size: int = 32
    ) -> Iterator[Explanation]:
        self._weights_seen = False
        yield from super().stream(data, target, batch_size)

    def _run(
        self,
        inputs: Any,
        target: Target,
        rows: slice | None = None,
        wanted: str = "all",
    ) -> dict[str, Any]:
        if not self._weights_seen and tf.executing_eagerly():
            if self._looks_at_weights:
                refuse_broken_weights(self.model)
            self._weights_seen = True
        return super()._run(inputs, target, rows, wanted)


def refuse_broken_weights(model: keras.Model) -> None:
    """Raises `ValueError` if weights are NaN, or trained ones infinite.

    It takes a sum over each: no more than reading them. An infinity that is
    not trained may be meant, as in a mask.
    """
    broken = {id(w) for w in model.weights if _is_broken(w)}
    if not broken:
        return
    found = []
    for path, operation in interception.operations(model).values():
        inside = [
            id(w)
            for child in interception.children(operation)
            for w in getattr(child, "weights", ())
        ]
        own = {id(w) for w in getattr(operation, "weights", ())}
        if broken & (own - set(inside)):
            found.append(path or "the model itself")
    raise ValueError(broken_message(found))


def _is_broken(weight: Any) -> bool:
    value = tf.convert_to_tensor(weight)
    if not value.dtype.is_floating:
        return False
    if np.isfinite(float(tf.reduce_sum(value))):
        return False
    array = np.asarray(value, np.float32)  # a sum may overflow by itself
    if np.isnan(array).any():
        return True
    return bool(weight.trainable and not np.isfinite(array).all())
