"""Runs a model under trace with activations tapped and rules applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine import interception
from keras_explain.engine.recording import path_of
from keras_explain.engine.rules import Rule

Key = tuple[str, int]
# What happens to the output of a call before the next one sees it: watch it,
# keep it, replace it.
Tap = Callable[[Any], Any]


def run(
    model: keras.Model,
    inputs: Any,
    *,
    taps: Mapping[Key, Tap] | None = None,
    rules: Mapping[Key, Rule] | None = None,
    sink: tf.Tensor | None = None,
) -> Any:
    """Calls `model(inputs)` in inference mode, intercepted.

    Args:
        model: A built model.
        inputs: Its inputs, as tensors of the graph under trace.
        taps: `{call key: tap}`. What a tap returns takes the place of the
            output; what it makes unused is pruned by TensorFlow.
        rules: `{call key: rule}`, from `Composite.assign`.
        sink: Takes the relevance that no input receives.

    Returns:
        The outputs of the model.
    """
    taps, rules = taps or {}, rules or {}
    graph = tf.compat.v1.get_default_graph()
    names = {
        key: path for key, (path, _) in interception.operations(model).items()
    }
    counts: dict[str, int] = {}

    def handler(
        operation: Any, call: Callable, *args: Any, **kwargs: Any
    ) -> Any:
        path = path_of(operation, names)
        if tf.compat.v1.get_default_graph() is not graph:
            # The body of a loop runs many times as one traced call.
            rule = rules.get((path, 0))
            return (
                rule.apply(call, args, kwargs)
                if rule
                else call(*args, **kwargs)
            )
        key = (path, counts.get(path, 0))
        counts[path] = key[1] + 1
        if key in rules:
            outputs = rules[key].apply(call, args, kwargs, sink)
            held = interception.held_activation(operation)
            if rules[key].splits and held is not None:
                outputs = held(outputs)  # intercepted: it has a rule as well
        else:
            outputs = call(*args, **kwargs)
        return taps[key](outputs) if key in taps else outputs

    with interception.intercept(model, handler):
        return model(inputs, training=False)
