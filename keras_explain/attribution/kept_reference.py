"""The run on a reference that is the same at every call, kept between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.attribution.differences import Known
from keras_explain.engine.kept_part import KeptPart


class KeptReference:
    """What a model makes of one reference, for as long as that is the same.

    Args:
        run: `(reference) -> Known`, called under trace.
        reference: The reference, with one row.
    """

    def __init__(self, run: Callable[[Any], Known], reference: Any):
        self._shapes: list[tf.TensorShape] = []
        self._structure: Any = None

        def compute(*flat: tf.Tensor) -> list[tf.Tensor]:
            found = run(tf.nest.pack_sequence_as(reference, flat))
            return self._distinct(found)

        self._part = KeptPart(compute, tf.nest.flatten(reference))

    @property
    def can_be_kept(self) -> bool:
        """Whether it is the same whenever reference and weights are."""
        return self._part.depends_on_no_more

    def tensors(self, reference: Any) -> list[tf.Tensor]:
        """Returns what the run makes of a reference, each tensor once."""
        return self._part.results(tf.nest.flatten(reference))

    def forget(self) -> None:
        """Lets the tensors go; they are made again when asked for."""
        self._part.forget()

    def known(self, tensors: list[tf.Tensor]) -> Known:
        """Returns the run again, from what `tensors` has returned."""
        shaped = [
            tf.ensure_shape(tensor, shape)
            for tensor, shape in zip(tensors, self._shapes, strict=True)
        ]
        return tf.nest.map_structure(
            lambda place: None if place is None else shaped[place],
            self._structure,
        )

    def _distinct(self, found: Known) -> list[tf.Tensor]:
        """Each tensor of a run once; keeps where in the run it is."""
        places: dict[Any, int] = {}
        tensors: list[tf.Tensor] = []

        def place(tensor: tf.Tensor | None) -> int | None:
            if tensor is None:
                return None
            if tensor.ref() not in places:
                places[tensor.ref()] = len(tensors)
                tensors.append(tensor)
            return places[tensor.ref()]

        self._structure = tf.nest.map_structure(place, found)
        self._shapes = [tensor.shape for tensor in tensors]
        return tensors
