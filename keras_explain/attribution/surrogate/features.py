"""Features of a batch: where they are, and what belongs to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_explain.attribution.surrogate import segments
from keras_explain.engine.sampling import expand


class Features(NamedTuple):
    """Which values belong together.

    Attributes:
        maps: For each tensor of the point, in flattened order, the number of
            the feature of each value: int32, of its shape or without the
            channels.
        counts: `(batch,)` int32, how many features a sample has.
        size: Their largest number in the batch.
        table: What the method prepared about its coalitions.
    """

    maps: list[tf.Tensor]
    counts: tf.Tensor
    size: tf.Tensor
    table: tf.Tensor

    def masks(self, shown: tf.Tensor, point: Any) -> Any:
        """Returns masks in the structure of the point.

        Args:
            shown: `(k, 1 or batch, features)`, 1 where a feature is shown.
            point: Structure of `(batch, ...)` tensors.
        """
        shown = tf.cast(shown, tf.float32)
        number, batch = tf.shape(shown)[0], tf.shape(self.counts)[0]
        size = tf.shape(shown)[2]
        shown = tf.broadcast_to(shown, [number, batch, size])
        shown = tf.reshape(shown, [number, batch * size])
        masks = []
        for x, segment in zip(tf.nest.flatten(point), self.maps, strict=True):
            start = expand(tf.range(batch) * size, segment)
            mask = tf.gather(shown, segment + start, axis=1)
            if segment.shape.rank < x.shape.rank:
                mask = mask[..., tf.newaxis]
            masks.append(mask)
        return tf.nest.pack_sequence_as(point, masks)

    def spread(self, values: tf.Tensor, point: Any) -> Any:
        """Gives each value of an input what its feature got."""
        flat = []
        for x, segment in zip(tf.nest.flatten(point), self.maps, strict=True):
            found = tf.gather(
                values, tf.reshape(segment, [tf.shape(x)[0], -1]), batch_dims=1
            )
            found = tf.reshape(found, tf.shape(segment))
            if segment.shape.rank < x.shape.rank:
                found = tf.broadcast_to(found[..., tf.newaxis], tf.shape(x))
            flat.append(tf.ensure_shape(found, [None, *x.shape[1:]]))
        return tf.nest.pack_sequence_as(point, flat)


def cut_batch(
    hows: list[Any], arrays: Sequence[np.ndarray], pieces: int
) -> tuple[list[np.ndarray], list[int]]:
    """Returns the segment maps of a batch, and how many features there are.

    Args:
        hows: For each tensor how it is cut, see `segments.cut`; an array
            where the map is given.
        arrays: For each tensor what is needed for that: the map, the values,
            or the shape of the map alone.
        pieces: About how many segments there may be.
    """
    looks = [isinstance(h, np.ndarray) or callable(h)
             or segments.needs_scikit_image(h) for h in hows]  # fmt: skip
    batch = len(arrays[0]) if looks[0] else int(arrays[0][0])
    given = [isinstance(h, np.ndarray) for h in hows]
    samples, counts = [], []
    for row in range(batch):
        maps = []
        for how, array, look in zip(hows, arrays, looks, strict=True):
            if isinstance(how, np.ndarray):
                maps.append(array[row])
                continue
            shape = array.shape[1:-1] if look else tuple(array[1:])
            sample = array[row] if look else array
            maps.append(segments.cut(how, sample, shape, pieces))
        found, count = segments.join(maps, given)
        samples.append(found)
        counts.append(count)
    joined = [np.stack(maps) for maps in zip(*samples, strict=True)]
    return joined, counts
