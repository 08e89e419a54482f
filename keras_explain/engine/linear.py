"""Layers with a kernel, as affine maps of their input and their weights.

`z = f(x; W, b)`: the layer's own `call` computes it, on weights that are
handed in, so that no convolution is written again and no variable is touched.
The activation held by the layer is set aside, and a batch normalization that
stands before or behind is folded in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_explain.engine import interception
from keras_explain.engine.errors import message
from keras_explain.engine.plain_convolution import (
    PlainConvolution,
    plain_convolution,
)

_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)
_CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    *_TRANSPOSED,
    *_DEPTHWISE,
    *_SEPARABLE,
)
_LINEAR = (layers.Dense, layers.EinsumDense, *_CONVOLUTIONS)


def is_linear(operation: Any) -> bool:
    """Whether an operation is a layer with a kernel."""
    return isinstance(operation, _LINEAR)


def is_convolution(operation: Any) -> bool:
    """Whether an operation is a convolution of any kind."""
    return isinstance(operation, _CONVOLUTIONS)


def is_transposed(operation: Any) -> bool:
    """Whether an operation is a transposed convolution."""
    return isinstance(operation, _TRANSPOSED)


# Scale and offset of an affine map that acts on each channel alone.
Affine = Callable[[], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """One affine map `z = f(x; W, b)`.

    Attributes:
        run: `(x, W, b) -> z`; with `b` of `None` there is none.
        kernel: `() -> W`, read when the traced function runs.
        bias: `() -> b`, or `None`.
        outputs: Shape in which a vector over the output channels multiplies
            the kernel; `None` if there is none.
        inputs: The same for the input channels.
        channels_first: Whether the channels of `z` are its second axis.
        dense: Whether `f` is `x W + b`.
        behind: An affine map of each output channel that follows; `run`
            leaves it out.
        plain: The convolution that `run` is, which then also takes kernels
            of other numbers of channels, or `None`.
        folds: Whether `kernel` and `bias` compute something, and do not
            only read.
    """

    run: Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], tf.Tensor]
    kernel: Callable[[], tf.Tensor]
    bias: Callable[[], tf.Tensor] | None
    outputs: tuple[int, ...] | None
    inputs: tuple[int, ...] | None
    channels_first: bool = False
    dense: bool = False
    behind: Affine | None = None
    plain: PlainConvolution | None = None
    folds: bool = False

    @property
    def channels(self) -> int:
        """Axis of the channels of `x` and of `z`."""
        return 1 if self.channels_first else -1

    @property
    def of_ones(self) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """`(x) -> z` of one channel each, for a kernel of ones, if known."""
        if self.dense:
            return tf.identity
        return None if self.plain is None else self.plain.of_ones

    @property
    def takes_bias(self) -> bool:
        """Whether a bias can be handed in where the layer has none."""
        return self.bias is not None or self.outputs is not None

    @property
    def has_bias(self) -> bool:
        """Whether anything is added at last."""
        return self.bias is not None or self.behind is not None

    @property
    def terms(self) -> int:
        """How many products each value of `z` is a sum of, at most."""
        return self.kernel().shape.num_elements() // self._channels_made()

    def _channels_made(self) -> int:
        kernel = self.kernel().shape
        sizes = enumerate(self.outputs or ())
        return math.prod(kernel[axis] for axis, size in sizes if size != 1)

    def no_bias(self) -> tf.Tensor:
        """Returns a bias of zeros."""
        if self.bias is not None:
            return tf.zeros_like(self.bias())
        return tf.zeros([self._channels_made()])

    def spread(self, bias: tf.Tensor, rank: int) -> tf.Tensor:
        """Returns the bias such that it broadcasts to `z` of that rank."""
        if not self.channels_first:
            return bias
        return tf.reshape(bias, [-1] + [1] * (rank - 2))

    def parameters(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the kernel and the bias as they are now, in float32.

        With them `run` does what the map does, the affine map behind it
        included.
        """
        kernel, scale = self.kernel(), self.scale()
        if scale is not None:
            kernel *= tf.reshape(scale, self.outputs)
        return kernel, self.folded_bias()

    def scale(self) -> tf.Tensor | None:
        """Returns what outputs are multiplied with, `None` for nothing."""
        return None if self.behind is None else self.behind()[0]

    def folded_bias(self) -> tf.Tensor | None:
        """Returns what is added at last, `None` for nothing."""
        bias = None if self.bias is None else self.bias()
        if self.behind is None:
            return bias
        scale, offset = self.behind()
        return offset if bias is None else bias * scale + offset

    def then(self, affine: Affine) -> LinearMap:
        """Returns the map followed by `a * z + c` on each output channel."""
        return dataclasses.replace(self, behind=affine)

    def after(self, affine: Affine) -> LinearMap:
        """Returns the map behind `a * x + c` on each input channel."""
        axes = [k for k, size in enumerate(self.outputs or ()) if size == 1]

        def kernel() -> tf.Tensor:
            return self.kernel() * tf.reshape(affine()[0], self.inputs)

        def bias() -> tf.Tensor:
            each = self.kernel() * tf.reshape(affine()[1], self.inputs)
            added = tf.reshape(tf.reduce_sum(each, axes), [-1])
            return added if self.bias is None else self.bias() + added

        return dataclasses.replace(self, kernel=kernel, bias=bias, folds=True)


