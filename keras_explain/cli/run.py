"""Runs methods on pictures and keeps what is to be shown of each."""

from __future__ import annotations

import dataclasses
import inspect
import re
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_explain.attribution  # noqa: F401 - fills the catalogue
from keras_explain import plots
from keras_explain.cli.labels import Labels
from keras_explain.engine import catalogue
from keras_explain.engine.errors import ExplainWarning
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.explanation import Explanation
from keras_explain.engine.resizing import resize
from keras_explain.report import Cell, Prediction

# What a method raises when it does not fit the model or the picture.
REFUSALS = (ValueError, TypeError, NotImplementedError, tf.errors.OpError)

# How the lines begin that Keras and TensorFlow put around what went wrong.
_STORY = ("Exception encountered", "Graph execution", "Detected at", "File ",
          "<", "Arguments received")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is explained.

    Attributes:
        name: As it is shown.
        pixels: uint8 `(height, width, channels)`, before preprocessing.
        inputs: As the model takes it, without the batch axis.
        mask: `(height, width)`, nonzero on the object; `None` if not known.
    """

    name: str
    pixels: np.ndarray
    inputs: np.ndarray
    mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the catalogue and the options to use it with."""

    entry: catalogue.Entry
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.entry.name

    def text(self) -> str:
        """Returns the options for people to read."""
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())

    def explainer(self, model: keras.Model, layer: str | None) -> Explainer:
        """Makes the explainer.

        Raises:
            ValueError: If it does not fit the model, or cannot be made
                without more than a model.
        """
        parameters = list(inspect.signature(self.entry.cls).parameters.values())
        needed = [
            p.name
            for p in parameters[1:]
            if p.default is p.empty
            and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if needed:
            raise ValueError(
                f"{self.entry.cls.__name__} needs {', '.join(needed)}, which "
                "the command line cannot give. Use it from Python."
            )
        options = dict(self.options)
        first: Any = model
        if layer is not None and any(p.name == "layer" for p in parameters):
            options["layer"] = layer
        elif layer is not None and self.entry.wraps:
            first = catalogue.find("gradient").cls(model, layer=layer)
        return self.entry.cls(first, **options)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A cell of the report, and the explanation it was made of."""

    cell: Cell
    explanation: Explanation | None = None


class Run:
    """Explains batches of pictures of one size with several methods.

    Args:
        model: The model.
        methods: The methods.
        target: What `Explainer.explain` takes.
        layer: The layer to look at, or `None`.
        labels: Names of the classes.
        examples: Batches of inputs like those the model was trained on, for
            the methods that learn from some first; asked for when needed.
    """

    def __init__(
        self,
        model: keras.Model,
        methods: Sequence[Method],
        *,
        target: Any = None,
        layer: str | None = None,
        labels: Labels | None = None,
        examples: Callable[[], Iterable[np.ndarray]] | None = None,
    ):
        self.model = model
        self.methods = list(methods)
        self.target = target
        self.layer = layer
        self.labels = labels or Labels()
        self.examples = examples
        self.warnings: dict[str, None] = {}
        self._explainers: dict[str, Explainer] = {}
        self._compiled: set[tuple[str, tuple[int, ...]]] = set()

    def explain(
        self, method: Method, pictures: Sequence[Picture]
    ) -> list[Outcome]:
        """Returns an outcome for each picture."""
        try:
            return self._explain(method, pictures)
        except REFUSALS as error:
            if len(pictures) == 1:
                return [Outcome(Cell(method.name, refused=reason(error)))]
        # One of them may be the cause, such as a picture all in black.
        return [self.explain(method, [p])[0] for p in pictures]

    def _explain(
        self, method: Method, pictures: Sequence[Picture]
    ) -> list[Outcome]:
        inputs = np.stack([picture.inputs for picture in pictures])
        key = (method.name, inputs.shape[1:])
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExplainWarning)
            if method.name not in self._explainers:
                self._explainers[method.name] = self._ready(method, inputs)
            explanation = self._explainers[method.name].explain(
                inputs, self.target, batch_size=len(inputs), verbose=False
            )
        seconds = (time.perf_counter() - start) / len(pictures)
        self._keep(
            str(w.message)
            for w in caught
            if issubclass(w.category, ExplainWarning)
        )
        first = key not in self._compiled
        self._compiled.add(key)
        return [
            self._outcome(picture, explanation[k], seconds=seconds, first=first)
            for k, picture in enumerate(pictures)
        ]

    def _ready(self, method: Method, inputs: np.ndarray) -> Explainer:
        """Makes an explainer, and lets it learn if it has to."""
        made = method.explainer(self.model, self.layer)
        fit = getattr(made, "fit", None)
        if fit is not None and self.examples is None:
            raise ValueError(
                f"{method.entry.title} learns from pictures first. Name some "
                "with --examples."
            )
        if fit is not None:
            batch = tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)
            fit(
                tf.data.Dataset.from_generator(
                    self.examples, output_signature=batch
                ),
                verbose=False,
            )
        return made

    def _keep(self, texts: Iterable[str]) -> None:
        for text in texts:
            # Said of each picture itself, where it is seen; see `_outcome`.
            if "zero everywhere" not in text.replace("\n", " "):
                self.warnings[text] = None

    def _outcome(
        self,
        picture: Picture,
        explanation: Explanation,
        *,
        seconds: float,
        first: bool,
    ) -> Outcome:
        size = picture.pixels.shape[:2]
        attribution = np.asarray(explanation.attributions)[0]
        values = fitted(attribution, size)
        drawn = plots.heatmap(values, picture.pixels, signed=explanation.signed)
        place = peak(values)
        hit = None
        if picture.mask is not None:
            hit = place is not None and bool(picture.mask[place])
        target = explanation.target
        cell = Cell(
            method=explanation.method,
            picture=plots.to_png(drawn),
            target="" if target is None else self.labels.text(int(target[0])),
            score=float(explanation.scores[0]),
            layer=explanation.layer,
            seconds=seconds,
            first=first,
            peak=None
            if place is None
            else ((place[1] + 0.5) / size[1], (place[0] + 0.5) / size[0]),
            hit=hit,
            notes=() if values.any() else ("The map is zero everywhere.",),
        )
        return Outcome(cell, explanation)

    def predictions(
        self, pictures: Sequence[Picture], most: int = 3
    ) -> list[tuple[Prediction, ...]]:
        """Returns the strongest outputs for each picture."""
        inputs = np.stack([picture.inputs for picture in pictures])
        try:
            outputs = self.model(inputs, training=False)
        except REFUSALS:  # said by the methods already
            return [()] * len(pictures)
        if not hasattr(outputs, "shape") or len(outputs.shape) != 2:
            return [()] * len(pictures)
        rows = np.asarray(outputs, np.float32)
        return [self._strongest(row, most) for row in rows]

    def _strongest(self, row: np.ndarray, most: int) -> tuple[Prediction, ...]:
        add_up = bool(np.all(row >= 0)) and abs(row.sum() - 1) < 1e-2
        shares = bool(add_up) and len(row) > 1
        best = np.argsort(-row, kind="stable")[:most]
        return tuple(
            Prediction(self.labels.text(int(k)), float(row[k]), is_share=shares)
            for k in best
        )


def reason(error: Exception) -> str:
    """What an error says; of those with a story around it, the line itself."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    is_story = isinstance(error, tf.errors.OpError)
    if not is_story and not text.startswith(_STORY[0]):
        return text
    lines = [line.strip() for line in text.splitlines()]
    telling = [x for x in lines if x and not x.startswith(_STORY)]
    return telling[0] if telling else type(error).__name__


def fitted(attribution: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns one value a pixel: channels added up, resized to a picture.

    Raises:
        ValueError: If the attribution has no height and width.
    """
    if attribution.ndim != 3 and attribution.shape != size:
        raise ValueError(
            f"The attribution has shape {attribution.shape}: the layer has no "
            "height and width that could be laid on a picture."
        )
    values = plots.collapse_channels(attribution)
    if values.shape != size:
        values = np.asarray(resize(values[np.newaxis], size))[0]
    return values


def peak(values: np.ndarray) -> tuple[int, int] | None:
    """Returns the row and column of the most positive evidence.

    `None` if nothing speaks for the class. Of a plateau, such as a cell of a
    coarse map, the pixel nearest to its middle is taken, not its corner.
    """
    highest = values.max()
    if highest <= 0:
        return None
    places = np.argwhere(values == highest)
    middle = places.mean(0)
    nearest = np.argmin(((places - middle) ** 2).sum(1))
    row, column = places[nearest]
    return int(row), int(column)
