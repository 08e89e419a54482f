"""What a comparison is reported with: the page, the numbers, the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from keras_explain import plots
from keras_explain.cli import ranking
from keras_explain.cli.evaluation_candidates import Found
from keras_explain.cli.evaluation_job import Job
from keras_explain.cli.evaluation_measures import Measure
from keras_explain.plots.curves import MOST_IN_PANEL, curves
from keras_explain.report.evaluation import (
    CurvePicture,
    EvaluationReport,
    Judged,
    JudgedBy,
    Judgement,
)
from keras_explain.report.rendering import percent
from keras_explain.version import __version__

# As headings; a family that is not here is called by its name.
_FAMILIES = {
    "cam": "Class activation maps",
    "gradient": "Gradients",
    "path": "Paths",
    "deep_lift": "DeepLIFT and SHAP",
    "noise": "Noise",
    "backprop": "Modified backward passes",
}


_CHANNELS = {
    "auto": "as in the papers",
    "sum": "added up",
    "magnitude": "magnitudes added up",
}


class Table:
    """The ranking of a job.

    Attributes:
        measures: Those that say something about some method.
        found: The candidates that something is known of, the best first.
        places: Of each candidate, by measure.
        ranks: Mean rank of each candidate.
        partial: Measures that an interrupted run has of some candidates
            only; they do not count.
    """

    def __init__(self, job: Job):
        self.job = job
        found = [one for one in job.found if one.results]
        self.measures = [
            m
            for m in job.measures
            if any(m.name in one.results for one in found)
        ]
        self.partial = {
            measure.name
            for measure in self.measures
            if job.interrupted and self._misses(measure, found)
        }
        self.places: dict[str, dict[str, ranking.Place]] = {}
        for measure in self.measures:
            values = {
                one.candidate.name: (
                    one.results[measure.name].mean,
                    one.results[measure.name].sem,
                )
                for one in found
                if measure.name in one.results
            }
            self.places[measure.name] = ranking.places(
                values, measure.higher, len(found)
            )
        self.ranks = ranking.mean_ranks(
            {
                measure.name: self.places[measure.name]
                for measure in self.measures
                if self.counts(measure)
            }
        )
        self.found = sorted(found, key=self._place)

    def counts(self, measure: Measure) -> bool:
        """Whether a measure counts in the ranking."""
        return measure.ranked and measure.name not in self.partial

    def _misses(self, measure: Measure, found: list[Found]) -> bool:
        return any(
            measure.name not in one.results and measure.name not in one.refused
            for one in found
        )

    def _place(self, found: Found) -> tuple[float, str]:
        rank = self.ranks.get(found.candidate.name, math.inf)
        return rank, found.candidate.title


def report(job: Job, title: str, notices: tuple[str, ...]) -> EvaluationReport:
    """Puts the page together."""
    table = Table(job)
    return EvaluationReport(
        title=title,
        facts=_facts(job, table),
        notices=(*notices, *_about_run(job, table)),
        measures=tuple(
            JudgedBy(
                m.name, m.title, m.higher, m.text, m.caveat, m.settings(),
                table.counts(m),
            )
            for m in table.measures
        ),
        methods=tuple(_row(table, found) for found in table.found),
        curves=tuple(_pictures(table)),
        left_out=tuple(_left_out(job)),
    )  # fmt: skip


def _facts(job: Job, table: Table) -> tuple[tuple[str, str], ...]:
    subject = job.subject
    baselines = sum(one.candidate.is_baseline for one in table.found)
    facts = [
        ("Model", subject.name),
        ("Data", job.data.name),
        ("Samples", str(len(job.data))),
        ("Methods", str(len(table.found) - baselines)),
        ("Channels", _CHANNELS[job.reduce]),
        ("Seed", str(job.seed)),
        ("Version", f"keras_explain {__version__}"),
    ]
    if subject.target is not None:
        facts.insert(3, ("Accuracy", percent(subject.accuracy)))
    return tuple(facts)


def _about_run(job: Job, table: Table) -> Iterator[str]:
    if job.subject.target is None:
        yield "The model has one output: its score is explained."
    else:
        yield (
            "The class of the label is explained, also where the model "
            "predicts another one."
        )
    if job.data.masks is None:
        yield (
            "The data have no masks, so that nothing is measured of where "
            "the maps are: put an array `masks` into the file, 1 on the "
            "object and 0 elsewhere."
        )
    if len(job.data) == 1:
        yield (
            "With one sample there is no standard error, and nothing can be "
            "told from chance."
        )
    if job.interrupted:
        yield (
            "Interrupted: the page shows what had been measured by then. "
            "Measures that are there for some methods only do not count in "
            "the ranking."
        )


def _row(table: Table, found: Found) -> Judged:
    candidate = found.candidate
    return Judged(
        name=candidate.name,
        title=candidate.title,
        rank=table.ranks.get(candidate.name),
        cells=tuple(_cell(table, found, m) for m in table.measures),
        is_baseline=candidate.is_baseline,
        seconds=found.seconds,
        options="" if candidate.method is None else candidate.method.text(),
        notes=tuple(found.notes),
    )


def _cell(table: Table, found: Found, measure: Measure) -> Judgement:
    result = found.results.get(measure.name)
    if result is None:
        return Judgement(
            refused=found.refused.get(measure.name, "not measured")
        )
    place = table.places[measure.name].get(found.candidate.name)
    return Judgement(
        mean=result.mean,
        sem=result.sem,
        valid=result.n_valid,
        samples=len(result),
        rank=place.rank if place and measure.ranked else None,
        best=bool(place and place.best and measure.ranked),
        close=bool(place and place.close and measure.ranked),
        refused="" if place else "no sample is valid",
    )


def _left_out(job: Job) -> Iterator[tuple[str, str]]:
    for measure in job.measures:
        if measure.name in job.refused:
            yield f"Measure {measure.title}", job.refused[measure.name]
    for found in job.found:
        if found.left_out:
            yield found.candidate.title, found.left_out
        elif not found.results:
            yield found.candidate.title, "Its turn had not come."


def _pictures(table: Table) -> Iterator[CurvePicture]:
    for measure in table.measures:
        if not measure.drawn:
            continue
        behind: dict[str, Any] = {}
        families: dict[str, dict[str, Any]] = {}
        for found in table.found:
            result = found.results.get(measure.name)
            if result is None or result.curve is None:
                continue
            one, curve = found.candidate, result.curve
            named = behind
            if one.method is not None:
                named = families.setdefault(one.method.entry.family, {})
            named[one.title] = (curve["x"], curve["y"])
        figure = curves(
            _panels(families) or {"": {}},
            behind=behind,
            x_label=measure.drawn,
            y_label=measure.score,
        )
        figure.set_dpi(130)
        better = "above" if measure.higher else "below"
        yield CurvePicture(
            measure.title,
            f"Mean over the samples, by family. Better methods lie {better} "
            "the others; gray are those that know nothing of the model.",
            plots.to_png(figure),
        )


def _panels(families: Mapping[str, dict[str, Any]]) -> dict[str, dict]:
    """A panel for each family, several for large ones."""
    panels = {}
    for family, named in families.items():
        heading = _FAMILIES.get(family, family.replace("_", " ").capitalize())
        items = list(named.items())
        parts = -(-len(items) // MOST_IN_PANEL)
        each = -(-len(items) // parts)
        for part in range(parts):
            number = f" ({part + 1} of {parts})" if parts > 1 else ""
            some = items[part * each : (part + 1) * each]
            panels[heading + number] = dict(some)
    return panels


def numbers(job: Job) -> bytes:
    """Returns all that was measured, as JSON."""
    table = Table(job)
    methods = [_method(table, found) for found in table.found]
    content = {
        "model": job.subject.name,
        "data": job.data.name,
        "samples": len(job.data),
        "accuracy": _plain(job.subject.accuracy),
        "seed": job.seed,
        "reduce": job.reduce,
        "version": __version__,
        "interrupted": job.interrupted,
        "measures": [
            {
                "name": m.name,
                "title": m.title,
                "higher_is_better": m.higher,
                "ranked": table.counts(m),
            }
            for m in table.measures
        ],
        "methods": methods,
        "left_out": dict(_left_out(job)),
    }
    return json.dumps(content, allow_nan=False).encode()


def _method(table: Table, found: Found) -> dict[str, Any]:
    name = found.candidate.name
    measured = {}
    for key, result in found.results.items():
        place = table.places.get(key, {}).get(name)
        measured[key] = {
            **result.to_dict(),
            "rank": place.rank if place else None,
            "best": bool(place and place.best),
            "close_to_best": bool(place and place.close),
        }
    return {
        "name": name,
        "title": found.candidate.title,
        "baseline": found.candidate.is_baseline,
        "mean_rank": table.ranks.get(name),
        "seconds": _plain(found.seconds),
        "notes": found.notes,
        "refused": found.refused,
        "measures": measured,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def lines(page: EvaluationReport, most: int = 8) -> str:
    """Returns the first rows for a terminal."""
    ranked = [row for row in page.methods if row.rank is not None]
    width = max((len(row.title) for row in ranked), default=0)
    found = [
        f"{row.title:<{width}}  {row.rank:5.1f}"
        + ("  (knows nothing of the model)" if row.is_baseline else "")
        for row in ranked[:most]
    ]
    if len(ranked) > most:
        found.append(f"... and {len(ranked) - most} more")
    return "\n".join(found)
