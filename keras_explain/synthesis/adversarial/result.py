"""What an attack made of a batch of images, to look at and to keep."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_explain.engine import batching
from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside

_NOT_ROWS = ("settings",)


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """Images that were changed to fool a classifier, and what came of it.

    All is measured on `images` as they are: clipped to the bounds, in
    float32, by a forward pass of their own.

    Attributes:
        images: `(n, ...)` float32, the changed images.
        originals: `(n, ...)` float32, what they were made from.
        labels: `(n,)` int32, the class to leave; in a targeted attack, and
            for fooling images, the class to reach.
        predictions: `(n,)` int32, the class the model gives `images`.
        original_predictions: `(n,)` int32, the one it gives `originals`.
        confidence: `(n,)` float32, the probability of `predictions`.
        original_confidence: `(n,)` float32, that of `original_predictions`.
        initially_correct: `(n,)` bool, whether there was something to
            attack: the model gave the original its label. All are in a
            targeted attack.
        success: `(n,)` bool, whether the attack changed a correct
            prediction; if targeted, whether it reached the label. Of
            fooling images, whether they reached the confidence.
        steps: `(n,)` int32, how many steps the image was changed in.
        settings: The attack and its options.
    """

    images: np.ndarray
    originals: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    original_predictions: np.ndarray
    confidence: np.ndarray
    original_confidence: np.ndarray
    initially_correct: np.ndarray
    success: np.ndarray
    steps: np.ndarray
    settings: dict[str, Any]

    @property
    def difference(self) -> np.ndarray:
        """What was added, `images - originals`."""
        return self.images - self.originals

    @property
    def norm_l2(self) -> np.ndarray:
        """`(n,)` float64, the Euclidean length of the differences."""
        return np.sqrt(np.sum(self._flat_difference() ** 2, axis=1))

    @property
    def norm_linf(self) -> np.ndarray:
        """`(n,)` float64, the largest change of a value."""
        return np.max(np.abs(self._flat_difference()), axis=1)

    @property
    def relative_l2(self) -> np.ndarray:
        """`(n,)` float64, `norm_l2` over the length of the original.

        Its mean over a test set is the robustness that the authors of
        DeepFool report. It is infinite for an original of zeros.
        """
        originals = self.originals.reshape(len(self), -1).astype("float64")
        lengths = np.sqrt(np.sum(originals**2, axis=1))
        found = np.full(len(self), np.inf)
        return np.divide(self.norm_l2, lengths, out=found, where=lengths > 0)

    @property
    def accuracy(self) -> float:
        """Share of all images that the model still gives the right class.

        The right class is the label; in a targeted attack, where the labels
        are those to reach, it is the class of the original.
        """
        return float(np.mean(self.predictions == self._right))

    @property
    def original_accuracy(self) -> float:
        """Share of the originals that the model gave the right class."""
        return float(np.mean(self.original_predictions == self._right))

    @property
    def success_rate(self) -> float:
        """Share of successes among the initially correct; NaN if none is."""
        tried = self.success[self.initially_correct]
        return float(np.mean(tried)) if tried.size else float("nan")

    @property
    def _right(self) -> np.ndarray:
        if self.settings.get("targeted"):
            return self.original_predictions
        return self.labels

    def _flat_difference(self) -> np.ndarray:
        images = self.images.astype("float64") - self.originals
        return images.reshape(len(self), -1)

    @classmethod
    def concatenate(cls, parts: Sequence[Adversarial]) -> Adversarial:
        """Joins the results of batches of one attack, in order."""
        joined = {
            name: batching.concatenate([getattr(part, name) for part in parts])
            for name in cls._row_names()
        }
        return dataclasses.replace(parts[0], **joined)

    @classmethod
    def _row_names(cls) -> list[str]:
        names = [field.name for field in dataclasses.fields(cls)]
        return [name for name in names if name not in _NOT_ROWS]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Adversarial:
        """Returns some of the images: by a slice, a mask, or one number.

        One image keeps its batch axis.
        """
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"{index} of {len(self)} images")
            index = slice(index, index + 1 or None)
        rows = {name: getattr(self, name)[index] for name in self._row_names()}
        return dataclasses.replace(self, **rows)

    def __repr__(self) -> str:
        attack = self.settings.get("attack", "attack")
        tried = int(self.initially_correct.sum())
        return (
            f"<Adversarial by {attack}, shape={self.images.shape}, "
            f"success={int(self.success.sum())} of {tried}>"
        )

    def plot(
        self,
        *,
        class_names: Sequence[str] | None = None,
        max_outputs: int = 8,
        **options: Any,
    ) -> Any:
        """Returns a matplotlib figure: original, difference, adversarial.

        The difference is drawn around gray, as strong as fits, and the
        factor is written beside it. Data that are no pictures are drawn as
        `keras_explain.plots.plot_attributions` draws them, with the
        differences as attributions.

        Args:
            class_names: Names of the classes, in place of their numbers.
            max_outputs: Most images to draw.
            **options: Of `keras_explain.plots.grid`.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ValueError: If there are fewer names than classes.
        """
        from keras_explain import plots

        shown = self[:max_outputs]
        titles = shown.titles(class_names)
        if not _are_pictures(self.images):
            return plots.plot_attributions(
                shown.originals,
                shown.difference,
                titles=titles,
                max_outputs=max_outputs,
            )
        factors = [_factor(d, shown._bounds()) for d in shown.difference]
        rows = [
            [shown._picture(before), shown._around_gray(change, factor),
             shown._picture(after)]
            for before, change, after, factor in zip(
                shown.originals, shown.difference, shown.images, factors,
                strict=True)
        ]  # fmt: skip
        labels = [
            f"{title}\ndifference x {factor:.3g}" if factor else title
            for title, factor in zip(titles, factors, strict=True)
        ]
        options.setdefault(
            "column_labels", ["original", "difference", "adversarial"]
        )
        options.setdefault("row_labels", labels)
        return plots.grid(rows, **options)

    def titles(self, class_names: Sequence[str] | None = None) -> list[str]:
        """Returns a text for each image: its classes before and after.

        Args:
            class_names: Names of the classes, in place of their numbers.
        """
        found = zip(
            self.original_predictions,
            self.original_confidence,
            self.predictions,
            self.confidence,
            strict=True,
        )
        return [
            f"{_name(a, class_names)} {100 * p:.0f} % to "
            f"{_name(b, class_names)} {100 * q:.0f} %"
            for a, p, b, q in found
        ]

    def _repr_png_(self) -> bytes:
        from keras_explain import plots

        return plots.to_png(self.plot())

    def _bounds(self) -> tuple[float, float]:
        low, high = self.settings["bounds"]
        return float(low), float(high)

    def _picture(self, image: np.ndarray) -> np.ndarray:
        low, high = self._bounds()
        return _to_bytes((image - low) / (high - low))

    def _around_gray(self, change: np.ndarray, factor: float) -> np.ndarray:
        low, high = self._bounds()
        return _to_bytes(0.5 + factor * change / (high - low))

    def save(self, path: str | os.PathLike) -> None:
        """Writes a `.npz` file, aside first and then renamed.

        Args:
            path: File to write; an existing one is replaced.
        """
        arrays = {name: getattr(self, name) for name in self._row_names()}
        arrays["about"] = np.array(json.dumps(self.settings))
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Adversarial:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            rows = {name: file[name] for name in cls._row_names()}
            settings = json.loads(str(file["about"]))
        settings["bounds"] = tuple(settings["bounds"])
        return cls(**rows, settings=settings)


def _are_pictures(images: np.ndarray) -> bool:
    return images.ndim == 4 and images.shape[-1] in (1, 3)


def _factor(change: np.ndarray, bounds: tuple[float, float]) -> float:
    """How many times a change can be enlarged around the middle gray."""
    largest = float(np.abs(change).max())
    return (bounds[1] - bounds[0]) / (2 * largest) if largest else 0.0


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(picture, 0, 1)).astype("uint8")


def _name(index: int, class_names: Sequence[str] | None) -> str:
    if class_names is None:
        return f"class {index}"
    if index >= len(class_names):
        raise ValueError(
            message(
                "There is one name for each class.",
                f"{len(class_names)} names, and a prediction of class {index}",
            )
        )
    return str(class_names[index])
