"""What `visualize` is to make pictures of, and the making of them."""

from __future__ import annotations

import argparse
import dataclasses
import re
import warnings
from collections.abc import Iterable
from typing import Any

from keras_explain.cli import applications, labels, models, ranges, selection
from keras_explain.cli.failures import CommandError
from keras_explain.cli.job import chosen_head, class_labels
from keras_explain.cli.run import REFUSALS, reason
from keras_explain.engine import interruption
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import ExplainWarning, message
from keras_explain.engine.graph import Graph
from keras_explain.engine.progress import bar
from keras_explain.engine.recording import record
from keras_explain.engine.targets import Target
from keras_explain.engine.unit_targets import Channel
from keras_explain.synthesis import Maximization, Synthesis
from keras_explain.synthesis.driver import Progress

# How many units or classes there are pictures of where none are chosen.
USUAL_NUMBER = 16
# Pictures of the moving one.
NUM_FRAMES = 24


@dataclasses.dataclass(frozen=True)
class Wish:
    """Something to make pictures of.

    Attributes:
        target: What is maximized.
        title: Its name for people.
        file: Its name for a disk, without an ending.
    """

    target: Target
    title: str
    file: str


class Job:
    """A model, what to make pictures of, and how.

    Args:
        arguments: The options of the command.
        source: The model.
        names: The names of the classes from the command line, or `None`.

    Raises:
        CommandError: If the model, the layer or what was chosen do not fit.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        source: models.Source,
        names: labels.Labels | None,
    ):
        self.model = source.open()
        shape = models.image_input(self.model, arguments.size)
        side = arguments.size
        if shape.size is None and source.application is not None:
            side = applications.USUAL_SIDE
        graph = record(self.model, shape.spec)
        prepared = ranges.settings(arguments.preprocess, source)
        self.range = ranges.find(self.model, graph, prepared)
        self.notices: list[str] = []
        if arguments.layer is None:
            self.wishes = self._classes(arguments, source, graph, names)
        else:
            self.wishes = self._channels(arguments, graph)
        self.steps = arguments.steps
        self.at_once = max(1, arguments.at_once // arguments.batch)
        self.settings = {
            "batch": arguments.batch,
            "seed": arguments.seed,
            "size": side,  # where the model leaves it open
            **prepared,
        }
        self.snapshots: Iterable[int] = ()
        if arguments.gif:
            between = max(1, self.steps // NUM_FRAMES)
            self.snapshots = range(0, self.steps, between)

    def _classes(
        self,
        arguments: argparse.Namespace,
        source: models.Source,
        graph: Graph,
        names: labels.Labels | None,
    ) -> list[Wish]:
        head = chosen_head(graph, arguments.output)
        known, notices = class_labels(source, head, names)
        self.notices += notices
        size = head.shape[-1] or 1
        if arguments.classes is not None:
            chosen = selection.chosen(arguments.classes, "--classes")
            selection.check_below(chosen, size, "--classes", "classes")
        else:
            chosen = self._first(size, "classes", "--classes")
        return [
            Wish(Class(k, output=arguments.output), known.text(k), f"class_{k}")
            for k in chosen
        ]

    def _channels(
        self, arguments: argparse.Namespace, graph: Graph
    ) -> list[Wish]:
        try:
            call = graph.find(arguments.layer)
        except ValueError as error:
            raise CommandError(str(error)) from error
        shape = call.shape or ()
        size = shape[-1] if len(shape) > 1 else None
        if size is None or call.num_outputs != 1:
            raise CommandError(
                message(
                    "Units are the channels of a layer with one output of a "
                    "known number of them.",
                    f"--layer {arguments.layer!r}, whose output is {shape}",
                    "'keras-explain layers MODEL' lists them all.",
                )
            )
        if arguments.units is not None:
            chosen = selection.chosen(arguments.units, "--units")
            things = f"channels in {arguments.layer!r}"
            selection.check_below(chosen, size, "--units", things)
        else:
            chosen = self._first(size, "channels", "--units")
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", arguments.layer)[:80]
        return [
            Wish(
                Channel(arguments.layer, k),
                f"{arguments.layer} {k}",
                f"{plain}_{k}",
            )
            for k in chosen
        ]

    def _first(self, size: int, things: str, option: str) -> list[int]:
        if size > USUAL_NUMBER:
            self.notices.append(
                f"These are the first {USUAL_NUMBER} of {size} {things}; "
                f"{option} chooses others."
            )
        return list(range(min(size, USUAL_NUMBER)))

    def make(self) -> Synthesis | None:
        """Makes the pictures; of a broken run, those that were begun.

        Returns:
            One row for each picture, or `None` if there is none.

        Raises:
            CommandError: If the model refuses.
        """
        starts = range(0, len(self.wishes), self.at_once)
        parts = [self.wishes[k : k + self.at_once] for k in starts]
        made: list[Synthesis] = []
        with (
            interruption.between_steps() as check,
            bar(len(parts) * self.steps, "Making pictures") as advance,
        ):
            for part in parts:
                try:
                    check()
                    found = self._part(part, advance, check)
                except KeyboardInterrupt:
                    break  # between two steps, or pressed twice
                if found.steps or found.stopped != "interrupted":
                    made.append(found)
                if found.stopped == "interrupted":
                    break
        return self._named(made) if made else None

    def _part(self, wishes: list[Wish], advance: Any, check: Any) -> Synthesis:
        before = 0

        def tell(progress: Progress) -> None:
            nonlocal before
            advance(progress.step - before)
            before = progress.step
            check()

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExplainWarning)
            try:
                targets = [wish.target for wish in wishes]
                made = Maximization(self.model, targets, **self.settings).run(
                    self.steps,
                    snapshots=self.snapshots,
                    callback=tell,
                    verbose=False,
                )
            except REFUSALS as error:
                raise CommandError(reason(error)) from error
        where = ""
        if len(wishes) < len(self.wishes):
            where = f"{wishes[0].title} to {wishes[-1].title}: "
        for warning in caught:
            if issubclass(warning.category, ExplainWarning):
                self.notices.append(f"{where}{warning.message}")
        return made

    def _named(self, made: list[Synthesis]) -> Synthesis:
        joined = Synthesis.concatenate(made)
        each = self.settings["batch"]
        titles = [
            wish.title if each == 1 else f"{wish.title}, {k + 1} of {each}"
            for wish in self.wishes
            for k in range(each)
        ]
        return dataclasses.replace(joined, titles=titles[: len(joined)])

    def files(self) -> list[str]:
        """Returns a name for each picture, without an ending."""
        each = self.settings["batch"]
        return [
            wish.file if each == 1 else f"{wish.file}_{k + 1}"
            for wish in self.wishes
            for k in range(each)
        ]
