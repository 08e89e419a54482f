"""`keras-explain demo`: every method on pictures whose truth is known."""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_explain import datasets, plots
from keras_explain.cli import terminal
from keras_explain.cli.failures import DONE, CommandError
from keras_explain.cli.labels import Labels
from keras_explain.cli.run import Method, Outcome, Picture, Run
from keras_explain.engine import catalogue
from keras_explain.report import Column, Report, Row
from keras_explain.version import __version__

# Fewer samples than by default, so that the demo is done in a minute.
_MODEST = {"num_samples": 16, "num_masks": 200, "num_steps": 16}
# What that says nothing about, or says too little.
_OWN: dict[str, dict[str, Any]] = {
    "extremal_perturbation": {"settings": {"num_steps": 50}},
    "kernel_shap": {"num_samples": 200},
    "lime": {"num_samples": 200},
    # No model of pictures is affine from its inputs on.
    "linear_shap": {"layer": "stage3_block2_out"},
    "meaningful_perturbation": {"settings": {"num_steps": 50}},
    "shapley_sampling": {"num_permutations": 4},
}
_NUM_EXAMPLES = 128


def demo(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    start = time.perf_counter()
    out = Path(arguments.out)
    terminal.check_writable(out)
    model = datasets.demo_model()
    pictures = _pictures(arguments.pictures)
    methods = [modest(entry) for entry in catalogue.entries()]
    labels = Labels(tuple(datasets.CLASS_NAMES))
    run = Run(model, methods, labels=labels, examples=_examples)
    columns: list[list[Outcome]] = []
    with terminal.progress("Methods", len(methods)) as advance:
        for method in methods:
            # Once to compile, so that the time taken is that of running.
            run.explain(method, pictures)
            columns.append(run.explain(method, pictures))
            advance(method.entry.title)
    rows = _rows(run, pictures, columns)
    seconds = time.perf_counter() - start
    path = out / "index.html"
    report(run, methods, rows, seconds).write(path)
    terminal.say(
        f"Explained {len(rows)} pictures with {len(methods)} methods in "
        f"{seconds:.0f} s."
    )
    terminal.result(path)
    return DONE


def modest(entry: catalogue.Entry) -> Method:
    """Returns a method with options that keep the demo short."""
    if entry.name in _OWN:
        return Method(entry, dict(_OWN[entry.name]))
    options = {}
    for parameter in inspect.signature(entry.cls).parameters.values():
        limit = _MODEST.get(parameter.name)
        if isinstance(parameter.default, int) and limit is not None:
            if parameter.default > limit:
                options[parameter.name] = limit
    return Method(entry, options)


def _examples() -> Iterator[np.ndarray]:
    """Pictures for the methods that learn from some."""
    images, _, _ = datasets.demo_images(num=_NUM_EXAMPLES, seed=1)
    for start in range(0, len(images), 32):
        yield images[start : start + 32].astype(np.float32)


def _pictures(number: int) -> list[Picture]:
    if number < 1:
        raise CommandError(f"--pictures must be at least 1, not {number}.")
    images, labels, masks = datasets.demo_images(num=number, distractors=2)
    return [
        Picture(
            name=f"{datasets.CLASS_NAMES[label]} {k + 1}",
            pixels=image,
            inputs=image.astype(np.float32),
            mask=mask,
        )
        for k, (image, label, mask) in enumerate(
            zip(images, labels, masks, strict=True)
        )
    ]


def _rows(
    run: Run, pictures: list[Picture], columns: list[list[Outcome]]
) -> list[Row]:
    predictions = run.predictions(pictures)
    return [
        Row(
            name=picture.name,
            picture=plots.to_png(picture.pixels),
            cells=tuple(outcome.cell for outcome in outcomes),
            predictions=found,
        )
        for picture, outcomes, found in zip(
            pictures, zip(*columns, strict=True), predictions, strict=True
        )
    ]


def report(
    run: Run, methods: list[Method], rows: list[Row], seconds: float
) -> Report:
    """Puts the page together."""
    changed = [m.entry.title for m in methods if m.options]
    notices = [
        "A small residual network names the largest shape in each picture; "
        "the smaller shapes are there to mislead. The pictures are drawn by "
        "the library, so it is known where the object is.",
    ]
    if changed:
        notices.append(
            "To be quick, these methods take fewer samples than by default: "
            f"{', '.join(changed)}. The table of methods says how many."
        )
    return Report(
        title="What every method sees",
        columns=tuple(Column.of(m.entry, m.text()) for m in methods),
        rows=tuple(rows),
        facts=(
            ("Model", run.model.name),
            ("Pictures", str(len(rows))),
            ("Methods", str(len(methods))),
            ("Time in all", f"{seconds:.0f} s"),
            ("Version", f"keras_explain {__version__}"),
        ),
        notices=(*notices, *run.warnings),
    )
