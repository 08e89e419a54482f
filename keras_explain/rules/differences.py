"""What rules of differences stand on: two runs, and one walk back.

DeepLIFT compares a run of the model on the inputs with one on a reference.
The reference is run with observers, which keep what each call was given and
made of it; then the gradient of the run on the inputs is changed to
multipliers: a call with `y = f(x)` hands `m` on such that

    sum_k m_k (x_k - r_k) = m (f(x) - f(r))

so that contributions sum to the difference of the scores. What is affine
does so by its plain gradient and needs no rule.

A reference that is the same for the whole batch is run in one row, and
broadcasts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.relevance import Shares, later
from keras_explain.engine.remaking import positive_part_of
from keras_explain.engine.rules import (
    Division,
    Observe,
    Place,
    PlacedTensorRule,
    ReadyRule,
    Rule,
    TensorRule,
)
from keras_explain.engine.sampling import quadrature

Key = tuple[str, int]


class Observed(NamedTuple):
    """What a call was given and made in the run on the reference.

    Attributes:
        inputs: Its arguments in floats.
        output: Its first output in floats; `None` if no rule reads it.
    """

    inputs: list[tf.Tensor]
    output: tf.Tensor | None


class References:
    """What was observed in the run on the reference, by call.

    Args:
        shared: Whether one row stands for the whole batch.

    Attributes:
        seen: What was observed. Rules look it up on the way back: the run on
            the reference may come after the one on the inputs.
        functions: Nonlinearities of the run on the inputs, for rules that
            act on the layer before.
    """

    def __init__(self, shared: bool):
        self.shared = shared
        self.seen: dict[Key, Observed] = {}
        self.functions: dict[Key, Callable] = {}

    def like(self, reference: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Returns a reference such that it broadcasts to `x`."""
        one = reference.shape.rank == 0 or reference.shape[0] == 1
        same = reference.shape[0] is not None and (
            reference.shape[0] == x.shape[0]
        )
        if not self.shared or one or same or x.shape.rank == 0:
            return reference
        # A layer that folds steps of time into the batch has one row for
        # each of them.
        times = tf.shape(x)[0] // tf.shape(reference)[0]
        rest = [1] * (reference.shape.rank - 1)
        return tf.tile(reference, [times, *rest])

    def full(self, reference: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Returns a reference in the shape of `x`."""
        return spread(self.like(reference, x), x)


def spread(reference: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Broadcasts to the shape of `x`, also as far as it is known."""
    if reference.shape == x.shape and x.shape.is_fully_defined():
        return reference
    found = tf.broadcast_to(reference, tf.shape(x))
    found.set_shape(x.shape)
    return found


def floats(structure: Any) -> list[tf.Tensor]:
    """The tensors in floats of a structure, in order."""
    return [
        t
        for t in tf.nest.flatten(structure)
        if tf.is_tensor(t) and t.dtype.is_floating
    ]


class Step(NamedTuple):
    """A call in both runs, in float32.

    Attributes:
        inputs: Its arguments in the run on the inputs.
        references: Those in the other run; they broadcast to the inputs.
        output, reference: What the call made in either; the reference is
            `None` if the rule does not read it.
        at: The call in the run on the inputs, in its own number format.
        kept: Where references come from.
    """

    inputs: list[tf.Tensor]
    references: list[tf.Tensor]
    output: tf.Tensor
    reference: tf.Tensor | None
    at: Division
    kept: References


class DifferenceRule:
    """Base of rules that hand multipliers on. A rule defines `multiply`."""

    splits = False
    reads = ""
    # Whether it makes a factor that can be had before the way back.
    early = False
    # Whether it reads what the call made of the reference.
    reads_output = True

    def prepared(self, place: Place) -> Any:
        return held(self, place)

    def apply(self, *_: Any) -> Any:
        raise TypeError("It has to be prepared.")

    def multiply(
        self, step: Step, upstream: tf.Tensor
    ) -> Sequence[tf.Tensor | None]:
        """Returns the multipliers of the inputs.

        Args:
            step: The call in both runs.
            upstream: The multiplier of its output.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Held(ReadyRule):
    """What stands at a call until there is a reference.

    Attributes:
        key: Of the call.
        against: Returns what stands there in the run on the inputs.
        reads_output: Whether it reads what the call made of the reference.
    """

    key: Key
    against: Callable[[References], Rule]
    reads_output: bool = True

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        return function(*args, **kwargs)  # for a run that asks for scores

    def observing(self, kept: dict[Key, Any]) -> Observe:
        """Returns what stands there in the run on the reference.

        Args:
            kept: Where it writes to, see `observed`.
        """
        return Observe(kept, self.key)

    def observed(self, kept: dict[Key, Any]) -> Observed:
        """Returns what the rule reads of what was kept."""
        args, kwargs, outputs = kept[self.key]
        made = floats(outputs) if self.reads_output else []
        return Observed(floats((args, kwargs)), made[0] if made else None)


def held(rule: DifferenceRule, place: Place) -> Held:
    """Returns a rule of differences at one call."""
    key, signals = place.call.key, place.signals

    def against(references: References) -> Rule:
        return PlacedTensorRule(_Against(rule, key, references), signals)

    return Held(key, against, rule.reads_output)


@dataclasses.dataclass(frozen=True)
class _Against(TensorRule):
    rule: DifferenceRule
    key: Key
    kept: References

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        seen = self.kept.seen[self.key]
        # One row of a reference is there in any case, and a factor would
        # be one tensor more.
        early = self.rule.early and not self.kept.shared

        def ready(tensor: tf.Tensor) -> tf.Tensor:
            if early:
                return tf.cast(tensor, tf.float32)
            # What the ReLU before was given, its own rule reads as well.
            given = positive_part_of(tensor) if self.kept.shared else None
            if given is None:
                return later(tensor, relevance)
            # For long passes to absorb.
            return in_one_pass(
                tf.nn.relu, later(given, relevance), absorbable=True, long=True
            )

        inputs = [ready(x) for x in at.inputs]
        references = [
            ready(self.kept.like(r, x))
            for r, x in zip(seen.inputs, inputs, strict=True)
        ]
        output, reference = ready(at.output), None
        if seen.output is not None:
            reference = ready(self.kept.like(seen.output, output))
        step = Step(inputs, references, output, reference, at, self.kept)
        return Shares(self.rule.multiply(step, tf.cast(relevance, tf.float32)))


def averaged_gradient(
    function: Callable[..., tf.Tensor],
    ends: Sequence[tuple[tf.Tensor, tf.Tensor]],
    upstream: tf.Tensor,
    num_nodes: int,
) -> list[tf.Tensor]:
    """The gradient averaged on the straight line from reference to input.

    After Gauss and Legendre: exact for polynomials of degree `2 num_nodes`.

    Args:
        function: Of the tensors.
        ends: For each of them, the value on the inputs and on the reference,
            in one shape.
        upstream: The multiplier of what it returns.
        num_nodes: Number of points on the line.
    """
    nodes, weights = quadrature("gauss_legendre", num_nodes)

    def gradients(node: Any, weight: Any) -> list[tf.Tensor]:
        points = []
        for x, r in ends:
            point = r + tf.cast(node, x.dtype) * (x - r)
            point.set_shape(x.shape)
            points.append(point)
        output = function(*points)
        found = tf.gradients(output, points, tf.cast(upstream, output.dtype))
        return [
            tf.zeros_like(p) if g is None else g * tf.cast(weight, g.dtype)
            for p, g in zip(points, found, strict=True)
        ]

    if num_nodes <= 2:
        each = [gradients(*pair) for pair in zip(nodes, weights, strict=True)]
        return [sum(g[1:], g[0]) for g in zip(*each, strict=True)]
    at, by = tf.constant(nodes, tf.float32), tf.constant(weights, tf.float32)

    def body(k: tf.Tensor, sums: list) -> tuple[tf.Tensor, list]:
        found = gradients(at[k], by[k])
        return k + 1, [s + f for s, f in zip(sums, found, strict=True)]

    start = [tf.zeros_like(x) for x, _ in ends]
    return tf.while_loop(
        lambda k, _: k < num_nodes,
        body,
        (tf.constant(0), start),
        parallel_iterations=1,
        shape_invariants=(tf.TensorShape([]), [s.shape for s in start]),
    )[1]
