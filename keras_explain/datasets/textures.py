"""Textures: which of two shades of its color an object has at each pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Each function takes coordinates in periods and the period in pixels, and
# returns 0 (first shade) to 1 (second shade). The period sets how steep the
# step between the shades is: one pixel wide, so that nothing is jagged.
Texture = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def _step(distance: np.ndarray, period: float) -> np.ndarray:
    return np.clip(0.5 + distance * period, 0.0, 1.0)


def _plain(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return np.zeros_like(u)


def _stripes(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return _step(np.sin(2 * np.pi * u) / (2 * np.pi), period)


def _dots(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    distance = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    return _step(0.31 - distance, period)


def _checks(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    waves = np.sin(np.pi * u * 1.25) * np.sin(np.pi * v * 1.25)
    return _step(waves / np.pi, period)


def _zigzag(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    v = v * 0.7
    teeth = np.abs(v - np.floor(v) - 0.5)
    return _stripes(u + 1.3 * teeth, v, period)


def _bricks(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    row = np.floor(v)
    along = u / 1.8 + 0.5 * (row % 2)
    across = 0.5 - np.abs(v - row - 0.5)
    along = 1.8 * (0.5 - np.abs(along - np.floor(along) - 0.5))
    return _step(0.12 - np.minimum(along, across), period)


TEXTURES: dict[str, Texture] = {
    "plain": _plain,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "zigzag": _zigzag,
    "bricks": _bricks,
}
