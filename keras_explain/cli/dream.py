"""`keras-explain dream`: a picture changed to what a layer sees in it."""

from __future__ import annotations

import argparse
import io
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from keras_explain.cli import images, models, ranges, terminal
from keras_explain.cli.failures import (
    DONE,
    INTERRUPTED,
    CommandError,
    ImageError,
    shown,
)
from keras_explain.cli.run import REFUSALS, reason
from keras_explain.engine.errors import ExplainWarning, message
from keras_explain.engine.files import write_aside
from keras_explain.engine.graph import Graph
from keras_explain.engine.recording import record
from keras_explain.synthesis import deep_dream


def dream(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    _check(arguments)
    out = _out(arguments.out)
    path = _image(arguments.image)
    source = models.source(arguments)
    model = source.open()
    shape = models.image_input(model, None)
    graph = record(model, shape.spec)
    prepared = ranges.settings(arguments.preprocess, source)
    found = ranges.find(model, graph, prepared)
    weights = _weights(arguments.layer, graph)
    pixels = _pixels(path, shape.channels, arguments.size)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExplainWarning)
            made = deep_dream(
                model,
                found.values(pixels.astype(np.float32) / 255),
                weights,
                octaves=arguments.octaves,
                octave_scale=arguments.octave_scale,
                steps=arguments.steps,
                step_size=arguments.step_size / 255,
                tile=arguments.tile,
                seed=arguments.seed,
                **prepared,
            )
    except KeyboardInterrupt:
        terminal.say("Interrupted: nothing was written.")
        return INTERRUPTED
    except REFUSALS as error:
        raise CommandError(reason(error)) from error
    _write(found.pictures(made.images[0]), out)
    for warning in caught:
        if issubclass(warning.category, ExplainWarning):
            terminal.say(f"Note: {warning.message}")
    interrupted = made.stopped == "interrupted"
    if interrupted:
        steps = arguments.octaves * arguments.steps
        terminal.say(
            f"Interrupted after {made.steps} of {steps} steps: the picture is "
            "as it was then."
        )
    terminal.result(out)
    return INTERRUPTED if interrupted else DONE


def _check(arguments: argparse.Namespace) -> None:
    for name, low in (("octaves", 1), ("steps", 1), ("size", 16), ("seed", 0)):
        if getattr(arguments, name) < low:
            raise CommandError(f"--{name} must be at least {low}.")
    if arguments.tile is not None and arguments.tile < 16:
        raise CommandError("--tile must be at least 16.")
    if not 1.01 <= arguments.octave_scale < math.inf:
        raise CommandError("--octave-scale must be at least 1.01.")
    if not 0 < arguments.step_size < math.inf:
        raise CommandError("--step-size must be more than 0.")


def _out(text: str) -> Path:
    out = Path(text)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise CommandError(
            message("A dream is written as one .png file.",
                    f"--out {shown(out)}")
        )  # fmt: skip
    terminal.check_writable(out.parent)
    return out


def _image(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else ""
        raise CommandError(
            message(
                "There is no such image.",
                f"{shown(text)}{', which ' if what else ''}{what}",
            )
        )
    return path


def _pixels(path: Path, channels: int, side: int) -> np.ndarray:
    try:
        return images.load(path, None, channels, most=side)
    except ImageError as error:
        raise CommandError(
            message("The image cannot be read.", f"{shown(path)} ({error})")
        ) from error


def _weights(text: str, graph: Graph) -> dict[str, float]:
    """Reads `conv1,conv2:1.5`: layers and what they count."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        layer, weight = _weighed(part.strip(), graph)
        weights[layer] = weights.get(layer, 0.0) + weight
    return weights


def _weighed(part: str, graph: Graph) -> tuple[str, float]:
    """A layer and its weight; `:1` may also be the number of its call."""
    try:
        graph.find(part)
        return part, 1.0
    except ValueError as error:
        unknown = error
    layer, _, number = part.rpartition(":")
    try:
        weight = float(number) if layer else math.nan
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise CommandError(str(unknown)) from unknown
    try:
        graph.find(layer)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return layer, weight


def _write(picture: np.ndarray, out: Path) -> None:
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    write_aside(out, buffer.getvalue())
