"""Resampling whose gradient is the exact adjoint, with static shapes.

The gradient that TensorFlow registers for its projective transform of images
resamples what comes from above by the inverse map. That is not the adjoint:
it is off by 30 % in the interior under zoom. Here scale and shift are products
with one matrix for each axis, and rotation gathers four neighbors. Along axes
so long that a matrix would fill the memory, two neighbors are gathered.

Pictures are `(rows, *positions, channels)`, of any floating type, and each
row has parameters of its own.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_explain.engine.own_gradient import give_gradient

# Longest axis with a matrix: at 16000 one would take a gigabyte for each row.
_LONGEST = 512


def scale_and_shift(
    images: tf.Tensor, scales: tf.Tensor, shifts: tf.Tensor
) -> tf.Tensor:
    """Enlarges pictures about their center, then moves them.

    `y(i) = x((i - shift - c) / scale + c)` with the center `c` of the axis,
    by linear interpolation. Beyond the border the outermost pixels continue.
    A scale below one half skips pixels.

    Args:
        images: `(rows, *positions, channels)`.
        scales: `(rows, axes)`, positive.
        shifts: `(rows, axes)`, in pixels, to higher indices.
    """
    for axis in range(len(_sizes(images))):
        images = interpolate(images, scales[:, axis], shifts[:, axis], axis)
    return images


def interpolate(
    images: tf.Tensor,
    scales: tf.Tensor,
    shifts: tf.Tensor,
    axis: int,
    *,
    clamp: bool = True,
) -> tf.Tensor:
    """Scales and shifts along one axis; see `scale_and_shift`.

    Args:
        images: `(rows, *positions, channels)`.
        scales, shifts: `(rows or 1,)`.
        axis: Of the positions.
        clamp: Whether the outermost pixels continue beyond the border. If
            not, there are zeros.
    """
    size = _sizes(images)[axis]
    scales = tf.cast(scales, images.dtype)
    shifts = tf.cast(shifts, images.dtype)
    if size > _LONGEST:
        source = _sources(scales, shifts, size, clamp=clamp)
        return _two_neighbors(images, source, axis)
    weights = linear_weights(scales, shifts, size, clamp=clamp)
    return along_axis(images, weights, axis)


def _two_neighbors(
    images: tf.Tensor, source: tf.Tensor, axis: int
) -> tf.Tensor:
    """What `linear_weights` gives, without the zeros of the matrix."""
    size, rank = _sizes(images)[axis], len(_sizes(images))
    rows = tf.shape(images)[0]
    source = tf.broadcast_to(source, [rows, size])
    low = tf.floor(source)
    upper_share = source - low
    result = []
    for place, share in ((low, 1 - upper_share), (low + 1, upper_share)):
        inside = (place >= 0) & (place <= size - 1)
        share = tf.where(inside, share, tf.zeros_like(share))
        index = tf.cast(tf.clip_by_value(place, 0, size - 1), tf.int32)
        picked = tf.gather(images, index, axis=axis + 1, batch_dims=1)
        picked = tf.ensure_shape(picked, images.shape)
        result.append(picked * _lying_along(share, axis, rank)[..., tf.newaxis])
    return tf.add_n(result)


def linear_weights(
    scales: tf.Tensor, shifts: tf.Tensor, size: int, *, clamp: bool = True
) -> tf.Tensor:
    """Returns the matrices of linear interpolation along one axis.

    Args:
        scales, shifts: `(rows,)`; see `scale_and_shift`.
        size: Of the axis.
        clamp: Whether the outermost pixels continue beyond the border. If
            not, weights sum to less than one there.

    Returns:
        `(rows, size, size)`: result by source.
    """
    source = _sources(scales, shifts, size, clamp=clamp)
    cells = tf.range(size, dtype=scales.dtype)
    return tf.nn.relu(1 - tf.abs(source[..., tf.newaxis] - cells))


def _sources(
    scales: tf.Tensor, shifts: tf.Tensor, size: int, *, clamp: bool
) -> tf.Tensor:
    """Where the pixels of an axis come from, `(rows, size)`."""
    center = (size - 1) / 2
    cells = tf.range(size, dtype=scales.dtype)
    source = cells - center - shifts[:, tf.newaxis]
    source = source / scales[:, tf.newaxis] + center
    return tf.clip_by_value(source, 0, size - 1) if clamp else source


def along_axis(
    images: tf.Tensor, weights: tf.Tensor | np.ndarray, axis: int
) -> tf.Tensor:
    """Multiplies one axis of positions by a matrix.

    Args:
        images: `(rows, *positions, channels)`.
        weights: `(rows or 1, new, old)`.
        axis: Of the positions.
    """
    rank = images.shape.rank
    # With its axis in front, a picture is one matrix: this is twice as fast
    # as many products with as few columns as there are channels.
    order = [0, axis + 1, *(k for k in range(1, rank) if k != axis + 1)]
    moved = tf.transpose(images, order) if axis else images
    shape = moved.shape.as_list()
    weights = tf.convert_to_tensor(weights, images.dtype)
    flat = tf.reshape(moved, [-1, shape[1], int(np.prod(shape[2:]))])
    flat = tf.matmul(weights, flat)
    moved = tf.reshape(flat, [-1, weights.shape[1], *shape[2:]])
    return tf.transpose(moved, np.argsort(order)) if axis else moved


def move(images: tf.Tensor, shifts: tf.Tensor, *, wrap: bool) -> tf.Tensor:
    """Moves pictures by whole pixels, to higher indices.

    Args:
        images: `(rows, *positions, channels)`.
        shifts: `(rows, axes)` int32.
        wrap: Whether what leaves at one side comes in at the other; else
            the outermost pixels continue.
    """
    if not wrap:
        return _gathered(images, shifts, wrap=False)

    def back(upstream: tf.Tensor) -> list[tf.Tensor]:
        # A permutation: its adjoint is its inverse, which is faster than
        # adding up what was gathered.
        return [_gathered(upstream, -shifts, wrap=True)]

    return give_gradient(_gathered(images, shifts, wrap=True), [images], back)


def _gathered(x: tf.Tensor, shifts: tf.Tensor, *, wrap: bool) -> tf.Tensor:
    sizes = _sizes(x)
    index: tf.Tensor | int = 0
    for axis, size in enumerate(sizes):
        source = tf.range(size) - shifts[:, axis, tf.newaxis]
        if wrap:
            source = tf.math.floormod(source, size)
        else:
            source = tf.clip_by_value(source, 0, size - 1)
        source = _lying_along(source, axis, len(sizes))
        index = index * size + source
    return _pick(x, index)


def rotate(
    images: tf.Tensor, angles: tf.Tensor, plane: tuple[int, int] = (0, 1)
) -> tf.Tensor:
    """Turns pictures about their center, by linear interpolation.

    In pixels, whatever the shape of the picture. Beyond the border the
    outermost pixels continue.

    Args:
        images: `(rows, *positions, channels)` with two positions or more.
        angles: `(rows,)` in radians, counter-clockwise as images are drawn
            (first axis down, second to the right).
        plane: The two axes of positions that turn.
    """
    sizes = _sizes(images)
    rank = len(sizes)
    down, right = (
        _lying_along(
            tf.range(sizes[axis], dtype=images.dtype)[tf.newaxis]
            - (sizes[axis] - 1) / 2,
            axis,
            rank,
        )
        for axis in plane
    )
    angles = tf.reshape(tf.cast(angles, images.dtype), [-1, *[1] * rank])
    cosine, sine = tf.cos(angles), tf.sin(angles)
    sources = {
        plane[0]: cosine * down + sine * right,
        plane[1]: cosine * right - sine * down,
    }
    low, share = {}, {}
    for axis, source in sources.items():
        last = sizes[axis] - 1
        source = tf.clip_by_value(source + last / 2, 0, last)
        floor = tf.floor(source)
        low[axis], share[axis] = tf.cast(floor, tf.int32), source - floor
    result = []
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        result.append(_corner(images, plane, corner, low, share))
    return tf.add_n(result)


def _corner(
    images: tf.Tensor,
    plane: tuple[int, int],
    corner: tuple[int, int],
    low: dict[int, tf.Tensor],
    share: dict[int, tf.Tensor],
) -> tf.Tensor:
    """One of the four neighbors, multiplied by its share."""
    sizes = _sizes(images)
    index: tf.Tensor | int = 0
    weight = tf.ones([], images.dtype)
    for axis, size in enumerate(sizes):
        if axis in plane:
            upper = corner[plane.index(axis)]
            # Beyond the last pixel there is none, and its share is zero.
            source = tf.minimum(low[axis] + upper, size - 1)
            weight = weight * (share[axis] if upper else 1 - share[axis])
        else:
            source = _lying_along(tf.range(size)[tf.newaxis], axis, len(sizes))
        index = index * size + source
    rows = tf.shape(images)[0]
    full = tf.broadcast_to(index, [rows, *sizes])
    return _pick(images, full) * weight[..., tf.newaxis]


def _pick(images: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Takes pixels by their number, `(rows, *positions)`."""
    sizes, channels = _sizes(images), images.shape[-1]
    count = int(np.prod(sizes))
    flat = tf.reshape(images, [-1, count, channels])
    picked = tf.gather(flat, tf.reshape(index, [-1, count]), batch_dims=1)
    return tf.reshape(picked, [-1, *sizes, channels])


def _lying_along(values: tf.Tensor, axis: int, rank: int) -> tf.Tensor:
    """Reshapes `(rows, size)` so that it broadcasts along one position."""
    shape = [1] * rank
    shape[axis] = values.shape[1]
    return tf.reshape(values, [-1, *shape])


def _sizes(images: tf.Tensor) -> list[int]:
    return images.shape.as_list()[1:-1]
