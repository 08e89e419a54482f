"""Products with the modified kernel of a large dense layer, block by block.

A kernel such as the first dense one of VGG16 is larger than all activations,
and to write its positive part takes longer than to multiply by it. For a few
samples a compiled loop modifies some rows at a time, which stay where the
processor multiplies them: memory is read once, and nothing is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

from keras_explain.engine.fusion import for_few
from keras_explain.engine.terms import Modifier

# Values of a kernel that are one block.
BLOCK = 2 << 20
# Rows that a step of a compiled loop modifies. XLA runs products of more on
# several threads, which costs more than it brings.
ROWS = 8
# With more samples than this, products are worth a copy of the block.
FEW_SAMPLES = 8
# Compiled loops for a kernel of as many blocks or more, each on one thread:
# with fewer of them sums of many rows lose digits. To compile one takes 0.2 s
# of the first call.
LOOPS = 8


class DenseBlocks:
    """A modified kernel `(inputs, outputs)` in blocks of rows.

    Args:
        kernel: As the layer has it.
        scale: What its columns are multiplied with, `(outputs,)`, or `None`.
        modifier: What is done to it.
    """

    def __init__(
        self,
        kernel: tf.Tensor,
        scale: tf.Tensor | None,
        modifier: Modifier,
    ):
        self.kernel = kernel
        self.modifier = modifier
        self._scale = [] if scale is None else [scale]

    def times(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the product of `(..., inputs)` and the kernel."""

        def read(part: slice) -> tf.Tensor:
            return x[..., part]

        return self._made(x, read, tf.add_n, _looped, _product)

    def back(self, given: tf.Tensor) -> tf.Tensor:
        """Returns what `(..., outputs)` hands to the inputs."""

        def read(_: slice) -> tf.Tensor:
            return given

        join = functools.partial(tf.concat, axis=-1)
        return self._made(given, read, join, _looped_back, _product_back)

    def _made(
        self,
        values: tf.Tensor,
        read: Callable[[slice], tf.Tensor],
        join: Callable[[list[tf.Tensor]], tf.Tensor],
        looped: Callable,
        product: Callable,
    ) -> tf.Tensor:
        """What all blocks make.

        Args:
            values: All that is read. Nothing is made before it is there.
            read: What belongs to some rows.
            join: Makes one result of all.
            looped: Runs one block, for compilation.
            product: Does the same with a copy of the block.
        """
        blocks = -(-self.kernel.shape.num_elements() // BLOCK)

        def in_loops(compiled: Callable) -> tf.Tensor:
            return join(
                [
                    compiled(looped, *self._read(read, part, values),
                             modifier=self.modifier)
                    for part in self._parts(LOOPS)
                ]
            )  # fmt: skip

        def with_copies() -> tf.Tensor:
            found = [values]
            for part in self._parts(blocks):
                # One after the other, so that there is one copy at a time.
                tensors = self._read(read, part, found[-1])
                found.append(product(*tensors, modifier=self.modifier))
            return join(found[1:])

        known = values.shape.rank == 2 and values.dtype == tf.float32
        if not known or blocks < LOOPS:
            return with_copies()
        return for_few(FEW_SAMPLES, in_loops, with_copies)

    def _read(
        self, read: Callable[[slice], tf.Tensor], part: slice, after: tf.Tensor
    ) -> list[tf.Tensor]:
        """What a block is made of, not before another tensor is there."""
        with tf.control_dependencies([after]):
            return [read(part), self.kernel[part], *self._scale]

    def _parts(self, number: int) -> Iterator[slice]:
        """So many parts of the rows, or fewer."""
        rows = self.kernel.shape[0]
        size = -(-rows // number)
        for first in range(0, rows, size):
            yield slice(first, min(first + size, rows))


def _modified(
    kernel: tf.Tensor, scale: tuple[tf.Tensor, ...], modifier: Modifier
) -> tf.Tensor:
    return modifier(kernel * scale[0] if scale else kernel)


def _product(
    x: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    return tf.tensordot(x, _modified(kernel, scale, modifier), 1)


def _product_back(
    given: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    return tf.tensordot(given, _modified(kernel, scale, modifier), [[-1], [1]])


def _looped(
    x: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    samples, columns = tf.shape(x)[0], kernel.shape[1]
    steps, rest = divmod(kernel.shape[0], ROWS)
    if not steps:
        return _product(x, kernel, *scale, modifier=modifier)

    def step(k: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.slice(kernel, [k * ROWS, 0], [ROWS, columns])
        some = tf.slice(x, [0, k * ROWS], [samples, ROWS])
        made = _product(some, rows, *scale, modifier=modifier)
        return k + 1, total + made

    total = _repeated(step, steps, tf.zeros([samples, columns]))
    if rest:
        last = x[:, -rest:], kernel[-rest:]
        total += _product(*last, *scale, modifier=modifier)
    return total


def _looped_back(
    given: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    samples, columns = tf.shape(given)[0], kernel.shape[1]
    steps, rest = divmod(kernel.shape[0], ROWS)
    if not steps:
        return _product_back(given, kernel, *scale, modifier=modifier)

    def step(k: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.slice(kernel, [k * ROWS, 0], [ROWS, columns])
        made = _product_back(given, rows, *scale, modifier=modifier)
        return k + 1, tf.tensor_scatter_nd_update(found, [[k]], [made])

    found = _repeated(step, steps, tf.zeros([steps, samples, ROWS]))
    found = tf.reshape(tf.transpose(found, [1, 0, 2]), [samples, steps * ROWS])
    if rest:
        last = _product_back(given, kernel[-rest:], *scale, modifier=modifier)
        found = tf.concat([found, last], -1)
    return found


def _repeated(step: Callable, times: int, start: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda k, _: k < times, step, (0, start), maximum_iterations=times
    )[1]
