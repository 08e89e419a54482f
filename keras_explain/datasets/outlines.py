"""The outline of each class as polygons of radius one, and its rasterizing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

_OVERSAMPLING = 4
_ARC_POINTS = 72


class Outline(NamedTuple):
    """A filled outer contour, holes cut out of it, and its convex corners.

    All are arrays of shape `(points, 2)` in `(x, y)` order, y down, within
    the unit circle.
    """

    contour: np.ndarray
    holes: tuple[np.ndarray, ...]
    corners: np.ndarray


class Coverage(NamedTuple):
    """How much of each pixel is covered, `(height, width)` in `[0, 1]`."""

    object: np.ndarray
    edge: np.ndarray
    corner: np.ndarray


def _arc(
    radius: float, start: float = 0.0, stop: float = 2 * np.pi
) -> np.ndarray:
    angles = np.linspace(start, stop, _ARC_POINTS)
    return radius * np.stack([np.cos(angles), np.sin(angles)], -1)


def _polygon(radii: list[float], start: float = -np.pi / 2) -> np.ndarray:
    angles = start + 2 * np.pi * np.arange(len(radii)) / len(radii)
    points = np.stack([np.cos(angles), np.sin(angles)], -1)
    return points * np.asarray(radii)[:, None]


def _plain(contour: np.ndarray, corners: np.ndarray | None = None) -> Outline:
    corners = np.zeros((0, 2)) if corners is None else corners
    return Outline(contour, (), corners)


def _star() -> Outline:
    contour = _polygon([1.0, 0.44] * 5)
    return _plain(contour, contour[::2])


def _cross() -> Outline:
    long, wide = 0.94, 0.31
    quarter = np.array([[wide, -wide], [wide, -long], [-wide, -long]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    sides = [quarter]
    for _ in range(3):
        sides.append(sides[-1] @ turn)
    contour = np.concatenate(sides)
    return _plain(contour, contour[[1, 2, 4, 5, 7, 8, 10, 11]])


def _crescent() -> Outline:
    """A disk of radius 1 less one of radius 0.8 that lies 0.55 to its right."""
    shift, bite = 0.55, 0.80
    x = (1 - bite**2 + shift**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    outer_angle = np.arctan2(y, x)
    inner_angle = np.arctan2(y, x - shift)
    outer = _arc(1.0, outer_angle, 2 * np.pi - outer_angle)
    inner = _arc(bite, 2 * np.pi - inner_angle, inner_angle) + [shift, 0]
    tips = np.array([[x, y], [x, -y]])
    # Balanced around the middle of its width, so that it turns in place.
    middle = np.array([(x - 1) / 2, 0.0])
    return _plain(np.concatenate([outer, inner]) - middle, tips - middle)


def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 2 * _ARC_POINTS)
    x = 16 * np.sin(t) ** 3
    y = -(
        13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    )
    points = np.stack([x, y - (y.min() + y.max()) / 2], -1)
    points /= np.linalg.norm(points, axis=1).max()
    return _plain(points, points[[_ARC_POINTS]])


def _unit(outline: Outline) -> Outline:
    """Scales an outline so that it just fits into the unit circle."""
    radius = np.linalg.norm(outline.contour, axis=1).max()
    return Outline(
        outline.contour / radius,
        tuple(hole / radius for hole in outline.holes),
        outline.corners / radius,
    )


def _all_outlines() -> dict[str, Outline]:
    square = _polygon([1.0] * 4, start=np.pi / 4)
    triangle = _polygon([1.0] * 3)
    outlines = {
        "circle": _plain(_arc(1.0)),
        "square": _plain(square, square),
        "triangle": _plain(triangle, triangle),
        "star": _star(),
        "cross": _cross(),
        "ring": Outline(_arc(1.0), (_arc(0.52),), np.zeros((0, 2))),
        "crescent": _crescent(),
        "heart": _heart(),
    }
    return {name: _unit(outline) for name, outline in outlines.items()}


OUTLINES = _all_outlines()


def rasterize(
    outline: Outline, affine: np.ndarray, center: np.ndarray, rim: float
) -> tuple[tuple[slice, slice], Coverage]:
    """Draws an outline, anti-aliased, into its own box of pixels.

    Args:
        outline: The outline, in the unit circle.
        affine: Array of shape `(2, 2)`; takes the outline to pixels.
        center: Array of shape `(2,)`; `(x, y)` of the center, in pixels.
        rim: Width of the edge, in pixels.

    Returns:
        The rows and columns of the box, and the coverage within it.
    """
    contour = outline.contour @ affine.T + center
    low = np.floor(contour.min(0)).astype(int) - 1
    width, height = np.ceil(contour.max(0)).astype(int) + 1 - low
    scale = _OVERSAMPLING

    def fine(points: np.ndarray) -> list[tuple[float, float]]:
        # Pillow counts from the middle of a pixel, the contour from a corner.
        moved = (points - low) * scale - 0.5
        return [tuple(point) for point in moved.tolist()]

    def canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
        picture = Image.new("L", (int(width) * scale, int(height) * scale))
        return picture, ImageDraw.Draw(picture)

    body, body_pen = canvas()
    edge, edge_pen = canvas()
    corner, corner_pen = canvas()
    lines = [contour]
    lines += [hole @ affine.T + center for hole in outline.holes]
    for line, value in zip(
        lines, [255] + [0] * len(outline.holes), strict=True
    ):
        points = fine(line)
        body_pen.polygon(points, fill=value)
        # The line lies half outside the body, which cuts that half off below.
        around = [*points, *points[:2]]
        edge_pen.line(around, 255, round(2 * rim * scale), joint="curve")
    reach = 3.0 * rim * scale
    for x, y in fine(outline.corners @ affine.T + center):
        corner_pen.ellipse((x - reach, y - reach, x + reach, y + reach), 255)
    edge.paste(0, mask=Image.eval(body, lambda value: 255 - value))
    corner.paste(0, mask=Image.eval(body, lambda value: 255 - value))
    coverage = Coverage(
        *(
            np.asarray(picture.reduce(scale), np.float32) / 255
            for picture in (body, edge, corner)
        )
    )
    box = (
        slice(int(low[1]), int(low[1] + height)),
        slice(int(low[0]), int(low[0] + width)),
    )
    return box, coverage
