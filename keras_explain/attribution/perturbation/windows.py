"""Windows that move over an input: their sizes, their places, their masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message

# A number of cells: static, or a scalar tensor where a size is not known.
Cells = Any
# By default an axis of positions is cut into so many windows.
_PARTS = 8


@dataclasses.dataclass(frozen=True)
class Axis:
    """How a window moves along one axis.

    Attributes:
        length: Cells of the axis.
        window: Cells of the window.
        stride: Cells from one window to the next.
        covered: Whether one window covers the axis, because it does not
            move along it.
    """

    length: Cells
    window: Cells
    stride: Cells
    covered: bool = False

    @property
    def number(self) -> Cells:
        """Windows it takes to reach the last cell; the last may be cut."""
        if self.covered:
            return 1
        return 1 + (self.length - self.window + self.stride - 1) // self.stride

    def hidden(self, index: tf.Tensor) -> tf.Tensor:
        """Whether windows `(k,)` hide each cell, `(k, length)`."""
        if self.covered:
            return tf.ones([tf.size(index), 1], tf.bool)
        start = (index * self.stride)[:, tf.newaxis]
        cells = tf.range(self.length)
        return (cells >= start) & (cells < start + self.window)

    def coverage(self) -> tf.Tensor:
        """`(number, length)`: 1 where a window hides a cell."""
        if self.covered:
            return tf.ones([1, self.length])
        return tf.cast(self.hidden(tf.range(self.number)), tf.float32)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The windows over one tensor, numbered with the last axis fastest."""

    axes: tuple[Axis, ...]

    @property
    def number(self) -> Cells:
        return math.prod(axis.number for axis in self.axes)

    def index(self, ids: tf.Tensor) -> list[tf.Tensor]:
        """Returns the number along each axis of windows `(k,)`."""
        found = []
        for axis in reversed(self.axes):
            found.append(ids % axis.number)
            ids = ids // axis.number
        return found[::-1]

    def kept(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns masks `(k, 1, ...)` with axes of size one where they can.

        Args:
            ids: `(k,)`. Numbers that are not in the grid hide nothing.
        """
        inside = (ids >= 0) & (ids < self.number)
        hidden = tf.reshape(inside, [-1, 1] + [1] * len(self.axes))
        for k, index in enumerate(self.index(tf.where(inside, ids, 0))):
            cells = self.axes[k].hidden(index)
            shape = [tf.shape(cells)[0], 1] + [1] * len(self.axes)
            shape[2 + k] = tf.shape(cells)[1]
            hidden &= tf.reshape(cells, shape)
        return ~hidden

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Returns for each cell the mean over the windows that hide it.

        Args:
            values: `(number, batch)`, one for each window.

        Returns:
            `(batch, ...)`, zero where no window hides a cell.
        """
        numbers = [axis.number for axis in self.axes]
        values = tf.reshape(values, [*numbers, tf.shape(values)[1]])
        counts = tf.ones(numbers)
        for axis in self.axes:  # each moves the next axis to the front
            coverage = axis.coverage()
            values = tf.tensordot(values, coverage, [[0], [0]])
            counts = tf.tensordot(counts, coverage, [[0], [0]])
        return tf.math.divide_no_nan(values, counts)


def grid(
    window: Any, stride: Any, shape: Sequence[int | None], sizes: tf.Tensor
) -> Grid:
    """Returns the windows over a tensor.

    Args:
        window, stride: For this tensor, as `Occlusion` takes them.
        shape: Static shape of the tensor with its batch axis.
        sizes: Its shape as a tensor.
    """
    lengths = [
        sizes[k] if size is None else size for k, size in enumerate(shape) if k
    ]
    positions = max(1, len(lengths) - 1)
    if window is None:
        window = [
            1 if len(lengths) == 1 else -(-length // _PARTS)
            for length in lengths[:positions]
        ]
    windows = _each_axis(window, positions)
    strides = [None] if stride is None else _each_axis(stride, positions)
    axes = []
    for k, length in enumerate(lengths):
        if k >= len(windows):
            axes.append(Axis(length, length, length, covered=True))
            continue
        cells = windows[k]
        if not isinstance(length, int):
            cells = tf.minimum(cells, length)
        step = strides[k] if k < len(strides) else None
        axes.append(Axis(length, cells, cells if step is None else step))
    return Grid(tuple(axes))


def _each_axis(cells: Any, positions: int) -> list[Cells]:
    if isinstance(cells, (list, tuple)):
        return list(cells)
    return [cells] * positions


def parts(name: str, value: Any, structure: Any) -> list[Any]:
    """Returns what an option means for each tensor, in flattened order.

    Args:
        name: Of the option.
        value: One for a single tensor; a number for all of several, or a
            list or dict with one for each.
        structure: What there is one for each leaf of.

    Raises:
        ValueError: If it is not made as the structure is.
    """
    number = len(tf.nest.flatten(structure))
    if isinstance(structure, dict):
        if isinstance(value, dict) and set(value) == set(structure):
            return [value[key] for key in sorted(structure)]
        one_for_all = not isinstance(value, (dict, list, tuple))
    elif isinstance(structure, (list, tuple)):
        if isinstance(value, (list, tuple)) and len(value) == number:
            return list(value)
        one_for_all = not isinstance(value, (dict, list, tuple))
    else:
        one_for_all = not isinstance(value, dict)
    if one_for_all:
        return [value] * number
    names = sorted(structure) if isinstance(structure, dict) else number
    raise ValueError(
        message(
            f"There is one {name} for each input, or a number for all.",
            f"{name}={value!r} for inputs {names}",
            "Pass a list in this order or a dict with these names; each may "
            "be a number or a tuple over the axes.",
        )
    )


def check_cells(name: str, value: Any) -> None:
    """Raises unless windows or strides are made of positive numbers."""
    if value is None:
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            check_cells(name, item)
        if value:
            return
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole:
        raise TypeError(
            message(
                f"A {name} is a whole number of cells, or a tuple of them.",
                f"{name}={value!r}",
                "Pass an integer, a tuple with one for each axis, or a list "
                "or dict with one for each input.",
            )
        )
    if value < 1:
        what = {
            "stride": "A stride moves the window by at least one cell.",
        }.get(name, "A window hides at least one cell.")
        raise ValueError(
            message(what, f"{name}={value}", "Pass an integer of at least 1.")
        )


def plain(value: Any) -> Any:
    """Returns windows or strides in Python's own integers."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value


def check_fit(
    window: Any, stride: Any, shape: Sequence[int | None], name: str
) -> None:
    """Raises unless a window fits on a tensor.

    Args:
        window, stride: For this tensor.
        shape: Its shape with the batch axis.
        name: What it is, for the message.
    """
    lengths = tuple(shape)[1:]
    positions = max(1, len(lengths) - 1)
    for option, value in (("window", window), ("stride", stride)):
        if isinstance(value, dict) or (
            isinstance(value, (list, tuple))
            and len(value) not in {positions, len(lengths)}
        ):
            raise ValueError(
                message(
                    f"A {option} has one size for each axis of positions, "
                    "and one more for the channels if you like.",
                    f"{option}={value!r} for {name} of shape {lengths}",
                    f"Pass a number, or a tuple of {positions}.",
                )
            )
    if window is None:
        return
    cells = _each_axis(window, positions)
    if any(
        length is not None and size > length
        for size, length in zip(cells, lengths, strict=False)
    ):
        raise ValueError(
            message(
                "The window is larger than what it moves over.",
                f"window={window!r} for {name} of shape {lengths}",
                "Pass a smaller window, or a list or dict with one for each "
                "input.",
            )
        )
