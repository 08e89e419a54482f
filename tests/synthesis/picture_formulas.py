"""Slow formulas of pictures: waves, how they fall off, and colors."""

from __future__ import annotations

import numpy as np

from keras_explain.synthesis.natural_images import COLORS, half_spectrum
from keras_explain.synthesis.randomness import Randomness

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
