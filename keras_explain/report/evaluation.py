"""A comparison of methods as one self-contained HTML page, without script."""

from __future__ import annotations

import dataclasses
import math

from keras_explain.report.rendering import environment, number


@dataclasses.dataclass(frozen=True)
class JudgedBy:
    """A measure, a column of the table.

    Attributes:
        name: As the command line takes it.
        title: Its heading.
        higher: Whether high is good.
        text: What it says.
        caveat: What it does not say.
        settings: How it was measured.
        ranked: Whether it counts in the ranking.
    """

    name: str
    title: str
    higher: bool
    text: str
    caveat: str
    settings: str = ""
    ranked: bool = True

    @property
    def better(self) -> str:
        return "high is good" if self.higher else "low is good"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a measure says about a method, a cell of the table.

    Attributes:
        mean: Over the valid samples; NaN for nothing.
        sem: Its standard error; NaN if not known.
        valid: How many samples are valid.
        samples: How many there are.
        rank: Among the methods it says something about; `None` for none.
        best: Whether none is better.
        close: Whether it is within one joint standard error of the best.
        refused: Why there is nothing.
    """

    mean: float = math.nan
    sem: float = math.nan
    valid: int = 0
    samples: int = 0
    rank: float | None = None
    best: bool = False
    close: bool = False
    refused: str = ""

    @property
    def shown(self) -> str:
        return measured(self.mean)

    @property
    def spread(self) -> str:
        """The standard error; empty if it is not known."""
        return "" if math.isnan(self.sem) else measured(self.sem)

    @property
    def is_missing(self) -> bool:
        return math.isnan(self.mean)


@dataclasses.dataclass(frozen=True)
class Judged:
    """A method, a row of the table.

    Attributes:
        name: As the command line takes it.
        title: As it is shown.
        rank: Mean of its ranks; `None` if it has none.
        cells: One for each measure.
        is_baseline: Whether it knows nothing of the model.
        seconds: For one explanation; NaN if not known.
        options: Other than the defaults.
        notes: What a reader should know.
    """

    name: str
    title: str
    rank: float | None
    cells: tuple[Judgement, ...]
    is_baseline: bool = False
    seconds: float = math.nan
    options: str = ""
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """Whether there is more to say than its numbers."""
        return bool(self.options or self.notes)


@dataclasses.dataclass(frozen=True)
class CurvePicture:
    """The curves of all methods by one measure.

    Attributes:
        title: The measure.
        text: How to read it.
        picture: As PNG.
    """

    title: str
    text: str
    picture: bytes


@dataclasses.dataclass(frozen=True)
class EvaluationReport:
    """All that the page shows.

    Attributes:
        title: Heading of the page.
        facts: Pairs of a name and a value: the model, the data, the version.
        notices: Sentences a reader should know.
        measures: The columns.
        methods: The rows, the best first.
        curves: The pictures.
        left_out: Pairs of a method or measure and the reason.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    measures: tuple[JudgedBy, ...]
    methods: tuple[Judged, ...]
    curves: tuple[CurvePicture, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        """Returns the page as text."""
        template = environment().get_template("evaluation.html")
        return template.render(report=self)


def measured(value: float) -> str:
    """Returns a number such that those of a column stand below each other."""
    if math.isnan(value):
        return "-"
    if value == 0 or 1e-3 <= abs(value) < 10:
        return f"{value:.3f}"
    return number(value)
