"""Gradients compared with differences, and operators with their adjoints."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def check_gradient(function, *values, seed=0, step=1e-5, tolerance=1e-6):
    """Compares the slope along random directions, in float64.

    Args:
        function: float64 tensors to one tensor.
        *values: Arrays where the gradient is taken.
    """
    rng = np.random.default_rng(seed)
    values = [tf.constant(v, tf.float64) for v in values]
    shape = function(*values).shape
    weights = tf.constant(rng.normal(size=shape))

    def score(*v):
        return tf.reduce_sum(function(*v) * weights)

    with tf.GradientTape() as tape:
        tape.watch(values)
        total = score(*values)
    gradients = tape.gradient(total, values)
    for _ in range(3):
        directions = [rng.normal(size=v.shape) for v in values]
        above = score(
            *[v + step * d for v, d in zip(values, directions, strict=True)]
        )
        below = score(
            *[v - step * d for v, d in zip(values, directions, strict=True)]
        )
        expected = float(above - below) / (2 * step)
        slope = sum(
            float(np.sum(g.numpy() * d))
            for g, d in zip(gradients, directions, strict=True)
        )
        size = max(
            float(np.linalg.norm(g)) * np.linalg.norm(d)
            for g, d in zip(gradients, directions, strict=True)
        )
        assert size > 0
        np.testing.assert_allclose(slope, expected, atol=tolerance * size)


def check_adjoint(operator, shape, seed=0):
    """`<A x, u> = <x, A' u>` for a linear operator and its gradient."""
    rng = np.random.default_rng(seed)
    x = tf.constant(rng.normal(size=shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = operator(x)
        u = tf.constant(rng.normal(size=y.shape))
        product = tf.reduce_sum(y * u)
    back = tape.gradient(product, x)
    np.testing.assert_allclose(
        np.sum(x * back), float(product), rtol=1e-12, atol=1e-12
    )
    # The adjoint is linear as well: it does not depend on x.
    other = tf.constant(rng.normal(size=shape))
    with tf.GradientTape() as tape:
        tape.watch(other)
        product = tf.reduce_sum(operator(other) * u)
    np.testing.assert_allclose(tape.gradient(product, other), back, atol=1e-12)
