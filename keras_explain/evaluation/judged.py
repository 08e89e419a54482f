"""Any explainer or callable on any data, as a stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import batching, checks
from keras_explain.engine.class_target import Class, as_target
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.scoring import Measure, Scorer, scored_as, settled_on
from keras_explain.engine.targets import Target
from keras_explain.evaluation.positions import finite, reduced
from keras_explain.evaluation.settings import Settings, check_callable

Judgeable = Explainer | Callable[[Any, Any], Any]


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        inputs: As the model takes them, tensors.
        rows: Where they are in the whole.
        target: Theirs.
        truth: What came with them: labels or masks; or `None`.
    """

    inputs: Any
    rows: slice
    target: Target
    truth: Any = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.rows.stop - self.rows.start


class Explained(NamedTuple):
    """What an explainer says about a batch.

    Attributes:
        maps: As they came.
        target: That of the batch, the predicted class put in its place.
        classes: `(batch,)` index of the class, or -1 where it is none.
        finite: `(batch,)`, whether all values of a map are finite.
    """

    maps: Any
    target: Target
    classes: np.ndarray
    finite: np.ndarray


class Judge:
    """Runs an explainer over data, and a model beside it.

    Args:
        explainer: An `Explainer`, or a callable `(inputs, target) -> maps`.
            A callable gets NumPy arrays and the class indices of the batch;
            where the target is no class, the target.
        target: As for an explainer; an array has an index for each sample.
        settings: See `Settings`.
        scores: Whether scores are needed, and with them a model.
    """

    def __init__(
        self, explainer: Judgeable, target: Any, settings: Settings,
        scores: bool = False,
    ):  # fmt: skip
        if not isinstance(explainer, Explainer) and not callable(explainer):
            raise TypeError(
                message(
                    "What is judged is an explainer or a callable.",
                    repr(type(explainer).__name__),
                    "Pass such as `GradCAM(model)`, or a function `(inputs, "
                    "target) -> maps`.",
                )
            )
        if isinstance(explainer, keras.Model):
            raise TypeError(
                message(
                    "What is judged is an explainer, not the model itself.",
                    f"the model {explainer.name!r}",
                    "Pass such as `GradCAM(model)`.",
                )
            )
        if not isinstance(explainer, Explainer):
            check_callable(explainer, "inputs", "target")
        self.explainer = explainer
        self.target = as_target(target)
        self.settings = settings
        own = explainer.model if isinstance(explainer, Explainer) else None
        self.model = settings.model if settings.model is not None else own
        if self.model is not None:
            checks.check_model(self.model)
            checks.check_built(self.model)
        self._clean = None if self.model is None else Scorer(self.model)
        if scores:
            self._scorer()  # refuses before the work

    def batches(
        self, data: Any, title: str, truth: bool = False
    ) -> Iterator[Batch]:
        """Yields the data batch by batch, with a progress bar.

        Args:
            data: An array, a list or dict of them, a `tf.data.Dataset` or a
                `PyDataset`, of inputs or of `(inputs, truth)`. A tuple of
                arrays is such a pair; models with several inputs take a list
                or a dict.
            title: What is being done.
            truth: Whether the second part of a pair is needed.
        """
        size = self.settings.batch_size
        verbose = self.settings.verbose
        counted = data[0] if isinstance(data, tuple) else data
        with batching.progress(counted, size, verbose, title) as advance:
            pairs = _pairs(data, truth)
            for found, rows in batching.batches(pairs, size):
                inputs, given = found if truth else (found, None)
                inputs = self._standard(inputs)
                target = self.target.rows(rows)
                yield Batch(inputs, rows, target, given)
                advance()

    def _standard(self, inputs: Any) -> Any:
        if self.model is not None:
            return checks.standardize(self.model, inputs)
        return tf.nest.map_structure(tf.convert_to_tensor, inputs)

    def explain(self, batch: Batch) -> Explained:
        """Returns the maps of a batch, and the classes they are about."""
        target = batch.target
        if isinstance(self.explainer, Explainer):
            found = self.explainer._run(
                batch.inputs, target, batch.rows, "maps"
            )
            maps, index = found["maps"], found.get("index")
            indices = [] if index is None else [np.asarray(index)]
        else:
            indices = self.indices(batch)
            settled = settled_on(target, indices) if indices else target
            maps = self.call(batch.inputs, settled)
        if isinstance(target, Class) and indices:
            classes = np.asarray(indices[0])
            target = settled_on(target, indices)
        else:
            classes = np.full(batch.size, -1)
        return Explained(maps, target, classes, finite(maps))

    def indices(self, batch: Batch) -> list[np.ndarray]:
        """Returns the class of each sample, if the target is one."""
        if not isinstance(batch.target, Class):
            return []
        if self._clean is not None:
            found = self._clean.run(batch.inputs, batch.target, batch.rows)
            return found["indices"]
        if batch.target.index is None:
            return []
        return [np.broadcast_to(batch.target.index, batch.size)]

    def settle(self, batch: Batch) -> Target:
        """Returns the target, with the predicted class in its place."""
        indices = self.indices(batch)
        return settled_on(batch.target, indices) if indices else batch.target

    def score(self, batch: Batch, inputs: Any, target: Target) -> np.ndarray:
        """Returns the scores of other inputs in the place of a batch."""
        found = self._scorer().run(inputs, target, batch.rows)
        return found["score"].astype(np.float64)

    def _scorer(self) -> Scorer:
        if self._clean is None:
            raise ValueError(
                message(
                    "The scores of a model are needed, and a callable has "
                    "none.",
                    f"a callable and model={self.model!r}",
                    "Pass the model that it explains: `model=model`.",
                )
            )
        return self._clean

    def again(self, batch: Batch, inputs: Any, target: Target) -> Any:
        """Returns the maps of other inputs in the place of a batch."""
        if isinstance(self.explainer, Explainer):
            found = self.explainer._run(inputs, target, batch.rows, "maps")
            return found["maps"]
        return self.call(inputs, target)

    def call(self, inputs: Any, target: Target) -> Any:
        """Returns what a callable says about inputs."""
        arrays = tf.nest.map_structure(np.asarray, inputs)
        maps = self.explainer(arrays, plain_target(target))
        for part in tf.nest.flatten(maps):
            if part is None or np.asarray(part).dtype.kind not in "fiub":
                raise TypeError(
                    message(
                        "A callable returns maps: arrays of numbers.",
                        f"{type(part).__name__}",
                        "Return one value for each position of the inputs.",
                    )
                )
        return maps

    @property
    def explained_model(self) -> keras.Model:
        """The model that is explained; another one may be asked for scores."""
        if isinstance(self.explainer, Explainer):
            return self.explainer.model
        return self._scorer().model

    def scorer(self, measure: Measure) -> Scorer:
        """Returns what measures the scores of altered inputs."""
        return Scorer(self.model, measure)

    def scored(self, target: Target, usual: str) -> Target:
        """Returns a target with the score that the settings ask for."""
        return scored_as(target, self.settings.of or usual)

    def reduce(self, maps: Any, inputs: Any) -> dict[str, tf.Tensor]:
        """Returns one value for each position; see `reduced`."""
        return reduced(maps, inputs, self.settings.reduce)

    def about(self, **options: Any) -> dict[str, Any]:
        """Returns the settings as an evaluation keeps them."""
        explainer: Any = self.explainer
        if isinstance(explainer, Explainer):
            name = explainer.catalogue_name or type(explainer).__name__
            config = explainer.get_config()
        else:
            name = getattr(explainer, "__name__", type(explainer).__name__)
            config = {}
        target = self.target
        shown = None if target == Class(None) else repr(target)
        return {
            "explainer": name,
            "config": config,
            "target": shown,
            "reduce": self.settings.reduce,
            "of": self.settings.of,
            "seed": int(self.settings.seed),
            **options,
        }


