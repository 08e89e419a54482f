"""What the methods share that divide the difference from a reference."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_explain.attribution.relevance import tokens
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.missing_rules import no_rule
from keras_explain.engine.sampling import largest, total
from keras_explain.engine.score import Evaluation, ScoreFunction
from keras_explain.engine.weight_check import WeightCheckingExplainer
from keras_explain.rules.deeplift import is_affine
from keras_explain.rules.differences import Key, Observed, References
from keras_explain.rules.endings import Ending, looked_at
from keras_explain.rules.reveal_cancel import deeplift_composite

_each = tf.nest.map_structure
# Contributions that are off by more than this part are warned about.
_TOLERANCE = 1e-3
# Or by more than so many times the rounding of half precision.
_HALF = 2.0
# The difference of two scores is known up to this part of them.
_ROUNDING = 1e-6


class Difference(NamedTuple):
    """What is found against one reference.

    Attributes:
        values: The contributions, in the structure of the point.
        at: The run on the inputs.
        start: `(batch,)`, the score of the reference.
        distance: `(batch,)`, largest difference of the point.
    """

    values: Any
    at: Evaluation
    start: tf.Tensor
    distance: tf.Tensor


class Known(NamedTuple):
    """What a run on the reference made.

    Attributes:
        seen: What rules read of it, by call.
        before: What the target looks at, see `rules.endings`.
        point: The reference, or the layer's output on it.
    """

    seen: dict[Key, Observed]
    before: list[tf.Tensor]
    point: Any


class DifferenceExplainer(WeightCheckingExplainer):
    """Base of the methods that divide the difference from a reference."""

    rule = "rescale"

    def _call(self, graph: Graph) -> Call | None:
        return super()._call(graph) or tokens(graph)

    def _bind(self, function: ScoreFunction) -> ScoreFunction:
        graph, call = function.graph, self._call(function.graph)
        kept = graph.kept(function.target.layers(), call)
        composite = deeplift_composite(graph, self.rule, kept)
        rules = composite.assign(graph, call, kept)
        unknown = composite.without_rule(graph, rules, call, is_affine)
        if unknown:
            raise ValueError(self._unknown(unknown))
        return function.seen_from(call, rules)

    def _unknown(self, calls: list[Call]) -> str:
        # Multipliers pass sums by the plain gradient.
        bending = [dataclasses.replace(c, affine_ops=()) for c in calls]
        return no_rule(
            type(self).__name__,
            bending,
            hint=", with `Pass` for a function of each value alone and "
            "`Norm()` for an affine one",
        )

    def _finished(
        self, function: ScoreFunction, found: Difference
    ) -> Attribution:
        delta = total(found.values) - (found.at.score - found.start)
        values = found.values
        if self.layer is None and function.call is not None:
            values = tf.reduce_sum(values, -1)  # one for each token
        notes = {"distance": found.distance}
        return Attribution(values, found.at, delta, notes)

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        check_distance(notes)

    def _check_delta(self, results: dict[str, Any], graph: Graph) -> None:
        delta = np.asarray(results["delta"])
        difference = np.asarray(total(results["maps"])) - delta
        flow = np.asarray(total(_each(tf.abs, results["maps"])))
        scale = np.maximum(np.abs(difference), flow)
        part = max(_TOLERANCE, _HALF * graph.resolution)
        limit = part * scale + _ROUNDING * np.abs(results["score"])
        wrong = np.nonzero(np.abs(delta) > limit)[0]
        if wrong.size:
            k = wrong[np.argmax(np.abs(delta[wrong]))]
            warn(
                f"Contributions are not complete for {wrong.size} of "
                f"{len(delta)} samples: of sample {k} they are off by "
                f"{delta[k]:.3g}, of a score difference of "
                f"{difference[k]:.3g}. Likely a recurrent layer that is far "
                "from smooth between reference and input, a rule registered "
                "for a layer it does not fit, or half precision. A reference "
                "nearer to the inputs helps."
            )


def differences(
    function: ScoreFunction,
    reference: Any,
    shared: bool,
    known: Known | None = None,
) -> Difference:
    """Divides the difference of the scores among the values of the point.

    Args:
        function: What is explained, with the rules of DeepLIFT.
        reference: Inputs that count as "nothing there".
        shared: Whether they have one row for the whole batch.
        known: What a run on them has made, if there was one.
    """
    graph, call = function.graph, function.call
    if call is None:
        shared = _in_floats(function.inputs) and shared
        reference = _each(_kept_integers, function.inputs, reference)
    alone = stands_alone(graph, call)
    references = References(shared and alone)
    ending = Ending(function, references)
    main = dataclasses.replace(
        function, rules=_against(function, references),
        ending=ending.of_inputs,
    )  # fmt: skip
    at = main.evaluate()
    if known is None:
        point = None
        if not alone:
            # Something passes the layer by, a mask of tokens perhaps: it
            # stays what it is for the inputs, and only the layer changes.
            point = function.seen_from(call, {}).at(reference).value()
            point = _each(References(shared).full, point, at.point)
        other = function.at(reference) if alone else function
        known = run_of_reference(other, point)
    references.seen.update(known.seen)
    start = ending.against(known.before)
    gradient = main.differentiated(at).gradient
    away = _each(
        lambda x, r: _float(x) - _float(references.like(r, x)),
        at.point, known.point,
    )  # fmt: skip
    values = _each(tf.multiply, gradient, away)
    return Difference(values, at, start, largest(away))


def run_of_reference(function: ScoreFunction, point: Any = None) -> Known:
    """Runs a model on a reference, and keeps what rules will read.

    Args:
        function: What is explained, at the reference.
        point: What takes the place of the layer's output there.
    """
    kept: dict[Key, Any] = {}
    held = {
        key: rule
        for key, rule in function.rules.items()
        if hasattr(rule, "observing")
    }
    rules = {key: rule.observing(kept) for key, rule in held.items()}
    observing = dataclasses.replace(function, rules=rules)
    before, point = looked_at(observing, point)
    seen = {key: held[key].observed(kept) for key in kept}
    return Known(seen, before, point)


def check_distance(notes: dict[str, tf.Tensor]) -> None:
    """Raises `ValueError` where nothing differs from the reference."""
    same = np.nonzero(np.asarray(notes["distance"]) == 0)[0]
    if same.size:
        raise ValueError(
            message(
                "The reference equals the input: there is no difference to "
                "divide.",
                f"samples {same[:8].tolist()}",
                "Pass another one, that stands for a missing input: the "
                "mean color, a blurred copy, noise.",
            )
        )


def _float(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def _in_floats(inputs: Any) -> bool:
    return all(t.dtype.is_floating for t in tf.nest.flatten(inputs))


def _kept_integers(x: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Beside inputs in floats, those in integers stay as they are."""
    if not x.dtype.is_floating:
        return x
    return reference


def _against(function: ScoreFunction, references: References) -> dict:
    return {
        key: rule.against(references) if hasattr(rule, "against") else rule
        for key, rule in function.rules.items()
    }


def stands_alone(graph: Graph, call: Call | None) -> bool:
    """Whether all that comes behind a call depends on the inputs through it."""
    if call is None:
        return True
    behind = graph.behind(call)
    inside = behind | {call.index}
    return all(
        inside.issuperset(graph.calls[index].parents)
        for index in behind
        if graph.calls[index].on_path
    )
