"""Maps that know nothing of the model, each by its formula."""

import numpy as np
import pytest

from keras_explain.evaluation import pointing_game
from keras_explain.evaluation.baselines import center_map, edge_map, random_map
from tests import zoo

SHAPES = [(4, 7), (4, 9, 2), (4, 6, 8, 3), (4, 4, 5, 3, 2)]


def inputs(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [random_map(), center_map, edge_map])
def test_one_value_a_position_whatever_the_batch(shape, make):
    x = inputs(shape)
    if make is edge_map and len(shape) == 2:
        return  # refused, see below
    maps = make(x, None)
    axes = shape[1:-1] if len(shape) > 2 else shape[1:]
    assert maps.shape == (len(x), *axes) and maps.dtype == np.float32
    assert np.isfinite(maps).all()
    singles = np.concatenate([make(x[k : k + 1], 3) for k in (3, 1, 2, 0)])
    np.testing.assert_array_equal(singles, maps[[3, 1, 2, 0]])
    np.testing.assert_array_equal(make(x, None), maps)


@pytest.mark.parametrize("make", [random_map(), center_map, edge_map])
def test_several_inputs(make):
    one, two = inputs((2, 5, 3)), inputs((2, 6, 6, 1))
    maps = make({"one": one, "two": two}, None)
    np.testing.assert_array_equal(maps["one"], make(one, None))
    np.testing.assert_array_equal(maps["two"], make(two, None))
    assert [m.shape for m in make([one, two], None)] == [(2, 5), (2, 6, 6)]


def test_random_depends_on_the_seed_and_the_sample():
    x = inputs((200, 4, 6, 3))
    one, other = random_map(1)(x, None), random_map(2)(x, None)
    assert (one != other).mean() > 0.99
    assert len(np.unique(one[:, 0, 0])) == len(x)
    assert one.min() >= 0 and one.max() < 1
    assert one.mean() == pytest.approx(0.5, abs=0.02)
    assert one.var() == pytest.approx(1 / 12, rel=0.05)
    # No position and no sample is like another.
    flat = one.reshape(len(x), -1)
    correlations = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    assert np.abs(correlations).max() < 0.35
    # Bytes and floats of one value are one sample.
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 3), "uint8")
    np.testing.assert_array_equal(
        random_map()(pixels, None), random_map()(pixels.astype("float32"), None)
    )


def test_center_is_the_gaussian_of_the_formula():
    (found,) = center_map(inputs((1, 6, 9, 3)), None)
    for row in range(6):
        for column in range(9):
            distance = ((row - 2.5) / 1.5) ** 2 + ((column - 4) / 2.25) ** 2
            assert found[row, column] == pytest.approx(np.exp(-distance / 2))
    # Symmetric, and largest in the middle, also on an odd axis.
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=1e-6)
    assert found.argmax() in (2 * 9 + 4, 3 * 9 + 4)


def sobel_by_hand(picture):
    """Both kernels at each pixel of `(height, width)`, edges repeated."""
    kernel = np.outer([1, 2, 1], [-1, 0, 1])
    padded = np.pad(picture.astype(float), 1, mode="edge")
    squares = np.zeros(picture.shape)
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            part = padded[row : row + 3, column : column + 3]
            squares[row, column] = (
                np.sum(part * kernel) ** 2 + np.sum(part * kernel.T) ** 2
            )
    return squares


def test_edges_are_the_sobel_gradient():
    x = inputs((2, 5, 7, 3))
    found = edge_map(x, None)
    for sample, each in zip(x, found, strict=True):
        total = sum(sobel_by_hand(sample[..., c]) for c in range(3))
        np.testing.assert_allclose(each, np.sqrt(total), rtol=1e-5)


def test_edges_of_a_step():
    x = np.zeros((1, 6, 6, 1))
    x[:, :, 3:] = 1
    (found,) = edge_map(x, None)
    assert (found[:, 2:4] == 4).all()
    assert found[:, :2].sum() == found[:, 4:].sum() == 0


def test_edges_of_series():
    x = np.array([0, 0, 1, 1, 3.0])[None, :, None]
    assert edge_map(x, None).tolist() == [[0, 1, 1, 2, 2]]


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_wrong_seeds(seed):
    with pytest.raises(ValueError, match="A seed is a non-negative integer"):
        random_map(seed)


def test_tables_have_no_edges():
    with pytest.raises(ValueError, match="Edges are between neighbors"):
        edge_map(np.zeros((2, 7)), None)


def test_measures_take_them():
    images = zoo.images(4)
    masks = np.zeros((4, 8, 8), bool)
    masks[:, 3:5, 3:5] = True
    found = {
        name: pointing_game(make, (images, masks), 0, tolerance=0,
                            variant="energy").mean
        for name, make in (("random", random_map()), ("center", center_map),
                           ("edges", edge_map))
    }  # fmt: skip
    assert found["center"] > 2 * found["random"]
    assert found["random"] == pytest.approx(4 / 64, abs=0.03)
    assert found["edges"] > 0
