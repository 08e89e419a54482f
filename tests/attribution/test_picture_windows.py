"""Max pooling of pictures in one pass, against loops over its windows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.engine import fusion
from tests.engine.test_fusion import compiled

# Size and strides. The picture is 9 x 8.
WINDOWS = {
    "apart": ((2, 2), (2, 2)),
    "apart_three": ((3, 3), (3, 3)),
    "apart_large": ((4, 4), (4, 4)),
    "apart_many_places": ((4, 3), (4, 3)),
    "overlapping": ((3, 3), (2, 2)),
    "every_place": ((3, 2), (1, 1)),
    "far_over": ((5, 4), (2, 3)),
    "with_gaps": ((2, 1), (3, 2)),
    "gaps_one_way": ((3, 2), (2, 3)),
}
SHAPE = (9, 8, 2)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Compiled, however small the tensors are."""
    monkeypatch.setattr(fusion, "WORTHWHILE", 1)


def network(size, strides, padding="valid"):
    """Max pooling and one number of it, and what that has of each maximum."""
    keras.utils.set_random_seed(0)
    pool = layers.MaxPooling2D(size, strides, padding)
    model = keras.Sequential(
        [keras.Input(SHAPE), pool, layers.Flatten(), layers.Dense(1)]
    )
    weights = np.reshape(model.layers[-1].kernel, pool.output.shape[1:])
    return model, weights.astype("float64")


def pictures(rows, seed):
    """Full of ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 3, (rows, *SHAPE)).astype("float32")


def windows_of(made, size, strides, before=(0, 0)):
    """What the picture has at each window, by its place in what is made."""
    for i, j, c in np.ndindex(made):
        down = i * strides[0] - before[0], j * strides[1] - before[1]
        rows, columns = (
            slice(max(first, 0), min(first + k, top))
            for first, k, top in zip(down, size, SHAPE[:2], strict=True)
        )
        yield (i, j, c), (rows, columns, c)


def winners(window):
    best = window == window.max()
    return best / best.sum()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", WINDOWS)
def test_relevance_goes_to_the_winners(name, padding):
    size, strides = WINDOWS[name]
    model, weights = network(size, strides, padding)
    x = pictures(3, 1)
    made = weights.shape
    need = [
        max((n - 1) * s + k - top, 0)
        for n, s, k, top in zip(made, strides, size, SHAPE, strict=False)
    ]
    before = [n // 2 for n in need] if padding == "same" else (0, 0)
    expected = np.zeros(x.shape)
    for sample, found in zip(x.astype("float64"), expected, strict=True):
        for place, inside in windows_of(made, size, strides, before):
            top = sample[inside].max()
            found[inside] += weights[place] * top * winners(sample[inside])
    explainer = ke.LRP(model, composite="epsilon")
    found = explainer(x, 0)
    assert "_shared" in compiled(explainer)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_differences_go_to_who_won_and_who_had(name, shared):
    size, strides = WINDOWS[name]
    model, weights = network(size, strides)
    x, before = pictures(3, 1), pictures(1 if shared else 3, 2)
    # One of the samples is its reference in part.
    x[0, :5] = before[0, :5]
    expected = np.zeros(x.shape)
    for k, found in enumerate(expected):
        now, then = x[k].astype("float64"), before[k % len(before)]
        for place, inside in windows_of(weights.shape, size, strides):
            risen = now[inside].max() - then[inside].max()
            taken = winners((now if risen > 0 else then)[inside])
            found[inside] += weights[place] * risen * taken
    baseline = before[0] if shared else before
    explainer = ke.DeepLIFT(model, baseline=baseline)
    found = explainer(x, 0)
    assert "_in_one_pass" in compiled(explainer)
    np.testing.assert_allclose(found, expected, atol=2e-5)
