"""Pictures that were made as one self-contained HTML page, without script."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_explain.report.rendering import environment

# Of the curve of a score, in the units of its drawing.
_WIDTH, _HEIGHT, _POINTS = 100.0, 24.0, 60


@dataclasses.dataclass(frozen=True)
class MadePicture:
    """A picture, and how its score rose.

    Attributes:
        title: What it is the picture of.
        picture: As PNG.
        score: Of the finished picture.
        curve: The scores before each step, as the model saw the picture.
    """

    title: str
    picture: bytes
    score: float
    curve: tuple[float, ...] = ()

    @property
    def points(self) -> str:
        """The curve as the points of an SVG line; empty if there is none."""
        values = np.asarray(self.curve, np.float64)
        values = values[np.isfinite(values)]
        if values.size < 2:
            return ""
        # Random transforms make single scores jump: means of some tell more.
        parts = np.array_split(values, min(_POINTS, values.size))
        means = np.array([part.mean() for part in parts])
        low, high = means.min(), means.max()
        share = (means - low) / (high - low) if high > low else means * 0
        x = np.linspace(0, _WIDTH, means.size)
        y = 1 + (1 - share) * (_HEIGHT - 2)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


@dataclasses.dataclass(frozen=True)
class SynthesisReport:
    """All that the page shows.

    Attributes:
        title: Heading of the page.
        facts: Pairs of a name and a value: the model, the steps, the version.
        notices: Sentences a reader should know.
        pictures: The pictures.
        moving: How they came about, as GIF; empty for none.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    pictures: tuple[MadePicture, ...]
    moving: bytes = b""

    def html(self) -> str:
        """Returns the page as text."""
        template = environment().get_template("synthesis.html")
        return template.render(report=self)
