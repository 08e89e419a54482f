"""Conditioned gradients: sizes, pyramids, and rows that stand alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.conditioning import (
    LaplacianNormalized,
    NormalizedGradient,
    merge,
    split,
)
from tests.allocation import peak

NORMS = {
    "mean_abs": lambda g: np.abs(g).mean(),
    "rms": lambda g: np.sqrt((g**2).mean()),
    "l2": lambda g: np.sqrt((g**2).sum()),
    "std": lambda g: g.std(),
}
PARTS = [
    *(NormalizedGradient(norm) for norm in NORMS),
    LaplacianNormalized(),
    LaplacianNormalized(levels=1),
]
SHAPES = [(9, 2), (16, 11, 3), (5, 8, 7, 1)]
KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def gradients(shape, rows=3):
    return np.random.default_rng(0).normal(size=(rows, *shape))


def condition(part, g):
    return part.gradient(tf.constant(g, tf.float32), tf.constant(0)).numpy()


def slow_halves(x):
    """Every other pixel of a binomial average, cut off at the borders."""
    for axis in range(x.ndim - 1):
        x = np.moveaxis(x, axis, 0)
        size, rows = len(x), []
        for i in range(0, size, 2):
            near = [j for j in range(i - 2, i + 3) if 0 <= j < size]
            weights = [KERNEL[j - i + 2] for j in near]
            rows.append(np.average(x[near], axis=0, weights=weights))
        x = np.moveaxis(np.stack(rows), 0, axis)
    return x


def slow_doubles(x, shape):
    """The same average of pixels between which zeros were put."""
    for axis, size in enumerate(shape[:-1]):
        x = np.moveaxis(x, axis, 0)
        rows = []
        for i in range(size):
            near = [j for j in range(len(x)) if abs(2 * j - i) <= 2]
            weights = [KERNEL[2 * j - i + 2] for j in near]
            rows.append(np.average(x[near], axis=0, weights=weights))
        x = np.moveaxis(np.stack(rows), 0, axis)
    return x


def slow_laplacian(g, levels):
    """Split, divide each level by its root mean square, add up."""
    levels = min(levels, int(np.log2(min(g.shape[:-1]))))
    low, high = g, []
    for _ in range(levels):
        halves = slow_halves(low)
        high.append(low - slow_doubles(halves, low.shape))
        low = halves
    total = low / NORMS["rms"](low)
    for level in reversed(high):
        total = slow_doubles(total, level.shape)
        total = total + level / NORMS["rms"](level)
    return total


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_serialize_compare_and_hash(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and hash(again) == hash(part)
    assert sum(other == part for other in PARTS) == 1
    assert part.needs_pixels == isinstance(part, LaplacianNormalized)
    x = tf.ones((1, 2, 2, 1))
    assert part.penalty(x) is None and part.project(x, x, 0) is x


@pytest.mark.parametrize("shape", [*SHAPES, (6,), (2, 3, 4, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_normalized_by_definition(norm, shape):
    g = gradients(shape)
    expected = [one / NORMS[norm](one) for one in g]
    np.testing.assert_allclose(
        condition(NormalizedGradient(norm), g), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_laplacian_by_definition(shape, levels):
    g = gradients(shape)
    expected = [slow_laplacian(one, levels) for one in g]
    np.testing.assert_allclose(
        condition(LaplacianNormalized(levels), g), expected, atol=1e-5
    )


@pytest.mark.parametrize("shape", [*SHAPES, (1, 6, 2)], ids=str)
@pytest.mark.parametrize("levels", [0, 1, 3, 9])
def test_pyramid_adds_up_to_what_was_split(shape, levels):
    g = tf.constant(gradients(shape))
    pyramid = split(g, levels)
    most = int(np.log2(min(shape[:-1])))
    assert len(pyramid) == 1 + min(levels, most)
    sizes = [level.shape[1] for level in pyramid]
    assert sizes == [-(-shape[0] // 2**k) for k in range(len(sizes))]
    np.testing.assert_allclose(merge(pyramid), g, atol=1e-12)


def test_long_signals_are_split_without_a_matrix():
    """Which would be 32 MB here, and half a gigabyte at 16000 samples."""
    part, g = LaplacianNormalized(), gradients((4000, 1), 1)
    assert peak(lambda g: condition(part, g), g) < 100 * 4 * 4000


def test_a_smooth_gradient_lives_in_the_coarse_levels():
    rows, columns = np.meshgrid(*[np.linspace(0, np.pi, 32)] * 2)
    wave = tf.constant((np.sin(rows) * np.sin(columns))[None, ..., None])
    sizes = [NORMS["rms"](level.numpy()) for level in split(wave, 3)]
    assert sizes[0] < 0.1 * sizes[-1] and sizes[1] < 0.2 * sizes[-1]
    checks = tf.constant((-1.0) ** np.indices((32, 32)).sum(0)[None, ..., None])
    sizes = [NORMS["rms"](level.numpy()) for level in split(checks, 3)]
    assert sizes[0] > 0.9 and max(sizes[1:]) < 0.1


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_each_row_has_its_own_size(part):
    """Rows of very different size neither see nor drown each other."""
    g = gradients((16, 11, 3), 4) * np.array([1, 1e-20, 1e12, 0]).reshape(
        4, 1, 1, 1
    )
    together = condition(part, g)
    assert np.all(np.isfinite(together))
    for row in range(4):
        alone = condition(part, g[row : row + 1])[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-6)
    np.testing.assert_array_equal(together[3], np.zeros((16, 11, 3)))
    np.testing.assert_allclose(
        condition(part, 1e-25 * g[:1])[0], together[0], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        condition(part, -g), -together, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_a_flat_gradient_stays_finite(part):
    """Rounding is not blown up to the size of what is there."""
    g = np.full((1, 16, 16, 1), 0.3, "float32")
    assert np.all(np.isfinite(condition(part, g)))
    g[0, ::3, 1::5] = np.nextafter(np.float32(0.3), np.float32(1))
    flat = condition(part, g)
    assert np.all(flat > 0) and flat.max() < 2e5
    assert np.ptp(flat) <= 0.05 * flat.max()


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_shapes_are_static_in_a_loop(part):
    g = tf.constant(gradients((16, 11, 3)), tf.float32)

    @tf.function
    def loop(g):
        def body(step, g):
            y = part.gradient(g, step)
            assert y.shape == g.shape
            return step + 1, y

        return tf.while_loop(lambda k, _: k < 2, body, (0, g))[1]

    expected = condition(part, condition(part, g))
    np.testing.assert_allclose(loop(g), expected, rtol=1e-4, atol=1e-5)


REFUSED = [
    (lambda: NormalizedGradient("max"), ValueError, "norm 'mean_abs', 'rms'"),
    (lambda: LaplacianNormalized(0), ValueError, "levels=0"),
    (lambda: LaplacianNormalized(1.5), TypeError, "levels=1.5"),
    (
        lambda: condition(LaplacianNormalized(), np.ones((2, 5))),
        ValueError,
        "one to three axes",
    ),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()
