"""`keras-explain evaluate`: which method to believe, on one's own model."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_explain.cli import evaluation_page, terminal
from keras_explain.cli.demo import modest
from keras_explain.cli.evaluation_candidates import Candidate
from keras_explain.cli.evaluation_data import (
    is_demo,
    open_model,
    read,
    subject,
    with_masks,
)
from keras_explain.cli.evaluation_job import Job
from keras_explain.cli.evaluation_measures import Measure, chosen
from keras_explain.cli.explain import chosen_methods
from keras_explain.cli.failures import (
    DONE,
    INTERRUPTED,
    CommandError,
    shown,
)
from keras_explain.cli.run import Method
from keras_explain.engine.catalogue import Entry
from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside
from keras_explain.evaluation.baselines import center_map, edge_map, random_map


def evaluate(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    _check(arguments)
    candidates = _candidates(arguments)
    measures = chosen(arguments.measures)
    out = Path(arguments.out)
    terminal.check_writable(out)
    data = read(arguments.data, arguments.samples, arguments.seed)
    measures = _measurable(measures, arguments, data.masks is not None)
    name, model = open_model(arguments)
    explained = subject(name, model, data, arguments.batch_size)
    job = Job(
        explained,
        with_masks(data),
        candidates,
        measures,
        arguments.batch_size,
        arguments.seed,
        arguments.reduce,
    )
    job.run()
    if not any(found.results for found in job.found):
        return _nothing(job)
    return _finish(job, out, arguments)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.samples < 1:
        raise CommandError("--samples must be at least 1.")
    if arguments.batch_size < 1:
        raise CommandError("--batch-size must be at least 1.")
    if arguments.seed < 0:
        raise CommandError("--seed must be at least 0.")


def _candidates(arguments: argparse.Namespace) -> list[Candidate]:
    """The methods, and the maps to compare them with."""
    chosen = chosen_methods(arguments.methods, can_learn=True)
    if not arguments.exact:
        chosen = [_quick(method.entry, arguments.model) for method in chosen]
    found = [
        Candidate(method.name, method.entry.title, method=method)
        for method in chosen
    ]
    if arguments.no_baselines and not found:
        raise CommandError("There is nothing to compare: name some --methods.")
    return found if arguments.no_baselines else [*found, *baselines(arguments)]


def _quick(entry: Entry, model: str) -> Method:
    """Returns a method with fewer samples than by default."""
    method = modest(entry)
    # What `modest` knows of layers are those of the demo model.
    options = {
        name: value
        for name, value in method.options.items()
        if name != "layer" or is_demo(model)
    }
    return Method(entry, options)


def baselines(arguments: argparse.Namespace) -> list[Candidate]:
    """Returns what any method must be better than."""
    return [
        Candidate("random", "Random", function=random_map(arguments.seed)),
        Candidate("center", "Center", function=center_map),
        Candidate("edges", "Edges", function=edge_map),
    ]


def _measurable(
    measures: list[Measure], arguments: argparse.Namespace, masks: bool
) -> list[Measure]:
    """Leaves out what needs masks, if there are none."""
    found = [measure for measure in measures if masks or not measure.masks]
    if not found:
        raise CommandError(
            message(
                "These measures need masks of the objects.",
                f"--measures {shown(arguments.measures)}, and "
                f"{shown(arguments.data)} without an array masks",
                "Put one into the file, or choose other measures.",
            )
        )
    return found


def _nothing(job: Job) -> int:
    if job.interrupted:
        terminal.say("Interrupted: nothing was written.")
        return INTERRUPTED
    reasons = [found.left_out for found in job.found if found.left_out]
    reasons += job.refused.values()
    reasons += [why for found in job.found for why in found.refused.values()]
    raise CommandError(reasons[0] if reasons else "Nothing could be measured.")


def _finish(job: Job, out: Path, arguments: argparse.Namespace) -> int:
    """Writes everything, and says how it went."""
    notices = list(job.data.notices)
    changed = [
        found.candidate.title
        for found in job.found
        if found.candidate.method is not None
        and found.candidate.method.options
        and found.results
    ]
    if changed:
        notices.append(
            "To be quick, these methods take fewer samples than by default: "
            f"{', '.join(changed)}. --exact runs them as they are."
        )
    page = evaluation_page.report(
        job, f"Which explanations of {job.subject.name} to believe",
        tuple(notices),
    )  # fmt: skip
    path = out / "index.html"
    write_aside(out / "evaluation.json", evaluation_page.numbers(job))
    write_aside(path, page.html().encode("utf-8", "replace"))
    for name, reason in page.left_out:
        first = reason.strip().splitlines()[0]
        terminal.say(f"Left out {name}: {first}")
    for notice in page.notices:
        terminal.say(f"Note: {notice}")
    terminal.say(f"Mean ranks:\n{evaluation_page.lines(page)}")
    terminal.result(path)
    return INTERRUPTED if job.interrupted else DONE
