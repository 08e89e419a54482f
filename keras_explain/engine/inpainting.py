"""Hidden parts, filled in from what is around them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_explain.engine.errors import message


def inpaint(
    images: Any,
    masks: Any,
    *,
    tolerance: float = 1e-5,
    max_steps: int = 1000,
) -> tf.Tensor:
    """Gives each hidden pixel the weighted mean of its neighbours.

    All hidden pixels of a picture are found together, as the solution of

        x_i = sum_j w_ij x_j / sum_j w_ij

    over the eight neighbours `j` of a hidden pixel `i`, with `w = 1/6` along
    an edge and `1/12` along a diagonal; neighbours outside the picture do
    not count. A linear ramp comes back as it was. For any number `d` of
    axes, the weights are those of `[1, 2, 1]` along each axis without the
    center, divided by `4^d - 2^d`.

    It is solved by conjugate gradients on the device, for all pictures of a
    batch at once; each picture stops on its own, so that it does not depend
    on the others. Costs a few passes over the pictures for holes of a few
    pixels, and some hundred for holes as large as the picture.

    Args:
        images: `(rows, *positions, channels)` with one to three axes of
            positions.
        masks: `(rows or 1, *positions, 1)`; a pixel is kept where the mask
            is at least one half. A picture of which nothing is kept becomes
            its mean of each channel.
        tolerance: Where to stop: the norm of the residual as a share of
            that of the right hand side.
        max_steps: Most steps of the solver.

    Returns:
        The pictures in their shape and dtype; kept pixels as they are.

    Raises:
        ValueError: If the shapes do not fit, or there are no positions.

    References:
        Rong et al., 2022. A Consistent and Efficient Evaluation Strategy for
        Attribution Methods. https://arxiv.org/abs/2202.00449
    """
    images = tf.convert_to_tensor(images)
    masks = tf.convert_to_tensor(masks)
    _check(images, masks)
    exact = images.dtype if images.dtype == tf.float64 else tf.float32
    x = tf.cast(images, exact)
    kept = tf.cast(tf.cast(masks, exact) >= 0.5, exact)
    kept = tf.broadcast_to(kept, tf.concat([tf.shape(x)[:-1], [1]], 0))
    found = _solve(x, kept, tolerance, max_steps)
    return tf.cast(tf.where(kept > 0, x, found), images.dtype)


def _check(images: tf.Tensor, masks: tf.Tensor) -> None:
    fits = (
        images.shape.rank in (3, 4, 5)
        and masks.shape.rank == images.shape.rank
        and masks.shape[-1] in (1, None)
        and masks.shape[0] in (1, None, images.shape[0])
        and images.shape[1:-1].is_compatible_with(masks.shape[1:-1])
    )
    if not fits:
        raise ValueError(
            message(
                "Pixels are filled in from those around them: images are "
                "(rows, *positions, channels), masks (rows, *positions, 1).",
                f"images of shape {images.shape}, masks of {masks.shape}",
                "Tables have no positions: fill them with a number or mean.",
            )
        )


def _around(x: tf.Tensor) -> tf.Tensor:
    """The weighted sum over the neighbours of each pixel."""
    axes = range(1, x.shape.rank - 1)
    total = x
    for axis in axes:
        padding = [[int(k == axis)] * 2 for k in range(x.shape.rank)]
        padded = tf.pad(total, padding)
        size = tf.shape(x)[axis]
        before = tf.gather(padded, tf.range(size), axis=axis)
        after = tf.gather(padded, tf.range(2, size + 2), axis=axis)
        total = before + 2 * total + after
    center = 2.0 ** len(axes)
    return (total - center * x) / (center * (center - 1))


def _solve(
    x: tf.Tensor, kept: tf.Tensor, tolerance: float, max_steps: int
) -> tf.Tensor:
    """Conjugate gradients with the diagonal as preconditioner.

    What is solved is symmetric: both sides of the equation of a pixel are
    multiplied by the sum of its weights.
    """
    axes = list(range(1, x.shape.rank - 1))
    hidden = 1 - kept

    def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a * b, axes, keepdims=True)

    # A constant is always a solution, and what is left of it is small.
    everything = tf.reduce_sum(kept, axes, keepdims=True) == 0
    known = tf.where(everything, tf.ones_like(kept), kept)
    mean = dot(x, known) / tf.reduce_sum(known, axes, keepdims=True)
    # One pixel alone has no neighbours; it is filled with the mean.
    diagonal = tf.maximum(_around(tf.ones_like(kept)), 1e-6)
    residual = hidden * _around(kept * (x - mean))
    scaled = residual / diagonal
    size = dot(residual, scaled)
    limit = tf.square(tf.cast(tolerance, x.dtype)) * size

    def step(
        number: tf.Tensor,
        found: tf.Tensor,
        residual: tf.Tensor,
        direction: tf.Tensor,
        size: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        running = size > limit
        moved = hidden * (diagonal * direction - _around(direction))
        length = tf.math.divide_no_nan(size, dot(direction, moved))
        length = tf.where(running, length, tf.zeros_like(length))
        found += length * direction
        residual -= length * moved
        scaled = residual / diagonal
        new = dot(residual, scaled)
        share = tf.math.divide_no_nan(new, size)
        direction = scaled + share * direction
        return number + 1, found, residual, direction, new

    start = (tf.constant(0), tf.zeros_like(x), residual, scaled, size)
    found = tf.while_loop(
        lambda number, _f, _r, _d, size: (
            (number < max_steps) & tf.reduce_any(size > limit)
        ),
        step,
        start,
        parallel_iterations=1,
        shape_invariants=tuple(
            tf.TensorShape([]) if t.shape.rank == 0 else _open(t.shape)
            for t in start
        ),
    )[1]
    return mean + found


def _open(shape: tf.TensorShape) -> tf.TensorShape:
    return tf.TensorShape([None] * shape.rank)
