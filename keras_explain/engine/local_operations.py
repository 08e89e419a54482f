"""Operations whose outputs depend on a neighborhood of their inputs.

For each such operation: which part of its output a change can reach, which
part of its input has to be read for that, and how to compute the one from
the other. Operations that are not known here are taken to be global.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_explain.engine.receptive_field import Box, Kernel, unite

# What they do to one position does not depend on the others.
_POINTWISE = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
)
_NORMS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.Normalization,
    layers.Softmax,
)
_MERGES = (
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_MAX_POOLING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
_AVERAGE_POOLING = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
)
_PADDING = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
)
_CROPPING = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
_ENLARGING = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
# Classes of `keras.ops` nodes.
_NODES = {
    "Absolute", "Add", "Cast", "Clip", "Divide", "Elu", "Exp", "Gelu",
    "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "Log1p", "Maximum",
    "Minimum", "Multiply", "Negative", "Power", "Relu", "Relu6", "Selu",
    "Sigmoid", "Silu", "Softplus", "Softsign", "Sqrt", "Square", "Subtract",
    "Tanh", "TrueDivide",
}  # fmt: skip
LOWEST = "lowest"

# From the pieces of its inputs, and which of their cells are no padding, to
# the piece of its output. `None` calls the operation on the pieces.
Compute = Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor] | None


@dataclasses.dataclass(frozen=True)
class Local:
    """What has to be done to follow a change through an operation.

    Attributes:
        box: What can change of its output.
        reads: For each axis first cells and number of the cells to read of
            the input; `None` for those of `box`.
        compute: From what was read to the piece of the output; `None` for
            the operation itself.
        padding: What stands outside of the input: 0, or `LOWEST`.
    """

    box: Box
    reads: tuple[tuple[np.ndarray, int], ...] | None = None
    compute: Compute = None
    padding: Any = 0


def local(operation: Any, boxes: Sequence[Box]) -> Local | None:
    """Returns how a change passes an operation; `None` if it is global.

    Args:
        operation: A layer or a `keras.ops` node, channels last.
        boxes: What can change of each of its inputs.
    """
    # Subclasses may do anything else in their `call`.
    kind = type(operation)
    lengths = {tuple(span.length for span in box) for box in boxes}
    if len(lengths) != 1 or not _is_plain(operation):
        return None
    box = unite(boxes)
    if kind in _MERGES or _is_node(kind):
        return Local(box)
    if kind is layers.Concatenate:
        joins_channels = operation.axis in (-1, len(box) + 1)
        return Local(box) if joins_channels else None
    if len(boxes) != 1:
        return None
    if _is_pointwise(operation, len(box) + 2):
        return Local(box)
    if kind in (*_CONVOLUTIONS, *_DEPTHWISE, *_SEPARABLE):
        return _convolution(operation, box)
    if kind in (*_MAX_POOLING, *_AVERAGE_POOLING):
        return _pooling(operation, box)
    if kind in (*_PADDING, *_CROPPING):
        return _moved(operation, box)
    if kind in _ENLARGING and _is_nearest(operation):
        return _enlarged(operation, box)
    return None


def _is_plain(operation: Any) -> bool:
    """Whether nothing is set that changes what a layer of its kind does."""
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        return False
    if getattr(operation, "quantization_mode", None) is not None:
        return False
    return _is_known(getattr(operation, "activation", None))


def _is_known(activation: Any) -> bool:
    """Whether a fused activation treats all positions alike."""
    if activation is None:
        return True
    if isinstance(activation, keras.Layer):
        return type(activation) in _POINTWISE
    # Under trace it may be shadowed; all of Keras's act on each value, or on
    # the channels of a position.
    function = inspect.unwrap(activation)
    return str(getattr(function, "__module__", "")).startswith("keras.")


def _is_node(kind: type) -> bool:
    return kind.__module__.startswith("keras.src.ops.") and (
        kind.__name__ in _NODES
    )


def _is_pointwise(operation: Any, rank: int) -> bool:
    kind = type(operation)
    if kind in (*_POINTWISE, layers.Activation, layers.Dense):
        return True
    if kind in _NORMS:
        axes = tf.nest.flatten(operation.axis)
        return all(axis in (-1, rank - 1) for axis in axes)
    if kind is layers.PReLU:
        return all(size == 1 for size in operation.alpha.shape[:-1])
    if kind is layers.Rescaling:
        given = (operation.scale, operation.offset)
        return all(np.ndim(value) < 2 for value in given)
    return False


def kernels(operation: Any, lengths: Sequence[Any]) -> list[Kernel] | None:
    """Returns how an operation reads its input along each axis.

    Args:
        operation: A convolution or a pooling, channels last; for others the
            result is `None`.
        lengths: Of the axes of positions, integers or tensors.
    """
    if isinstance(operation, (*_CONVOLUTIONS, *_DEPTHWISE, *_SEPARABLE)):
        sizes, dilations = operation.kernel_size, operation.dilation_rate
    elif isinstance(operation, (*_MAX_POOLING, *_AVERAGE_POOLING)):
        sizes, dilations = operation.pool_size, (1,) * len(lengths)
    else:
        return None
    each = zip(lengths, sizes, operation.strides, dilations, strict=True)
    return [Kernel.padded(*axis, operation.padding) for axis in each]


def _through(layer: Any, box: Box, compute: Compute, padding: Any = 0) -> Local:
    found = kernels(layer, [span.length for span in box]) or []
    pairs = list(zip(box, found, strict=True))
    reached = tuple(kernel.reached(span) for span, kernel in pairs)
    reads = tuple(
        kernel.needed(span) for span, kernel in zip(reached, found, strict=True)
    )
    return Local(reached, reads, compute, padding)


def _convolution(layer: Any, box: Box) -> Local:
    options = {
        "strides": layer.strides,
        "padding": "valid",
        "dilation_rate": layer.dilation_rate,
        "data_format": "channels_last",
    }

    def compute(x: tf.Tensor, _: tf.Tensor | None) -> tf.Tensor:
        if type(layer) in _SEPARABLE:
            z = ops.separable_conv(
                x, layer.depthwise_kernel, layer.pointwise_kernel, **options
            )
        elif type(layer) in _DEPTHWISE:
            z = ops.depthwise_conv(x, layer.kernel, **options)
        else:
            z = ops.conv(x, layer.kernel, **options)
        if layer.use_bias:
            z = ops.add(z, layer.bias)
        return z if layer.activation is None else layer.activation(z)

    return _through(layer, box, compute)


def _pooling(layer: Any, box: Box) -> Local:
    options = {
        "pool_size": layer.pool_size,
        "strides": layer.strides,
        "padding": "valid",
        "data_format": "channels_last",
    }
    if type(layer) in _MAX_POOLING:
        return _through(
            layer, box, lambda x, _: ops.max_pool(x, **options), LOWEST
        )

    def average(x: tf.Tensor, inside: tf.Tensor | None) -> tf.Tensor:
        found = ops.average_pool(x, **options)
        if inside is None:
            return found
        # Padding does not count.
        counted = ops.average_pool(tf.cast(inside, x.dtype), **options)
        return found / counted

    return _through(layer, box, average)


def margins(layer: Any) -> list[tuple[int, int]] | None:
    """Returns what a layer adds to both ends of each axis.

    Negative where it cuts off; `None` if it is no padding or cropping.
    """
    if isinstance(layer, _PADDING):
        given, sign = layer.padding, 1
    elif isinstance(layer, _CROPPING):
        given, sign = layer.cropping, -1
    else:
        return None
    if all(isinstance(part, int) for part in given):
        given = [given]
    return [(sign * before, sign * after) for before, after in given]


def _moved(layer: Any, box: Box) -> Local:
    moved, reads = [], []
    for span, (before, after) in zip(box, margins(layer) or [], strict=True):
        found = span.shifted(before, span.length + before + after)
        moved.append(found)
        reads.append((found.start - before, found.size))
    return Local(tuple(moved), tuple(reads), lambda x, _: x)


def _is_nearest(layer: Any) -> bool:
    return getattr(layer, "interpolation", "nearest") == "nearest"


def enlargement(layer: Any) -> tuple[int, ...] | None:
    """Returns how often a layer repeats cells along each axis, or `None`."""
    if not isinstance(layer, _ENLARGING):
        return None
    size = layer.size
    return (size,) if isinstance(size, int) else tuple(size)


def _enlarged(layer: Any, box: Box) -> Local:
    factors = enlargement(layer) or ()
    larger = tuple(
        span.enlarged(factor) for span, factor in zip(box, factors, strict=True)
    )
    reads = tuple((span.start, span.size) for span in box)

    def compute(x: tf.Tensor, _: tf.Tensor | None) -> tf.Tensor:
        for axis, factor in enumerate(factors, start=1):
            x = tf.repeat(x, factor, axis)
        return x

    return Local(larger, reads, compute)
