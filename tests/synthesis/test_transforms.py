"""Transforms: what each does, exact gradients, and what all keep to."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.transforms import (
    Crop,
    Flip,
    Jitter,
    Noise,
    Pad,
    Rotate,
    Scale,
    robust,
)
from tests.synthesis.finite_differences import check_adjoint, check_gradient

PARTS = [
    Pad(0.2),
    Pad(0.1, value=-1.0),
    Jitter(0.3),
    Jitter(0.3, border="wrap"),
    Scale(0.5, 2.0),
    Rotate(40),
    Crop(0.3, 0.8),
    Crop(0.3, 0.8, spread=0.2),
    Flip(),
    Noise(0.3),
    Noise(0.3, "uniform"),
]
NEUTRAL = [
    Pad(0.0),
    Jitter(0.0),
    Scale(1.0, 1.0),
    Rotate(0.0),
    Crop(1.0, 1.0),
    Crop(1.0, 1.0, spread=3.0),
    Noise(0.0),
    *robust(0.0),
]
SHAPES = [(9, 2), (8, 11, 3), (4, 6, 5, 1)]


def randomness(rows=(0, 1, 2), step=0, seeds=(0, 1, 2)):
    return Randomness(seeds, list(rows), step)


def pictures(shape, rows=3, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, *shape)).astype(dtype)


def fits(part, shape):
    return len(shape) > 2 or not isinstance(part, Rotate)


CASES = [(p, s) for p in PARTS for s in SHAPES if fits(p, s)]


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_serialize_compare_and_hash(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and repr(again) == repr(part)
    assert hash(again) == hash(part)
    assert sum(other == part for other in PARTS) == 1


@pytest.mark.parametrize(("part", "shape"), CASES, ids=repr)
def test_shapes_are_static_and_traced_once(part, shape):
    traces = []

    @tf.function
    def change(images, step):
        traces.append(step)
        result = part(images, randomness(step=step))
        assert result.shape == images.shape
        return result

    x = pictures(shape)
    drawn = [change(x, tf.constant(step)) for step in range(3)]
    assert len(traces) == 1
    for step, y in enumerate(drawn):
        eager = part(tf.constant(x), randomness(step=step))
        np.testing.assert_allclose(y, eager, atol=1e-5)
    if not isinstance(part, Pad):
        assert any(np.any(y != drawn[0]) for y in drawn[1:])


@pytest.mark.parametrize(("part", "shape"), CASES, ids=repr)
def test_rows_stand_alone(part, shape):
    """A row is changed by its facet, whatever stands beside it."""
    x = pictures(shape, 4)
    rows = (0, 2, 1, 0)
    together = part(tf.constant(x), randomness(rows))
    for row, facet in enumerate(rows):
        alone = part(
            tf.constant(x[row : row + 1]), randomness([0], seeds=(facet,))
        )
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
    same = part(tf.constant(x[[0, 0, 0, 0]]), randomness(rows))
    np.testing.assert_array_equal(same[0], same[3])
    assert isinstance(part, Pad | Flip) or np.any(same[0] != same[1])


@pytest.mark.parametrize(
    ("part", "shape"),
    [c for c in CASES if not isinstance(c[0], Pad | Noise)],
    ids=repr,
)
def test_gradients_are_exact(part, shape):
    def change(x):
        return part(x, randomness())

    check_adjoint(change, (3, *shape))
    check_gradient(change, pictures(shape, dtype="float64"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_of_a_padded_picture(shape):
    check_gradient(
        lambda x: Pad(0.2)(x, randomness()), pictures(shape, dtype="float64")
    )


@pytest.mark.parametrize("part", NEUTRAL, ids=repr)
def test_neutral_amounts_change_nothing(part):
    x = pictures((8, 11, 3))
    np.testing.assert_allclose(part(tf.constant(x), randomness()), x, atol=1e-6)


def test_pad_frames_the_picture():
    """A picture of 8 in a frame of 4 on each side is half as large."""
    x = tf.ones((1, 8, 8, 1))
    y = Pad(0.5, value=0.25)(x, randomness([0]))[0, ..., 0].numpy()
    np.testing.assert_allclose(y[2:6, 2:6], 1)
    np.testing.assert_allclose(y[:2], 0.25)
    np.testing.assert_allclose(y[:, 6:], 0.25)
    ramp = tf.reshape(tf.range(8.0), (1, 8, 1))
    y = Pad(0.5, value=0.0)(ramp, randomness([0]))[0, :, 0]
    np.testing.assert_allclose(y, [0, 0, 0.5, 2.5, 4.5, 6.5, 0, 0])


def test_a_frame_of_the_same_value_leaves_a_flat_picture_alone():
    x = tf.fill((1, 9, 7, 2), 0.5)
    np.testing.assert_allclose(Pad(0.13)(x, randomness([0])), x, atol=1e-6)


@pytest.mark.parametrize("border", ["edge", "wrap"])
def test_jitter_moves_by_whole_pixels_to_all_sides(border):
    size, most = 20, 3
    x = np.arange(size * size, dtype="float32").reshape(1, size, size, 1)
    found = set()
    for step in range(60):
        y = Jitter(0.15, border)(tf.constant(x), randomness([0], step))
        down, right = divmod(int(y[0, 10, 10, 0]), size)
        down, right = 10 - down, 10 - right
        assert max(abs(down), abs(right)) <= most
        found |= {("down", down), ("right", right)}
        index = np.arange(size)
        rows, columns = index - down, index - right
        if border == "wrap":
            rows, columns = rows % size, columns % size
        else:
            rows, columns = rows.clip(0, 19), columns.clip(0, 19)
        np.testing.assert_array_equal(y[0, ..., 0], x[0, ..., 0][
            np.ix_(rows, columns)])  # fmt: skip
    assert len(found) == 2 * (2 * most + 1)


def test_jitter_moves_small_pictures_by_one_pixel():
    x = tf.reshape(tf.range(4.0), (1, 4, 1))
    drawn = {
        float(Jitter(0.01)(x, randomness([0], step))[0, 2, 0])
        for step in range(30)
    }
    assert drawn == {1.0, 2.0, 3.0}


def test_scale_enlarges_all_axes_alike_about_the_center():
    rows, columns = np.meshgrid(
        np.linspace(-1, 1, 9), np.linspace(-1, 1, 13), indexing="ij"
    )
    x = tf.constant(np.stack([rows, columns], -1)[None], tf.float32)
    factors = []
    for step in range(40):
        y = Scale(1.0, 2.0)(x, randomness([0], step))[0].numpy()
        factor = 2 / np.ptp(y[..., 0])
        np.testing.assert_allclose(y, x[0] / factor, atol=1e-5)
        factors.append(factor)
    assert 1 <= min(factors) < 1.15 and 1.85 < max(factors) <= 2


def test_rotate_turns_up_to_the_angle_in_both_directions():
    rows, columns = np.meshgrid(*[np.arange(21.0) - 10] * 2, indexing="ij")
    x = tf.constant(np.stack([rows, columns], -1)[None], tf.float32)
    angles = []
    for step in range(60):
        y = Rotate(30)(x, randomness([0], step))[0, 10, 15].numpy()
        assert np.hypot(*y) == pytest.approx(5, abs=1e-4)
        angles.append(np.degrees(np.arctan2(y[0], y[1])))
    assert max(np.abs(angles)) <= 30.001
    assert min(angles) < -25 and max(angles) > 25


@pytest.mark.parametrize("spread", [None, 0.05, 10.0])
def test_crop_shows_a_part_and_never_leaves_the_picture(spread):
    """On a ramp, the part that is shown can be read off."""
    x = tf.reshape(tf.range(100, dtype=tf.float32), (1, 100, 1))
    lows, highs, sides = [], [], []
    for step in range(80):
        y = Crop(0.2, 0.5, spread)(x, randomness([0], step))[0, :, 0].numpy()
        slope = float(y[51] - y[50])
        sides.append(slope)
        # The outer borders of the first and last pixel that are shown.
        middle = (y[49] + y[50]) / 2 + 0.5
        lows.append(middle - 50 * slope)
        highs.append(middle + 50 * slope)
    assert 0.2 <= min(sides) < 0.25 and 0.45 < max(sides) <= 0.5
    assert min(lows) > -1e-2 and max(highs) < 100 + 1e-2
    centers = (np.array(lows) + highs) / 2
    if spread == 0.05:
        assert np.std(centers) == pytest.approx(5, rel=0.3)
    elif spread is None:
        assert min(lows) < 5 and max(highs) > 95
    else:  # nearly always at a border
        assert np.mean(np.minimum(lows, 100 - np.array(highs)) < 1e-2) > 0.9


def test_flip_mirrors_half_of_the_time():
    x = pictures((3, 4, 2), 1)
    for axis, mirrored in ((-1, x[:, :, ::-1]), (0, x[:, ::-1])):
        count = 0
        for step in range(100):
            y = Flip(axis)(tf.constant(x), randomness([0], step)).numpy()
            count += np.array_equal(y, mirrored)
            assert np.array_equal(y, mirrored) or np.array_equal(y, x)
        assert 30 < count < 70


def test_noise_has_the_deviation_asked_for():
    x = tf.zeros((1, 100, 100, 1))
    normal = Noise(0.2)(x, randomness([0])).numpy()
    uniform = Noise(0.2, "uniform")(x, randomness([0])).numpy()
    for noise in (normal, uniform):
        assert abs(noise.mean()) < 0.01
        assert noise.std() == pytest.approx(0.2, rel=0.03)
    assert np.abs(uniform).max() <= 0.2 * 3**0.5 < np.abs(normal).max()
    table = Noise(1.0)(tf.zeros((2, 5)), randomness([0, 1]))
    assert table.shape == (2, 5) and np.all(table != 0)


def test_robust_follows_the_kind_of_input():
    def names(*args):
        return [type(part).__name__ for part in robust(*args)]

    assert names() == ["Pad", "Jitter", "Scale", "Rotate", "Jitter"]
    assert names(1.0, 3) == names()
    assert names(1.0, 1) == ["Pad", "Jitter", "Scale", "Jitter"]
    assert names(1.0, 0) == ["Noise"]
    assert robust(2.0)[3] == Rotate(20.0)
    for axes, shape in ((0, (5,)), *((len(s) - 1, s) for s in SHAPES)):
        y = x = tf.constant(pictures(shape))
        for part in robust(1.0, axes):
            y = part(y, randomness())
        assert y.shape == x.shape and np.any(y != x)


@pytest.mark.parametrize(
    "part", [p for p in PARTS if not isinstance(p, Noise)], ids=repr
)
def test_refuses_inputs_without_positions(part):
    for shape in ((2, 5), (2, 2, 2, 2, 2, 1)):
        with pytest.raises(ValueError, match="`Noise` fits inputs of any"):
            part(tf.zeros(shape), randomness([0, 1]))


def test_refuses_what_a_transform_cannot_do():
    with pytest.raises(ValueError, match="Rotate is for images and volumes"):
        Rotate()(tf.zeros((2, 9, 1)), randomness([0, 1]))
    with pytest.raises(ValueError, match="1 axes of positions"):
        Flip(1)(tf.zeros((2, 9, 1)), randomness([0, 1]))


REFUSED = [
    (lambda: Pad(-0.1), ValueError, "fraction=-0.1"),
    (lambda: Pad("0.1"), TypeError, "takes a number as `fraction`"),
    (lambda: Jitter(2), ValueError, "from 0 to 1"),
    (lambda: Jitter(border="zero"), ValueError, "'edge', 'wrap'"),
    (lambda: Scale(0.0, 1.0), ValueError, "low=0.0"),
    (lambda: Scale(1.2, 0.8), ValueError, "high=0.8"),
    (lambda: Rotate(np.nan), ValueError, "degrees=nan"),
    (lambda: Rotate(270), ValueError, "to 180"),
    (lambda: Crop(0.5, 2.0), ValueError, "from 0.5 to 1"),
    (lambda: Crop(spread=-1), ValueError, "spread=-1"),
    (lambda: Flip(0.5), TypeError, "an integer as `axis`"),
    (lambda: Noise(-1), ValueError, "stddev=-1"),
    (lambda: Noise(distribution="gauss"), ValueError, "'normal', 'uniform'"),
    (lambda: robust(-1), ValueError, "between 0 and 5"),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()
