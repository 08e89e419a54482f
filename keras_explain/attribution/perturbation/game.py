"""What a mask does to the score: the games of preserving and deleting.

A mask here is 1 where an input is taken to matter, whatever the game. To
preserve is to keep that part and perturb the rest, to delete is to perturb
that part and keep the rest; the dual game does both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.class_target import Class
from keras_explain.engine.score import Evaluation, ScoreFunction

Masks = Sequence[tf.Tensor | None]
# From masks, 1 = kept, `(k, batch, ...)`, and the step to what is seen.
Perturb = Callable[[Masks, tf.Tensor | int], list[tf.Tensor | None]]


@dataclasses.dataclass(frozen=True)
class Game:
    """The reward of masks.

    Attributes:
        function: What is explained, its classes settled.
        at: The run on the inputs as they are.
        variant: `"preserve"`, `"delete"` or `"dual"`.
        perturb: What masks do to the point.
        turn: Whether pictures are turned left to right at even steps.
    """

    function: ScoreFunction
    at: Evaluation
    variant: str
    perturb: Perturb
    turn: bool = False

    def rewards(self, masks: Masks, step: tf.Tensor | int = 1) -> tf.Tensor:
        """Returns the rewards of masks `(k, batch, ...)`, `(k, batch)`."""
        points, _, signs = self._points(masks, step)
        many = self.function.repeated(tf.shape(signs)[0])
        return self._summed(many.evaluate(self._rows(points)).score, signs)

    def play(
        self, masks: Masks, step: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """Returns the rewards, and their gradient for the masks."""
        points, seen, signs = self._points(masks, step)
        many = self.function.repeated(tf.shape(signs)[0])
        found = many.differentiate(self._rows(self._turned(points, step)))
        upstream = sampling.unstack(found.gradient, self.function.batch)
        upstream = self._turned(tf.nest.flatten(upstream), step)
        pairs = [
            (x, g * sampling.expand(signs, g))
            for x, g in zip(seen, upstream, strict=True)
            if x is not None
        ]
        own = [mask for mask in masks if mask is not None]
        gradients = iter(
            tf.gradients(
                [x for x, _ in pairs],
                own,
                grad_ys=[g for _, g in pairs],
                unconnected_gradients="zero",
            )
        )
        return self._summed(found.score, signs), [
            None if mask is None else next(gradients) for mask in masks
        ]

    def kept(self, masks: Masks) -> list[Masks]:
        """Returns the masks of what is kept, one for each side."""
        rest = [None if mask is None else 1 - mask for mask in masks]
        return {
            "preserve": [masks],
            "delete": [rest],
            "dual": [masks, rest],
        }[self.variant]

    def _points(
        self, masks: Masks, step: tf.Tensor | int
    ) -> tuple[list[tf.Tensor], list[tf.Tensor | None], tf.Tensor]:
        """What the model sees, how it came from masks, and the signs.

        Signs are `(rows, 1)`: of a score that is to rise, or to fall.
        """
        sides = self.kept(masks)
        joined = [
            None if parts[0] is None else tf.concat(parts, 0)
            for parts in zip(*sides, strict=True)
        ]
        number = next(tf.shape(m)[0] for m in masks if m is not None)
        rises = [1.0] * (self.variant != "delete")
        falls = [-1.0] * (self.variant != "preserve")
        signs = tf.repeat(tf.constant(rises + falls), number)[:, tf.newaxis]
        seen = self.perturb(joined, step)
        points = [
            tf.repeat(x[tf.newaxis], tf.shape(signs)[0], axis=0)
            if new is None
            else tf.cast(new, x.dtype)
            for x, new in zip(tf.nest.flatten(self.at.point), seen, strict=True)
        ]
        return points, seen, signs

    def _rows(self, points: list[tf.Tensor]) -> Any:
        return tf.nest.pack_sequence_as(self.at.point, sampling.stack(points))

    def _summed(self, scores: tf.Tensor, signs: tf.Tensor) -> tf.Tensor:
        """Sums the signed scores of both sides, `(k, batch)`."""
        signed = tf.reshape(scores, [-1, self.function.batch]) * signs
        sides = 2 if self.variant == "dual" else 1
        shape = [sides, -1, self.function.batch]
        return tf.reduce_sum(tf.reshape(signed, shape), 0)

    def _turned(
        self, tensors: list[tf.Tensor], step: tf.Tensor | int
    ) -> list[tf.Tensor]:
        """Turns pictures `(k, batch, height, width, channels)`."""
        if not self.turn:
            return tensors
        is_even = tf.equal(tf.convert_to_tensor(step) % 2, 0)
        return [_turned(x, is_even) if x.shape.rank == 5 else x
                for x in tensors]  # fmt: skip


def _turned(x: tf.Tensor, really: tf.Tensor) -> tf.Tensor:
    turned = tf.cond(really, lambda: tf.reverse(x, [3]), lambda: x)
    return tf.ensure_shape(turned, x.shape)


def can_turn(function: ScoreFunction) -> bool:
    """Whether the score is of a class and of no particular place."""
    return function.call is None and all(
        isinstance(leaf, Class)
        and leaf.region is None
        and leaf.position is None
        for leaf in function.target.leaves()
    )


def in_chunks(
    function: Callable[[tf.Tensor], list[tf.Tensor]],
    number: int,
    rows: int,
    batch: tf.Tensor,
    count: int,
) -> list[tf.Tensor]:
    """Joins the tensors of `function(ids)` over chunks, in the graph.

    As `sampling.collect`, for several tensors, and traced only once: what
    is traced here are whole optimizations.

    Args:
        function: From `(k,)` int32 numbers to float32 `(k, ...)` tensors.
        number: How many numbers there are.
        rows: Limit on `k * batch`; at least one number is taken.
        batch: Rows of one number.
        count: How many tensors the function returns.

    Returns:
        `(number, ...)` tensors.
    """
    if number == 1:
        return function(tf.range(1))
    chunk = tf.clip_by_value(rows // tf.maximum(batch, 1), 1, number)
    shapes: list[tf.TensorShape] = []

    def body(start: tf.Tensor, parts: tuple) -> tuple:
        found = function(tf.range(start, tf.minimum(start + chunk, number)))
        shapes[:] = [t.shape[1:] for t in found]
        return start + chunk, tuple(
            part.write(start // chunk, t)
            for part, t in zip(parts, found, strict=True)
        )

    def empty() -> tf.TensorArray:
        return tf.TensorArray(
            tf.float32, (number + chunk - 1) // chunk, infer_shape=False
        )

    _, parts = tf.while_loop(
        lambda start, _: start < number,
        body,
        (tf.constant(0), tuple(empty() for _ in range(count))),
        # One after the other: chunks in parallel would multiply the memory.
        parallel_iterations=1,
    )
    return [
        tf.ensure_shape(part.concat(), [number, *shape])
        for part, shape in zip(parts, shapes, strict=True)
    ]
