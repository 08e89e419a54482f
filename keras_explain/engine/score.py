"""The explained function: from inputs, or from a layer's output, to a score.

Every attribution method asks the same questions of a model: what is the
score of the target, what is its gradient, and what if the inputs or an
activation were different. A `ScoreFunction` answers them under trace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_explain.engine import execution
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.recording import pre_activation
from keras_explain.engine.relevance import Shares, connect
from keras_explain.engine.rules import Rule
from keras_explain.engine.targets import Target, View

# The sum of the scores is scaled before it is differentiated where a network
# computes in float16, so that small gradients do not underflow on their way.
_HALF_SCALE = 256.0


class Propagation(NamedTuple):
    """What relevance rules made of a score.

    Attributes:
        evaluation: The run; its gradient is the relevance of the point.
        seeded: `(batch,)`, the relevance that was started with.
        lost: `(batch,)`, how much of it went to biases and stabilizers.
        traced: Of each call that was asked for the relevance of its outputs.
    """

    evaluation: Evaluation
    seeded: tf.Tensor
    lost: tf.Tensor
    traced: list[list[tf.Tensor]]


class Evaluation(NamedTuple):
    """One run of the explained function on a batch.

    Attributes:
        score: `(batch,)`.
        indices: Class index of each `Class` leaf of the target, `(batch,)`.
        probabilities: Those of these classes, `None` for one without.
        point: The value the gradient was taken at: the inputs, or the
            layer's output.
        gradient: Of the score, in the structure and shape of `point`;
            `None` where it was not asked for.
    """

    score: tf.Tensor
    indices: list[tf.Tensor]
    probabilities: list[tf.Tensor | None]
    point: Any
    gradient: Any = None


@dataclasses.dataclass(frozen=True)
class ScoreFunction:
    """The score of a target as a function of inputs or of an activation.

    Attributes:
        model: The model.
        graph: Its recorded run.
        inputs: The batch, in the structure the model takes.
        target: What is scored.
        parameters: For each leaf of the target, its tensors.
        call: The call whose output is the point, or `None` for the inputs.
        rules: Rules of the backward pass.
        extra: Tensors a method was given for this batch (a baseline).
        shift: What is added to the output of `call`, or `None`.
        probabilities: Whether outputs whose head is unknown turned out to
            be probabilities.
        ending: `(target, view) -> score`, in place of the target's own.
        linear: Whether single units are read before their nonlinearity.
    """

    model: keras.Model
    graph: Graph
    inputs: Any
    target: Target
    parameters: list[dict[str, tf.Tensor]]
    call: Call | None = None
    rules: Mapping[tuple[str, int], Rule] = dataclasses.field(
        default_factory=dict
    )
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shift: Any = None
    probabilities: bool = False
    ending: Callable[[Target, View], tf.Tensor] | None = None
    linear: bool = False

    @property
    def batch(self) -> tf.Tensor:
        """Number of samples, a scalar tensor."""
        return tf.shape(tf.nest.flatten(self.inputs)[0])[0]

    @property
    def _key(self) -> tuple[str, int] | None:
        return None if self.call is None else self.call.key

    def at(self, inputs: Any) -> ScoreFunction:
        """Returns the function with other inputs of the same batch."""
        return dataclasses.replace(self, inputs=inputs)

    def seen_from(
        self, call: Call | None, rules: Mapping[tuple[str, int], Rule]
    ) -> ScoreFunction:
        """Returns the function of another point, with other rules."""
        return dataclasses.replace(self, call=call, rules=rules)

    def shifted(self, shift: Any) -> ScoreFunction:
        """Returns the function with something added to the layer's output."""
        return dataclasses.replace(self, shift=shift)

    def repeated(self, times: tf.Tensor | int) -> ScoreFunction:
        """Returns the function on the batch repeated, `times * batch` rows.

        Row `k * batch + i` is sample `i`.
        """
        return dataclasses.replace(
            self,
            inputs=tile(self.inputs, times),
            parameters=tile(self.parameters, times),
            extra=tile(self.extra, times),
        )

    def settled(self, indices: list[tf.Tensor]) -> ScoreFunction:
        """Returns the function with the classes that a run has found.

        Methods that evaluate altered inputs explain the class that the
        inputs have as they are.
        """
        found = iter(indices)
        parameters = []
        for leaf, given in zip(
            self.target.leaves(), self.parameters, strict=True
        ):
            if isinstance(leaf, Class):
                given = {**given, "index": next(found)}
            parameters.append(given)
        return dataclasses.replace(self, parameters=parameters)

    def value(self) -> Any:
        """Returns the point: the inputs, or the layer's output on them."""
        if self.call is None:
            return self.inputs
        return self.activations([self.call])[0]

    def activations(self, calls: list[Call]) -> list[Any]:
        """Returns the outputs of calls, from one forward pass."""
        kept: dict[tuple[str, int], Any] = {}
        self._run(kept, {call.key: None for call in calls})
        return [kept[call.key] for call in calls]

    def evaluate(self, point: Any = None) -> Evaluation:
        """Returns the score, at the batch or at another point.

        Args:
            point: Takes the place of the inputs, or of the layer's output.
        """
        with_point = self._place(point)
        view, kept = with_point._view(None if self.call is None else point)
        score = self._score(view)
        point = self._point(with_point, kept)
        return Evaluation(score, view.indices, view.probabilities, point)

    def differentiate(self, point: Any = None) -> Evaluation:
        """Returns the score and its gradient with respect to the point.

        Only the part of the network behind the point is differentiated.
        """
        return self.differentiated(self.evaluate(point))

    def differentiated(self, at: Evaluation) -> Evaluation:
        """Returns a run of `evaluate` with its gradient."""
        return at._replace(gradient=self._gradient(at.score, at.point))

    def propagate(
        self, weighted: bool = True, traced: Sequence[Call] = ()
    ) -> Propagation:
        """Returns the relevance of the point under the rules.

        Args:
            weighted: Whether relevance starts as the explained output, or
                as one, which is then the probability of reaching a point.
            traced: Calls whose relevance is asked for as well.
        """
        sink = tf.zeros([self.batch])
        seeds: list[tuple[tf.Tensor, tf.Tensor]] = []

        def seed(tensor: tf.Tensor) -> tf.Tensor:
            value = tf.stop_gradient(tensor)

            def weigh(upstream: tf.Tensor) -> Shares:
                return Shares([upstream * value if weighted else upstream])

            seeded = connect(tensor, [tensor], weigh)
            seeds.append((value, seeded))
            return seeded

        view, kept = self._view(
            seed=seed, sink=sink, also=[call.key for call in traced]
        )
        score = self.target.score(view)
        point = self._point(self, kept)
        sources = [_floating(kept[call.key]) for call in traced]
        gradient, (lost, *found) = self._gradients(
            score, point, [sink, *tf.nest.flatten(sources)]
        )
        found = tf.nest.pack_sequence_as(sources, found)
        evaluation = Evaluation(
            score, view.indices, view.probabilities, point, gradient
        )
        return Propagation(
            evaluation, _seeded(score, seeds, weighted), lost, found
        )

    def _score(self, view: View) -> tf.Tensor:
        if self.ending is not None:
            return self.ending(self.target, view)
        return self.target.score(view)

    def _place(self, point: Any) -> ScoreFunction:
        if point is None or self.call is not None:
            return self
        return self.at(point)

    def _point(self, placed: ScoreFunction, kept: dict) -> Any:
        return placed.inputs if self.call is None else kept[self.call.key]

    def _gradient(self, score: tf.Tensor, point: Any) -> Any:
        return self._gradients(score, point, [])[0]

    def _gradients(
        self, score: tf.Tensor, point: Any, more: list[tf.Tensor]
    ) -> tuple[Any, list[tf.Tensor]]:
        """Gradients with respect to the point, and to other tensors."""
        # `tf.gradients` and not a tape: the logits are found by walking the
        # graph back from the softmax, and a tape knows only the tensor
        # objects that Python held while it recorded.
        sources = _floating(point)
        scale = _HALF_SCALE if self.graph.half_precision else 1.0
        total = tf.reduce_sum(score) * scale
        found = tf.gradients(total, sources + more) if sources else []
        if all(gradient is None for gradient in found[: len(sources)]):
            raise ValueError(self._no_gradient(sources))
        remaining = iter(found)
        gradients = []
        for tensor in [*tf.nest.flatten(point), *more]:
            gradient = next(remaining) if tensor.dtype.is_floating else None
            if gradient is None:  # the score does not depend on it
                gradient = tf.zeros(tf.shape(tensor), tf.float32)
            gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            gradients.append(gradient / scale if scale != 1.0 else gradient)
        number = len(gradients) - len(more)
        packed = tf.nest.pack_sequence_as(point, gradients[:number])
        return packed, gradients[number:]

    def _no_gradient(self, sources: list[tf.Tensor]) -> str:
        embeddings = [
            c.path for c in self.graph.layers if c.kind.endswith("Embedding")
        ]
        where = self.call.path if self.call else "the inputs"
        advice = (
            f"Pass `layer={embeddings[0]!r}` to explain the embedded tokens."
            if embeddings
            else "Pass a `layer` between them, or a target that depends on it."
        )
        received = (
            f"{where}, on which the score does not depend"
            if sources
            else f"{where}, which hold integers"
        )
        return message(
            "The score cannot be differentiated there.", received, advice
        )

    def _view(
        self,
        replacement: Any = None,
        *,
        seed: Callable | None = None,
        sink: tf.Tensor | None = None,
        also: Sequence[tuple[str, int]] = (),
    ) -> tuple[View, dict]:
        """Runs the model; returns what the target sees, and the point."""
        seed = seed or (lambda tensor: tensor)
        wanted: dict[tuple[str, int], Any] = {}
        named = {}
        for layer in self.target.layers():
            call = self.graph.find(layer)
            named[layer] = call.key
            wanted[call.key] = None
        wanted.update(dict.fromkeys(also))
        if self.call is not None:
            wanted[self.call.key] = replacement
        kept: dict[tuple[str, int], Any] = {}
        structure = self._run(kept, wanted, sink)
        flat = [t for t in tf.nest.flatten(structure) if tf.is_tensor(t)]
        outputs = []
        for tensor in flat:
            kind, before = pre_activation(tensor)
            if kind == "unknown" and self.probabilities:
                kind = "probability"
            same = before is tensor
            before = seed(before)
            outputs.append((kind, before if same else tensor, before))
        activations = {layer: seed(kept[key]) for layer, key in named.items()}
        seeded = iter(output for _, output, _ in outputs)
        structure = tf.nest.map_structure(
            lambda t: next(seeded) if tf.is_tensor(t) else t, structure
        )
        view = View(
            self.graph.heads,
            structure,
            outputs,
            activations,
            self.parameters,
            self.linear,
        )
        return view, kept

    def _run(
        self, kept: dict, wanted: dict, sink: tf.Tensor | None = None
    ) -> Any:
        def tap(key: tuple[str, int]) -> execution.Tap:
            replacement = wanted[key]

            def keep(outputs: Any) -> Any:
                if replacement is not None:
                    outputs = tf.nest.map_structure(_like, replacement, outputs)
                elif self.shift is not None and key == self._key:
                    outputs = tf.nest.map_structure(
                        lambda shift, old: old + _like(shift, old),
                        self.shift,
                        outputs,
                    )
                kept[key] = outputs
                return outputs

            return keep

        return execution.run(
            self.model,
            self.inputs,
            taps={key: tap(key) for key in wanted},
            rules=self.rules,
            sink=sink,
        )


