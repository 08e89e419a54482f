"""A calibration as one self-contained HTML page, without a line of script."""

from __future__ import annotations

import dataclasses

from keras_explain.report.rendering import environment, number, percent


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number before and after the calibration.

    Attributes:
        name: Its name.
        text: What it means, in a few words.
        before: Of the model.
        after: Of the calibrated model.
        is_share: Whether it is a share of hits, the more the better;
            otherwise it is an error.
    """

    name: str
    text: str
    before: float
    after: float
    is_share: bool = False

    @property
    def shown_before(self) -> str:
        return self._shown(self.before)

    @property
    def shown_after(self) -> str:
        return self._shown(self.after)

    @property
    def verdict(self) -> str:
        """`"better"`, `"worse"`, or `"same"` as far as the digits tell."""
        if self.shown_before == self.shown_after:
            return "same"
        rises = self.after > self.before
        return "better" if rises == self.is_share else "worse"

    def _shown(self, value: float) -> str:
        return percent(value) if self.is_share else number(value)


@dataclasses.dataclass(frozen=True)
class Diagram:
    """A reliability diagram.

    Attributes:
        title: `"Before"` or `"After"`.
        picture: As PNG.
        text: What it shows, in a few words.
        alt: What stands for it where it cannot be seen.
    """

    title: str
    picture: bytes
    text: str
    alt: str


@dataclasses.dataclass(frozen=True)
class Constants:
    """What was fitted.

    Attributes:
        text: In words.
        headings: Of a table; empty for none.
        rows: Of that table.
    """

    text: str
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclasses.dataclass(frozen=True)
class CalibrationReport:
    """All that the page shows.

    Attributes:
        title: Heading of the page.
        facts: Pairs of a name and a value: the model, the data, the version.
        notices: Sentences a reader should know.
        measures: The numbers.
        diagrams: The pictures.
        constants: What was fitted.
        by_chance: Most that the expected calibration error of a perfect model
            is, in 19 of 20 draws.
        file: Name of the calibrated model.
        holds_code: Whether the file may hold code, such as Lambda layers.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    measures: tuple[Measure, ...]
    diagrams: tuple[Diagram, ...]
    constants: Constants
    by_chance: float
    file: str
    holds_code: bool = False

    def html(self) -> str:
        """Returns the page as text."""
        template = environment().get_template("calibration.html")
        return template.render(report=self)
