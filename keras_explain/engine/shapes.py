"""For which shapes a computation is compiled."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class Shapes:
    """The shapes of what was seen so far, one set for each dtype and rank.

    The first inputs are compiled for as they are but for the batch. Where
    later ones differ the shape is left open, so that inputs of ever new sizes
    cost one more trace and no more.

    Args:
        each: Whether nothing is left open but the batch.
    """

    def __init__(self, each: bool = False):
        self._each = each
        self._known: dict[Any, list[tf.TensorSpec]] = {}

    def of(self, inputs: Any) -> Any:
        """Returns the specs to compile for, in the structure of the inputs."""
        flat = tf.nest.flatten(inputs)
        key = (
            str(tf.nest.map_structure(lambda t: t.dtype.name, inputs)),
            tuple(t.shape.rank for t in flat),
        )
        known = self._known.get(key)
        shapes = [[None, *t.shape[1:]] for t in flat]
        if known and not self._each:
            shapes = [
                [a if a == b else None for a, b in zip(s, spec.shape)]  # noqa: B905
                for s, spec in zip(shapes, known, strict=True)
            ]
        found = [
            tf.TensorSpec(shape, t.dtype)
            for shape, t in zip(shapes, flat, strict=True)
        ]
        self._known[key] = found
        return tf.nest.pack_sequence_as(inputs, found)
