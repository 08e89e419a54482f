"""Pictures by methods as one self-contained HTML page.

The page asks nothing of the network and runs nothing but its own few lines of
script: texts are escaped, and a content security policy forbids the rest.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_explain import plots
from keras_explain.engine.catalogue import Entry
from keras_explain.engine.files import write_aside
from keras_explain.report.rendering import environment


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one method says about one picture.

    Attributes:
        method: Name of the method in the catalogue.
        picture: The heat map as PNG or JPEG; empty if the method refused.
        target: The class explained.
        score: The score explained.
        layer: Address of the layer used, or `None`.
        seconds: Time for this picture.
        first: Whether the time includes compiling the method.
        peak: Where the map is largest, as shares of the width and height.
        hit: Whether the peak falls on the object; `None` if not known.
        refused: Why the method does not apply to the model.
        notes: Warnings of the method.
    """

    method: str
    picture: bytes = b""
    target: str = ""
    score: float | None = None
    layer: str | None = None
    seconds: float | None = None
    first: bool = False
    peak: tuple[float, float] | None = None
    hit: bool | None = None
    refused: str = ""
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One output of the model for a picture.

    Attributes:
        label: The class.
        value: The number.
        is_share: Whether it is a probability, and those of all classes add
            up to one.
    """

    label: str
    value: float
    is_share: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        name: File name or title.
        picture: The picture as PNG or JPEG.
        cells: One cell for each column, in the same order.
        predictions: The strongest outputs of the model.
        facts: Further pairs of a name and a value.
    """

    name: str
    picture: bytes
    cells: tuple[Cell, ...]
    predictions: tuple[Prediction, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def explained(self) -> Cell | None:
        """A cell that says which class was explained, and its score."""
        return next((c for c in self.cells if c.score is not None), None)


@dataclasses.dataclass(frozen=True)
class Column:
    """One method; see `engine.catalogue.Entry`.

    Attributes:
        options: The options that differ from the defaults, as text.
    """

    name: str
    title: str
    family: str
    paper: str
    summary: str
    cost: str
    options: str = ""

    @classmethod
    def of(cls, entry: Entry, options: str = "") -> Column:
        """Makes the column of a method in the catalogue."""
        return cls(
            entry.name,
            entry.title,
            entry.family,
            entry.paper,
            entry.summary,
            entry.cost,
            options,
        )


@dataclasses.dataclass(frozen=True)
class Summary:
    """One method over all pictures."""

    column: Column
    hits: int
    judged: int
    seconds: float | None
    first: bool
    layers: tuple[str, ...]
    refused: str


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: Heading of the page.
        columns: The methods.
        rows: The pictures.
        facts: Pairs of a name and a value: the model, the version.
        notices: Sentences a reader should know.
        skipped: Pairs of the name of a picture and why it is missing.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        """Returns the page as text."""
        report = self._by_family()
        template = environment().get_template("page.html")
        return template.render(
            report=report,
            families=_runs([c.family for c in report.columns]),
            summaries=report.summaries(),
            judged=any(c.hit is not None for r in self.rows for c in r.cells),
            legends=_legends(),
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the page, aside first and then renamed.

        Args:
            path: The file; a missing folder is made.

        Raises:
            OSError: If it cannot be written there.
        """
        write_aside(Path(path), self.html().encode("utf-8", "replace"))

    def summaries(self) -> tuple[Summary, ...]:
        """Returns a line for each method."""
        return tuple(self._summary(column) for column in self.columns)

    def _summary(self, column: Column) -> Summary:
        cells = [c for r in self.rows for c in r.cells]
        cells = [c for c in cells if c.method == column.name]
        timed = [(c.seconds, c.first) for c in cells if c.seconds is not None]
        # Compiling takes longer than running, so it is left out if it can be.
        steady = [seconds for seconds, first in timed if not first]
        times = steady or [seconds for seconds, _ in timed]
        return Summary(
            column=column,
            hits=sum(bool(c.hit) for c in cells),
            judged=sum(c.hit is not None for c in cells),
            seconds=statistics.median(times) if times else None,
            first=not steady,
            layers=_unique(c.layer for c in cells if c.layer),
            refused=next((c.refused for c in cells if c.refused), ""),
        )

    def _by_family(self) -> Report:
        """Brings the methods of a family next to each other."""
        families = _unique(column.family for column in self.columns)
        order = sorted(
            range(len(self.columns)),
            key=lambda k: families.index(self.columns[k].family),
        )
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[k] for k in order),
            rows=tuple(
                dataclasses.replace(
                    row, cells=tuple(row.cells[k] for k in order)
                )
                for row in self.rows
            ),
        )


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _runs(values: Iterable[str]) -> list[tuple[str, int]]:
    """Returns each value with the length of its run."""
    runs: list[tuple[str, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return runs


def _legends() -> dict[str, bytes]:
    """The color scales as thin pictures."""
    ramp = np.linspace(0, 1, 128)[np.newaxis]
    white = np.full((1, 128, 3), 128, np.uint8)
    signed = 2 * ramp - 1
    return {
        "unsigned": plots.to_png(plots.heatmap(ramp, white)),
        "signed": plots.to_png(plots.heatmap(signed, white)),
    }
