"""How alike two maps are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage, stats

from keras_explain.engine.checks import check_choice
from keras_explain.engine.errors import message

NAMES = ("spearman_abs", "spearman", "ssim", "hog")
# The window of the structural similarity, as in its paper.
_SIGMA, _WINDOW = 1.5, 11


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks of each row from 1 on; equal values share theirs."""
    return stats.rankdata(values, axis=1)


def pearson(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the correlation of each row; NaN where one is constant."""
    a, b = (np.asarray(v, np.float64) for v in (one, other))
    if a.shape[1] < 2:
        return np.full(len(a), np.nan)
    # What is constant must be found before rounding makes it vary.
    varies = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
    a, b = (v - v.mean(1, keepdims=True) for v in (a, b))
    norms = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    norms = np.where(varies & (norms > 0), norms, np.nan)
    return np.clip((a * b).sum(1) / norms, -1, 1)


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the rank correlation of each row; NaN for a constant or NaN."""
    known = ~(np.isnan(one).any(1) | np.isnan(other).any(1))
    found = pearson(average_ranks(one), average_ranks(other))
    return np.where(known, found, np.nan)


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the structural similarity of two maps of magnitudes.

    Each is divided by its maximum. Windows are Gaussian, of 11 positions
    along each axis, and narrower on maps that are smaller. Only windows that
    lie inside the map count.
    """
    a, b = (_to_one(np.abs(v)) for v in (one, other))
    width = min(_WINDOW, *a.shape)
    reach = (width - 1) // 2
    sigma = _SIGMA * (2 * reach + 1) / _WINDOW

    def smooth(values: np.ndarray) -> np.ndarray:
        if reach == 0:
            return values
        found = ndimage.gaussian_filter(values, sigma, radius=reach)
        return found[(slice(reach, -reach),) * values.ndim]

    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a**2
    var_b = smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(np.mean(top / bottom))


def hog(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the correlation of the histograms of oriented gradients.

    Of maps of magnitudes, with cells of 16 pixels as in the paper, or a
    quarter of a smaller picture.

    Raises:
        ImportError: If scikit-image is not installed.
    """
    features = _hog_features()
    cell = max(1, min(16, min(one.shape) // 4))
    found = [
        features(
            _to_one(np.abs(values)), orientations=9,
            pixels_per_cell=(cell, cell), cells_per_block=(3, 3),
        )
        for values in (one, other)
    ]  # fmt: skip
    return float(pearson(*(f[np.newaxis] for f in found))[0])


def _hog_features() -> Callable:
    try:
        from skimage.feature import hog as features
    except ImportError as error:
        raise ImportError(
            message(
                "The similarity of oriented gradients needs scikit-image.",
                "an installation without the package skimage",
                "Run `pip install scikit-image`.",
            )
        ) from error
    return features


def _to_one(values: np.ndarray) -> np.ndarray:
    high = values.max()
    return values / high if high > 0 else values


def check_similarities(names: Any) -> tuple[str, ...]:
    """Returns names of similarities as a tuple, or raises."""
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found or ("",):
        check_choice("similarity", name, NAMES)
    if "hog" in found:
        _hog_features()  # refuses before the work
    return found


def similar(name: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns how alike maps `(batch, *positions)` are, `(batch,)`.

    NaN where a map holds NaN; for the correlations also where one is
    constant.

    Raises:
        ValueError: If maps of this shape have no such similarity.
    """
    _check_shape(name, one.shape)
    flat = [v.reshape(len(v), -1) for v in (one, other)]
    if name == "spearman":
        return spearman(*flat)
    if name == "spearman_abs":
        return spearman(*map(np.abs, flat))
    function = ssim if name == "ssim" else hog
    found = np.full(len(one), np.nan)
    for k, (a, b) in enumerate(zip(one, other, strict=True)):
        if np.isfinite(a).all() and np.isfinite(b).all():
            found[k] = function(a, b)
    return found


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if np.prod(shape[1:]) < 2:
        raise ValueError(
            message(
                "Maps of one value are all alike.",
                f"maps of shape {shape}",
                "Compare maps of several positions: explain the inputs, or "
                "an earlier layer.",
            )
        )
    if name == "hog" and (len(shape) != 3 or min(shape[1:]) < 4):
        raise ValueError(
            message(
                "Only pictures of 4 pixels or more have oriented gradients.",
                f"maps of shape {shape}",
                'Pass another `similarity`, such as "spearman" or "ssim".',
            )
        )


def downsized(maps: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Averages maps over the cells of a grid, `(batch, *sizes)`.

    A cell takes of each pixel the share that lies in it; so cells smaller
    than a pixel repeat it. Values are rounded to ten digits, so that equal
    ones stay equal.
    """
    found = np.asarray(maps, np.float64)
    for axis, size in enumerate(sizes, start=1):
        old = found.shape[axis]
        edges = np.arange(size + 1) * old / size
        pixels = np.arange(old)
        low = np.maximum(edges[:-1, np.newaxis], pixels)
        high = np.minimum(edges[1:, np.newaxis], pixels + 1)
        weights = np.maximum(high - low, 0) * size / old  # (size, old)
        found = np.moveaxis(
            np.tensordot(found, weights, axes=(axis, 1)), -1, axis
        )
    axes = tuple(range(1, found.ndim))
    scale = np.abs(found).max(axes, keepdims=True, initial=0.0)
    scale = np.where(scale > 0, scale, 1.0)
    return np.round(found / scale, 10) * scale
