"""Plain convolutions, and ways back through them that take less time.

On the way back TensorFlow takes longer than the products need where

- channels are few: three take as long as sixteen. With a stride, parts of the
  kernel that never meet make a smaller one of more channels: 7 x 7 x 3 with a
  stride of 2 is 4 x 4 x 12 without.
- the kernel is one place wide: then it is a matrix. With few places in all,
  most of the time goes into turning that around; as the left factor it stays
  as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from keras import layers

# Up to so many channels a convolution takes no longer than with one.
CHANNELS = 16
# A kernel one place wide is taken as a matrix for samples of so many places,
# and for larger ones if it does not widen; else TensorFlow is as quick.
SMALL = 64
# Up to so many places of all samples it is the left factor.
FEW_PLACES = 256
# It pays to take a kernel apart if it has so many times fewer products, and
# if it is not filled up to more than so many times its size.
FEWER = 1.5
FILLED = 1.5

WayBack = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_PLAIN = (layers.Conv1D, layers.Conv2D, layers.Conv3D)


@dataclasses.dataclass(frozen=True)
class PlainConvolution:
    """A convolution that does what its options say, and nothing else.

    Attributes:
        convolve: `(x, kernel) -> z`, for any number of channels.
        size: Of the kernel, along the axes of space.
        strides: Along these.
        padding: `"valid"` or `"same"`.
        channels_first: Whether channels are the second axis.
    """

    convolve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    channels_first: bool

    @property
    def input_axis(self) -> int:
        """Axis of the input channels of a kernel."""
        return len(self.size)

    def of_ones(self, x: tf.Tensor) -> tf.Tensor:
        """Convolves one channel with a kernel of ones, to one channel."""
        return self.convolve(x, tf.ones([*self.size, 1, 1], x.dtype))

    def way_back(self, x: tf.Tensor, kernel: Any) -> WayBack | None:
        """Returns what hands the gradient to the input in less time.

        Args:
            x: Has the shape of the input.
            kernel: Has the shape `(*size, input channels, output channels)`.

        Returns:
            `(kernel, given)`, with what the output is given, to a tensor in
            the shape of `x`; `None` where TensorFlow takes no longer.
        """
        space = x.shape[1:-1]
        known = space.is_fully_defined() and x.dtype == tf.float32
        if self.channels_first or not known:
            return None
        inputs, outputs = kernel.shape[-2:]
        if math.prod(self.size) == 1:
            places = math.prod(self._results(space))
            pays = places <= SMALL or inputs >= outputs
            # TensorFlow pads six axes at the most, see `_spread`.
            if pays and (len(space) < 3 or set(self.strides) == {1}):
                return functools.partial(self._as_product, space)
        elif self._comes_apart(inputs):
            return functools.partial(self._apart, space)
        return None

    def _results(self, space: Sequence[int]) -> list[int]:
        """Size of the output along the axes of space."""
        reach = self.size if self.padding == "valid" else (1,) * len(self.size)
        return [
            (size - wide) // stride + 1
            for size, wide, stride in zip(
                space, reach, self.strides, strict=True
            )
        ]

    def _as_product(
        self, space: Sequence[int], kernel: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        inputs, outputs = kernel.shape[-2:]
        results = self._results(space)
        matrix = tf.reshape(kernel, [inputs, outputs])
        rows = tf.reshape(given, [-1, outputs])

        def left() -> tf.Tensor:
            return tf.transpose(tf.matmul(matrix, rows, transpose_b=True))

        def right() -> tf.Tensor:
            return tf.matmul(rows, matrix, transpose_b=True)

        if math.prod(results) > SMALL:
            found = right()
        else:
            found = tf.cond(tf.shape(rows)[0] <= FEW_PLACES, left, right)
        found = tf.reshape(found, [-1, *results, inputs])
        return _spread(found, self.strides, space)

    def _comes_apart(self, channels: int) -> bool:
        """Whether the kernel is taken apart by its strides."""
        stride = self.strides[0]
        flat = len(self.size) == 2 and set(self.strides) == {stride}
        if not flat or stride == 1:
            return False  # nor are there gaps in a kernel with strides
        number = self._blocks()
        filled = math.prod(number) * stride**2
        fewer = _products(self.size, channels) / _products(
            number, channels * stride**2
        )
        return fewer >= FEWER and filled <= FILLED * math.prod(self.size)

    def _blocks(self) -> list[int]:
        """How many strides wide the kernel is along the axes of space."""
        return [
            -(-size // stride)
            for size, stride in zip(self.size, self.strides, strict=True)
        ]

    def _apart(
        self, space: Sequence[int], kernel: tf.Tensor, given: tf.Tensor
    ) -> tf.Tensor:
        stride = self.strides[0]
        high, wide = self._blocks()
        inputs, outputs = kernel.shape[-2:]
        lacking = [
            [0, number * stride - size]
            for number, size in zip((high, wide), self.size, strict=True)
        ]
        parts = tf.reshape(
            tf.pad(kernel, [*lacking, [0, 0], [0, 0]]),
            [high, stride, wide, stride, inputs, outputs],
        )
        parts = tf.reshape(
            tf.transpose(parts, [0, 2, 1, 3, 4, 5]),
            [high, wide, stride**2 * inputs, outputs],
        )
        results = self._results(space)
        whole = [results[0] + high - 1, results[1] + wide - 1]
        found = tf.nn.conv2d_transpose(
            given, parts, [tf.shape(given)[0], *whole, parts.shape[2]],
            strides=1, padding="VALID",
        )  # fmt: skip
        found = tf.nn.depth_to_space(found, stride)
        return self._placed(found, space, results)

    def _placed(
        self, padded: tf.Tensor, space: Sequence[int], results: Sequence[int]
    ) -> tf.Tensor:
        """Leaves out what padding got, and adds what no window saw."""
        cuts, missing = [slice(None)], [[0, 0]]
        for axis, size in enumerate(space):
            before = 0
            if self.padding == "same":
                reach = (results[axis] - 1) * self.strides[axis]
                before = max(reach + self.size[axis] - size, 0) // 2
            cuts.append(slice(before, before + size))
            there = min(padded.shape[axis + 1] - before, size)
            missing.append([0, size - there])
        found = padded[tuple(cuts)]
        if any(after for _, after in missing):
            found = tf.pad(found, [*missing, [0, 0]])
        return found


def plain_convolution(layer: layers.Layer) -> PlainConvolution | None:
    """Returns what is known of a layer that is a convolution and no more."""
    # Not of another class, which may do with its kernel what it likes.
    if type(layer) not in _PLAIN or layer.groups != 1:
        return None
    if layer.padding == "causal":  # `call` pads in that case
        return None
    return PlainConvolution(
        layer.convolution_op,
        layer.kernel_size,
        layer.strides,
        layer.padding,
        layer.data_format == "channels_first",
    )


def _products(size: Sequence[int], channels: int) -> int:
    """What a convolution takes for each output, with channels filled up."""
    return math.prod(size) * -(-channels // CHANNELS) * CHANNELS


def _spread(
    values: tf.Tensor, strides: Sequence[int], space: Sequence[int]
) -> tf.Tensor:
    """Puts zeros between places that lie a stride apart."""
    if set(strides) == {1}:
        return values
    number = values.shape[1:-1]
    shape, zeros, whole = [-1], [[0, 0]], [-1]
    for places, stride in zip(number, strides, strict=True):
        shape += [places, 1]
        zeros += [[0, 0], [0, stride - 1]]
        whole.append(places * stride)
    channels = values.shape[-1]
    apart = tf.reshape(values, [*shape, channels])
    apart = tf.reshape(tf.pad(apart, [*zeros, [0, 0]]), [*whole, channels])
    return apart[(slice(None), *(slice(size) for size in space))]
