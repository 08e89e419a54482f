"""How alike two maps are: ranks, structure and gradients, against others."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import stats

import keras_explain
from keras_explain.evaluation import model_randomization
from keras_explain.evaluation.similarity import (
    average_ranks,
    pearson,
    similar,
    spearman,
    ssim,
)
from tests import zoo


def test_rank_correlation_against_scipy():
    draw = np.random.default_rng(0)
    a = draw.integers(0, 4, (6, 30)).astype(float)
    b = draw.normal(size=(6, 30))
    expected = [
        stats.spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(spearman(a, b), expected)
    a[2] = 3.3
    assert np.isnan(spearman(a, b)[2])
    assert np.isnan(pearson(np.ones((1, 1)), np.ones((1, 1))))[0]
    np.testing.assert_array_equal(
        average_ranks(np.array([[3.0, 1, 3, 0]])), [[3.5, 2, 3.5, 1]]
    )


def test_ssim_is_that_of_pictures():
    """A peer flattens maps first, and gets 0.600 where it is 0.632."""
    metrics = pytest.importorskip("skimage.metrics")
    draw = np.random.default_rng(0)
    a, b = draw.uniform(size=(2, 20, 24))
    a, b = a / a.max(), b / b.max()
    expected = metrics.structural_similarity(
        a, b, data_range=1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)
    flat = ssim(a.ravel(), b.ravel())
    assert abs(flat - expected) > 1e-3
    assert ssim(a, a) == ssim(0 * a, 0 * a) == pytest.approx(1)
    assert ssim(a, 5 * a) == pytest.approx(1)


def test_hog_and_maps_that_hold_nan():
    pytest.importorskip("skimage")
    maps = np.random.default_rng(0).uniform(size=(3, 16, 16))
    other = maps[:, ::-1].copy()
    found = similar("hog", maps, maps)
    np.testing.assert_allclose(found, 1)
    assert np.all(similar("hog", maps, other) < 0.9)
    other[1, 0, 0] = np.nan
    for name in ("hog", "ssim", "spearman", "spearman_abs"):
        assert np.isnan(similar(name, maps, other)).tolist() == [0, 1, 0]


def test_maps_that_cannot_be_compared():
    """They gave NaN for all samples, or 1 whatever the maps."""
    maps = np.random.default_rng(0).uniform(size=(3, 16, 16))
    for table in (maps[:, 0], maps[:, :3], maps[..., None]):
        with pytest.raises(ValueError, match="have oriented gradients"):
            similar("hog", table, table)
    for name in ("ssim", "spearman", "spearman_abs", "hog"):
        for one in (maps[:, 0, :1], maps[:, :1, :1]):
            with pytest.raises(ValueError, match="Maps of one value"):
                similar(name, one, one)


def test_hog_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    explainer = keras_explain.Gradient(zoo.build("functional").model)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        model_randomization(explainer, zoo.images(2), similarity="hog")
