"""Many evaluations of one batch in bounded memory: paths, noise and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def accumulate(
    function: Callable[[tf.Tensor], Any],
    num_samples: int | tf.Tensor,
    rows: int,
    batch: tf.Tensor,
) -> Any:
    """Sums `function(ids)` over chunks of the samples, in the graph.

    Args:
        function: Takes `(k,)` int32 sample numbers and returns a structure
            of tensors in which those samples are summed already. Their
            shapes must not depend on `k`.
        num_samples: How many samples there are.
        rows: Limit on `k * batch`: how many rows a model sees at once.
            At least one sample is taken, whatever the batch.
        batch: Number of rows of one sample.

    Returns:
        The sums, in the structure the function returns.
    """
    chunk = tf.maximum(1, rows // tf.maximum(batch, 1))
    total = tf.convert_to_tensor(num_samples, tf.int32)
    # The first chunk outside the loop gives the shapes of the sums.
    sums = function(tf.range(tf.minimum(chunk, total)))
    if isinstance(num_samples, int) and num_samples == 1:
        return sums

    def body(start: tf.Tensor, sums: Any) -> tuple[tf.Tensor, Any]:
        ids = tf.range(start, tf.minimum(start + chunk, total))
        part = function(ids)
        return start + chunk, tf.nest.map_structure(tf.add, sums, part)

    _, sums = tf.while_loop(
        lambda start, _: start < total,
        body,
        (_after(sums, chunk), sums),
        # One after the other: chunks in parallel would multiply the memory.
        parallel_iterations=1,
        shape_invariants=(
            tf.TensorShape([]),
            tf.nest.map_structure(lambda t: _loose(t.shape), sums),
        ),
    )
    return sums


def collect(
    function: Callable[[tf.Tensor], tf.Tensor],
    num_samples: int | tf.Tensor,
    rows: int,
    batch: tf.Tensor,
) -> tf.Tensor:
    """Joins `function(ids)` over chunks of the samples, in the graph.

    As `accumulate`, for results that are kept one by one.

    Args:
        function: Takes `(k,)` int32 sample numbers and returns `(k, ...)`.
        num_samples, rows, batch: As for `accumulate`.

    Returns:
        `(num_samples, ...)`.
    """
    chunk = tf.maximum(1, rows // tf.maximum(batch, 1))
    total = tf.convert_to_tensor(num_samples, tf.int32)
    first = function(tf.range(tf.minimum(chunk, total)))
    # Chunks are of one size but for the last, so they are joined at the end.
    parts = tf.TensorArray(
        first.dtype, 1, dynamic_size=True, infer_shape=False
    ).write(0, first)

    def body(start: tf.Tensor, parts: tf.TensorArray) -> tuple:
        ids = tf.range(start, tf.minimum(start + chunk, total))
        parts = parts.write(start // chunk, function(ids))
        return start + chunk, parts

    _, parts = tf.while_loop(
        lambda start, _: start < total,
        body,
        (_after(first, chunk), parts),
        parallel_iterations=1,
    )
    joined = parts.concat()
    return tf.ensure_shape(joined, [None, *first.shape[1:]])


def _after(results: Any, value: tf.Tensor) -> tf.Tensor:
    """Returns the value once the results are there.

    What a loop begins with is not waited for: its first chunk would run
    beside the one that came before.
    """
    with tf.control_dependencies(tf.nest.flatten(results)):
        return tf.identity(value)


def _loose(shape: tf.TensorShape) -> tf.TensorShape:
    return tf.TensorShape([None, *shape[1:]]) if shape.rank else shape


def unstack(structure: Any, batch: tf.Tensor) -> Any:
    """Reshapes `(k * batch, ...)` to `(k, batch, ...)`."""
    return tf.nest.map_structure(
        lambda t: tf.reshape(t, tf.concat([[-1, batch], tf.shape(t)[1:]], 0)),
        structure,
    )


def stack(structure: Any) -> Any:
    """Reshapes `(k, batch, ...)` to `(k * batch, ...)`."""

    def stacked(tensor: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([[-1], tf.shape(tensor)[2:]], 0)
        result = tf.reshape(tensor, shape)
        result.set_shape([None, *tensor.shape[2:]])
        return result

    return tf.nest.map_structure(stacked, structure)


def expand(weights: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Appends axes of size one until `weights` has the rank of `like`."""
    for _ in range(like.shape.rank - weights.shape.rank):
        weights = weights[..., tf.newaxis]
    return weights


def total(values: Any) -> tf.Tensor:
    """Sum over all values of each sample, `(batch,)`."""
    return tf.add_n(
        [
            tf.reduce_sum(v, list(range(1, v.shape.rank)))
            for v in tf.nest.flatten(values)
        ]
    )


def largest(values: Any, start: int = 1) -> tf.Tensor:
    """Largest magnitude over the axes from `start` on."""
    each = [
        tf.reduce_max(tf.abs(v), list(range(start, v.shape.rank)))
        for v in tf.nest.flatten(values)
    ]
    return tf.reduce_max(tf.stack(each), 0)


def normal(ids: tf.Tensor, seed: int, shape: Any, stream: int) -> tf.Tensor:
    """Draws standard normal noise, `(k, *shape)`.

    Sample `j` of a seed is the same whatever the chunk it is drawn in, and
    is shared by the samples of a batch, so that a batch of n equals n
    batches of one.

    Args:
        ids: `(k,)` sample numbers.
        seed: Integer.
        shape: Shape of one draw.
        stream: Number of the input, so that inputs get other noise.
    """

    first = (seed * 1000003 + stream) % (2**31 - 1)

    def draw(number: tf.Tensor) -> tf.Tensor:
        key = tf.stack([first, number])
        return tf.random.stateless_normal(shape, key)

    return tf.map_fn(draw, ids, fn_output_signature=tf.float32)


def quadrature(method: str, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes in [0, 1] and weights that sum to one.

    Args:
        method: `"gauss_legendre"`, or the Riemann sums `"left"`, `"right"`,
            `"middle"`, `"trapezoid"`.
        num_steps: Number of nodes; at least 2 for `"trapezoid"`.
    """
    if method == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(num_steps)
        return (nodes + 1) / 2, weights / 2
    if method == "trapezoid":
        weights = np.full(num_steps, 1 / (num_steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, num_steps), weights
    offset = {"left": 0.0, "middle": 0.5, "right": 1.0}[method]
    nodes = (np.arange(num_steps) + offset) / num_steps
    return nodes, np.full(num_steps, 1 / num_steps)
