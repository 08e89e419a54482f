"""Parameterizations: what all keep to, pixels, pyramids, and mistakes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.natural_images import natural_magnitude
from keras_explain.synthesis.parameterizations import (
    MACO,
    Fourier,
    LaplacianPyramid,
    Pixels,
)
from keras_explain.synthesis.randomness import Randomness
from tests.synthesis.finite_differences import check_gradient
from tests.synthesis.picture_formulas import (
    SHAPES,
    correlated,
    randomness,
    sigmoid,
)

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
@pytest.mark.parametrize("part", [Fourier(), MACO(), LaplacianPyramid()],
                         ids=repr)  # fmt: skip
def test_gradient_by_differences(part, shape):
    values = part.start(shape, randomness())
    check_gradient(
        lambda *v: part.images(list(v), shape),
        *[np.asarray(v, np.float64) for v in values],
        tolerance=1e-5,
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
