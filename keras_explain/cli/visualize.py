"""`keras-explain visualize`: pictures of what classes and channels look for."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_explain import plots
from keras_explain.cli import labels, models, ranges, terminal
from keras_explain.cli.failures import (
    DONE,
    INTERRUPTED,
    CommandError,
    shown,
)
from keras_explain.cli.synthesis_job import Job
from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside
from keras_explain.report import MadePicture, SynthesisReport
from keras_explain.synthesis import Synthesis
from keras_explain.version import __version__


def visualize(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    _check(arguments)
    out = _out(arguments.out)
    source = models.source(arguments)
    names = labels.read(arguments.labels) if arguments.labels else None
    job = Job(arguments, source, names)
    made = job.make()
    if made is None:
        terminal.say("Interrupted: nothing was written.")
        return INTERRUPTED
    if made.stopped == "interrupted":
        job.notices.append(
            f"Interrupted after {made.steps} of {job.steps} steps: these are "
            f"{len(made)} of {len(job.files())} pictures, as they were then."
        )
    path = _write(job, made, out, arguments, source)
    for notice in job.notices:
        terminal.say(f"Note: {notice}")
    terminal.say(f"Made {terminal.counted(len(made), 'picture')}.")
    terminal.result(path)
    return INTERRUPTED if made.stopped == "interrupted" else DONE


def _check(arguments: argparse.Namespace) -> None:
    for name in ("steps", "batch", "at_once"):
        if getattr(arguments, name) < 1:
            option = name.replace("_", "-")
            raise CommandError(f"--{option} must be at least 1.")
    if arguments.seed < 0:
        raise CommandError("--seed must be at least 0.")
    if arguments.layer is None and arguments.units is not None:
        raise CommandError(
            "--units are channels of a layer: say which one with --layer."
        )
    for option in ("classes", "output", "labels"):
        value = getattr(arguments, option)
        if arguments.layer is not None and value is not None:
            raise CommandError(
                f"--{option} is about classes, and --layer about the channels "
                "of a layer: leave one of them out."
            )


def _out(text: str) -> Path:
    """Returns the folder or the .png file, if it can be written."""
    out = Path(text)
    if out.suffix and out.suffix != ".png" and not out.is_dir():
        raise CommandError(
            message(
                "Pictures go into a folder, or all of them into one .png.",
                f"--out {shown(out)}",
            )
        )
    is_file = out.suffix == ".png" and not out.is_dir()
    terminal.check_writable(out.parent if is_file else out)
    return out


def _write(
    job: Job,
    made: Synthesis,
    out: Path,
    arguments: argparse.Namespace,
    source: models.Source,
) -> Path:
    """Writes all files; returns the one to look at."""
    # A row for each class or channel, if there are several pictures of it.
    columns = arguments.batch if arguments.batch > 1 else None
    grid = plots.to_png(made.show(columns=columns))
    if out.suffix == ".png" and not out.is_dir():
        write_aside(out, grid)
        if arguments.gif:
            made.save_gif(out.with_suffix(".gif"))
        return out
    pictures = [plots.to_png(picture) for picture in made.pictures()]
    for file, picture in zip(job.files(), pictures, strict=False):
        write_aside(out / f"{file}.png", picture)
    write_aside(out / "grid.png", grid)
    made.save(out / "synthesis.npz")
    moving = b""
    if arguments.gif:
        made.save_gif(out / "steps.gif")
        moving = (out / "steps.gif").read_bytes()
    report = SynthesisReport(
        title=_title(arguments, source),
        facts=_facts(job, made, arguments, source),
        notices=tuple(job.notices),
        pictures=_pictures(made, pictures),
        moving=moving,
    )
    path = out / "index.html"
    write_aside(path, report.html().encode("utf-8", "replace"))
    return path


def _title(arguments: argparse.Namespace, source: models.Source) -> str:
    if arguments.layer is None:
        return f"What the classes of {source.name} look like to it"
    return f"What channels of {arguments.layer} in {source.name} look for"


def _facts(
    job: Job,
    made: Synthesis,
    arguments: argparse.Namespace,
    source: models.Source,
) -> tuple[tuple[str, str], ...]:
    height, width = made.images.shape[1:3]
    return (
        ("Model", source.name),
        ("Pictures", f"{len(made)} of {width} x {height} pixels"),
        ("Steps", str(made.steps)),
        ("Seed", str(arguments.seed)),
        ("Values", ranges.text(job.range)),
        ("Version", f"keras_explain {__version__}"),
    )


def _pictures(
    made: Synthesis, pictures: list[bytes]
) -> tuple[MadePicture, ...]:
    curves = made.history["score"].T
    return tuple(
        MadePicture(title, picture, float(score), tuple(map(float, curve)))
        for title, picture, score, curve in zip(
            made.titles, pictures, made.score, curves, strict=True
        )
    )
