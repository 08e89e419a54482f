"""The small masks of meaningful perturbation, and how they are moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_explain.attribution.perturbation.pyramids import (
    along_axes,
    blur_matrix,
)
from keras_explain.attribution.perturbation.settings import MeaningfulSettings
from keras_explain.attribution.perturbation.sites import Site

# How many discs are tried as the first mask, from none to everything.
DISCS = 11


@dataclasses.dataclass(frozen=True)
class Upsampled:
    """Makes smooth masks of coarse grids; for positions only.

    Attributes:
        site: What the masks are for.
        settings: Of the method.
    """

    site: Site
    settings: MeaningfulSettings

    @property
    def cells(self) -> tuple[int, ...]:
        """Sizes of a grid."""
        if self.site.kind != "positions":
            return self.site.sizes
        return tuple(min(n, self.settings.cells) for n in self.site.sizes)

    def __call__(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns masks `(k, batch, *sizes)`."""
        if self.site.kind != "positions":
            return numbers
        matrices = [
            blur_matrix(size, self.settings.smoothing * size)
            @ interpolation(size, cells)
            for size, cells in zip(self.site.sizes, self.cells, strict=True)
        ]
        return along_axes(numbers, matrices, first=2)

    def discs(self) -> tf.Tensor:
        """Returns grids of ever larger discs, from none to all."""
        shares = np.linspace(0, 1, DISCS)
        shares = shares.reshape([-1] + [1] * len(self.cells))
        if self.site.kind != "positions":
            return tf.constant(shares * np.ones(self.cells), tf.float32)
        axes = [(2 * np.arange(n) + 1) / n - 1 for n in self.cells]
        squares = sum(a**2 for a in np.meshgrid(*axes, indexing="ij"))
        radius = np.sqrt(squares / len(axes))  # 1 in the corners
        return tf.constant((radius < shares), tf.float32)


def interpolation(size: int, cells: int) -> np.ndarray:
    """Returns the `(size, cells)` matrix of centered linear upsampling."""
    centers = (np.arange(size) + 0.5) * cells / size - 0.5
    centers = np.clip(centers, 0, cells - 1)[:, np.newaxis]
    return np.maximum(0, 1 - np.abs(np.arange(cells) - centers))


def total_variation(grids: tf.Tensor, power: float) -> tf.Tensor:
    """The sum over cells of `|grad m|^power`, from forward differences.

    Args:
        grids: `(k, batch, *cells)`. The last difference of an axis is zero.
        power: `beta` of the paper.

    Returns:
        `(k, batch)`.
    """
    rank = grids.shape.rank
    squares = tf.zeros_like(grids)
    for axis in range(2, rank):
        size = grids.shape[axis]
        ahead = tf.gather(
            grids, np.minimum(np.arange(size) + 1, size - 1), axis=axis
        )
        squares += tf.square(ahead - grids)
    # Not quite zero, where the slope of a root has no limit.
    return tf.reduce_sum((squares + 1e-12) ** (power / 2), list(range(2, rank)))


def adam(
    numbers: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    moments: Sequence[tuple[tf.Tensor, tf.Tensor]],
    step: tf.Tensor,
    learning_rate: float,
) -> tuple[tuple, tuple]:
    """One step of Adam (0.9, 0.999, 1e-8), `step` counting from 0."""
    count = tf.cast(step, tf.float32) + 1
    moved, kept = [], []
    for n, g, (mean, square) in zip(numbers, gradients, moments, strict=True):
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * tf.square(g)
        slope = mean / (1 - 0.9**count)
        size = tf.sqrt(square / (1 - 0.999**count))
        moved.append(n - learning_rate * slope / (size + 1e-8))
        kept.append((mean, square))
    return tuple(moved), tuple(kept)
