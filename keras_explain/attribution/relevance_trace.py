"""The relevance at every layer, and which layers have one to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.composites import inside
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.score import Propagation, ScoreFunction


@dataclasses.dataclass(frozen=True)
class RelevanceTrace:
    """The relevance at every layer.

    Attributes:
        layers: `{layer: relevance}` in the shape of the layer's output, in
            the order in which the layers end. `"inputs"` is what begins,
            `"inputs[0]"` and so on, or `"inputs[name]"`, where there are
            several; or it is the layer that is attributed to, of tokens
            their embedding. A layer with several outputs has
            `"lstm[0]"` and so on. Layers that hold others come after what
            they hold; a model within the model is shown by its layers.
        scores: `(batch,)`, the explained scores.
    """

    layers: dict[str, np.ndarray]
    scores: np.ndarray

    @property
    def sums(self) -> dict[str, np.ndarray]:
        """The relevance of a layer summed, `(batch,)` each.

        In a chain of layers it stays the same but for what biases take; of
        parallel branches each has its part.
        """
        return {
            name: value.reshape(len(value), -1).sum(axis=1)
            for name, value in self.layers.items()
        }

    def __str__(self) -> str:
        width = max(map(len, self.layers), default=0)
        lines = [
            f"{name:{width}}  " + "  ".join(f"{v:10.4g}" for v in sums)
            for name, sums in self.sums.items()
        ]
        scores = "  ".join(f"{v:10.4g}" for v in self.scores)
        return "\n".join([*lines, f"{'score':{width}}  {scores}"])


def traced_calls(function: ScoreFunction) -> list[Call]:
    """Returns the calls whose outputs have a relevance to show."""
    graph, rules = function.graph, function.rules
    # What relevance passes as one hides what it holds, as `Bidirectional`
    # does its two layers.
    closed = {
        call.path
        for call in graph.calls
        if call.key in rules and not rules[call.key].splits
    }
    reached = graph.behind(function.call)
    return [
        call
        for call in graph.layers
        if call.on_path
        and call.index in reached
        and not inside(call, closed)
        and not isinstance(call.operation, keras.Model)
        and not _ends(call, graph)
    ]


def by_layer(
    function: ScoreFunction, calls: list[Call], found: Propagation
) -> dict[str, tf.Tensor]:
    """Names what was found, from where it is attributed to, to the output.

    Args:
        function: What is explained.
        calls: Those of `traced_calls`.
        found: What was propagated to them.
    """
    address, start = function.graph.address, function.call
    names = [address(call) for call in calls]
    if start is not None:
        first = address(start)
    else:  # a layer may be called as the inputs are
        first = "inputs" if "inputs" not in names else "the inputs"
    point = found.evaluation.point
    keys = sorted(point) if isinstance(point, dict) else None
    pairs = zip(
        tf.nest.flatten(point),
        tf.nest.flatten(found.evaluation.gradient),
        strict=True,
    )
    floats = [values if x.dtype.is_floating else None for x, values in pairs]
    named = _named(first, floats, keys)
    for call, name, parts in zip(calls, names, found.traced, strict=True):
        several = range(len(parts)) if call.num_outputs > 1 else None
        named.update(_named(name, parts, several))
    return named


def _named(
    name: str, parts: Sequence[tf.Tensor | None], keys: Iterable | None
) -> dict[str, tf.Tensor]:
    """The parts by name, and by what tells several of them apart."""
    if not parts:
        return {}  # of an output in integers
    if keys is None and len(parts) > 1:
        keys = range(len(parts))
    names = [name] if keys is None else [f"{name}[{key}]" for key in keys]
    return {
        name: part
        for name, part in zip(names, parts, strict=True)
        if part is not None  # which inputs in integers have none of
    }


def _ends(call: Call, graph: Graph) -> bool:
    """Whether its output is a probability, which has no relevance."""
    return any(
        head is call
        or head.enclosing == call.path
        or head.path.startswith(f"{call.path}/")
        for head in graph.calls
        if head.is_head
    )
