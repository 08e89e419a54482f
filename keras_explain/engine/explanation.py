"""What an explainer found out about a batch, to look at and to keep."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import batching
from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside

# What there may be one of for each sample, and what has one row for each.
_MAYBE = ("target", "probabilities", "delta")
_STRUCTURES = ("inputs", "attributions", "details")
_ROWS = (*_STRUCTURES, "scores", *_MAYBE)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Attributions of a batch, with all that is needed to read them.

    Attributes:
        inputs: What was explained, as NumPy; a list or dict for models with
            several inputs.
        attributions: In the structure and shape of the inputs for pixel
            methods, `(batch, height, width)` for class activation maps, in
            the shape of the layer's output with `layer=`.
        target: `(batch,)` class indices, or `None` if the target is no class.
        scores: `(batch,)` float32, the explained score of each sample.
        probabilities: `(batch,)` float32, the probability that the model
            gives the class, or `None` if the target is none or the model
            has a single linear output.
        method: Name of the method in the catalogue.
        config: Its options.
        layer: Address of the layer that was used, or `None`.
        delta: `(batch,)` completeness error (sum of the attributions minus
            what they should add up to), or `None` if the method makes no
            such claim.
        signed: Whether the method gives negative values a meaning.
        details: What else the method found, each a structure of arrays with
            a row for each sample; the method says what there is.
    """

    inputs: Any
    attributions: Any
    target: np.ndarray | None
    scores: np.ndarray
    method: str
    config: dict[str, Any]
    layer: str | None = None
    probabilities: np.ndarray | None = None
    delta: np.ndarray | None = None
    signed: bool = True
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def concatenate(cls, parts: Sequence[Explanation]) -> Explanation:
        """Joins the explanations of batches by one explainer, in order."""
        joined = {
            name: batching.concatenate([getattr(part, name) for part in parts])
            for name in _ROWS
        }
        return dataclasses.replace(parts[0], **joined)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice) -> Explanation:
        """Returns the explanation of one sample, or of a slice of them.

        One sample keeps its batch axis, so that it can be drawn and saved
        like the whole.
        """
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"{index} of {len(self)} samples")
            index = slice(index, index + 1 or None)
        parts = {
            name: tf.nest.map_structure(lambda x: x[index], value)
            for name in _ROWS
            if (value := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **parts)

    def __repr__(self) -> str:
        shapes = tf.nest.map_structure(np.shape, self.attributions)
        layer = f", layer={self.layer!r}" if self.layer else ""
        return f"<Explanation by {self.method}, shape={shapes}{layer}>"

    def picture(self) -> tuple[Any, np.ndarray]:
        """The input and attribution that can be drawn together."""
        maps = tf.nest.flatten(self.attributions)
        inputs = tf.nest.flatten(self.inputs)
        for attribution in maps:
            for array in inputs:
                if _fit(array, attribution):
                    return array, attribution
        return None, maps[0]

    def heatmap(self, **options: Any) -> np.ndarray:
        """Returns `(batch, height, width, 3)` uint8 pictures.

        Args:
            options: Those of `keras_explain.plots.heatmap`.
        """
        from keras_explain import plots

        images, maps = self.picture()
        options.setdefault("signed", self.signed)
        return np.stack(
            [
                plots.heatmap(m, None if images is None else images[k],
                              **options)
                for k, m in enumerate(maps)
            ]
        )  # fmt: skip

    def plot(self, **options: Any) -> Any:
        """Returns a matplotlib figure: pictures, sequences or bars.

        Args:
            options: Those of `keras_explain.plots.plot_attributions`.
        """
        from keras_explain import plots

        images, maps = self.picture()
        options.setdefault("signed", self.signed)
        titles = options.pop("titles", None) or self.titles()
        return plots.plot_attributions(images, maps, titles=titles, **options)

    def plot_change(self, **options: Any) -> Any:
        """Returns a figure of a layer before and after channels are hidden.

        It is there for `ExtremalPerturbation` and `MeaningfulPerturbation`
        with `layer`, of a layer whose output are pictures; under the mean of
        the masks of all areas.

        Args:
            options: Those of `keras_explain.plots.change`.

        Raises:
            ValueError: If no channels were hidden, or the layer has no
                pictures.
        """
        from keras_explain import plots

        details = self.details
        if "activation" not in details:
            raise ValueError(
                message(
                    "There is no layer whose channels were hidden.",
                    f"an explanation by {self.method!r}",
                    "Pass `layer` to `ExtremalPerturbation` or "
                    "`MeaningfulPerturbation`, or use `plot`.",
                )
            )
        before = tf.nest.flatten(details["activation"])[0]
        masks = tf.nest.flatten(details["channels"])[0]
        if masks.ndim == 3:  # one for each area
            masks = masks.mean(1)
        masks = masks.reshape(len(masks), *[1] * (before.ndim - 2), -1)
        options.setdefault("titles", self.titles())
        return plots.change(before, before * masks, **options)

    def titles(self) -> list[str]:
        """Returns a line for each sample: the class and its score."""
        if self.target is None:
            return [f"score {score:.3g}" for score in self.scores]
        return [
            f"class {index}, score {score:.3g}"
            for index, score in zip(self.target, self.scores, strict=True)
        ]

    def _repr_png_(self) -> bytes:
        from keras_explain import plots

        return plots.to_png(self.plot())

    def save(self, path: str | os.PathLike) -> None:
        """Writes a `.npz` file, aside first and then renamed.

        Args:
            path: File to write; an existing one is replaced.
        """
        arrays: dict[str, Any] = {"scores": self.scores}
        structures = {}
        for name in _STRUCTURES:
            value = getattr(self, name)
            structures[name] = _skeleton(value)
            for k, array in enumerate(tf.nest.flatten(value)):
                arrays[f"{name}_{k}"] = array
        for name in _MAYBE:
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        about = {
            "method": self.method,
            "config": self.config,
            "layer": self.layer,
            "signed": self.signed,
            "structures": structures,
        }
        arrays["about"] = np.array(json.dumps(about))
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Explanation:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            values = {}
            for name, skeleton in about.pop("structures").items():
                count = len(tf.nest.flatten(skeleton))
                flat = [file[f"{name}_{k}"] for k in range(count)]
                values[name] = tf.nest.pack_sequence_as(skeleton, flat)
            for name in _MAYBE:
                values[name] = file[name] if name in file else None
            return cls(scores=file["scores"], **values, **about)


def _fit(array: np.ndarray, attribution: np.ndarray) -> bool:
    """Whether an attribution belongs on an input of this shape."""
    if np.shape(array) == np.shape(attribution):
        return True
    spatial = np.shape(array)[:-1]
    return len(spatial) > 1 and spatial == np.shape(attribution)


def _skeleton(value: Any) -> Any:
    """The structure without the arrays, as JSON can hold it."""
    if isinstance(value, dict):
        return {key: _skeleton(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_skeleton(item) for item in value]
    return 0
