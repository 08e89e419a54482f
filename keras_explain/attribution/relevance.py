"""What the methods share that divide a score by rules, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.attribution.relevance_trace import (
    RelevanceTrace,
    by_layer,
    traced_calls,
)
from keras_explain.engine.class_target import Class, as_target
from keras_explain.engine.composites import Composite
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import candidates, message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import INPUT, Call, Graph
from keras_explain.engine.linear_rule import PlacedLinearRule
from keras_explain.engine.missing_rules import no_rule
from keras_explain.engine.sampling import total
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Output
from keras_explain.engine.weight_check import WeightCheckingExplainer
from keras_explain.rules.registry import is_registered

# Unexplained relevance is warned about where it is more than this part of
# what was propagated.
_TOLERANCE = 1e-3


class RelevanceExplainer(WeightCheckingExplainer):
    """Base of the methods that divide a score by rules.

    A method states its composite; the walk back, the accounting and the
    refusal of what no rule is known for are here.
    """

    delta_costs = True
    # Whether relevance starts as the score, or as one.
    weighted = True

    def _composite(self, graph: Graph) -> Composite:
        raise NotImplementedError

    def _call(self, graph: Graph) -> Call | None:
        call = super()._call(graph)
        return call or tokens(graph)

    def _bind(self, function: ScoreFunction) -> ScoreFunction:
        graph, call = function.graph, self._call(function.graph)
        self._refuse(function.target, graph)
        kept = graph.kept(function.target.layers(), call)
        composite = self._composite(graph)
        rules = composite.assign(graph, call, kept)
        unknown = composite.without_rule(graph, rules, call)
        if unknown:
            takes = any(e[0] is is_registered for e in composite.entries)
            name = type(self).__name__
            raise ValueError(no_rule(name, unknown, registered=takes))
        if not any(isinstance(r, PlacedLinearRule) for r in rules.values()):
            raise ValueError(self._no_kernel(graph))
        if not function.target.layers():
            self._refuse_inner_softmax(graph, rules, call)
        return function.seen_from(call, rules)

    def _refuse_inner_softmax(
        self, graph: Graph, rules: Any, start: Call | None
    ) -> None:
        """Raises where all relevance would end at softmaxes on the way."""
        closed = [
            call
            for call in graph.calls
            if getattr(getattr(rules.get(call.key), "rule", None), "stops", 0)
        ]
        alive = {INPUT} if start is None else {start.index, *start.makers}
        stopped = {call.index for call in closed} - alive
        for call in graph.calls:
            if call.index not in stopped and alive.intersection(call.parents):
                alive.add(call.index)
        ends = graph.calls[-1].makers  # of the model itself
        if stopped and not alive.intersection(ends):
            raise ValueError(
                message(
                    f"All that {type(self).__name__} divides would end at a "
                    "softmax in the middle of the network: a softmax has no "
                    "conserving rule.",
                    f"softmax in {candidates([c.path for c in closed])}",
                    "Take the softmax off the inner model, or explain that "
                    "model alone: of its own softmax the logits are "
                    "explained. `DeepLIFT` and `IntegratedGradients` go "
                    "through it.",
                )
            )

    def _no_kernel(self, graph: Graph) -> str:
        return message(
            f"{type(self).__name__} divides relevance at layers with "
            "a kernel, and there is none on the way.",
            f"layers {candidates([c.path for c in graph.layers])}",
            "Use `Gradient` or `IntegratedGradients`.",
        )

    def _refuse(self, target: Any, graph: Graph) -> None:
        """Relevance is the score of a unit; a probability is none."""
        squashed = any(head.kind in ("softmax", "sigmoid", "unknown")
                       for head in graph.heads)  # fmt: skip
        for leaf in target.leaves():
            of = getattr(leaf, "of", "outputs")
            sees = isinstance(leaf, Output) and squashed
            if sees or (isinstance(leaf, Class) and of != "logit"):
                raise ValueError(
                    message(
                        f"{type(self).__name__} explains the score before "
                        "the softmax: a softmax has no conserving rule.",
                        f"of={of!r}",
                        "Pass `Class(index)`, which is the logit.",
                    )
                )

    def _attribute(self, function: ScoreFunction) -> Attribution:
        function, notes = self._ready(function)
        found = function.propagate(self.weighted)
        values = found.evaluation.gradient
        delta = total(values) - (found.seeded - found.lost)
        if self._per_token(function):
            values = tf.reduce_sum(values, -1)
        return Attribution(values, found.evaluation, delta, notes)

    def _ready(
        self, function: ScoreFunction
    ) -> tuple[ScoreFunction, dict[str, tf.Tensor]]:
        """Completes the rules with what depends on the batch.

        Returns:
            The function, and notes for `_check`.
        """
        return function, {}

    def _per_token(self, function: ScoreFunction) -> bool:
        call = function.call
        return self.layer is None and call is not None

    def _check_delta(self, results: dict[str, Any], graph: Graph) -> None:
        delta = np.abs(np.asarray(results["delta"]))
        scores = np.abs(np.asarray(results["score"]))
        flow = np.asarray(_magnitude(results["maps"]))
        wrong = np.nonzero(delta > _TOLERANCE * np.maximum(scores, flow))[0]
        if wrong.size:
            k = wrong[np.argmax(delta[wrong])]
            warn(
                f"Relevance is not conserved for {wrong.size} of "
                f"{len(delta)} samples: of sample {k} {delta[k]:.3g} is "
                f"unexplained by biases and stabilizers, of a score of "
                f"{scores[k]:.3g}. Look at `trace(inputs)` for the layer, and "
                "raise the `epsilon` of its rule."
            )

    def trace(self, inputs: Any, target: Any = None) -> RelevanceTrace:
        """Returns the relevance at every layer, to watch it being conserved.

        It begins with the inputs, or with the layer that is attributed to.

        Args:
            inputs, target: As in a call.

        Returns:
            A `RelevanceTrace`, from the input to the output.
        """
        self._weights_seen = False
        results = self._run(inputs, as_target(target), wanted="trace")
        layers = {
            name: np.asarray(value) for name, value in results["traced"].items()
        }
        return RelevanceTrace(layers, np.asarray(results["score"]))

    def _results(self, function: ScoreFunction, wanted: str) -> dict[str, Any]:
        results = super()._results(function, wanted)
        if wanted == "trace":
            calls = traced_calls(function)
            ready, _ = self._ready(function)
            found = ready.propagate(self.weighted, calls)
            results["traced"] = by_layer(function, calls, found)
        return results


def tokens(graph: Graph) -> Call | None:
    """The embedding that a model of tokens begins with."""
    found = [
        c
        for c in graph.layers
        if c.kind == "Embedding" and c.parents == (-1,) and c.on_path
    ]
    only = len(graph.input_ranks) == 1 and len(found) == 1
    return found[0] if only else None


def _magnitude(values: Any) -> tf.Tensor:
    return total(tf.nest.map_structure(tf.abs, values))