def specs_of(inputs: Any) -> Any:
    """Returns what inputs look like, whatever the size of the batch."""
    return tf.nest.map_structure(
        lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), inputs
    )


def plain_target(target: Target) -> Any:
    """Returns the indices of a plain class; any other target as it is."""
    if not isinstance(target, Class):
        return target
    others = (target.output, target.region, target.position)
    if any(value is not None for value in others) or target.of != "logit":
        return target
    return target.index


def _pairs(data: Any, truth: bool) -> Any:
    """What `batching.batches` takes: the inputs, or 1-tuples of pairs."""
    if isinstance(data, tuple):
        inputs = data[0] if data else data
        if not truth:
            return inputs
        return iter([((_arrays(inputs), np.asarray(_second(data))),)])
    if not truth:
        return data
    found = batching.elements(data)
    if found is None:
        _second(data)  # arrays without a second part: says what is wrong
        return iter(())
    return (((element[0], _second(element)),) for element in found)


def _second(element: Any) -> Any:
    pair = isinstance(element, tuple) and len(element) in (2, 3)
    if pair and not isinstance(element[1], (dict, tuple)):
        return _same_length(*element[:2])
    raise TypeError(
        message(
            "The data must be pairs: inputs, and what is known about them.",
            f"a tuple of {len(element)}"
            if isinstance(element, tuple)
            else type(element).__name__,
            "Pass `(inputs, masks)`, or a dataset of such batches, with one "
            "array of masks, boxes or labels.",
        )
    )


def _same_length(inputs: Any, truth: Any) -> Any:
    first = tf.nest.flatten(inputs)[0]
    if np.shape(first)[:1] != np.shape(truth)[:1]:
        raise ValueError(
            message(
                "There is one mask, box or label for each sample.",
                f"inputs of shape {np.shape(first)}, and {np.shape(truth)}",
            )
        )
    return truth


def _arrays(inputs: Any) -> Any:
    several = isinstance(inputs, dict) or (
        isinstance(inputs, list) and inputs and np.ndim(inputs[0]) > 0
        and hasattr(inputs[0], "shape")
    )  # fmt: skip
    if several:
        return tf.nest.map_structure(np.asarray, inputs)
    return inputs if hasattr(inputs, "shape") else np.asarray(inputs)
