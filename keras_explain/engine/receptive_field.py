"""Which cells of a feature map a change of the input can reach.

Plain integer arithmetic along one axis at a time: from the cells that change,
and from kernel, stride, dilation and padding, to the cells of the output that
can change, and back to the cells of the input that are needed for them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Span:
    """The cells along one axis that can change, window by window.

    All windows are read and written in pieces of one size, the largest that
    any of them needs, so that they can be run as one batch. What a piece
    holds beyond its window's cells is unchanged, and so is what comes of it.

    Attributes:
        low: `(windows,)`, the first cell of each.
        high: `(windows,)`, one past the last.
        length: Number of cells along the axis.
    """

    low: np.ndarray
    high: np.ndarray
    length: int

    @property
    def size(self) -> int:
        """Cells of a piece."""
        return max(1, int(np.max(self.high - self.low)))

    @property
    def start(self) -> np.ndarray:
        """`(windows,)`, the first cell of each piece, inside the axis."""
        return np.clip(self.low, 0, self.length - self.size)

    def clipped(self, length: int) -> Span:
        """Returns the part within an axis of `length` cells."""
        low, high = (np.clip(x, 0, length) for x in (self.low, self.high))
        return Span(low, np.maximum(low, high), length)

    def shifted(self, offset: int, length: int) -> Span:
        """Returns the same cells on an axis that begins elsewhere."""
        moved = Span(self.low + offset, self.high + offset, length)
        return moved.clipped(length)

    def enlarged(self, factor: int) -> Span:
        """Returns the cells after each was repeated `factor` times."""
        return Span(self.low * factor, self.high * factor, self.length * factor)

    def united(self, other: Span) -> Span:
        """Returns what either of two spans can change."""
        low = np.minimum(self.low, other.low)
        return Span(low, np.maximum(self.high, other.high), self.length)


# One span for each axis of positions. The windows form a grid, so that the
# spans of an axis are counted along that axis.
Box = tuple[Span, ...]


def share(box: Box) -> float:
    """How much of the map a piece is, from 0 to 1."""
    return math.prod(span.size / span.length for span in box)


def unite(boxes: Sequence[Box]) -> Box:
    """Returns what any of several boxes over the same map can change."""
    found = boxes[0]
    for box in boxes[1:]:
        pairs = zip(found, box, strict=True)
        found = tuple(one.united(other) for one, other in pairs)
    return found


@dataclasses.dataclass(frozen=True)
class Kernel:
    """How an operation reads its input along one axis.

    Output `o` reads the inputs `o * stride - before + j * dilation` with
    `j` from 0 to `size - 1`.

    Attributes:
        size, stride, dilation: Of the kernel.
        before: Cells of padding before the first.
        outputs: Number of outputs.
    """

    size: int
    stride: int
    dilation: int
    before: Any
    outputs: Any

    @classmethod
    def padded(
        cls, length: Any, size: int, stride: int, dilation: int, padding: str
    ) -> Kernel:
        """Returns the kernel on an axis, with padding as Keras names it.

        Args:
            length: Number of inputs; a tensor where it is open, and then
                `before` and `outputs` may be tensors as well.
            size, stride, dilation: Of the kernel.
            padding: `"valid"`, `"same"` or `"causal"`.
        """
        extent = (size - 1) * dilation + 1
        if padding == "same":
            outputs = -(-length // stride)
            added = (outputs - 1) * stride + extent - length
            added = (
                max(added, 0) if isinstance(added, int) else tf.nn.relu(added)
            )
            return cls(size, stride, dilation, added // 2, outputs)
        before = extent - 1 if padding == "causal" else 0
        outputs = (length + before - extent) // stride + 1
        return cls(size, stride, dilation, before, outputs)

    def reached(self, span: Span) -> Span:
        """Returns the outputs that read any of the cells."""
        extent = (self.size - 1) * self.dilation
        low = -(-(span.low + self.before - extent) // self.stride)
        high = (span.high - 1 + self.before) // self.stride + 1
        return Span(low, high, self.outputs).clipped(self.outputs)

    def needed(self, span: Span) -> tuple[np.ndarray, int]:
        """Returns first cell and number of the inputs that pieces read.

        They may lie before the first cell and behind the last one, where
        the padding is.
        """
        extent = (self.size - 1) * self.dilation
        size = (span.size - 1) * self.stride + extent + 1
        return span.start * self.stride - self.before, size
