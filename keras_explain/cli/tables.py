"""`keras-explain methods` and `keras-explain layers`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import tensorflow as tf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_explain import attribution  # noqa: F401 - fills the catalogue
from keras_explain.cli import models
from keras_explain.cli.failures import DONE, CommandError, shown
from keras_explain.engine import catalogue
from keras_explain.engine.graph import Graph
from keras_explain.engine.recording import record

# Without a terminal to measure, lines are not broken.
_WIDE = 200


def methods(arguments: argparse.Namespace) -> int:
    """Runs `keras-explain methods`."""
    table = Table(title="Methods", title_justify="left")
    for heading in ("Name", "Method", "Family", "Costs", "Needs", "Paper"):
        table.add_column(heading, no_wrap=heading == "Name")
    for entry in catalogue.entries():
        table.add_row(
            *map(
                Text,
                (
                    entry.name,
                    entry.title,
                    entry.family,
                    entry.cost,
                    entry.needs,
                    entry.paper,
                ),
            )
        )
    _console().print(table)
    return DONE


def layers(arguments: argparse.Namespace) -> int:
    """Runs `keras-explain layers`."""
    source = models.source(arguments)
    model = source.open()
    graph = record(model, _specs(model))
    automatic = graph.automatic_spatial
    usable = {call.index for call in graph.spatial()}
    table = Table(title=Text(shown(model.name)), title_justify="left")
    table.add_column("Layer", overflow="fold")
    for heading in ("Type", "Output"):
        table.add_column(heading)
    table.add_column("CAM", justify="center")
    for call in graph.layers:
        chosen = automatic is not None and call.index == automatic.index
        mark = "automatic" if chosen else "yes" if call.index in usable else ""
        table.add_row(
            Text(graph.address(call)),
            Text(call.kind),
            Text(_shape(call.shape)),
            Text(mark),
            style="bold" if chosen else None,
        )
    console = _console()
    console.print(table)
    console.print(_sentence(graph))
    return DONE


def _sentence(graph: Graph) -> Text:
    automatic = graph.automatic_spatial
    if automatic is None:
        return Text(
            "No layer has positions that a class activation map could show; "
            "use a gradient method."
        )
    return Text(
        "A class activation map may use the layers marked in the last "
        f"column; without --layer it uses {graph.address(automatic)}."
    )


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "unknown"
    return " x ".join("?" if s is None else str(s) for s in shape[1:]) or "1"


def _specs(model: Any) -> Any:
    """The inputs of the model as `record` takes them."""
    try:
        declared = model.input
    except (AttributeError, ValueError):
        declared = None
    if declared is not None:
        return tf.nest.map_structure(
            lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), declared
        )
    shapes = models.input_shapes(model)
    if len(shapes) != 1:
        raise CommandError(
            "The model does not say what inputs it takes: it is subclassed. "
            "Use keras_explain from Python."
        )
    return tf.TensorSpec(shapes[0], tf.float32)


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width)