def _seeded(
    score: tf.Tensor, seeds: list[tuple[tf.Tensor, tf.Tensor]], weighted: bool
) -> tf.Tensor:
    """How much relevance a score started with, `(batch,)`."""
    total = tf.zeros_like(score)
    found = tf.gradients(score, [seeded for _, seeded in seeds])
    for (value, _), gradient in zip(seeds, found, strict=True):
        if gradient is not None:
            part = tf.cast(gradient, tf.float32)
            part = part * tf.cast(value, tf.float32) if weighted else part
            total += tf.reduce_sum(part, list(range(1, part.shape.rank)))
    return total


def _like(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    new = tf.cast(new, old.dtype)
    if new.shape.rank == old.shape.rank:
        # Layers read static sizes; only the batch may have changed.
        new = tf.ensure_shape(new, [None, *old.shape[1:]])
    return new


def _floating(structure: Any) -> list[tf.Tensor]:
    return [t for t in tf.nest.flatten(structure) if t.dtype.is_floating]


def tile(structure: Any, times: tf.Tensor | int) -> Any:
    """Repeats each tensor of a structure along its first axis."""

    def repeated(tensor: tf.Tensor) -> tf.Tensor:
        tensor = tf.convert_to_tensor(tensor)
        if tensor.shape.rank == 0:
            return tensor
        return tf.tile(tensor, [times] + [1] * (tensor.shape.rank - 1))

    return tf.nest.map_structure(repeated, structure)
