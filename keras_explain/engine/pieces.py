"""Pieces of maps: cut out, put into place, window by window.

Where the pieces of each window are is known when a model is traced, so that
cells and masks are tables of constants with a row for each window along an
axis; what is left to do in the graph is to look them up.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_explain.engine.receptive_field import Box

# First cells and number of the cells along an axis.
Reads = Sequence[tuple[np.ndarray, int]]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The windows that are run at once.

    Attributes:
        index: For each axis `(k,)`, their numbers along it.
        times: Their number, `k`.
    """

    index: list[tf.Tensor]
    times: tf.Tensor

    def look_up(
        self, tables: Sequence[np.ndarray], end: int = 0
    ) -> list[tf.Tensor]:
        """Looks up tables `(windows, size)`, one for each axis.

        Args:
            tables: Of each axis.
            end: How many axes of size one to append.

        Returns:
            For each axis `(k, 1, size, 1)`, its cells where the axis is.
        """
        found = []
        for axis, table in enumerate(tables):
            shape = [len(table)] + [1] * (len(tables) + end)
            shape[1 + axis] = table.shape[1]
            constant = tf.constant(table.reshape(shape))
            found.append(tf.gather(constant, self.index[axis]))
        return found

    def all_of(self, tables: Sequence[np.ndarray]) -> tf.Tensor:
        """Where the tables of all axes are true, `(k, *sizes, 1)`."""
        return _fold(operator.and_, self.look_up(tables, 1))

    def _places(
        self, cells: Sequence[np.ndarray], lengths: Sequence[int]
    ) -> tf.Tensor:
        """Numbers of cells in a map laid out as one axis, `(k, *sizes)`."""
        scaled = [
            (table * math.prod(lengths[axis + 1 :])).astype(np.int32)
            for axis, table in enumerate(cells)
        ]
        return _fold(operator.add, self.look_up(scaled))

    def _own_places(
        self, cells: Sequence[np.ndarray], lengths: Sequence[int]
    ) -> tf.Tensor:
        """The same in maps of which there is one for each window."""
        shape = [-1] + [1] * len(lengths)
        first = tf.range(self.times) * math.prod(lengths)
        return self._places(cells, lengths) + tf.reshape(first, shape)

    def cut(self, x: tf.Tensor, reads: Reads) -> tf.Tensor:
        """Cuts pieces `(k, *sizes, channels)` out of one sample.

        Args:
            x: `(1, *positions, channels)`.
            reads: The cells; those outside of the map give its border.
        """
        lengths = x.shape[1:-1]
        cells = [
            np.clip(table, 0, length - 1)
            for table, length in zip(_tables(reads), lengths, strict=True)
        ]
        rows = tf.reshape(x, [-1, x.shape[-1]])
        return tf.gather(rows, self._places(cells, lengths))

    def put(
        self, old: tf.Tensor, reads: Reads, piece: tf.Tensor, box: Box
    ) -> tf.Tensor:
        """Puts pieces over other pieces that overlap with them.

        Args:
            old: `(k, *sizes, channels)`.
            reads: Its cells.
            piece: What is put over it.
            box: Where that is.
        """
        sizes = [span.size for span in box]
        # Which cell of the piece each cell is; outside of it there is none.
        fresh = [
            table - span.start[:, np.newaxis]
            for table, span in zip(_tables(reads), box, strict=True)
        ]
        pairs = list(zip(fresh, sizes, strict=True))
        covers = [(at >= 0) & (at < size) for at, size in pairs]
        inside = [np.clip(at, 0, size - 1) for at, size in pairs]
        rows = tf.reshape(piece, [-1, piece.shape[-1]])
        found = tf.gather(rows, self._own_places(inside, sizes))
        if all(map(np.all, covers)):
            return found
        return tf.where(self.all_of(covers), found, old)

    def whole(self, x: tf.Tensor, piece: tf.Tensor, box: Box) -> tf.Tensor:
        """Puts pieces into copies of one sample, `(k, *positions, channels)`.

        Args:
            x: `(1, *positions, channels)`.
            piece: `(k, *sizes, channels)`.
            box: Where the pieces are.
        """
        lengths = [span.length for span in box]
        reads = [(span.start, span.size) for span in box]
        places = self._own_places(_tables(reads), lengths)
        rows = tf.reshape(self.copies(x), [-1, x.shape[-1]])
        rows = tf.tensor_scatter_nd_update(rows, places[..., tf.newaxis], piece)
        return tf.reshape(rows, [-1, *x.shape[1:]])

    def copies(self, x: tf.Tensor) -> tf.Tensor:
        """Returns one sample `k` times."""
        return tf.tile(x, [self.times] + [1] * (x.shape.rank - 1))

    def inside(self, reads: Reads, lengths: Sequence[int]) -> tf.Tensor | None:
        """Which cells are in the map, `(k, *sizes, 1)`; `None` for all."""
        tables = [
            (table >= 0) & (table < length)
            for table, length in zip(_tables(reads), lengths, strict=True)
        ]
        return None if all(map(np.all, tables)) else self.all_of(tables)

    def changed(self, box: Box) -> tf.Tensor:
        """Which cells of the pieces the windows hide, `(k, *sizes, 1)`."""
        reads = [(span.start, span.size) for span in box]
        return self.all_of(
            [
                (table >= span.low[:, np.newaxis])
                & (table < span.high[:, np.newaxis])
                for table, span in zip(_tables(reads), box, strict=True)
            ]
        )


def _tables(reads: Reads) -> list[np.ndarray]:
    """The cells along each axis, `(windows, size)`."""
    return [
        np.asarray(first)[:, np.newaxis] + np.arange(size)
        for first, size in reads
    ]


def _fold(combine: Callable, parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return functools.reduce(combine, parts)
