"""`keras-explain calibrate`: a model and held-out data; a calibrated model."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path

import keras

from keras_explain import calibration
from keras_explain.calibration.wrapping import Calibrator
from keras_explain.cli import calibration_page, models, terminal
from keras_explain.cli.arrays import Archive
from keras_explain.cli.calibration_job import Job, Split, held_out, whole
from keras_explain.cli.failures import DONE, INTERRUPTED, CommandError, shown
from keras_explain.cli.run import REFUSALS, reason
from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside

METHODS: dict[str, type[Calibrator]] = {
    "temperature": calibration.TemperatureScaling,
    "vector": calibration.VectorScaling,
    "matrix": calibration.MatrixScaling,
    "platt": calibration.PlattScaling,
    "histogram": calibration.HistogramBinning,
    "isotonic": calibration.IsotonicCalibration,
    "bayesian-binning": calibration.BayesianBinning,
}
_HOLDOUT = 0.5


def calibrate(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    _check_numbers(arguments)
    source = models.source(arguments)
    out = _out(arguments.out, source)
    data = Archive(arguments.data)
    test = Archive(arguments.test) if arguments.test else None
    _check_apart(data, test)
    model = source.open()
    split = _split(arguments, model, data, test)
    try:
        job = Job(METHODS[arguments.method](model), split, arguments.batch_size)
        outcome = job.run()
    except KeyboardInterrupt:
        terminal.say("Interrupted: nothing was written.")
        return INTERRUPTED
    except REFUSALS as error:
        raise CommandError(reason(error)) from error
    page = calibration_page.report(source, job.calibrator, outcome, out)
    _write(job.calibrator.model, page.html(), out)
    for notice in page.notices:
        terminal.say(notice)
    terminal.say(calibration_page.table(page))
    terminal.say(f"Report: {shown(os.path.abspath(out.with_suffix('.html')))}")
    terminal.result(out)
    return DONE


def _check_numbers(arguments: argparse.Namespace) -> None:
    if arguments.batch_size < 1:
        raise CommandError("--batch-size must be at least 1.")
    if arguments.seed < 0:
        raise CommandError("--seed must be at least 0.")
    if arguments.holdout is None:
        return
    if arguments.test:
        raise CommandError(
            "--test says what is measured on: leave --holdout out."
        )
    if not 0 < arguments.holdout < 1:
        raise CommandError(
            "--holdout is a share of DATA, more than 0 and less than 1, not "
            f"{arguments.holdout:g}."
        )


def _out(text: str | None, source: models.Source) -> Path:
    """Returns where the calibrated model goes, if it can be written there."""
    if source.path is not None and source.path.is_dir():
        raise CommandError(
            message(
                "A calibrated model is a .keras file, and a SavedModel cannot "
                "be put into one.",
                source.name,
                "Pass the .keras file that it was made from.",
            )
        )
    stem = source.name if source.path is None else source.path.stem
    out = Path(f"{stem}_calibrated.keras" if text is None else text)
    if out.suffix != ".keras":
        raise CommandError(
            message(
                "The calibrated model is a Keras file, which ends in .keras.",
                f"--out {shown(out)}",
            )
        )
    if source.path is not None and out.exists() and out.samefile(source.path):
        raise CommandError(
            message(
                "The calibrated model would take the place of the model.",
                f"--out {shown(out)}",
                "Choose another name with --out.",
            )
        )
    for path in (out, out.with_suffix(".html")):
        if path.is_dir():
            raise CommandError(
                message(
                    "There is a folder of the name of a file to write.",
                    shown(path),
                    "Choose another name with --out.",
                )
            )
    terminal.check_writable(out.parent)
    return out


def _check_apart(data: Archive, test: Archive | None) -> None:
    if test is not None and test.path.samefile(data.path):
        raise CommandError(
            message(
                "The samples to measure on are those it is fitted on, where "
                "any calibrator looks good.",
                f"--test {shown(test.path)}",
                "Pass other samples, or leave --test out: a part of DATA is "
                "held out then.",
            )
        )


def _split(
    arguments: argparse.Namespace,
    model: keras.Model,
    data: Archive,
    test: Archive | None,
) -> Split:
    """Reads the samples, and says which are for what."""
    inputs = _several_inputs(model)
    samples = data.read(inputs)
    if test is not None:
        return whole(samples, test.read(inputs))
    share = _HOLDOUT if arguments.holdout is None else arguments.holdout
    return held_out(samples, share, arguments.seed)


def _several_inputs(model: keras.Model) -> tuple[str, ...]:
    """The names of the inputs of a model that has several."""
    try:
        names = tuple(tensor.name for tensor in model.inputs)
    except (AttributeError, ValueError, TypeError):  # subclassed
        return ()
    return names if len(names) > 1 else ()


def _write(model: keras.Model, page: str, out: Path) -> None:
    """Writes the model and its page, both or, if one fails, none."""
    # Keras looks at the ending.
    aside = out.with_name(f".{out.stem}.{secrets.token_hex(4)}.part.keras")
    try:
        _save(model, aside, out)
        content = page.encode("utf-8", "replace")
        write_aside(out.with_suffix(".html"), content)
        aside.replace(out)
    finally:
        # Only still there if something went wrong.
        aside.unlink(missing_ok=True)


def _save(model: keras.Model, aside: Path, out: Path) -> None:
    try:
        model.save(aside)
    except OSError as error:
        raise CommandError(
            message(
                "The file cannot be written there.",
                f"--out {shown(out)} ({error.strerror or error})",
                "Choose a folder that you may write to and that has space "
                "left.",
            )
        ) from error
