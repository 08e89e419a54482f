"""Cluttered backgrounds in which no class of `shapes` appears."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw

_OVERSAMPLING = 2
_GRID = 24


def _muted(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """A color that stays well below the saturation of the objects."""
    hue, saturation = rng.random(), 0.08 + 0.27 * rng.random()
    rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    return 255 * np.asarray(rgb)


def _resize(values: np.ndarray, side: int) -> np.ndarray:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))


def _gradient(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """Two colors that run into each other, with clouds over them."""
    first = _muted(rng, lightness)
    second = _muted(
        rng, np.clip(lightness + rng.uniform(-0.22, 0.22), 0.15, 0.88)
    )
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-0.5, 0.5, _GRID)
    ramp = line[None] * np.cos(angle) + line[:, None] * np.sin(angle)
    mix = np.clip(0.5 + ramp / 1.2, 0, 1)[..., None]
    clouds = _resize(rng.normal(0, 13, (4, 4)), _GRID)
    clouds = clouds + _resize(rng.normal(0, 9, (9, 9)), _GRID)
    return first * (1 - mix) + second * mix + clouds[..., None]


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A long, uneven patch: none of the classes, however it is turned."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    orders = np.arange(2, 6)[:, None]
    waves = np.cos(orders * angles + rng.uniform(0, 2 * np.pi, (4, 1)))
    radii = 1 + (rng.uniform(0.06, 0.18, (4, 1)) * waves).sum(0)
    points = np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None]
    points *= [rng.uniform(0.10, 0.24), rng.uniform(0.035, 0.10)]
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]]) + rng.random(2)


def _stroke(rng: np.random.Generator) -> np.ndarray:
    """An open, bent line across part of the picture."""
    start, bend, stop = rng.uniform(-0.1, 1.1, (3, 2))
    t = np.linspace(0, 1, 14)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * stop


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns a background, float32 `(size, size, 3)`, in `[0, 255]`.

    Everything but the film grain is drawn in fractions of the picture, so
    that one generator gives the same background at every size.
    """
    lightness = rng.uniform(0.22, 0.82)
    base = np.clip(_gradient(rng, lightness), 0, 255).astype(np.uint8)
    side = size * _OVERSAMPLING
    picture = Image.fromarray(base).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pen = ImageDraw.Draw(picture, "RGBA")
    for index in rng.permutation(4 + rng.integers(8)):
        tone = np.clip(lightness + rng.uniform(-0.3, 0.3), 0.08, 0.95)
        color = tuple(int(value) for value in _muted(rng, tone))
        opacity = int(rng.uniform(70, 190))
        if index % 2:
            points = [tuple(p) for p in (_blob(rng) * side).tolist()]
            pen.polygon(points, fill=(*color, opacity))
        else:
            points = [tuple(p) for p in (_stroke(rng) * side).tolist()]
            width = max(1, round(rng.uniform(0.006, 0.025) * side))
            pen.line(points, (*color, opacity), width, joint="curve")
    pixels = np.asarray(picture.reduce(_OVERSAMPLING), np.float32)
    grain = rng.standard_normal((size, size, 1), np.float32)
    return np.clip(pixels + 2.5 * grain, 0, 255)
