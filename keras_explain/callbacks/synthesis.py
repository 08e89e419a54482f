"""What classes and units look for, while the model learns."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_explain.callbacks.base import PictureLogger, Shown
from keras_explain.callbacks.pictures import captioned, enlarged
from keras_explain.engine.errors import message
from keras_explain.engine.unit_targets import Channel
from keras_explain.synthesis import Maximization, Synthesis
from keras_explain.synthesis.objective import record_rows, sample_shape
from keras_explain.synthesis.settings import USUAL_SIZE, Settings, filled

_OWN = ("writers", "every", "on_error")
_CLASS = re.compile(r"\bclass (\d+)\b")


class SynthesisLogger(PictureLogger):
    """Makes pictures of what classes or units look for, again and again.

    They begin as the same noise each time, so that what changes is what the
    model has learned. Costs `steps` gradients of all pictures each time,
    and one trace in the whole training: with 128 steps on pictures of 64
    pixels as much as some hundred batches. The training is not touched: its
    weights, random numbers and compiled step are what they would be without.

    Args:
        target: What `maximize` takes: a class index, a `Target`, or a list
            of them, one picture for each. Or a layer or its path, for
            pictures of its channels.
        log_dir: Folder of the logs of TensorBoard, or `None`.
        units: Of a layer: its channels, or how many of the first.
        steps: Number of steps of each picture.
        labels: Names of the classes, in order.
        name: Part of the tag, `synthesis/<name>/<picture>`; `None` for that
            of the layer, or `"target"`.
        options: `writers`, `every` and `on_error` of `PictureLogger`; all
            others are settings of `maximize`, such as `size`, `image`,
            `regularizers`, `batch`, `value_range`.

    Raises:
        TypeError: If an option is not known.
        ValueError, OSError: As for `ExplanationLogger`.

    Example:

    >>> from keras_explain.callbacks import SynthesisLogger
    >>> pictures = []
    >>> logger = SynthesisLogger(
    ...     [3, 5], steps=4, value_range=(0, 1), writers=pictures.extend
    ... )
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     images, np.array([0, 1]), verbose=0, callbacks=[logger]
    ... )
    >>> [picture.tag for picture in pictures]
    ['synthesis/target/0', 'synthesis/target/1']
    """

    def __init__(
        self,
        target: Any,
        log_dir: str | os.PathLike | None = None,
        *,
        units: int | Iterable[int] = 8,
        steps: int = 128,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        **options: Any,
    ):
        own = {key: options.pop(key) for key in _OWN if key in options}
        self.settings = _checked(options)
        super().__init__(log_dir, **own)
        if not isinstance(units, (int, np.integer)):
            units = [int(unit) for unit in units]
        if not (isinstance(steps, (int, np.integer)) and steps > 0):
            raise ValueError(
                message(
                    "A picture takes at least one step.", f"steps={steps!r}"
                )
            )
        self.target = target
        self.units = units
        self.steps = int(steps)
        self.labels = None if labels is None else list(labels)
        layer = isinstance(target, (str, keras.layers.Layer))
        self.layer = target if layer else None
        self.name = name or (
            str(getattr(target, "name", target)) if layer else "target"
        )
        self._made: tuple[keras.Model, Maximization] | None = None

    def maximization(self) -> Maximization:
        """Returns what makes the pictures of the model, compiled once."""
        if self._made is None or self._made[0] is not self.model:
            made = Maximization(self.model, self._targets(), **self.settings)
            self._made = self.model, made
        return self._made[1]

    def shown(self) -> Iterator[Shown]:
        made = self.maximization().run(self.steps, verbose=False)
        if made.stopped == "interrupted":
            # Ctrl-C was meant for the training.
            raise KeyboardInterrupt
        texts = self._texts(made)
        return (
            Shown(
                f"synthesis/{self.name}/{k}",
                captioned(enlarged(picture), text),
                text,
            )
            for k, (picture, text) in enumerate(
                zip(made.pictures(), texts, strict=True)
            )
        )

    def _targets(self) -> Any:
        if self.layer is None:
            return self.target
        if isinstance(self.units, list):
            return [Channel(self.layer, unit) for unit in self.units]
        return [
            Channel(self.layer, unit)
            for unit in range(min(self.units, self._channels()))
        ]

    def _channels(self) -> int:
        size = self.settings.get("size") or USUAL_SIZE
        shape = filled(sample_shape(self.model), size)
        graph, _ = record_rows(self.model, 1, shape)
        found = graph.find(self.layer).shape
        return int(found[-1] or 1) if found else 1

    def _texts(self, made: Synthesis) -> list[str]:
        each = self.settings.get("batch", 1)
        texts = []
        for k, title in enumerate(made.titles):
            text = _CLASS.sub(self._class, title)
            if each > 1:
                text += f", {k % each + 1} of {each}"
            texts.append(f"{text}, score {made.score[k]:.3g}")
        return texts

    def _class(self, found: re.Match[str]) -> str:
        index = int(found[1])
        if self.labels is None or index >= len(self.labels):
            return found[0]
        return str(self.labels[index])


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of `maximize`, or raises before the training."""
    known = [field.name for field in dataclasses.fields(Settings)]
    for name, value in settings.items():
        if name not in known:
            raise TypeError(
                message(
                    "There is no such option.",
                    f"{name}={value!r}",
                    f"The options are {', '.join([*_OWN, *known])}.",
                )
            )
    Settings(**settings)
    return settings
