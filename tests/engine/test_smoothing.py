"""Blurs: products with matrices, and the same along axes of any length."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.engine import fills, smoothing
from keras_explain.engine.smoothing import blur
from tests.allocation import peak

SHAPES = [(1, 2), (2, 1), (9, 3), (40, 1), (5, 7, 3), (1, 12, 2), (3, 4, 6, 2)]


def gaussian(size, sigma):
    """The `(size, size)` matrix: rows sum to one, also at the borders."""
    cells = np.arange(size)
    apart = (cells[:, None] - cells) / max(sigma, 1e-3)
    weights = np.exp(-(apart**2) / 2)
    return weights / weights.sum(1, keepdims=True)


def by_matrices(x, matrices):
    for axis, matrix in enumerate(matrices, start=1):
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


def pictures(shape, dtype="float64"):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)


@pytest.fixture(params=["matrix", "spectrum"])
def way(request, monkeypatch):
    """Both ways on short axes; left to itself it would take the first."""
    if request.param == "spectrum":
        monkeypatch.setattr(smoothing, "_LONGEST", 0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sigma", [0.0, 1.7, 1e12])
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 2e-6),
                                             ("float64", 1e-14)])  # fmt: skip
def test_blur_is_a_product_with_matrices(way, shape, sigma, dtype, atol):
    x = pictures(shape, dtype)
    expected = by_matrices(x, [gaussian(size, sigma) for size in shape[:-1]])
    found = blur(tf.constant(x), [sigma] * (len(shape) - 1))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=atol)


def test_each_axis_has_its_own_sigma_and_sizes_may_be_open(way):
    x = pictures((9, 11, 3))
    expected = by_matrices(x, [gaussian(9, 0.7), gaussian(11, 2.5)])

    @tf.function(input_signature=[
        tf.TensorSpec([None, None, None, 3], tf.float64),
        tf.TensorSpec([], tf.float64),
    ])  # fmt: skip
    def blurred(x, sigma):
        found = blur(x, [0.7, sigma])
        assert found.shape == x.shape
        return found

    found = blurred(x, 2.5)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_its_gradient_is_the_product_with_the_matrices_turned_around(way):
    x, upward = pictures((9, 7, 2)), pictures((9, 7, 2)) ** 2
    values = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(blur(values, [1.2, 3.0]) * upward)
    turned = [gaussian(9, 1.2).T, gaussian(7, 3.0).T]
    np.testing.assert_allclose(
        tape.gradient(total, values), by_matrices(upward, turned), atol=1e-13
    )


@pytest.mark.parametrize(
    "work",
    [lambda x: blur(x, [2.0]), lambda x: fills.filled("blur", x)],
    ids=["blur", "fill"],
)
def test_a_long_signal_needs_no_matrix(work):
    """Which would be 64 MB here, and a gigabyte at four times the length."""
    signal = tf.zeros((1, 4000, 1))
    open_size = [tf.TensorSpec([1, None, 1], tf.float32)]
    assert peak(tf.function(work), signal) < 50 * 4 * 4000
    assert peak(tf.function(work, open_size), signal) < 50 * 4 * 4000
