"""Products with the modified kernel of a large dense layer, block by block.

A kernel such as the first dense one of VGG16 is larger than all activations,
and to write its positive part takes longer than to multiply by it. For a few
samples a compiled loop modifies some rows at a time, which stay where the
processor multiplies them: memory is read once, and nothing is written. With
one sample to read takes longer than to multiply, so that all products of a
rule are made of one look.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from keras_explain.engine.fusion import for_few
from keras_explain.engine.terms import Modifier, same

# Values of a kernel that are one block.
BLOCK = 2 << 20
# Rows that a step of a compiled loop modifies. XLA runs products of more on
# several threads, which costs more than it brings, but for several products
# with several samples: there each step adds to sums as large as what it reads.
ROWS, MORE_ROWS = 8, 64
# With more samples than this, products are worth a copy of the block.
FEW_SAMPLES = 8
# Compiled loops for a kernel at most, one for each block if there are fewer.
# Each runs on one thread: with fewer of them sums of many rows lose digits. To
# compile them takes 0.2 s of the first call.
LOOPS = 8


class Factor(NamedTuple):
    """What a kernel is multiplied by, and what is done to that before."""

    values: tf.Tensor
    modifier: Modifier


class DenseBlocks:
    """A kernel `(inputs, outputs)` in blocks of rows, to be modified.

    Args:
        kernel: As the layer has it.
        scale: What its columns are multiplied with, `(outputs,)`, or `None`.
    """

    def __init__(self, kernel: tf.Tensor, scale: tf.Tensor | None):
        self.kernel = kernel
        self._scale = [] if scale is None else [scale]

    def times(self, factors: Sequence[Factor]) -> list[tf.Tensor]:
        """Returns the products of `(..., inputs)` and the kernel."""

        def read(x: tf.Tensor, part: slice) -> tf.Tensor:
            return x[..., part]

        return self._made(factors, read, tf.add_n, _looped, _product)

    def back(self, factors: Sequence[Factor]) -> list[tf.Tensor]:
        """Returns what each `(..., outputs)` hands to the inputs."""

        def read(given: tf.Tensor, _: slice) -> tf.Tensor:
            return given

        join = functools.partial(tf.concat, axis=-1)
        return self._made(factors, read, join, _looped_back, _product_back)

    def _made(
        self,
        factors: Sequence[Factor],
        read: Callable[[tf.Tensor, slice], tf.Tensor],
        join: Callable[[list[tf.Tensor]], tf.Tensor],
        looped: Callable,
        product: Callable,
    ) -> list[tf.Tensor]:
        """What all blocks make.

        Args:
            factors: All that is read. Nothing is made before it is there.
            read: What of a factor belongs to some rows.
            join: Makes one result of all.
            looped: Runs one block, for compilation.
            product: Does the same with a copy of the block, for one factor.
        """
        values = [factor.values for factor in factors]
        modifiers = tuple(factor.modifier for factor in factors)

        def in_loops(compiled: Callable, samples: int) -> list[tf.Tensor]:
            found = []
            several = samples > 1 and len(factors) > 1
            for part in self._parts(min(self._blocks, LOOPS)):
                # All of the kernel: to take rows of it may be to copy.
                made = compiled(
                    looped, *values, tf.constant(part.start), self.kernel,
                    *self._scale,
                    modifiers=modifiers, rows=part.stop - part.start,
                    at_once=MORE_ROWS if several else ROWS,
                )  # fmt: skip
                found.append(made)
            return [join(list(each)) for each in zip(*found, strict=True)]

        def with_copies() -> list[tf.Tensor]:
            found, before = [], values
            for factor in factors:
                made: list[tf.Tensor] = []
                for part in self._parts(self._copies(factor.modifier)):
                    # One after the other: there is one copy at a time.
                    with tf.control_dependencies(made[-1:] or before):
                        some = [read(factor.values, part), self.kernel[part]]
                        made.append(
                            product(*some, *self._scale,
                                    modifier=factor.modifier)
                        )  # fmt: skip
                found.append(join(made))
                before = found[-1:]
            return found

        if not all(v.shape.rank == 2 and v.dtype == tf.float32 for v in values):
            return with_copies()
        return for_few(FEW_SAMPLES, in_loops, with_copies)

    def _copies(self, modifier: Modifier) -> int:
        """In how many blocks a kernel is copied; in one if it need not be."""
        return 1 if modifier is same and not self._scale else self._blocks

    @property
    def _blocks(self) -> int:
        return -(-self.kernel.shape.num_elements() // BLOCK)

    def _parts(self, number: int) -> Iterator[slice]:
        """So many parts of the rows, or fewer."""
        rows = self.kernel.shape[0]
        size = -(-rows // number)
        for first in range(0, rows, size):
            yield slice(first, min(first + size, rows))


def _scaled(kernel: tf.Tensor, scale: Sequence[tf.Tensor]) -> tf.Tensor:
    return kernel * scale[0] if scale else kernel


def _product(
    x: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    return tf.tensordot(x, modifier(_scaled(kernel, scale)), 1)


def _product_back(
    given: tf.Tensor, kernel: tf.Tensor, *scale: tf.Tensor, modifier: Modifier
) -> tf.Tensor:
    return tf.tensordot(given, modifier(_scaled(kernel, scale)), [[-1], [1]])


def _looped(
    *tensors: tf.Tensor,
    modifiers: Sequence[Modifier],
    rows: int,
    at_once: int,
) -> list[tf.Tensor]:
    block = _Rows(tensors, modifiers, rows, at_once)

    def products(first: tf.Tensor, number: int) -> list[tf.Tensor]:
        return [
            tf.matmul(tf.slice(x, [0, first], [tf.shape(x)[0], number]), kernel)
            for x, kernel in block.modified(first, number)
        ]

    def step(
        _: tf.Tensor, first: tf.Tensor, totals: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        return _added(totals, products(first, block.at_once))

    empty = [tf.zeros([tf.shape(x)[0], block.columns]) for x in block.values]
    first, totals = _repeated(step, block, empty)
    return _added(totals, products(first, block.rest)) if block.rest else totals


def _looped_back(
    *tensors: tf.Tensor,
    modifiers: Sequence[Modifier],
    rows: int,
    at_once: int,
) -> list[tf.Tensor]:
    block = _Rows(tensors, modifiers, rows, at_once)

    def products(first: tf.Tensor, number: int) -> list[tf.Tensor]:
        # With the kernel on the left, as it lies in memory.
        return [
            tf.matmul(kernel, given, transpose_b=True)
            for given, kernel in block.modified(first, number)
        ]

    def step(
        k: tf.Tensor, first: tf.Tensor, found: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        made = products(first, block.at_once)
        return [
            tf.tensor_scatter_nd_update(all_rows, [[k]], [some])
            for all_rows, some in zip(found, made, strict=True)
        ]

    samples = [tf.shape(given)[0] for given in block.values]
    empty = [
        tf.zeros([block.steps, block.at_once, number]) for number in samples
    ]
    first, found = _repeated(step, block, empty)
    parts = [
        [tf.reshape(made, [block.steps * block.at_once, number])]
        for made, number in zip(found, samples, strict=True)
    ]
    if block.rest:
        last = products(first, block.rest)
        parts = [[*some, more] for some, more in zip(parts, last, strict=True)]
    return [tf.transpose(tf.concat(some, 0)) for some in parts]


class _Rows:
    """What a compiled loop reads of a kernel.

    Args:
        tensors: Values, the first row, the kernel, and perhaps its scale.
        modifiers: One for each of the values.
        rows: How many.
        at_once: How many a step modifies.
    """

    def __init__(
        self,
        tensors: Sequence[tf.Tensor],
        modifiers: Sequence[Modifier],
        rows: int,
        at_once: int,
    ):
        number = len(modifiers)
        self.values = tensors[:number]
        self.first, self.kernel, *self.scale = tensors[number:]
        self.modifiers = modifiers
        self.columns = self.kernel.shape[1]
        self.at_once = at_once
        self.steps, self.rest = divmod(rows, at_once)

    def modified(
        self, first: tf.Tensor, number: int
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Each of the values, with some rows as it is multiplied by them."""
        rows = tf.slice(self.kernel, [first, 0], [number, self.columns])
        rows = _scaled(rows, self.scale)
        made = [modifier(rows) for modifier in self.modifiers]
        return list(zip(self.values, made, strict=True))


def _added(totals: list[tf.Tensor], more: list[tf.Tensor]) -> list[tf.Tensor]:
    return [total + some for total, some in zip(totals, more, strict=True)]


def _repeated(
    step: Callable, block: _Rows, start: list[tf.Tensor]
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """What the steps of a loop make, each of what was there before.

    Returns:
        The row behind the last, and what there is then. The row is counted in
        the loop: XLA compiles again for each constant that it begins with.
    """

    def again(
        k: tf.Tensor, first: tf.Tensor, *before: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return (k + 1, first + block.at_once, *step(k, first, list(before)))

    if not block.steps:
        return block.first, start
    _, behind, *found = tf.while_loop(
        lambda k, *_: k < block.steps, again, (0, block.first, *start),
        maximum_iterations=block.steps,
    )  # fmt: skip
    return behind, found
