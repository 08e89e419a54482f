"""What is compared, and what is found of it."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.cli.evaluation_measures import SUMS, VALUES, Measure
from keras_explain.cli.run import Method
from keras_explain.engine.errors import ExplainWarning
from keras_explain.evaluation.result import Evaluation, evaluated

# How sensitive the score is, or what excites the network: pictures whose
# signs say nothing of for or against, and whose papers show magnitudes.
_MAGNITUDES = {
    "gradient",
    "smooth_grad",
    "guided_backprop",
    "guided_grad_cam",
    "deconvnet",
    "pattern_net",
}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What is compared: a method, or a map that knows nothing.

    Attributes:
        name: As `--methods` takes it.
        title: As it is shown.
        method: Of the catalogue; `None` for a baseline.
        function: The callable of a baseline.
    """

    name: str
    title: str
    method: Method | None = None
    function: Callable[[Any, Any], Any] | None = None

    @property
    def is_baseline(self) -> bool:
        return self.method is None

    def reduce(self, how: str) -> str:
        """Returns how its channels become one value for each position.

        Args:
            how: `"sum"`, `"magnitude"`, or `"auto"` for what its paper does.
        """
        if how != "auto":
            return how
        return "magnitude" if self.name in _MAGNITUDES else "sum"


@dataclasses.dataclass
class Found:
    """What is known of a candidate.

    Attributes:
        candidate: Whose it is.
        results: By the names of measures.
        refused: Why a measure says nothing, by its name.
        left_out: Why there is nothing at all; empty if there is something.
        seconds: For one explanation; NaN if it was not measured.
        notes: What a reader should know.
    """

    candidate: Candidate
    results: dict[str, Evaluation] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: str = ""
    seconds: float = float("nan")
    notes: list[str] = dataclasses.field(default_factory=list)


class Maps:
    """The maps of one candidate, for all samples.

    Attributes:
        found: What is known of it.
        values: `(samples, *positions)`, one value for each.
        sums: The same, channels added up with their signs.
        full: In the shape of the inputs; `None` if they are not, or if no
            measure needs them.
        delta: `(samples,)`, or `None` for methods that promise nothing.
        scores: `(samples,)`, or `None`.
    """

    def __init__(self, found: Found):
        self.found = found
        self.values = np.zeros(0, np.float32)
        self.sums = self.values
        self.full: np.ndarray | None = None
        self.delta: np.ndarray | None = None
        self.scores: np.ndarray | None = None

    def of(self, measure: Measure) -> np.ndarray | None:
        if measure.takes == SUMS:
            return self.sums
        return self.full if measure.takes == VALUES else self.values

    @property
    def bytes(self) -> int:
        full = 0 if self.full is None else self.full.nbytes
        sums = 0 if self.sums is self.values else self.sums.nbytes
        return self.values.nbytes + sums + full


def handed_out(values: Sequence[Any]) -> Callable[[Any, Any], np.ndarray]:
    """Returns a callable that hands out maps that are there, in order."""
    start = 0

    def precomputed(inputs: Any, target: Any) -> np.ndarray:
        nonlocal start
        number, size = len(tf.nest.flatten(inputs)[0]), len(values[0])
        which, row = divmod(start, size)
        start += number
        return values[which][row : row + number]

    return precomputed


def of_any_model(function: Callable[[Any, Any], Any]) -> Callable:
    """Returns a callable that gets a model too, and does not look at it."""

    def same(model: Any, inputs: Any, target: Any) -> Any:
        return function(inputs, target)

    return same


def part_of(result: Evaluation, rows: slice) -> Evaluation:
    """Returns the evaluation of some of the samples."""
    curve = result.curve
    return evaluated(
        result.name,
        result.per_sample[rows],
        result.settings,
        curve=None if curve is None else (curve["x"],
                                          curve["per_sample"][rows]),
        details={k: v[rows] for k, v in result.details.items()},
    )  # fmt: skip


def notes_of(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Returns the first line of each kind of warning."""
    found: dict[str, str] = {}
    for one in caught:
        text = str(one.message)
        if not issubclass(one.category, ExplainWarning):
            continue
        if "zero everywhere" in text.replace("\n", " "):
            continue  # counted, not said batch by batch
        first = text.splitlines()[0]
        found.setdefault(re.sub(r"\d+", "#", first), first)
    return list(found.values())


def about_values(values: np.ndarray) -> list[str]:
    """Returns what is to be said of maps that say nothing."""
    flat = values.reshape(len(values), -1)
    constant = int((flat == flat[:, :1]).all(1).sum())
    broken = int((~np.isfinite(flat)).any(1).sum())
    notes = []
    for number, what in ((constant, "the same everywhere"),
                         (broken, "not finite")):  # fmt: skip
        if number:
            verb = "is" if number == 1 else "are"
            notes.append(f"{number} of {len(flat)} maps {verb} {what}.")
    return notes
