"""Filling in hidden pixels, against the equations in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.engine.inpainting import inpaint


def slow_inpaint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The paper's equations for a picture `(height, width)`, solved."""
    height, width = image.shape
    cells = list(itertools.product(range(height), range(width)))
    number = {cell: k for k, cell in enumerate(cells)}
    system, right = np.eye(len(cells)), image.astype("float64").ravel().copy()
    for row, column in cells:
        if mask[row, column]:
            continue
        k = number[row, column]
        weights = np.zeros(len(cells))
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            other = (row + i, column + j)
            if (i or j) and other in number:
                weights[number[other]] = 1 / 6 if i * j == 0 else 1 / 12
        system[k] -= weights / weights.sum()
        right[k] = 0
    return np.linalg.solve(system, right).reshape(height, width)


def filled(image: np.ndarray, hidden: list, **options) -> np.ndarray:
    mask = np.ones(image.shape, "float32")
    for cell in hidden:
        mask[cell] = 0
    found = inpaint(
        image.astype("float32")[None, ..., None], mask[None, ..., None],
        **options,
    )  # fmt: skip
    return found.numpy()[0, ..., 0]


def test_a_linear_ramp_comes_back():
    rows, columns = np.mgrid[:5, :5]
    ramp = 2.0 * rows - 3.0 * columns + 1
    for hidden in ([(2, 2)], [(1, 1), (1, 2), (2, 1), (3, 3)],
                   [(i, j) for i in (1, 2, 3) for j in (1, 2, 3)]):  # fmt: skip
        np.testing.assert_allclose(filled(ramp, hidden), ramp, atol=2e-5)


def test_vectors():
    squares = np.arange(25.0).reshape(5, 5)
    assert filled(squares, [(0, 0)])[0, 0] == pytest.approx(3.6, abs=1e-5)
    impulse = np.zeros((5, 5))
    impulse[0, 0] = 12
    assert filled(impulse, [(1, 1)])[1, 1] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_solves_the_equations(share):
    noise = np.random.default_rng(3)
    images = noise.normal(100.0, 1.0, size=(3, 9, 7, 2))
    masks = (noise.uniform(size=(3, 9, 7, 1)) >= share).astype("float32")
    found = inpaint(images.astype("float32"), masks).numpy()
    for row, channel in itertools.product(range(3), range(2)):
        slow = slow_inpaint(images[row, ..., channel], masks[row, ..., 0])
        np.testing.assert_allclose(found[row, ..., channel], slow, rtol=1e-5)
    together = found[masks[..., 0] > 0]
    np.testing.assert_array_equal(
        together, images.astype("float32")[masks[..., 0] > 0]
    )


def test_pictures_do_not_depend_on_each_other():
    noise = np.random.default_rng(0)
    images = noise.normal(size=(4, 8, 8, 1)).astype("float32")
    masks = np.ones((4, 8, 8, 1), "float32")
    masks[0, 2, 2] = masks[1, 1:7, 1:7] = masks[2, 4:] = masks[3] = 0
    together = inpaint(images, masks).numpy()
    for k in range(4):
        alone = inpaint(images[k : k + 1], masks[k : k + 1]).numpy()
        np.testing.assert_array_equal(together[k : k + 1], alone)
    once = inpaint(images, masks[:1]).numpy()
    np.testing.assert_array_equal(once[:1], together[:1])


def test_nothing_kept_gives_the_mean():
    images = np.random.default_rng(0).normal(size=(1, 4, 4, 2))
    found = inpaint(images, np.zeros((1, 4, 4, 1))).numpy()
    means = np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)
    np.testing.assert_allclose(found, means)
    assert found.dtype == np.float64


def test_series_volumes_and_compiled():
    series = np.arange(7.0).reshape(1, 7, 1)
    mask = np.array([1, 0, 0, 1, 1, 0, 1.0]).reshape(1, 7, 1)
    compiled = tf.function(
        lambda x, m: inpaint(x, m),
        input_signature=[tf.TensorSpec([None, None, 1])] * 2,
    )
    found = compiled(series.astype("float32"), mask.astype("float32"))
    np.testing.assert_allclose(found, series, atol=1e-5)
    grid = np.indices((4, 4, 4)).sum(0).astype("float64")[None, ..., None]
    mask = np.ones_like(grid)
    mask[0, 1:3, 1:3, 2] = 0
    np.testing.assert_allclose(inpaint(grid, mask), grid, atol=1e-4)


def test_one_pixel_has_no_neighbours():
    one = np.full((1, 1, 1, 1), 3.0, "float32")
    assert inpaint(one, np.zeros_like(one)).numpy().item() == 3.0


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ((2, 5), (2, 5)),
        ((2, 5, 5, 3), (2, 5, 5, 3)),
        ((2, 5, 5, 3), (2, 4, 5, 1)),
        ((2, 5, 5, 3), (3, 5, 5, 1)),
        ((2, 5, 5, 3), (5, 5, 1)),
    ],
)
def test_wrong_shapes_are_refused(images, masks):
    with pytest.raises(ValueError, match=r"filled in from those around"):
        inpaint(np.zeros(images, "float32"), np.zeros(masks, "float32"))
