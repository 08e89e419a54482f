"""Where on the input the cells of a feature map look.

A cell sees a part of the input, its receptive field. Where it begins and how
far the next one is away follows from the kernels, strides and padding on the
way, as Araujo et al., 2019, write out: https://doi.org/10.23915/distill.00021.
Nothing is known behind a layer that mixes positions in another way, such as
one that cuts a picture into tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from keras import layers

from keras_explain.engine.graph import INPUT, Call, Graph
from keras_explain.engine.interception import Inner
from keras_explain.engine.local_operations import enlargement, kernels, margins

_TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


@dataclasses.dataclass(frozen=True)
class Axis:
    """The receptive fields of the cells along one axis.

    Cell `i` sees the positions from `low + i * spacing` to
    `high + i * spacing` of the input, some of which may lie outside of it.
    Numbers, or tensors where the input is of open size.

    Attributes:
        low: First position that cell 0 sees.
        high: The last.
        spacing: Positions from one cell to the next.
        length: Number of cells.
    """

    low: Any
    high: Any
    spacing: float
    length: Any

    @property
    def center(self) -> Any:
        """The position that cell 0 is centered on."""
        return (self.low + self.high) / 2

    def read(self, before: Any, size: int, stride: int, length: Any) -> Axis:
        """Returns the cells that each read `size` of these.

        Args:
            before: How many cells before its own the first one begins.
            size: From the first to the last.
            stride: From one to the next.
            length: Of the new axis.
        """
        before = _float(before)
        return Axis(
            self.low - before * self.spacing,
            self.high + (size - 1 - before) * self.spacing,
            self.spacing * stride,
            length,
        )

    def spread(self, before: Any, size: int, stride: int, length: Any) -> Axis:
        """Returns the cells of a transposed convolution."""
        before = _float(before)
        return Axis(
            self.low + (before - (size - 1)) / stride * self.spacing,
            self.high + before / stride * self.spacing,
            self.spacing / stride,
            length,
        )


def receptive_fields(
    graph: Graph, call: Call, lengths: Sequence[Any]
) -> list[Axis] | None:
    """Returns what the cells of a call's output see of the input.

    Where branches meet, a cell sees what it sees through any of them; one
    that has averaged the positions away, such as the gate of a
    squeeze-and-excitation block, does not count.

    Args:
        graph: The recorded model.
        call: Whose output is looked at.
        lengths: Of the axes of the input, integers or tensors.

    Returns:
        An `Axis` for each, or `None` where it is not known.
    """
    start = [Axis(0.0, 0.0, 1.0, length) for length in lengths]
    known: dict[int, list[Axis] | None] = {INPUT: start}
    for other in graph.calls[: call.index + 1]:
        inside = [k for k in other.makers if k < other.index]
        parents = inside if inside else list(other.parents)
        found = [
            known[k]
            for k in parents
            if k == INPUT or graph.keeps_positions(graph.calls[k])
        ]
        seen = _united([axes for axes in found if axes is not None])
        if seen is not None and not inside:
            seen = _through(other, seen)
        known[other.index] = seen
    return known[call.index]


def _united(found: list[list[Axis]]) -> list[Axis] | None:
    """What is seen through any of several branches."""
    if not found:
        return None
    axes = []
    for each in zip(*found, strict=True):
        one = each[0]
        if any(other.spacing != one.spacing for other in each):
            return None
        low, high = one.low, one.high
        for other in each[1:]:
            low, high = _least(low, other.low), _most(high, other.high)
        axes.append(Axis(low, high, one.spacing, one.length))
    return axes


def _through(call: Call, axes: list[Axis]) -> list[Axis] | None:
    """What the output of a call sees, of what its inputs see."""
    operation = call.operation
    if isinstance(operation, Inner) and not all(call.direct):
        # A fused activation ends before the layer that it is part of, and is
        # fed by what that layer is fed by.
        operation = operation.layer
    found = _moved(operation, axes)
    shape = call.shape
    if shape is None or len(shape) != len(found) + 2:
        return None
    for axis, size in zip(found, shape[1:-1], strict=True):
        both = isinstance(axis.length, int) and size is not None
        if both and axis.length != size:
            return None  # it does something else with the positions
    return found


def _moved(operation: Any, axes: list[Axis]) -> list[Axis]:
    """As `_through`; all that is not known is taken to keep positions."""
    lengths = [axis.length for axis in axes]
    if getattr(operation, "data_format", None) == "channels_first":
        return []
    if getattr(operation, "padding", None) == "causal":
        return axes  # a step is about the last that it sees
    if isinstance(operation, _TRANSPOSED):
        return [_transposed(operation, k, a) for k, a in enumerate(axes)]
    if (read := kernels(operation, lengths)) is not None:
        return [
            axis.read(
                kernel.before,
                (kernel.size - 1) * kernel.dilation + 1,
                kernel.stride,
                kernel.outputs,
            )
            for axis, kernel in zip(axes, read, strict=True)
        ]
    if (added := margins(operation)) is not None:
        return [
            axis.read(before, 1, 1, axis.length + before + after)
            for axis, (before, after) in zip(axes, added, strict=True)
        ]
    if (factors := enlargement(operation)) is not None:
        return [
            # The copies of a cell lie around its center.
            axis.spread((1 - n) / 2, 1, n, axis.length * n)
            for axis, n in zip(axes, factors, strict=True)
        ]
    return axes


def _transposed(layer: Any, number: int, axis: Axis) -> Axis:
    size, stride = layer.kernel_size[number], layer.strides[number]
    extent = (size - 1) * layer.dilation_rate[number] + 1
    if layer.padding == "same":
        before, length = max(extent - stride, 0) // 2, axis.length * stride
    else:
        before = 0
        length = axis.length * stride + max(extent - stride, 0)
    return axis.spread(before, extent, stride, length)


def _float(number: Any) -> Any:
    return tf.cast(number, tf.float32) if tf.is_tensor(number) else number


def _least(one: Any, other: Any) -> Any:
    tensors = tf.is_tensor(one) or tf.is_tensor(other)
    return tf.minimum(one, other) if tensors else min(one, other)


def _most(one: Any, other: Any) -> Any:
    tensors = tf.is_tensor(one) or tf.is_tensor(other)
    return tf.maximum(one, other) if tensors else max(one, other)
