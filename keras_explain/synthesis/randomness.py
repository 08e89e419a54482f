"""Random numbers that depend on the seed and the step, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


class Randomness:
    """Stateless draws for the rows of a batch.

    A row belongs to a facet, and rows of one facet draw the same numbers:
    so a unit gets the same picture alone and beside others, and pictures of
    different units can be compared. Facets differ, so that several pictures
    of one unit do.

    Args:
        seeds: One int for each facet.
        facets: For each row, the number of its facet.
        step: Scalar int32; 0 for what is drawn before the first step.
        stream: Draws of different streams have nothing in common.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        facets: Sequence[int],
        step: tf.Tensor | int = 0,
        stream: int = 0,
    ):
        self.seeds = tuple(int(seed) for seed in seeds)
        self.facets = np.asarray(facets, np.int32)
        self.step = tf.convert_to_tensor(step, tf.int32)
        self._draws = stream << 16

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.facets)

    def at(self, step: tf.Tensor | int, stream: int = 0) -> Randomness:
        """Returns the draws of another step."""
        return Randomness(self.seeds, self.facets, step, stream)

    def normal(
        self, shape: Sequence[int], stddev: float | tf.Tensor = 1.0
    ) -> tf.Tensor:
        """Returns `(rows, *shape)` float32 from a normal distribution."""
        return self._draw(
            lambda seed: tf.random.stateless_normal(shape, seed) * stddev
        )

    def uniform(
        self,
        shape: Sequence[int],
        low: float | tf.Tensor = 0.0,
        high: float | tf.Tensor = 1.0,
    ) -> tf.Tensor:
        """Returns `(rows, *shape)` float32 in `[low, high)`."""
        return self._draw(
            lambda seed: (
                low + tf.random.stateless_uniform(shape, seed) * (high - low)
            )
        )

    def integers(self, shape: Sequence[int], low: int, high: int) -> tf.Tensor:
        """Returns `(rows, *shape)` int32 in `[low, high)`."""
        return self._draw(
            lambda seed: tf.random.stateless_uniform(
                shape, seed, low, high, tf.int32
            )
        )

    def _draw(self, draw: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """One draw for each facet, handed to its rows."""
        number, self._draws = self._draws, self._draws + 1
        drawn = []
        for seed in self.seeds:
            key = tf.stack([tf.constant(seed, tf.int32), self.step])
            drawn.append(draw(tf.random.experimental.stateless_fold_in(
                key, number)))  # fmt: skip
        if len(drawn) == 1:
            shape = [self.rows, *drawn[0].shape]
            return tf.broadcast_to(drawn[0][None], shape)
        return tf.gather(tf.stack(drawn), self.facets)
