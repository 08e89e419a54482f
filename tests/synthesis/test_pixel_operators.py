"""Pixel operators: their formulas, slowly, and when they act."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.pixel_operators import (
    Bilateral,
    Blur,
    Decay,
    GradientBlur,
    SmallContribution,
    SmallNorm,
)
from tests.allocation import peak

PARTS = [
    Blur(1.3, every=1),
    Blur(0.5),
    Bilateral(1.0, 0.3, every=1),
    Decay(0.1),
    Decay(0.1, center=[0.0, 0.5, 1.0]),
    SmallNorm(30),
    SmallNorm(30, center=0.0),
    SmallContribution(30),
    GradientBlur(2.0, 0.5, 10),
    GradientBlur(2.0, 0.5, 10, of="image"),
]
NEUTRAL = [
    Blur(0.0, every=1),
    Bilateral(0.0, every=1),
    Decay(0.0),
    SmallNorm(0),
    SmallContribution(0),
    GradientBlur(0.0, 0.0, 5, of="image"),
]
SHAPES = [(9, 3), (5, 7, 3), (3, 4, 5, 3)]


def pictures(shape, rows=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(rows, *shape)).astype("float32")


def change(part, x, step=0, gradient=None):
    """What the part makes of pixels, or of a gradient if that is its task."""
    step = tf.constant(step)
    if getattr(part, "of", "") == "gradient":
        return part.gradient(tf.constant(x), step)
    gradient = pictures(x.shape[1:], len(x), 7) - 0.5
    return part.project(tf.constant(x), tf.constant(gradient), step)


def slow_blur(x, sigma):
    """Gaussian mean over all pixels of one picture."""
    x = x.astype("float64")
    y = np.zeros_like(x)
    places = list(np.ndindex(*x.shape[:-1]))
    for i in places:
        weights = [np.exp(-np.sum(np.subtract(i, j) ** 2) / (2 * sigma**2))
                   for j in places]  # fmt: skip
        y[i] = np.average([x[j] for j in places], axis=0, weights=weights)
    return y


def slow_bilateral(x, sigma_space, sigma_range):
    x = x.astype("float64")
    y = np.zeros_like(x)
    reach = int(np.ceil(2 * sigma_space))
    for i in np.ndindex(*x.shape[:-1]):
        total, weights = 0.0, 0.0
        for apart in itertools.product(
            range(-reach, reach + 1), repeat=x.ndim - 1
        ):
            j = tuple(np.add(i, apart))
            if min(j) < 0 or any(np.greater_equal(j, x.shape[:-1])):
                continue
            weight = np.exp(
                -np.sum(np.square(apart)) / (2 * sigma_space**2)
                - np.sum((x[i] - x[j]) ** 2) / (2 * sigma_range**2)
            )
            total, weights = total + weight * x[j], weights + weight
        y[i] = total / weights
    return y


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_serialize_compare_and_hash(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and repr(again) == repr(part)
    assert hash(again) == hash(part)
    assert sum(other == part for other in PARTS) == 1
    assert part.needs_pixels
    assert part.penalty(tf.ones((1, 2, 2, 1))) is None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_rows_stand_alone_in_a_loop_of_static_shapes(part, shape):
    x = pictures(shape, 3)

    @tf.function
    def loop(x):
        def body(step, x):
            if getattr(part, "of", "") == "gradient":
                y = part.gradient(x, step)
            else:
                y = part.project(x, x - 0.3, step)
            assert y.shape == x.shape
            return step + 1, y

        return tf.while_loop(lambda k, _: k < 5, body, (0, x))[1]

    together = loop(x)
    assert np.all(np.isfinite(together)) and np.any(together != x)
    for row in range(3):
        alone = loop(x[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


@pytest.mark.parametrize("part", NEUTRAL, ids=repr)
def test_neutral_options_change_nothing(part):
    x = pictures((5, 7, 3))
    np.testing.assert_allclose(change(part, x), x, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sigma", [0.4, 1.7])
def test_blur_by_definition(shape, sigma):
    x = pictures(shape)
    y = change(Blur(sigma, every=1), x)
    expected = [slow_blur(one, sigma) for one in x]
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bilateral_by_definition(shape):
    x = pictures(shape)
    for sigmas in ((0.8, 0.4), (1.5, 0.2)):
        y = change(Bilateral(*sigmas, every=1), x)
        expected = [slow_bilateral(one, *sigmas) for one in x]
        np.testing.assert_allclose(y, expected, atol=1e-6)


def test_bilateral_keeps_the_edges_that_blur_does_not():
    x = np.zeros((1, 8, 8, 1), "float32")
    x[:, :, 4:] = 1.0
    x += 0.02 * (pictures((8, 8, 1), 1) - 0.5)
    soft = change(Blur(1.0, every=1), x)[0, ..., 0].numpy()
    kept = change(Bilateral(1.0, 0.1, every=1), x)[0, ..., 0].numpy()
    assert np.all(kept[:, 4] - kept[:, 3] > 0.97)
    assert np.all(soft[:, 4] - soft[:, 3] < 0.5)
    assert kept[:, :4].std() < 0.5 * x[0, :, :4].std()


@pytest.mark.parametrize("part", [Blur(1.0, every=3), Bilateral(1.0, every=3)],
                         ids=repr)  # fmt: skip
def test_acts_at_every_third_step(part):
    x = pictures((5, 7, 3))
    acted = [bool(np.any(change(part, x, step) != x)) for step in range(7)]
    assert acted == [False, False, True, False, False, True, False]


def test_decay_by_definition():
    x = pictures((5, 7, 3))
    np.testing.assert_allclose(
        change(Decay(0.2), x), 0.5 + 0.8 * (x - 0.5), atol=1e-7
    )
    center = np.array([0.0, 0.5, 1.0])
    part = Decay(1.0, center=center)
    np.testing.assert_allclose(
        change(part, x), np.broadcast_to(center, x.shape), atol=1e-7
    )


@pytest.mark.parametrize("percentile", [0, 12.5, 60, 100])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_pixels_are_erased_by_definition(shape, percentile):
    x, g = pictures(shape), pictures(shape, seed=3) - 0.5
    center = np.array([0.2, 0.5, 0.6])
    parts = {
        SmallNorm: np.sqrt(((x - center) ** 2).sum(-1)),
        SmallContribution: np.abs(((x - center) * g).sum(-1)),
    }
    for kind, values in parts.items():
        expected = x.copy()
        for row, value in zip(expected, values, strict=True):
            row[value < np.percentile(value, percentile) - 1e-7] = center
        y = kind(percentile, center).project(
            tf.constant(x), tf.constant(g), tf.constant(0)
        )
        np.testing.assert_allclose(y, expected, atol=1e-7)
        erased = np.mean(np.all(np.abs(y - center) < 1e-7, -1))
        assert erased == pytest.approx(percentile / 100, abs=0.12)


@pytest.mark.parametrize("part", [Blur(2.0, 1), GradientBlur(2.0, 1.0, 9)],
                         ids=repr)  # fmt: skip
def test_long_signals_are_blurred_without_a_matrix(part):
    """Which would be 64 MB here, and a gigabyte at four times the length."""
    signal = np.zeros((1, 4000, 1), "float32")
    assert peak(lambda x: change(part, x), signal) < 50 * signal.nbytes


def test_gradient_blur_falls_from_one_sigma_to_the_other():
    x = pictures((9, 8, 1))
    gradient = GradientBlur(2.0, 0.5, 10)
    image = GradientBlur(2.0, 0.5, 10, of="image")
    for step, sigma in ((0, 2.0), (4, 1.4), (10, 0.5), (99, 0.5)):
        expected = [slow_blur(one, sigma) for one in x]
        step = tf.constant(step)
        np.testing.assert_allclose(
            gradient.gradient(tf.constant(x), step), expected, atol=1e-6
        )
        np.testing.assert_allclose(
            image.project(tf.constant(x), tf.constant(x), step),
            expected,
            atol=1e-6,
        )
    x = tf.constant(x)
    assert image.gradient(x, tf.constant(0)) is x
    assert gradient.project(x, x, tf.constant(0)) is x


REFUSED = [
    (lambda: Blur(-1.0), ValueError, "sigma=-1.0"),
    (lambda: Blur(1.0, every=0), ValueError, "every=0"),
    (lambda: Bilateral(20.0), ValueError, "to 10"),
    (lambda: Bilateral(1.0, 0.0), ValueError, "sigma_range=0.0"),
    (lambda: Decay(1.5), ValueError, "rate=1.5"),
    (lambda: SmallNorm(101), ValueError, "percentile=101"),
    (lambda: SmallContribution(-1), ValueError, "percentile=-1"),
    (lambda: SmallNorm(5, center=np.inf), ValueError, "NaN or infinite"),
    (lambda: GradientBlur(1.0, 0.5, 0), ValueError, "steps=0"),
    (lambda: GradientBlur(1.0, 0.5, 9, of="x"), ValueError, "of='x'"),
    *(
        (lambda part=part: change(part, np.ones((2, 5), "float32")),
         ValueError, "one to three axes")
        for part in PARTS if not isinstance(part, Decay)
        and part != Blur(0.5)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()
