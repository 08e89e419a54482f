"""Explanations of the same pictures, while the model learns."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_explain.attribution import GradCAM, Saliency
from keras_explain.callbacks.base import PictureLogger, Shown
from keras_explain.callbacks.pictures import captioned, drawn
from keras_explain.callbacks.samples import first_samples
from keras_explain.callbacks.single_unit import Sides, SingleUnit
from keras_explain.engine import catalogue
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.explanation import Explanation


class ExplanationLogger(PictureLogger):
    """Explains the same few samples again and again while a model trains.

    Costs one call of the explainer each time. The training is not touched:
    its weights, random numbers and compiled step are what they would be
    without.

    Args:
        explainer: A class of `keras_explain` (`GradCAM`), its name in the
            catalogue (`"grad_cam"`), a function that makes an explainer of
            the model (`lambda model: GradCAM(model, layer="conv3")`), or an
            explainer that is there.
        data: Inputs, `(inputs, labels)`, or a `tf.data.Dataset` or
            `PyDataset` of either in batches. The first `max_outputs` samples
            are kept.
        log_dir: Folder of the logs of TensorBoard, or `None`.
        target: `None` for the class predicted at the time, `"true"` for that
            of the labels, a class index, or a `keras_explain.Target`. A
            single unit has two classes: where it speaks for class 0, the
            evidence against its score is explained. If it is linear, it is
            taken for a regression unless the classes are known: by
            `labels`, or since those of the data are 0 and 1.
        labels: Names of the classes, in order.
        max_outputs: Most samples.
        name: Part of the tag, `explanations/<name>/<sample>`; `None` for the
            method's.
        options: `writers`, `every` and `on_error` of `PictureLogger`.

    Raises:
        ValueError: If there is no place for pictures, no sample, no label
            where `target="true"`, or an option is unknown.
        OSError: If nothing can be written to a folder, before the training.

    Example:

    >>> from keras_explain.callbacks import ExplanationLogger
    >>> pictures = []
    >>> logger = ExplanationLogger(
    ...     keras_explain.Saliency, images, writers=pictures.extend
    ... )
    >>> labels = np.array([0, 1])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     images, labels, epochs=2, verbose=0, callbacks=[logger]
    ... )
    >>> [(p.tag, p.step) for p in pictures][:2]
    [('explanations/saliency/0', 0), ('explanations/saliency/1', 0)]
    """

    def __init__(
        self,
        explainer: Any,
        data: Any,
        log_dir: str | os.PathLike | None = None,
        *,
        target: Any = None,
        labels: Sequence[str] | None = None,
        max_outputs: int = 8,
        name: str | None = None,
        **options: Any,
    ):
        self.samples = first_samples(data, max_outputs)
        super().__init__(log_dir, **options)
        if isinstance(target, str) and target != "true":
            raise ValueError(
                message(
                    "`target` says which class is explained.",
                    f"target={target!r}",
                    "Pass `None` for the predicted class, `'true'` for that "
                    "of the labels, or an index.",
                )
            )
        if isinstance(target, str) and self.samples.classes is None:
            raise ValueError(
                message(
                    "`target='true'` needs the classes of the samples.",
                    "data without labels that are classes",
                    "Pass `(inputs, labels)`, with one class index for each "
                    "sample.",
                )
            )
        self.make = _maker(explainer)
        self.target = target
        self.labels = None if labels is None else list(labels)
        self.name = name
        self._made: tuple[keras.Model, Explainer] | None = None
        self._unit: SingleUnit | None = None

    def explainer(self) -> Explainer:
        """Returns the explainer of the model that trains, made once."""
        if self._made is None or self._made[0] is not self.model:
            self._made = self.model, self.make(self.model)
            self._unit = SingleUnit.of(self._made[1].model, self.samples.inputs)
        return self._made[1]

    def shown(self) -> Iterator[Shown]:
        explainer = self.explainer()
        target, sides = self.target, None
        if self._unit is not None:
            named = self.labels is not None
            target, sides = self._unit.sides(self.samples, target, named)
        elif isinstance(target, str):
            target = self.samples.classes
        number = len(self.samples)
        found = explainer.explain(
            self.samples.inputs, target, batch_size=number, verbose=False
        )
        captions = self.captions(found, sides)
        name = self.name or found.method
        return (
            Shown(f"explanations/{name}/{k}", captioned(picture, text), text)
            for k, (picture, text) in enumerate(
                zip(drawn(found), captions, strict=True)
            )
        )

    def captions(
        self, found: Explanation, sides: Sides | None = None
    ) -> list[str]:
        """Returns which class is explained of each sample, in words.

        Args:
            found: What is shown.
            sides: The classes, for a model that ends in a single unit.
        """
        classes, shares = sides or (found.target, found.probabilities)
        if classes is None or (self._unit is not None and sides is None):
            return [f"score {score:.3g}" for score in found.scores]
        texts = []
        for k, index in enumerate(classes):
            text = f"{self._which(k, index)} {self._class(index)}"
            if shares is not None:
                text += f", {100 * shares[k]:.1f} %"
            else:
                text += f", score {found.scores[k]:.3g}"
            known = self.samples.classes
            if self.target is None and known is not None and known[k] != index:
                text += f" (true: {self._class(known[k])})"
            texts.append(text)
        return texts

    def _which(self, sample: int, index: int) -> str:
        if self.target is None:
            return "predicted:"
        known = self.samples.classes
        is_true = known is not None and known[sample] == index
        return "true:" if is_true else "class:"

    def _class(self, index: int) -> str:
        if self.labels is None or not 0 <= index < len(self.labels):
            return str(int(index))
        return str(self.labels[index])


def _maker(explainer: Any) -> Callable[[keras.Model], Explainer]:
    """Returns what makes an explainer of the model that trains."""
    if isinstance(explainer, Explainer):
        return lambda model: explainer
    if isinstance(explainer, str):
        return catalogue.find(explainer).cls
    if callable(explainer) and not isinstance(explainer, keras.Model):
        return explainer
    raise TypeError(
        message(
            "An explainer is a class of keras_explain, its name, a function "
            "that makes one of a model, or one that is there.",
            repr(explainer),
            "Pass `keras_explain.GradCAM`.",
        )
    )


class GradCAMLogger(ExplanationLogger):
    """`ExplanationLogger` of `GradCAM`: where the model looks.

    Args:
        data, log_dir, options: As there.
        layer: Layer whose feature maps are weighed, as `GradCAM` takes it;
            also in a nested backbone, `"backbone/conv5"`.
    """

    def __init__(
        self,
        data: Any,
        log_dir: str | os.PathLike | None = None,
        *,
        layer: Any = None,
        **options: Any,
    ):
        make = functools.partial(GradCAM, layer=layer)
        super().__init__(make, data, log_dir, **options)


class SaliencyLogger(ExplanationLogger):
    """`ExplanationLogger` of `Saliency`: which pixels matter.

    Args:
        data, log_dir, options: As there.
    """

    def __init__(
        self,
        data: Any,
        log_dir: str | os.PathLike | None = None,
        **options: Any,
    ):
        super().__init__(Saliency, data, log_dir, **options)
