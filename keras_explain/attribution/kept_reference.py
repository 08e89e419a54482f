"""The run on a reference that is the same at every call, kept between calls.

What it takes is activations of one sample. They are held by the explainer,
so that of several runs the results of one are there, and the others are made
again when it is their turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import tensorflow as tf

from keras_explain.attribution.differences import Known
from keras_explain.engine.graph import Graph
from keras_explain.engine.kept_part import KeptPart
from keras_explain.engine.remaking import origin, positive_part_of

# Targets that look at other layers, and inputs of other sizes, have runs on the
# reference of their own. So many are kept traced, and the results of one.
MOST_RUNS = 8


class KeptReferences:
    """The runs on the reference of one explainer, by what they depend on."""

    def __init__(self) -> None:
        # With the graph, that its identity is not another's.
        self._runs: dict[Any, tuple[Graph, KeptReference | None]] = {}

    def tensors(
        self,
        key: Any,
        graph: Graph,
        reference: Any,
        make: Callable[[], KeptReference | None],
    ) -> list[tf.Tensor] | None:
        """Returns what is kept of a run, `None` if nothing is to be.

        Args:
            key: What the structure of the run depends on.
            graph: Of the model; its identity may be part of the key.
            reference: The reference, with one row.
            make: Returns a run for the key, `None` if it is not to be kept.
        """
        if key not in self._runs:
            made = make()
            while len(self._runs) >= MOST_RUNS:
                self._runs.pop(next(iter(self._runs)))
            self._runs[key] = graph, made
        for other, (_, run) in list(self._runs.items()):
            if run is not None and other != key:
                run.forget()  # what one run takes is enough
        _, run = self._runs[key]
        return None if run is None else run.tensors(reference)

    def known(self, key: Any, tensors: list[tf.Tensor]) -> Known:
        """Returns the run again, from what `tensors` has returned for it."""
        _, run = self._runs[key]
        return cast(KeptReference, run).known(tensors)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in what is kept a tensor of a run is.

    Attributes:
        number: Of the tensor that is kept.
        positive: Whether it is the positive part of that.
    """

    number: int
    positive: bool


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

        def at(place: _Place | None) -> tf.Tensor | None:
            if place is None:
                return None
            tensor = shaped[place.number]
            return tf.nn.relu(tensor) if place.positive else tensor

        return tf.nest.map_structure(at, self._structure)

    def _distinct(self, found: Known) -> list[tf.Tensor]:
        """What is to be kept of a run; notes where in the run it is.

        Each tensor once, and none that is the positive part of another.
        """
        flat = [t for t in tf.nest.flatten(found) if t is not None]
        made = {origin(t).ref(): origin(t) for t in flat}
        parts = {ref: positive_part_of(t) for ref, t in made.items()}
        tensors = {
            ref: t
            for ref, t in made.items()
            if parts[ref] is None or parts[ref].ref() not in made
        }
        numbers = {ref: number for number, ref in enumerate(tensors)}

        def place(tensor: tf.Tensor | None) -> _Place | None:
            if tensor is None:
                return None
            own = ref = origin(tensor).ref()
            while ref not in numbers:
                ref = parts[ref].ref()
            return _Place(numbers[ref], positive=ref is not own)

        self._structure = tf.nest.map_structure(place, found)
        kept = list(tensors.values())
        self._shapes = [tensor.shape for tensor in kept]
        return kept
