"""A model made ready to explain images: opened, checked, with its labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_explain.cli import (
    applications,
    images,
    models,
    preprocess,
    terminal,
)
from keras_explain.cli.failures import CommandError, ImageError, shown
from keras_explain.cli.labels import Labels
from keras_explain.cli.run import Method, Picture, Run
from keras_explain.cli.store import About
from keras_explain.engine.class_target import Class, find_output
from keras_explain.engine.errors import candidates, message
from keras_explain.engine.graph import Graph, Head
from keras_explain.engine.recording import record


class Job:
    """Everything about a run of `explain` but its images.

    Args:
        arguments: The options of the command.
        source: The model.
        methods: The methods.
        names: The names of the classes from the command line, or `None`.

    Raises:
        CommandError: If the model, the layer or the target do not fit.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        source: models.Source,
        methods: Sequence[Method],
        names: Labels | None,
    ):
        self.model = source.open()
        self.input = models.image_input(self.model, arguments.size)
        if self.input.size is None and source.application is not None:
            side = applications.USUAL_SIDE
            self.input = models.image_input(self.model, side)
        graph = record(self.model, self.input.spec)
        self.prepare = preprocess.choose(
            arguments.preprocess, source.application, graph
        )
        self.notices = [self.prepare.notice] if self.prepare.notice else []
        head = chosen_head(graph, arguments.output)
        labels, notices = class_labels(source, head, names)
        self.notices += notices
        target = _target(arguments, labels)
        try:
            target.check(graph)
            if arguments.layer is not None:
                graph.find(arguments.layer)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.run = Run(
            self.model,
            methods,
            target=target,
            layer=arguments.layer,
            labels=labels,
            examples=self._examples if arguments.examples else None,
        )
        self._example_paths = arguments.examples or []

    def _examples(self) -> Iterator[np.ndarray]:
        """The pictures to learn from, one batch each, broken ones left out."""
        for path in images.find(self._example_paths, None):
            try:
                yield self.picture(path).inputs[np.newaxis]
            except (ImageError, OSError) as error:
                terminal.say(f"Skipped {shown(path)}: {error}")

    def picture(self, path: Path) -> Picture:
        """Loads a picture.

        Raises:
            ImageError: If the file holds none.
        """
        pixels = images.load(path, self.input.size, self.input.channels)
        return Picture(shown(path.name), pixels, self._prepared(pixels))

    def _prepared(self, pixels: np.ndarray) -> np.ndarray:
        batch = pixels[np.newaxis].astype(np.float32)
        inputs = np.asarray(self.prepare.function(batch), np.float32)[0]
        if not np.isfinite(inputs).all():
            raise ImageError("holds NaN or infinite values once prepared")
        return inputs

    def refuses_any_picture(self) -> bool:
        """Whether the methods refuse even random pixels."""
        shape = (*(self.input.size or (224, 224)), self.input.channels)
        random = np.random.default_rng(0).integers(0, 256, shape)
        pixels = random.astype(np.uint8)
        picture = Picture("random pixels", pixels, self._prepared(pixels))
        return all(
            self.run.explain(method, [picture])[0].cell.refused
            for method in self.run.methods
        )

    def about(self) -> About:
        """Returns what the report says of this run."""
        size = "as the images"
        if self.input.size is not None:
            height, width = self.input.size
            size = f"{width} x {height} pixels"
        return About(
            facts=(("Input", size), ("Preprocessing", self.prepare.text)),
            notices=(*self.notices, *self.run.warnings),
        )


def class_labels(
    source: models.Source, head: Head, names: Labels | None
) -> tuple[Labels, list[str]]:
    """Returns the names of the classes, and what is to be said of them.

    Args:
        source: The model.
        head: The output whose classes they are.
        names: Those of the command line, or `None`.

    Raises:
        CommandError: If there are more or fewer names than classes.
    """
    classes = head.shape[-1]
    if names is not None:
        if classes == 1 and len(names.names) == 2:
            # One sigmoid speaks for the second of two classes.
            return Labels(names.names[1:]), []
        if classes is not None and classes != len(names.names):
            raise CommandError(
                f"The file of labels has {len(names.names)} names, but "
                f"the model tells {classes} classes apart."
            )
        return names, []
    application = source.application
    if application is None or source.weights == "none" or classes != 1000:
        return Labels(), []
    labels, notice = applications.imagenet_labels(application)
    return labels, [notice] if notice else []


def chosen_head(graph: Graph, output: str | None) -> Head:
    """Returns the output that is meant.

    Raises:
        CommandError: If there is no such output, or several and none named.
    """
    if output is None and len(graph.heads) > 1:
        names = [head.name or str(k) for k, head in enumerate(graph.heads)]
        raise CommandError(
            message(
                "The model has several outputs.",
                candidates(names),
                "Say which one to explain with --output NAME.",
            )
        )
    try:
        return graph.heads[find_output(graph.heads, output)]
    except ValueError as error:
        raise CommandError(str(error)) from error


def _target(arguments: argparse.Namespace, labels: Labels) -> Class:
    index = None
    if arguments.target is not None:
        index = labels.index(arguments.target)
    return Class(index, output=arguments.output)
