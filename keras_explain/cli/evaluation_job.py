"""Explains with every method once, and measures all of it."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_explain.cli import terminal
from keras_explain.cli.evaluation_candidates import (
    Candidate,
    Found,
    Maps,
    about_values,
    handed_out,
    notes_of,
    of_any_model,
    part_of,
)
from keras_explain.cli.evaluation_data import Data, Subject
from keras_explain.cli.evaluation_measures import (
    DELTA,
    EXPLAINER,
    MAPS,
    MODEL,
    RIVAL,
    SCORES,
    SUMS,
    VALUES,
    Measure,
)
from keras_explain.cli.run import REFUSALS, reason
from keras_explain.engine import interruption
from keras_explain.engine.errors import ExplainWarning, message
from keras_explain.engine.explainer import Explainer
from keras_explain.evaluation.positions import reduced
from keras_explain.evaluation.result import Evaluation, evaluated

# Maps of all methods up to so many bytes are measured at once, so that the
# model is traced once for all of them.
MOST_BYTES = 2**29


class Job:
    """A comparison.

    Args:
        subject: The model and what is explained.
        data: The samples.
        candidates: What is compared.
        measures: By what.
        batch_size: Most samples that a model sees at once.
        seed: Of all that is random.
        reduce: How channels become one value: `"sum"`, `"magnitude"`, or
            `"auto"` for what the paper of a method does.
    """

    def __init__(
        self,
        subject: Subject,
        data: Data,
        candidates: Sequence[Candidate],
        measures: Sequence[Measure],
        batch_size: int,
        seed: int,
        reduce: str = "auto",
    ):
        self.subject, self.data = subject, data
        self.candidates, self.measures = list(candidates), list(measures)
        self.batch_size, self.seed, self.reduce = batch_size, seed, reduce
        self.found = [Found(candidate) for candidate in self.candidates]
        self.refused: dict[str, str] = {}
        self.interrupted = False
        self._advance: terminal.Advance = lambda last: None
        self._check: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Does it; Ctrl-C ends it, and what was found stays."""
        rest = [m for m in self.measures if m.takes in (SCORES, SUMS, VALUES)]
        total = len(self.found) * (1 + len(rest))
        with (
            terminal.progress("Evaluating", total) as self._advance,
            interruption.between_steps() as self._check,
        ):
            try:
                self._run(rest)
            except KeyboardInterrupt:
                self.interrupted = True

    def _run(self, rest: list[Measure]) -> None:
        group: list[Maps] = []
        for found in self.found:
            self._check()
            maps = self._explained(found)
            self._advance(found.candidate.title)
            if maps is not None:
                group.append(maps)
            last = found is self.found[-1]
            if last or sum(one.bytes for one in group) > MOST_BYTES:
                for measure in rest:
                    self._measure(measure, group)
                group = []

    # One candidate: its maps, and what needs nothing but them.

    def _explained(self, found: Found) -> Maps | None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExplainWarning)
            try:
                explainer = self._explainer(found.candidate)
                maps = self._maps(found, explainer)
                self._measure_maps(maps)
                self._measure_explainer(found, explainer)
            except REFUSALS as error:
                found.left_out = reason(error)
                return None
            finally:
                found.notes += notes_of(caught)
        return maps

    def _explainer(self, candidate: Candidate) -> Any:
        if candidate.method is None:
            return candidate.function
        made = candidate.method.explainer(self.subject.model, None)
        fit = getattr(made, "fit", None)
        if fit is not None:
            size = self.batch_size
            fit(self.data.examples, batch_size=size, verbose=False)
        return made

    def _maps(self, found: Found, explainer: Any) -> Maps:
        maps = Maps(found)
        taken = {measure.takes for measure in self.measures}
        how = found.candidate.reduce(self.reduce)
        parts: dict[str, list[Any]] = {}
        seconds = []
        for number, rows in enumerate(self._rows()):
            self._check()
            inputs = self.data.inputs[rows]
            part, took = self._timed(explainer, rows)
            seconds.append(took / len(inputs))
            if number == 0 and len(inputs) == len(self.data):
                # The first time it was compiled.
                seconds.append(self._timed(explainer, rows)[1] / len(inputs))
            attributions = part.pop("maps")
            part["values"] = _flat(attributions, inputs, how)
            if how != "sum" and SUMS in taken:
                part["sums"] = _flat(attributions, inputs, "sum")
            if VALUES in taken and np.shape(attributions) == inputs.shape:
                part["full"] = np.asarray(attributions, np.float32)
            for name, value in part.items():
                parts.setdefault(name, []).append(value)
        found.seconds = float(np.mean(seconds[1:]))
        joined = {
            name: np.concatenate(values)
            for name, values in parts.items()
            if values[0] is not None
        }
        maps.values = joined["values"]
        maps.sums = joined.get("sums", maps.values)
        maps.full = joined.get("full")
        maps.delta, maps.scores = joined.get("delta"), joined.get("scores")
        if how != "sum":
            found.notes.append("Read by the magnitudes of its channels.")
        found.notes += about_values(maps.values)
        return maps

    def _timed(
        self, explainer: Any, rows: slice
    ) -> tuple[dict[str, Any], float]:
        inputs, target = self.data.inputs[rows], self._target(rows)
        start = time.perf_counter()
        if isinstance(explainer, Explainer):
            (part,) = explainer.stream(inputs, target, len(inputs))
            took = time.perf_counter() - start
            found = {
                "maps": part.attributions,
                "delta": part.delta,
                "scores": part.scores,
            }
            return found, took
        maps = explainer(inputs, target)
        return {"maps": maps}, time.perf_counter() - start

    def _target(self, rows: slice) -> Any:
        target = self.subject.target
        return None if target is None else target[rows]

    def _rows(self) -> Iterator[slice]:
        for start in range(0, len(self.data), self.batch_size):
            yield slice(start, min(start + self.batch_size, len(self.data)))

    def _measure_maps(self, maps: Maps) -> None:
        for measure in self.measures:
            if measure.takes == MAPS:
                result = self._call(
                    measure, handed_out([maps.values]),
                    (self.data.inputs, self.data.masks),
                    self.subject.target,
                )  # fmt: skip
                maps.found.results[measure.name] = self._about(result, maps)
            elif measure.takes == DELTA:
                self._measure_delta(measure, maps)

    def _measure_delta(self, measure: Measure, maps: Maps) -> None:
        if maps.delta is None or maps.scores is None:
            maps.found.refused[measure.name] = "it promises no sum"
            return
        size = np.abs(maps.scores)
        error = np.abs(maps.delta) / np.where(size > 0, size, np.nan)
        result = evaluated(measure.name, error, {"seed": self.seed})
        maps.found.results[measure.name] = self._about(result, maps)

    def _measure_explainer(self, found: Found, explainer: Any) -> None:
        for measure in self.measures:
            if measure.takes not in (EXPLAINER, RIVAL, MODEL):
                continue
            self._check()
            judged, more = explainer, dict[str, Any]()
            if not isinstance(explainer, Explainer):
                more = {"model": self.subject.model}
                if measure.takes == MODEL:
                    judged = of_any_model(explainer)
            try:
                if measure.takes == RIVAL:
                    more["other"] = self._rivals()
                result = self._call(
                    measure, judged, self.data.inputs, self.subject.target,
                    **more,
                )  # fmt: skip
            except REFUSALS as error:
                found.refused[measure.name] = reason(error)
                continue
            found.results[measure.name] = result

    def _rivals(self) -> np.ndarray:
        """The class of each sample with the highest score but the target's."""
        parts = []
        for rows in self._rows():
            outputs = self.subject.model(self.data.inputs[rows], training=False)
            scores = np.array(outputs, np.float64)
            if scores.ndim != 2 or scores.shape[1] < 2:
                raise ValueError(
                    message(
                        "There is no other class to compare with.",
                        f"outputs of shape {scores.shape}",
                        "Log odds are those of two classes.",
                    )
                )
            target = self._target(rows)
            own = scores.argmax(1) if target is None else target
            scores[np.arange(len(scores)), own] = -np.inf
            parts.append(scores.argmax(1))
        return np.concatenate(parts)

    # All candidates, by a measure that asks the model.

    def _measure(self, measure: Measure, group: list[Maps]) -> None:
        """Measures a group in one go, as if it were one long data set."""
        fit = [maps for maps in group if maps.of(measure) is not None]
        for maps in group:
            if maps.of(measure) is None:
                maps.found.refused[measure.name] = (
                    "it gives no value for each input value"
                )
        skipped = len(group) - len(fit)
        for _ in range(skipped):
            self._advance(measure.title)
        if not fit:
            return
        self._check()
        target = self.subject.target
        if target is not None:
            target = np.tile(target, len(fit))
        values = [maps.of(measure) for maps in fit]
        try:
            result = self._call(
                measure, handed_out(values), self._again_and_again(fit),
                target, model=self.subject.model,
            )  # fmt: skip
        except REFUSALS as error:
            self.refused[measure.name] = reason(error)
            return
        samples = len(self.data)
        for k, maps in enumerate(fit[: len(result) // samples]):
            part = part_of(result, slice(k * samples, (k + 1) * samples))
            maps.found.results[measure.name] = self._about(part, maps)
        if self.interrupted:
            raise KeyboardInterrupt

    def _again_and_again(self, group: list[Maps]) -> Iterator[np.ndarray]:
        """The samples once for each candidate; Ctrl-C ends them.

        So a measure returns what it has, and does not lose it.
        """
        for maps in group:
            for rows in self._rows():
                try:
                    # The first batch is there: a measure needs one.
                    if maps is not group[0] or rows.start:
                        self._check()
                except KeyboardInterrupt:
                    self.interrupted = True
                    return
                yield self.data.inputs[rows]
            self._advance(maps.found.candidate.title)

    def _call(
        self, measure: Measure, judged: Any, data: Any, target: Any, **more: Any
    ) -> Evaluation:
        function = measure.function
        if function is None:
            raise ValueError(f"{measure.name} is no function.")
        return function(
            judged, data, target, seed=self.seed, verbose=False,
            batch_size=self.batch_size, **measure.options, **more,
        )  # fmt: skip

    def _about(self, result: Evaluation, maps: Maps) -> Evaluation:
        """Says whose it is, which the callable that was judged did not."""
        candidate = maps.found.candidate
        method = candidate.method
        named = {
            "explainer": candidate.name,
            "config": {} if method is None else dict(method.options),
            "reduce": candidate.reduce(self.reduce),
            "target": None if self.subject.target is None else "labels",
        }
        settings = {**result.settings, **named}
        return dataclasses.replace(result, settings=settings)


def _flat(maps: Any, inputs: np.ndarray, how: str) -> np.ndarray:
    """One value for each position."""
    return np.asarray(reduced(maps, inputs, how)["0"], np.float32)
