"""The score of inputs of which parts are hidden, mask by mask.

All methods that hide parts of an input, or of an activation, and watch the
score go through here: the masks are made in chunks while they are needed, so
that memory is bounded by `batch_size` for any number of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.engine import sampling
from keras_explain.engine.score import Evaluation, ScoreFunction

_each = tf.nest.map_structure


def blend(point: Any, fill: Any, masks: Any) -> Any:
    """Returns the point with what a mask hides replaced.

    Args:
        point: Structure of `(batch, ...)` tensors.
        fill: The values of hidden parts, in the structure of the point:
            `(batch, ...)`, or `(k, 1 or batch, ...)` with a row for each
            mask.
        masks: In the structure of the point, or `None` in place of a tensor
            that nothing is hidden of: `(k, 1 or batch, ...)`, 1 = kept, of
            the shape of the point or with axes of size one. Integers are
            kept where the mask is at least one half.

    Returns:
        `(k, batch, ...)` in the dtype of the point.
    """
    flat = zip(
        tf.nest.flatten(point),
        tf.nest.flatten(fill),
        tf.nest.flatten(masks),
        strict=True,
    )
    number = next(tf.shape(m)[0] for m in tf.nest.flatten(masks)
                  if m is not None)  # fmt: skip
    found = []
    for x, hidden, mask in flat:
        if mask is None:
            times = tf.concat([[number], tf.ones_like(tf.shape(x))], 0)
            found.append(tf.tile(x[tf.newaxis], times))
            continue
        if hidden.shape.rank == x.shape.rank:
            hidden = hidden[tf.newaxis]
        if x.dtype.is_floating:
            mask = tf.cast(mask, x.dtype)
            blended = hidden + mask * (x - hidden)
        else:
            blended = tf.where(mask >= 0.5, x, hidden)
        shape = tf.concat([[number], tf.shape(x)], 0)
        found.append(tf.broadcast_to(blended, shape))
    return tf.nest.pack_sequence_as(point, found)


@dataclasses.dataclass(frozen=True)
class Masked:
    """The score as a function of masks.

    Attributes:
        function: What is explained, its classes settled.
        at: The run on the inputs as they are.
        fill: The values of hidden parts, `(batch, ...)` or `(1, ...)` each;
            or a function of the masks that returns them with a row for each
            mask.
        rows: A background in place of a fill: `(rows, ...)` values of hidden
            parts. The score under a mask is then the mean over its rows.
    """

    function: ScoreFunction
    at: Evaluation
    fill: Any = None
    rows: Any = None

    def scores(self, masks: Any, fill: Any = None) -> tf.Tensor:
        """Returns the scores under some masks, `(k, batch)`.

        Args:
            masks: See `blend`; all of them are run at once.
            fill: In place of the own one, with a row for each mask.
        """
        if fill is None:
            fill = self.fill(masks) if callable(self.fill) else self.fill
        points = blend(self.at.point, fill, masks)
        number = tf.shape(tf.nest.flatten(points)[0])[0]
        many = self.function.repeated(number)
        found = many.evaluate(sampling.stack(points)).score
        return tf.reshape(found, [number, self.function.batch])

    def collect(
        self,
        masks: Callable[[tf.Tensor], Any],
        number: int | tf.Tensor,
        batch_size: int,
    ) -> tf.Tensor:
        """Returns the scores under many masks, `(number, batch)`.

        Args:
            masks: From `(k,)` numbers of masks to the masks.
            number: How many there are.
            batch_size: Most rows the model sees at once.
        """
        if self.rows is None:
            return sampling.collect(
                lambda ids: self.scores(masks(ids)),
                number,
                batch_size,
                self.function.batch,
            )
        return sampling.collect(
            lambda ids: self._mean(masks(ids), batch_size),
            number,
            tf.maximum(1, batch_size // self._number_of_rows),
            self.function.batch,
        )

    @property
    def _number_of_rows(self) -> tf.Tensor:
        return tf.shape(tf.nest.flatten(self.rows)[0])[0]

    def _mean(self, masks: Any, batch_size: int) -> tf.Tensor:
        """Mean scores over the rows of the background, `(k, batch)`."""
        flat = [m for m in tf.nest.flatten(masks) if m is not None]
        number = tf.shape(flat[0])[0]

        def part(ids: tf.Tensor) -> tf.Tensor:
            # Each mask with each of some rows: pair `k * rows + row`.
            count = tf.size(ids)
            chosen = tf.tile(ids, [number])
            fill = _each(
                lambda t: tf.gather(t, chosen)[:, tf.newaxis], self.rows
            )
            pairs = _each(
                lambda m: m if m is None else tf.repeat(m, count, axis=0),
                masks,
            )
            found = self.scores(pairs, fill)
            shape = [number, count, self.function.batch]
            return tf.reduce_sum(tf.reshape(found, shape), 1)

        total = self._number_of_rows
        rows = number * self.function.batch
        sums = sampling.accumulate(part, total, batch_size, rows)
        return sums / tf.cast(total, sums.dtype)
