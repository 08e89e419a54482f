"""Small pictures with a line below them, drawn fast."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_explain import plots
from keras_explain.engine.explanation import Explanation
from keras_explain.plots.color import value_range

# Smaller pictures are enlarged to at least this height, in whole steps.
_HEIGHT = 128
_SIZE = 12
_ROOM = 4


def drawn(explanation: Explanation) -> Iterator[np.ndarray]:
    """Returns a picture for each sample.

    Of images it is the image beside its heat map, drawn when it is asked for;
    of anything else the figure that `Explanation.plot` draws, drawn at once,
    as Matplotlib is not made for several threads.
    """
    images, maps = explanation.picture()
    if images is None or np.ndim(images) != 4 or np.ndim(maps) not in (3, 4):
        figures = (
            explanation[k].plot(titles=[None]) for k in range(len(explanation))
        )
        return iter([_pixels(plots.to_png(figure)) for figure in figures])
    return _beside(explanation, images)


def _beside(explanation: Explanation, images: Any) -> Iterator[np.ndarray]:
    """Each image beside its heat map."""
    bounds = value_range(images)
    heat = explanation.heatmap()
    for image, colored in zip(images, heat, strict=True):
        shown = plots.to_displayable(image, shown_range=bounds)
        yield np.concatenate([enlarged(shown), enlarged(colored)], axis=1)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Returns a small picture with each pixel drawn as a square."""
    times = math.ceil(_HEIGHT / picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """Returns a picture with a text below, in as many lines as it takes."""
    font = ImageFont.load_default(_SIZE)
    longest = max(map(font.getlength, caption.split()), default=0)
    width = max(picture.shape[1], math.ceil(longest) + 2 * _ROOM)
    lines = _lines(caption, width - 2 * _ROOM, font)
    height = len(lines) * (_SIZE + 3) + 2 * _ROOM
    canvas = np.full((picture.shape[0] + height, width, 3), 255, "uint8")
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines):
        top = picture.shape[0] + _ROOM + k * (_SIZE + 3)
        draw.text((_ROOM, top), line, fill=(0, 0, 0), font=font)
    return np.asarray(image)


def _lines(text: str, width: int, font: Any) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
