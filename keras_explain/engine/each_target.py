"""A target of its own for each sample of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.targets import Target, View, registered


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Each(Target):
    """One target for each sample; made from a list of targets.

    Targets that differ in a number only, such as the channels of one layer,
    are scored together.

    Args:
        targets: As many as there are samples.
    """

    targets: tuple[Target, ...]

    @functools.cached_property
    def _groups(self) -> dict[Any, list[int]]:
        """Samples whose targets are scored together."""
        found: dict[Any, list[int]] = {}
        for row, target in enumerate(self.targets):
            found.setdefault(target.signature(), []).append(row)
        return found

    @property
    def _first(self) -> list[Target]:
        return [self.targets[rows[0]] for rows in self._groups.values()]

    def leaves(self) -> Iterator[Target]:
        yield self
        for target in self._first:
            yield from target.leaves()

    def layers(self) -> tuple[Any, ...]:
        return tuple(
            layer for target in self._first for layer in target.layers()
        )

    def signature(self) -> Any:
        return ("Each", tuple(self._groups))

    def arguments(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> list[dict[str, tf.Tensor]]:
        groups = list(self._groups.values())
        number = np.zeros(len(self.targets), np.int32)
        found: list[dict[str, tf.Tensor]] = []
        for k, rows in enumerate(groups):
            number[rows] = k
            # Samples of other groups take the parameters of this one's
            # first; what comes of it is left aside.
            chosen = [row if row in rows else rows[0]
                      for row in range(len(self.targets))]  # fmt: skip
            each = {r: self.targets[r].arguments(1, graph) for r in rows}
            for leaf in range(len(each[rows[0]])):
                found.append(
                    tf.nest.map_structure(
                        lambda *t: tf.concat(t, 0),
                        *[each[row][leaf] for row in chosen],
                    )
                )
        return [{"group": tf.constant(number)}, *found]

    def rows(self, rows: slice) -> Target:
        return Each(self.targets[rows])

    def check(self, graph: Graph, batch: int | None = None) -> None:
        if batch is not None and batch != len(self.targets):
            raise ValueError(
                message(
                    "A list of targets has one for each sample.",
                    f"{len(self.targets)} targets for {batch} samples",
                    "Pass one target to explain the same in all.",
                )
            )
        for target in self.targets:
            target.check(graph, 1)

    def score(self, view: View) -> tf.Tensor:
        group = view.parameters()["group"]
        scores = [target.score(view) for target in self._first]
        if len(scores) == 1:
            return scores[0]
        zero = tf.zeros_like(scores[0])
        return tf.add_n(
            [tf.where(group == k, s, zero) for k, s in enumerate(scores)]
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {"targets": [serialize(target) for target in self.targets]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        load = keras.saving.deserialize_keras_object
        return cls(tuple(load(target) for target in config["targets"]))

    def _identity(self) -> Any:
        return ("Each", tuple(t._identity() for t in self.targets))