def linear_maps(layer: Any, call: Callable) -> list[LinearMap]:
    """Returns the affine maps a layer is made of, in order.

    Args:
        layer: A layer for which `is_linear` holds.
        call: Its own `call`, with further arguments bound.
    """
    if not hasattr(layer, "kernel") and not isinstance(layer, _SEPARABLE):
        raise TypeError(
            message(
                "A rule for linear layers needs a layer with a `kernel`.",
                f"{type(layer).__name__}, which has none",
                "Use `Norm()` for a layer that is affine in another way.",
            )
        )
    held = getattr(layer, "bias", None)
    bias = None if held is None else lambda: _tensor(held)
    if isinstance(layer, _SEPARABLE):
        return _separable(layer, bias)
    return [
        LinearMap(
            lambda x, kernel, bias: _run(layer, call, x, kernel, bias),
            lambda: _tensor(layer.kernel),
            bias,
            *_channel_shapes(layer),
            _channels_first(layer),
            dense=type(layer) is layers.Dense,
            plain=plain_convolution(layer),
        )
    ]


def _tensor(variable: Any) -> tf.Tensor:
    # Under mixed precision a variable reads as half inside a layer's `call`.
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)


def _run(
    layer: Any,
    call: Callable,
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor | None,
) -> tf.Tensor:
    own_kernel = _variable(layer, "kernel")
    if kernel.shape != own_kernel.shape:  # several are stacked
        z = layer.convolution_op(x, tf.cast(kernel, x.dtype))
        return z if bias is None else _add_bias(layer, z, bias)
    state = [(own_kernel, kernel)]
    state += [(v, tf.zeros(v.shape)) for v in _adapters(layer)]
    held = getattr(layer, "bias", None)
    # With a norm folded in, there may be more offsets than the bias has.
    own = held is not None and (bias is None or _size(bias) == _size(held))
    if held is not None:
        given = tf.zeros(held.shape) if bias is None or not own else bias
        state.append((held, tf.reshape(given, held.shape)))
    with keras.StatelessScope(state), interception.without_activation(layer):
        z = call(x)
    return z if own or bias is None else _add_bias(layer, z, bias)


def _size(values: Any) -> int:
    return int(np.prod(values.shape))


def _variable(layer: Any, name: str) -> Any:
    # With adapters, `kernel` is a sum, and the variable is `_kernel`.
    held = getattr(layer, f"_{name}", None)
    return getattr(layer, name) if held is None else held


def _adapters(layer: Any) -> list[Any]:
    if not getattr(layer, "lora_enabled", False):
        return []
    return [layer.lora_kernel_b]  # their part is in `kernel` already


def _channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _add_bias(layer: Any, z: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    if _channels_first(layer):
        bias = tf.reshape(bias, [-1] + [1] * (z.shape.rank - 2))
    return z + tf.cast(bias, z.dtype)


def _channel_shapes(
    layer: Any,
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Shapes of vectors over the output and input channels of a kernel."""
    rank = len(layer.kernel.shape)
    if isinstance(layer, layers.EinsumDense):
        return _einsum_shapes(layer.equation, rank), None
    if isinstance(layer, _TRANSPOSED):
        outer, inner = rank - 2, rank - 1
    else:
        outer, inner = rank - 1, rank - 2
    outputs, inputs = [1] * rank, [1] * rank
    outputs[outer] = inputs[inner] = -1
    if isinstance(layer, _DEPTHWISE):
        # Output channel `c * m + k` is the k-th one made of input channel c.
        outputs[inner] = layer.kernel.shape[inner]
    if getattr(layer, "groups", 1) != 1:
        return tuple(outputs), None  # a kernel holds the inputs of one group
    return tuple(outputs), tuple(inputs)


def _einsum_shapes(equation: str, rank: int) -> tuple[int, ...] | None:
    operands, output = equation.replace(" ", "").split("->")
    _, kernel = operands.split(",")
    if output[-1] not in kernel:
        return None
    shape = [1] * rank
    shape[kernel.index(output[-1])] = -1
    return tuple(shape)


def _separable(layer: Any, bias: Callable | None) -> list[LinearMap]:
    """A separable convolution is a depthwise and a pointwise one."""
    rank, form = layer.rank, layer.data_format

    def depthwise(
        x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None
    ) -> tf.Tensor:
        z = ops.depthwise_conv(
            x, tf.cast(kernel, x.dtype), layer.strides, layer.padding, form,
            layer.dilation_rate,
        )  # fmt: skip
        return z if bias is None else _add_bias(layer, z, bias)

    def pointwise(
        x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None
    ) -> tf.Tensor:
        z = ops.conv(x, tf.cast(kernel, x.dtype), 1, "valid", form)
        return z if bias is None else _add_bias(layer, z, bias)

    ones = (1,) * rank
    size = layer.depthwise_kernel.shape[rank]
    return [
        LinearMap(
            depthwise,
            lambda: _tensor(layer.depthwise_kernel),
            None,
            (*ones, size, -1),
            (*ones, -1, 1),
            _channels_first(layer),
        ),
        LinearMap(
            pointwise,
            lambda: _tensor(layer.pointwise_kernel),
            bias,
            (*ones, 1, -1),
            (*ones, -1, 1),
            _channels_first(layer),
        ),
    ]
