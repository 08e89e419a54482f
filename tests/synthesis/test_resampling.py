"""Resampling: what it computes, and that its gradient is its adjoint."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis import resampling
from tests.synthesis.finite_differences import check_adjoint, check_gradient

SHAPES = [(2, 9, 2), (2, 6, 9, 3), (2, 4, 5, 6, 1), (2, 7, 1, 2)]


def pictures(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sample(x, place):
    """Linear interpolation of one picture at one place, slowly."""
    sizes = x.shape[:-1]
    place = [min(max(p, 0), n - 1) for p, n in zip(place, sizes, strict=True)]
    neighbors = [{int(p), min(int(p) + 1, n - 1)}
                 for p, n in zip(place, sizes, strict=True)]  # fmt: skip
    total = 0
    for corner in itertools.product(*neighbors):
        apart = np.abs(np.subtract(place, corner))
        total = total + np.prod(1 - apart) * x[corner]
    return total


def by_places(x, place_of):
    """`y(i) = x(place_of(row, i))` for all rows and positions."""
    y = np.zeros_like(x)
    for row in range(len(x)):
        for i in np.ndindex(*x.shape[1:-1]):
            y[row][i] = sample(x[row], place_of(row, np.array(i, float)))
    return y


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scale_and_shift_by_definition(shape):
    rng = np.random.default_rng(1)
    axes = len(shape) - 2
    scales = rng.uniform(0.6, 1.7, (2, axes))
    shifts = rng.uniform(-2, 2, (2, axes))
    x = pictures(shape)
    center = (np.array(shape[1:-1]) - 1) / 2
    expected = by_places(
        x, lambda r, i: (i - shifts[r] - center) / scales[r] + center
    )
    y = resampling.scale_and_shift(
        tf.constant(x), tf.constant(scales), tf.constant(shifts)
    )
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("wrap", [True, False])
def test_move_by_definition(shape, wrap):
    axes = len(shape) - 2
    shifts = np.random.default_rng(2).integers(-3, 4, (2, axes))
    shifts[0, 0], shifts[1, 0] = 2, -1
    x = pictures(shape)
    if wrap:
        expected = [np.roll(one, s, range(axes)) for one, s in
                    zip(x, shifts, strict=True)]  # fmt: skip
    else:
        expected = by_places(x, lambda r, i: i - shifts[r])
    y = resampling.move(
        tf.constant(x), tf.constant(shifts, tf.int32), wrap=wrap
    )
    np.testing.assert_array_equal(y, np.stack(expected))


@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_rotate_by_definition(plane):
    shape = (2, 4, 7, 5, 2) if plane != (0, 1) else (2, 6, 9, 3)
    angles = np.array([0.4, -1.1])
    x = pictures(shape)
    center = (np.array(shape[1:-1]) - 1) / 2

    def place(row, i):
        down, right = (i - center)[list(plane)]
        z = (right - 1j * down) * np.exp(-1j * angles[row])
        source = i.copy()
        source[list(plane)] = np.array([-z.imag, z.real])
        source[list(plane)] += center[list(plane)]
        return source

    y = resampling.rotate(tf.constant(x), tf.constant(angles), plane)
    np.testing.assert_allclose(y, by_places(x, place), atol=1e-12)


def test_quarter_turn_is_counter_clockwise():
    x = pictures((1, 5, 5, 2))
    y = resampling.rotate(tf.constant(x), tf.constant([np.pi / 2], tf.float64))
    np.testing.assert_allclose(y[0], np.rot90(x[0]), atol=1e-12)


OPERATORS = {
    "scale and shift": lambda x: resampling.scale_and_shift(
        x, tf.constant([[0.7, 1.4], [1.2, 0.9]]), tf.constant([[2.3, -1.0],
                                                               [0.0, 4.6]])
    ),
    "without clamp": lambda x: resampling.along_axis(
        x,
        resampling.linear_weights(
            tf.constant([0.6, 1.3], tf.float64),
            tf.constant([1.5, 0.0], tf.float64),
            9,
            clamp=False,
        ),
        1,
    ),
    "two neighbors": lambda x: resampling._two_neighbors(
        x,
        resampling._sources(
            tf.constant([0.6, 1.3], tf.float64),
            tf.constant([1.5, 0.0], tf.float64),
            9,
            clamp=False,
        ),
        1,
    ),
    "move": lambda x: resampling.move(
        x, tf.constant([[2, -3], [0, 5]]), wrap=False
    ),
    "wrap": lambda x: resampling.move(
        x, tf.constant([[2, -3], [0, 5]]), wrap=True
    ),
    "rotate": lambda x: resampling.rotate(x, tf.constant([0.5, -2.0])),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_gradient_is_the_adjoint(name):
    check_adjoint(OPERATORS[name], (2, 6, 9, 3))
    check_gradient(OPERATORS[name], pictures((2, 6, 9, 3)))


@pytest.mark.parametrize("name", OPERATORS)
def test_gradient_holds_in_a_compiled_loop(name):
    """Shapes stay static in a loop, and the gradient is the same."""
    x = tf.constant(pictures((2, 6, 9, 3)))

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(OPERATORS[name](x)))
        return tape.gradient(y, x)

    @tf.function
    def loop(x):
        def body(k, x):
            y = OPERATORS[name](x)
            assert y.shape[1:] == x.shape[1:]
            return k + 1, x + 0.01 * slope(x)

        return tf.while_loop(lambda k, _: k < 3, body, (0, x))[1]

    expected = x
    for _ in range(3):
        expected = expected + 0.01 * slope(expected)
    np.testing.assert_allclose(loop(x), expected, rtol=1e-10)


def test_neutral_parameters_change_nothing():
    x = tf.constant(pictures((2, 6, 9, 3)), tf.float32)
    one, zero = tf.ones((2, 2)), tf.zeros((2, 2))
    np.testing.assert_array_equal(resampling.scale_and_shift(x, one, zero), x)
    still = tf.zeros((2, 2), tf.int32)
    for wrap in (True, False):
        np.testing.assert_array_equal(resampling.move(x, still, wrap=wrap), x)
    np.testing.assert_array_equal(resampling.rotate(x, tf.zeros(2)), x)


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_long_axes_are_as_short_ones(axis, clamp, monkeypatch):
    """Without the matrix of the whole axis, to the last digit."""
    x = tf.constant(pictures((3, 12, 9, 2)))
    scales = tf.constant([0.3, 1.0, 1.7], tf.float64)
    shifts = tf.constant([2.5, 0.0, -20.0], tf.float64)

    def made(x):
        return resampling.interpolate(x, scales, shifts, axis, clamp=clamp)

    by_matrix = made(x)
    monkeypatch.setattr(resampling, "_LONGEST", 1)
    np.testing.assert_allclose(made(x), by_matrix, atol=1e-12)
    check_adjoint(made, (3, 12, 9, 2))
    check_gradient(made, x)


def test_one_scale_is_for_all_rows(monkeypatch):
    x = tf.constant(pictures((3, 12, 2)))
    scale, still = tf.constant([0.7]), tf.constant([0.0])
    by_matrix = resampling.interpolate(x, scale, still, 0)
    monkeypatch.setattr(resampling, "_LONGEST", 1)
    two = resampling.interpolate(x, scale, still, 0)
    np.testing.assert_allclose(two, by_matrix, atol=1e-12)
