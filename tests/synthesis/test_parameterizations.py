"""Parameterizations: the formulas, slowly, and what all of them keep to."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.natural_images import (
    COLORS,
    falloff,
    half_spectrum,
    natural_magnitude,
)
from keras_explain.synthesis.parameterizations import (
    MACO,
    Fourier,
    LaplacianPyramid,
    Pixels,
)
from keras_explain.synthesis.randomness import Randomness
from tests.synthesis.finite_differences import check_gradient

PARTS = [
    Pixels(),
    Pixels(stddev=0.3, bounds="clip"),
    Pixels(stddev=2.0, bounds=None),
    Fourier(),
    Fourier(stddev=0.5, decay=0.0, decorrelate=False),
    MACO(),
    MACO(magnitude=[[1.0, 2.0], [3.0, 0.5]]),
    LaplacianPyramid(),
    LaplacianPyramid(levels=1, stddev=0.2),
]
# Those that make pictures of any shape with positions.
ANY = [part for part in PARTS if getattr(part, "magnitude", None) is None]
SHAPES = [(7, 1), (8, 9, 3), (9, 8, 2), (4, 5, 6, 3), (1, 6, 1)]


def randomness(facets=2, rows=None):
    index = range(facets) if rows is None else rows
    return Randomness(range(facets), list(index))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logit(x):
    x = np.asarray(x, np.float64)
    return np.log(x) - np.log1p(-x)


def inverse_transform(z, positions):
    """Sum of waves over the whole spectrum, by its definition."""
    *before, last = positions
    waves = {}
    for k in np.ndindex(*half_spectrum(positions)):
        waves[k] = 1.0 if k[-1] in (0, last / 2) else 2.0
    x = np.zeros(positions)
    for n in np.ndindex(*positions):
        for k, times in waves.items():
            turns = sum(i * f / size for i, f, size in
                        zip(n, k, positions, strict=True))  # fmt: skip
            x[n] += times * (z[k] * np.exp(2j * np.pi * turns)).real
    return x / np.sqrt(np.prod(positions))


def slow_falloff(positions, decay):
    """`1 / f^decay` with a mean square of one over all frequencies."""
    size = max(positions)
    whole, half = [], np.zeros(half_spectrum(positions))
    for k in np.ndindex(*positions):
        cycles = [min(i, n - i) / n for i, n in zip(k, positions, strict=True)]
        f = max(np.sqrt(sum(c**2 for c in cycles)), 1 / size)
        whole.append(f**-decay)
        if k[-1] < half.shape[-1]:
            half[k] = f**-decay
    return half / np.sqrt(np.mean(np.square(whole)))


def correlated(x, part):
    natural = x.shape[-1] == 3 and part.decorrelate
    return x @ COLORS.T if natural else x


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_serialize_compare_and_hash(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and repr(again) == repr(part)
    assert hash(again) == hash(part)
    assert sum(other == part for other in PARTS) == 1
    with pytest.raises(AttributeError):
        part.size = 3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("part", ANY, ids=repr)
def test_rows_stand_alone_and_shapes_are_static(part, shape):
    values = part.start(shape, randomness(3))
    assert all(v.dtype == tf.float32 and v.shape[0] == 3 for v in values)

    @tf.function
    def draw(*values):
        images = part.images(list(values), shape)
        assert images.shape[1:] == shape
        return images

    together = draw(*values)
    assert together.shape == (3, *shape)
    if part.bounded:
        assert np.all((together >= 0) & (together <= 1))
    for row in range(3):
        alone = draw(*[v[row : row + 1] for v in values])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


@pytest.mark.parametrize("part", ANY, ids=repr)
def test_facets_differ_and_their_rows_agree(part):
    def start(rows, seeds=(0, 1)):
        return part.start((8, 9, 3), Randomness(seeds, rows))

    for once, again in zip(start([0, 0, 1]), start([0, 0, 1]), strict=True):
        np.testing.assert_array_equal(once, again)
        np.testing.assert_array_equal(once[0], once[1])
        assert np.max(np.abs(once[0] - once[2])) > 1e-3
    for once, other in zip(start([0]), start([0], (5,)), strict=True):
        assert np.max(np.abs(once - other)) > 1e-3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fourier_by_definition(shape):
    for part in (Fourier(stddev=1.0), Fourier(stddev=1.0, decay=1.7,
                                              decorrelate=False)):  # fmt: skip
        (z,) = part.start(shape, randomness())
        x = part.images([z], shape)
        z = np.asarray(z, np.float64)
        weighted = (z[:, 0] + 1j * z[:, 1]) * slow_falloff(
            shape[:-1], part.decay
        )
        expected = np.stack(
            [
                [inverse_transform(c, shape[:-1]) for c in row]
                for row in weighted
            ]
        )
        expected = correlated(np.moveaxis(expected, 1, -1), part)
        np.testing.assert_allclose(x, sigmoid(expected), atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("part", [Fourier(), MACO(), LaplacianPyramid()],
                         ids=repr)  # fmt: skip
def test_gradient_by_differences(part, shape):
    values = part.start(shape, randomness())
    check_gradient(
        lambda *v: part.images(list(v), shape),
        *[np.asarray(v, np.float64) for v in values],
        tolerance=1e-5,
    )


def test_first_fourier_picture_is_gray_at_every_size():
    contrast = []
    for size in (16, 33, 64, 129, 224):
        for shape in ((size, 1), (size, size, 1), (min(size, 33),) * 3 + (1,)):
            (z,) = Fourier().start(shape, randomness(4))
            x = Fourier().images([z], shape).numpy()
            assert np.abs(x - 0.5).max() < 0.03
            contrast.append(logit(x).std())
    assert 0.009 < min(contrast) < max(contrast) < 0.02


def test_fourier_noise_falls_off_like_photographs():
    """The power spectrum of the first pictures has the slope asked for."""
    for decay in (0.0, 1.0, 2.0):
        part = Fourier(decay=decay, decorrelate=False)
        (z,) = part.start((64, 64, 1), randomness(16))
        x = logit(part.images([z], (64, 64, 1)))[..., 0]
        power = np.mean(np.abs(np.fft.fft2(x)) ** 2, 0)
        f = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
        band = (f > 0.05) & (f < 0.5)
        slope = np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]
        assert slope == pytest.approx(-2 * decay, abs=0.1)


def test_colors_of_three_channels_only():
    (z,) = Fourier(stddev=1.0).start((32, 32, 3), randomness(8))
    x = logit(Fourier().images([z], (32, 32, 3))).reshape(-1, 3)
    share = np.cov(x.T)
    expected = COLORS @ COLORS.T
    np.testing.assert_allclose(
        share / np.trace(share), expected / np.trace(expected), atol=0.03
    )
    two = Fourier().start((8, 8, 2), randomness())
    np.testing.assert_array_equal(
        Fourier().images(two, (8, 8, 2)),
        Fourier(decorrelate=False).images(two, (8, 8, 2)),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pyramid_by_definition(shape):
    part = LaplacianPyramid(levels=3, stddev=1.0)
    values = part.start(shape, randomness())
    assert [v.shape[1] for v in values] == [
        shape[0],
        -(-shape[0] // 2),
        -(-shape[0] // 4),
    ]
    total = 0
    for level in values:
        x = np.asarray(level, np.float64)
        for axis, size in enumerate(shape[:-1], start=1):
            old = x.shape[axis]
            places = (np.arange(size) + 0.5) * old / size - 0.5
            x = np.apply_along_axis(
                lambda v, p=places, n=old: np.interp(p, np.arange(n), v),
                axis, x,
            )  # fmt: skip
        total = total + x
    np.testing.assert_allclose(
        part.images(values, shape),
        sigmoid(correlated(total, part)),
        atol=2e-6,
    )


def test_pyramid_of_one_level_is_pixels():
    shape = (5, 6, 2)
    (values,) = LaplacianPyramid(levels=1).start(shape, randomness())
    np.testing.assert_array_equal(
        LaplacianPyramid(levels=1).images([values], shape),
        Pixels().images([values], shape),
    )


def test_pixels_start_as_asked():
    shape = (40, 40, 3)
    for bounds, gray in (("sigmoid", 0), ("clip", 0.5), (None, 0)):
        (v,) = Pixels(stddev=0.1, bounds=bounds).start(shape, randomness())
        assert np.mean(v) == pytest.approx(gray, abs=0.01)
        assert np.std(v) == pytest.approx(0.1, abs=0.01)
    (v,) = Pixels(stddev=9.0, bounds="clip").start(shape, randomness())
    assert np.min(v) == 0 and np.max(v) == 1


def test_pixels_keep_their_bounds():
    v = [tf.constant([[-1.0, 0.25, 7.0]])]
    (clipped,) = Pixels(bounds="clip").project(v)
    np.testing.assert_array_equal(clipped, [[0, 0.25, 1]])
    for bounds in ("sigmoid", None):
        assert Pixels(bounds=bounds).project(v)[0] is v[0]
    np.testing.assert_allclose(
        Pixels().images(v, (3,)), sigmoid(np.array([[-1, 0.25, 7]])), atol=1e-6
    )
    assert Pixels(bounds="clip").images(v, (3,)) is v[0]
    kinds = [
        (part.bounded, part.in_pixels)
        for part in (Pixels(), Pixels(bounds="clip"), Pixels(bounds=None))
    ]
    assert kinds == [(True, False), (True, True), (False, True)]


@pytest.mark.parametrize("bounds", ["sigmoid", "clip", None])
def test_pixels_from_a_picture(bounds):
    x = np.random.default_rng(0).uniform(size=(4, 5, 1)).astype("float32")
    x[0, 0], x[0, 1] = 0, 1
    part = Pixels(initial=x, bounds=bounds)
    values = part.start((4, 5, 1), randomness(3))
    drawn = part.images(values, (4, 5, 1))
    assert drawn.shape == (3, 4, 5, 1) and np.all(np.isfinite(values[0]))
    allowed = 0.5 / 255 + 1e-6 if bounds == "sigmoid" else 0
    np.testing.assert_allclose(drawn, np.stack([x] * 3), atol=allowed)
    inner = (x > 0.01) & (x < 0.99)
    np.testing.assert_allclose(drawn[0][inner], x[inner], atol=1e-6)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(part)
    )
    assert again == part and hash(again) == hash(part)
    assert Pixels(initial=x + 1, bounds=None) != part


def test_pixels_from_several_pictures():
    x = np.random.default_rng(0).uniform(size=(2, 3, 1)).astype("float32")
    by_facet = Pixels(initial=x, bounds="clip")
    (v,) = by_facet.start((3, 1), randomness(2, [0, 1, 1, 0]))
    np.testing.assert_array_equal(v, x[[0, 1, 1, 0]])
    rows = np.random.default_rng(1).uniform(size=(4, 3, 1))
    by_row = Pixels(initial=rows, bounds="clip")
    (v,) = by_row.start((3, 1), randomness(2, [0, 0, 1, 1]))
    np.testing.assert_array_equal(v, rows.astype("float32"))
    (v,) = Pixels(initial=x[:1], bounds="clip").start((3, 1), randomness(3))
    np.testing.assert_array_equal(v, x[[0, 0, 0]])
    (v,) = Pixels(initial=0.25, bounds="clip").start((3, 1), randomness(2))
    np.testing.assert_array_equal(v, np.full((2, 3, 1), 0.25))
    with pytest.raises(ValueError, match=r"holds 1 or 2 or 4 of it"):
        Pixels(initial=np.ones((3, 3, 1))).start(
            (3, 1), randomness(2, [0, 0, 1, 1])
        )
    with pytest.raises(ValueError, match=r"shape \(3, 1\).*\n.*\(1, 3\)"):
        Pixels(initial=np.ones((1, 3))).start((3, 1), randomness())


@pytest.mark.parametrize("shape", [(12, 1), (8, 9, 3), (4, 5, 6, 2)], ids=str)
def test_maco_by_definition(shape):
    rng = np.random.default_rng(0)
    positions = shape[:-1]
    magnitude = rng.uniform(size=(shape[-1], *half_spectrum(positions)))
    for part in (MACO(), MACO(magnitude=magnitude, decorrelate=False)):
        (p,) = part.start(shape, randomness())
        x = part.images([p], shape)
        m = magnitude if part.magnitude is not None else slow_falloff(
            positions, 1.0
        )  # fmt: skip
        for row in range(2):
            phase = np.asarray(p[row], np.float64)
            phase = (phase - phase.mean()) / phase.std() * np.pi / np.sqrt(3)
            y = [inverse_transform(c, positions)
                 for c in m * np.exp(1j * phase)]  # fmt: skip
            y = np.stack(y, -1)
            y = correlated((y - y.mean()) / y.std(), part)
            np.testing.assert_allclose(x[row], sigmoid(y), atol=1e-5)


def test_maco_keeps_the_magnitude_whatever_the_phases():
    """The spectrum of the picture is the one given, up to one factor."""
    rng = np.random.default_rng(0)
    magnitude = rng.uniform(0.1, 1, size=(1, 8, 5))
    part = MACO(magnitude=magnitude)
    for spread in (0.1, 1.0, 30.0):
        phase = tf.constant(rng.normal(size=(1, 1, 8, 5)) * spread)
        x = logit(part.images([tf.cast(phase, tf.float32)], (8, 8, 1)))
        found = np.abs(np.fft.rfft2(x[0, ..., 0]))[:, 1:4]
        ratio = found / magnitude[0, :, 1:4]
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_maco_starts_with_phases_all_around():
    (p,) = MACO().start((64, 64, 3), randomness(4))
    assert np.min(p) < -3.1 and np.max(p) > 3.1
    p = np.asarray(p).reshape(4, -1)
    p = (p - p.mean(1, keepdims=True)) / p.std(1, keepdims=True)
    resultant = np.abs(np.exp(1j * np.pi / np.sqrt(3) * p).mean(1))
    assert resultant.max() < 0.03
    optimizer = MACO().optimizer()
    assert isinstance(optimizer, keras.optimizers.Nadam)
    assert float(optimizer.learning_rate) == 1.0


def test_natural_magnitude_by_definition():
    x = np.random.default_rng(0).uniform(size=(5, 6, 4, 3))
    for decorrelate in (True, False):
        y = x @ np.linalg.inv(COLORS).T if decorrelate else x
        spectrum = np.fft.rfft2(np.moveaxis(y, -1, 1)) / np.sqrt(24)
        expected = np.abs(spectrum).mean(0)
        mean = spectrum[:, :, 0, 0].real
        expected[:, 0, 0] = np.abs(mean - mean.mean(0)).mean(0)
        for data in (
            x,
            iter([x[:2], x[2:]]),
            tf.data.Dataset.from_tensor_slices(x).batch(3),
            tf.data.Dataset.from_tensor_slices((x, range(5))).batch(2),
        ):
            found = natural_magnitude(data, decorrelate=decorrelate)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    part = MACO(magnitude=natural_magnitude(x))
    assert part.images(part.start((6, 4, 3), randomness()), (6, 4, 3)).shape[
        0
    ] == 2  # fmt: skip
    signals = np.random.default_rng(0).uniform(size=(5, 9, 2))
    assert natural_magnitude(signals).shape == (2, 5)


def test_natural_magnitude_gives_back_the_spectrum_of_fourier_noise():
    """What falls off as `1 / f` is found to fall off as `1 / f`."""
    part = Fourier(stddev=1.0)
    x = logit(part.images(part.start((32, 32, 3), randomness(64)),
                          (32, 32, 3)))  # fmt: skip
    found = natural_magnitude(x)[:, 1:, 1:-1]
    ratio = found / falloff((32, 32), 1.0)[1:, 1:-1]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.4)


REFUSED = [
    (lambda: Pixels(bounds="tanh"), ValueError, "knows bounds 'sigmoid'"),
    (lambda: Pixels(stddev=-1), ValueError, "stddev=-1"),
    (lambda: Pixels(0.5), TypeError, "an integer as `size`"),
    (lambda: Fourier(0), ValueError, "at least 1"),
    (lambda: Fourier(True), TypeError, "size=True"),
    (lambda: Fourier(decay="1"), TypeError, "decay='1'"),
    (lambda: Fourier(decay=np.inf), ValueError, "decay=inf"),
    (lambda: LaplacianPyramid(levels=0), ValueError, "levels=0"),
    (lambda: Pixels(initial=[0.0, 255.0]), ValueError, "Divide 8-bit"),
    (lambda: Pixels(initial=[np.nan]), ValueError, "NaN"),
    (lambda: Pixels(initial=[]), ValueError, "no values"),
    (lambda: MACO(magnitude=[-1.0, 1.0]), ValueError, "from -1 to 1"),
    (lambda: MACO(magnitude=[0.0]), ValueError, "somewhere positive"),
    (
        lambda: MACO(magnitude=np.ones((3, 4, 3))).images(
            [tf.zeros((1, 3, 8, 5))], (8, 8, 3)
        ),
        ValueError,
        r"shape \(3, 8, 5\)",
    ),
    (
        lambda: natural_magnitude(np.ones((0, 4, 4, 3))),
        ValueError,
        "no samples",
    ),
    (
        lambda: natural_magnitude([np.ones((2, 4, 4, 3))] * 2),
        ValueError,
        "one to three positions",
    ),
    (
        lambda: natural_magnitude(np.ones((4, 3))),
        ValueError,
        r"image\[None\]",
    ),
    (
        lambda: natural_magnitude(
            iter([np.ones((1, 4, 4, 3)), np.ones((1, 5, 4, 3))])
        ),
        ValueError,
        "Resize",
    ),
    (
        lambda: natural_magnitude(np.full((1, 4, 4, 3), np.nan)),
        ValueError,
        "finite",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("part", [Fourier(), MACO(), LaplacianPyramid()],
                         ids=repr)  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (2, 2, 2, 2, 1)])
def test_refuses_inputs_without_positions(part, shape):
    with pytest.raises(ValueError, match="signals, images and volumes"):
        part.start(shape, randomness())
    assert Pixels().start(shape, randomness())[0].shape == (2, *shape)
