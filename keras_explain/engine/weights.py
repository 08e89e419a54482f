"""The weights of a linear map at work, modified and folded where they are used.

All at once the modified weights of a model take as much memory as the model.
They are made one layer at a time, again on the way back; those of a large
dense layer, which can be larger than all activations, block by block.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, cast

import tensorflow as tf

from keras_explain.engine import dense_blocks
from keras_explain.engine.dense_blocks import DenseBlocks, Factor
from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.linear import LinearMap
from keras_explain.engine.rules import pulled
from keras_explain.engine.terms import SCALED_ALIKE, Modifier, ones, same


class Run(NamedTuple):
    """A run of a linear map.

    Attributes:
        x: Its input.
        modifier: Of the kernel.
        bias: To add to it, or `None`.
        relu: Whether a ReLU comes behind.
    """

    x: tf.Tensor
    modifier: Modifier
    bias: tf.Tensor | None
    relu: bool = False


class Pull(NamedTuple):
    """What a linear map hands back to its input.

    Attributes:
        x: Has the shape of the input.
        modifier: Of the kernel.
        given: What the output is given.
    """

    x: tf.Tensor
    modifier: Modifier
    given: tf.Tensor


class Weights:
    """What a linear map does with its weights modified.

    Args:
        linear: The map.
        after: Weights are not made before this tensor is there.
    """

    def __init__(self, linear: LinearMap, after: tf.Tensor):
        self.linear = linear
        self._after = after
        self._kernels: dict[Modifier, tf.Tensor] = {}
        self._turned_kernels: dict[Modifier, tf.Tensor] = {}
        with self._waiting(linear.folds or linear.behind is not None):
            self.bias = linear.folded_bias()
            self._scale = linear.scale()

    def runs(self, runs: Sequence[Run]) -> list[tf.Tensor]:
        """Returns the outputs, with one look at a large dense kernel."""
        if not self.looks_once([run.modifier for run in runs]):
            return [self._run(*run) for run in runs]
        made = self._blocks().times([Factor(r.x, r.modifier) for r in runs])
        return [
            _finished(z if r.bias is None else z + r.bias, r.relu)
            for z, r in zip(made, runs, strict=True)
        ]

    def pulls(self, pulls: Sequence[Pull]) -> list[tf.Tensor]:
        """Returns what the gradient hands to the input, for each.

        A large dense kernel is looked at once for all of them.
        """
        if not self.looks_once([pull.modifier for pull in pulls]):
            return [self._pull(*pull) for pull in pulls]
        return self._blocks().back([Factor(p.given, p.modifier) for p in pulls])

    def looks_once(self, modifiers: Sequence[Modifier]) -> bool:
        """Whether a kernel is so large that it is not copied for them."""
        large = self.linear.kernel().shape.num_elements() > dense_blocks.BLOCK
        if not (large and self.linear.dense):
            return False
        return any(m is not same and not self._is_of_ones(m) for m in modifiers)

    def _run(
        self,
        x: tf.Tensor,
        modifier: Modifier,
        bias: tf.Tensor | None,
        relu: bool,
    ) -> tf.Tensor:
        if self._scales_output(modifier, x):
            z = self.linear.run(x, self._turned(modifier), None)
            scale = self._size(modifier)
            vectors = [scale] if bias is None else [scale, bias]
            vectors = [self._spread(vector, z) for vector in vectors]
            return in_one_pass(_scaled, z, *vectors, relu=relu)
        if self._is_of_ones(modifier):
            z = self._alike(self._ones(self._summed(x)), self.linear.outputs)
            z = z if bias is None else z + self._spread(bias, z)
        else:
            z = self.linear.run(x, self._kernel(modifier), bias)
        return _finished(z, relu)

    def _pull(
        self, x: tf.Tensor, modifier: Modifier, given: tf.Tensor
    ) -> tf.Tensor:
        if self._is_of_ones(modifier):
            one = x[:, :1] if self.linear.channels_first else x[..., :1]
            (share,) = pulled(self._ones, [one], self._summed(given))
            return self._alike(share, self.linear.inputs)
        if self._scales_output(modifier, x):
            kernel = self._turned(modifier)
            given *= self._spread(self._size(modifier), given)
        else:
            kernel = self._kernel(modifier)
        plain = self.linear.plain
        way = None if plain is None else plain.way_back(x, kernel)
        if way is not None:
            return way(kernel, given)
        return pulled(lambda t: self.linear.run(t, kernel, None), [x], given)[0]

    def _spread(self, vector: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return self.linear.spread(vector, z.shape.rank)

    def _is_of_ones(self, modifier: Modifier) -> bool:
        """Whether all channels have the same, so that one is enough."""
        return modifier is ones and self.linear.of_ones is not None

    def _ones(self, x: tf.Tensor) -> tf.Tensor:
        return cast(Callable, self.linear.of_ones)(x)

    def _summed(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, self.linear.channels, keepdims=True)

    def _alike(self, values: tf.Tensor, channels: Any) -> tf.Tensor:
        """One channel in place of as many as the kernel has."""
        number = self.linear.kernel().shape[channels.index(-1)]
        times = [1] * values.shape.rank
        times[self.linear.channels] = number
        return tf.tile(values, times)

    def _kernel(self, modifier: Modifier) -> tf.Tensor:
        """The modified kernel, with the scale folded in."""
        if modifier not in self._kernels:
            plain = modifier is same and self._scale is None
            with self._waiting(self.linear.folds or not plain):
                self._kernels[modifier] = self._made(modifier)
        return self._kernels[modifier]

    def _waiting(self, makes: bool) -> AbstractContextManager:
        """Where something is made, and not only read.

        What waits for a ReLU keeps TensorFlow from running that as a part of
        the convolution before.
        """
        if not makes:
            return contextlib.nullcontext()
        return tf.control_dependencies([self._after])

    def _made(self, modifier: Modifier) -> tf.Tensor:
        if self._scale is None:
            return modifier(self.linear.kernel())
        if modifier is not same:
            return modifier(self._kernel(same))
        scale = tf.reshape(self._scale, self.linear.outputs)
        return self.linear.kernel() * scale

    def _scales_output(self, modifier: Modifier, x: tf.Tensor) -> bool:
        """Whether the scale is for the output and not for the kernel.

        The kernel has to keep it apart, and to be larger than a sample.
        """
        if modifier not in SCALED_ALIKE or self._scale is None:
            return False
        sample = x.shape[1:].num_elements() or math.inf
        return self.linear.kernel().shape.num_elements() > sample

    def _size(self, modifier: Modifier) -> tf.Tensor:
        """What the output is multiplied with, where the kernel is `_turned`."""
        scale = cast(tf.Tensor, self._scale)
        return scale if modifier is same else tf.abs(scale)

    def _turned(self, modifier: Modifier) -> tf.Tensor:
        """The modified kernel with no more of the scale than its sign."""
        if modifier is same:
            return self.linear.kernel()
        if modifier not in self._turned_kernels:
            with self._waiting(True):
                self._turned_kernels[modifier] = self._turned_made(modifier)
        return self._turned_kernels[modifier]

    def _turned_made(self, modifier: Modifier) -> tf.Tensor:
        kernel = self.linear.kernel()
        scale = tf.reshape(self._scale, self.linear.outputs)
        # Seldom is a scale negative, and to multiply by signs is a pass.
        made = tf.cond(
            tf.reduce_all(scale >= 0),
            lambda: modifier(kernel),
            lambda: modifier(kernel * tf.sign(scale)),
        )
        made.set_shape(kernel.shape)
        return made

    def _blocks(self) -> DenseBlocks:
        return DenseBlocks(self.linear.kernel(), self._scale)


def _finished(z: tf.Tensor, relu: bool) -> tf.Tensor:
    return tf.nn.relu(z) if relu else z


def _scaled(z: tf.Tensor, *vectors: tf.Tensor, relu: bool) -> tf.Tensor:
    scale, *offset = vectors
    found = tf.cast(z, tf.float32) * scale
    if offset:
        found += offset[0]
    return tf.cast(tf.nn.relu(found) if relu else found, z.dtype)
