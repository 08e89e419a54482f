"""Random smooth masks: coarse random cells, enlarged and cropped."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import tensorflow as tf

# Content is mixed modulo this.
_PRIME = 2_147_483_647


@dataclasses.dataclass(frozen=True)
class RandomMasks:
    """The masks of RISE over some tensors.

    Attributes:
        tensors: What is masked, `(batch, *positions, channels)` or
            `(batch, values)`.
        cells: Coarse cells along each axis of positions.
        keep_probability: That a cell is kept.
    """

    tensors: list[tf.Tensor]
    cells: int
    keep_probability: float

    def draw(self, seeds: tf.Tensor, ids: tf.Tensor) -> list[tf.Tensor]:
        """Returns masks `(k, s, *positions, 1)`; of a table `(k, s, values)`.

        Args:
            seeds: `(s,)` int32: one for all samples, or one for each.
            ids: `(k,)` numbers of the masks. A mask does not depend on those
                that are drawn with it.
        """
        numbers = tf.repeat(ids, tf.size(seeds))
        keys = tf.stack([tf.tile(seeds, tf.shape(ids)), numbers], 1)
        needed = [_needed(tensor, self.cells) for tensor in self.tensors]
        uniform = _uniform(keys, sum(needed))
        found, first = [], 0
        for tensor, number in zip(self.tensors, needed, strict=True):
            part = uniform[:, first : first + number]
            mask = self._mask(tensor, part)
            shape = tf.concat(
                [[tf.size(ids), tf.size(seeds)], tf.shape(mask)[1:]], 0
            )
            found.append(tf.reshape(mask, shape))
            first = first + number
        return found

    def _mask(self, tensor: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Masks from random numbers, `(keys, *positions, 1)`."""
        lengths = _lengths(tensor)
        if not lengths:
            return tf.cast(uniform < self.keep_probability, tf.float32)
        axes = len(lengths)
        cells = [_smaller(self.cells, length) for length in lengths]
        coarse = tf.cast(uniform[:, axes:] < self.keep_probability, tf.float32)
        masks = tf.reshape(coarse, [-1, *(n + 1 for n in cells)])
        letters = string.ascii_lowercase[:axes]
        for axis, length in enumerate(lengths):
            size = (length + cells[axis] - 1) // cells[axis]
            weights = _weights(uniform[:, axis], cells[axis], size, length)
            old = letters[axis]
            result = letters.replace(old, "y")
            masks = tf.einsum(f"z{letters},z{old}y->z{result}", masks, weights)
            letters = letters.replace(old, old.upper())
            masks = tf.ensure_shape(masks, [None] * (1 + axes))
        return masks[..., tf.newaxis]


def _lengths(tensor: tf.Tensor) -> list[Any]:
    """Sizes of the axes of positions; none for a table."""
    return [
        tf.shape(tensor)[axis] if size is None else size
        for axis, size in enumerate(tensor.shape)
        if 0 < axis < tensor.shape.rank - 1
    ]


def _needed(tensor: tf.Tensor, cells: int) -> Any:
    """How many random numbers a mask is made of."""
    lengths = _lengths(tensor)
    if not lengths:
        return tf.shape(tensor)[1]
    number: Any = 1
    for length in lengths:
        number = number * (_smaller(cells, length) + 1)
    return number + len(lengths)


def _smaller(cells: int, length: Any) -> Any:
    # Between two positions there is nothing to keep or hide.
    if isinstance(length, int):
        return min(cells, length)
    return tf.minimum(cells, length)


def _weights(crop: tf.Tensor, cells: Any, size: Any, length: Any) -> tf.Tensor:
    """Linear interpolation between cells, after a crop: `(k, cells + 1, n)`.

    Args:
        crop: `(k,)` in [0, 1), where the crop begins within the first cell.
        cells: Number of cells that the axis holds.
        size: Positions of a cell.
        length: Positions of the axis.
    """
    shift = tf.floor(crop * tf.cast(size, tf.float32))
    at = tf.range(tf.cast(length, tf.float32)) + shift[:, tf.newaxis]
    last = tf.cast(cells, tf.float32)
    centers = (at + 0.5) / tf.cast(size, tf.float32) - 0.5
    centers = tf.clip_by_value(centers, 0.0, last)[:, tf.newaxis]
    numbers = tf.range(last + 1)[:, tf.newaxis]
    return tf.nn.relu(1.0 - tf.abs(numbers - centers))


def _uniform(keys: tf.Tensor, number: Any) -> tf.Tensor:
    """Draws `(keys, number)` in [0, 1), each row from its own key."""
    return tf.map_fn(
        lambda key: tf.random.stateless_uniform([number], key),
        keys,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )


def content_seeds(inputs: Any, seed: int) -> tf.Tensor:
    """Returns a seed for each sample that depends on its values, `(batch,)`.

    The same sample has the same masks, whatever it is in a batch with.
    """
    found: Any = seed
    for tensor in tf.nest.flatten(inputs):
        flat = tf.reshape(tensor, [tf.shape(tensor)[0], -1])
        if tensor.dtype.is_floating:
            bits = tf.bitcast(tf.cast(flat, tf.float32), tf.int32)
        else:
            bits = tf.cast(flat, tf.int32)
        factors = tf.random.stateless_uniform(
            [tf.shape(flat)[1]], [seed, 7], None, None, tf.int32
        )
        products = tf.cast(bits, tf.int64) * tf.cast(factors, tf.int64)
        # Sums of remainders, so that nothing is lost at the upper end.
        mixed = tf.reduce_sum(products % _PRIME, 1) % _PRIME
        found = (mixed + 31 * tf.cast(found, tf.int64)) % _PRIME
    return tf.cast(found, tf.int32)
