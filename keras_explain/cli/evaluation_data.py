"""What `keras-explain evaluate` measures on: a model, inputs and the truth."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain import datasets
from keras_explain.cli import models, terminal
from keras_explain.cli.arrays import Archive
from keras_explain.cli.failures import CommandError
from keras_explain.cli.run import REFUSALS, reason
from keras_explain.engine import checks
from keras_explain.engine.errors import message
from keras_explain.engine.recording import record
from keras_explain.evaluation.objects import check_masks
from keras_explain.evaluation.positions import axes_of

# The word for what comes with the library, in place of a file.
DEMO = "demo"
# Methods that learn from examples gain little from more. With a hundred, the
# patterns of the last layers are chance: on the demo network the maps of two
# such fits are not alike.
_MOST_EXAMPLES = 1024
_DEMO_EXAMPLES = 1024


@dataclasses.dataclass(frozen=True)
class Data:
    """What is measured on.

    Attributes:
        name: As it is shown.
        inputs: `(samples, ...)`, as the model takes them.
        labels: `(samples,)` class indices.
        masks: `(samples, *positions)`, as they are in the file until
            `with_masks` has looked at them; or `None`.
        examples: Inputs for methods that learn from some first.
        notices: Sentences a reader should know.
    """

    name: str
    inputs: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    examples: np.ndarray
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Subject:
    """The model, and what is explained of it.

    Attributes:
        name: As it is shown.
        model: The model.
        target: What explainers and measures take: the labels, or `None` for
            a model with one output, whose score is explained.
        accuracy: How often it predicts the label; NaN for one output.
    """

    name: str
    model: keras.Model
    target: np.ndarray | None
    accuracy: float


def is_demo(text: str) -> bool:
    """Whether an argument means what comes with the library."""
    return text == DEMO and not Path(text).exists()


def open_model(arguments: argparse.Namespace) -> tuple[str, keras.Model]:
    """Returns the name of the model and the model.

    Raises:
        CommandError: If there is none.
    """
    if is_demo(arguments.model):
        if arguments.weights:
            raise CommandError("The demo model has its own weights.")
        return "the demo model", datasets.demo_model()
    source = models.source(arguments)
    return source.name, source.open()


def read(path: str, number: int, seed: int) -> Data:
    """Reads the samples, and takes some of them.

    Args:
        path: An `.npz` file, or `demo`.
        number: How many samples at most; of more, as many are drawn.
        seed: Of what is drawn.

    Raises:
        CommandError: If the file does not hold what is needed.
    """
    if is_demo(path):
        return _demo(number, seed)
    archive = Archive(path)
    samples = archive.read()
    labels = _classes(samples.labels, samples.file)
    masks = archive.optional("masks", "mask")
    if masks is not None and len(masks) != len(labels):
        raise CommandError(
            message(
                "There is one mask for each sample.",
                f"{samples.file}, with {len(masks)} masks for {len(labels)} "
                "samples",
            )
        )
    rows = np.arange(len(labels))
    text = f"All {terminal.counted(len(rows), 'sample')} of {samples.file}."
    if number < len(rows):
        drawn = np.random.default_rng(seed).permutation(len(rows))[:number]
        rows = np.sort(drawn)
        text = (
            f"Measured on {number} of the {len(labels)} samples of "
            f"{samples.file}, drawn at random with seed {seed}."
        )
    _check_numbers(samples.inputs, samples.file)
    return Data(
        name=samples.file,
        inputs=samples.inputs[rows],
        labels=labels[rows],
        masks=None if masks is None else masks[rows],
        examples=samples.inputs[:_MOST_EXAMPLES],
        notices=(text,),
    )


def _demo(number: int, seed: int) -> Data:
    images, labels, masks = datasets.demo_images(
        num=number, seed=seed, distractors=2
    )
    examples, _, _ = datasets.demo_images(
        num=_DEMO_EXAMPLES, seed=seed + 1, distractors=2
    )
    return Data(
        name="demo pictures",
        inputs=images.astype(np.float32),
        labels=labels.astype(np.int64),
        masks=masks.astype(bool),
        examples=examples.astype(np.float32),
        notices=(
            "The pictures are drawn by the library: the largest shape is the "
            "class, two smaller ones are there to mislead, and the masks are "
            "exact.",
        ),
    )


def _classes(labels: np.ndarray, file: str) -> np.ndarray:
    """Class indices, of numbers or one-hot rows."""
    given = np.asarray(labels)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    one_hot = given.ndim == 2 and np.isin(given, (0, 1)).all()
    if one_hot and (given.sum(1) == 1).all():
        return given.argmax(1)
    whole = given.ndim == 1 and given.dtype.kind in "iufb"
    if whole and (given == np.floor(given)).all() and (given >= 0).all():
        return given.astype(np.int64)
    raise CommandError(
        message(
            "Labels are class numbers from 0 on, or one-hot rows.",
            f"{file}, with labels of shape {given.shape} and type "
            f"{given.dtype}",
        )
    )


def _check_numbers(inputs: np.ndarray, file: str) -> None:
    if inputs.dtype.kind not in "iufb":
        raise CommandError(
            message(
                "The inputs must be numbers.",
                f"{file}, with inputs of type {inputs.dtype}",
            )
        )
    wrong = ~np.isfinite(inputs.reshape(len(inputs), -1)).all(1)
    if wrong.any():
        raise CommandError(
            message(
                "The inputs hold NaN or infinite values.",
                f"{file}, in {wrong.sum()} of {len(wrong)} samples, such as "
                f"number {int(wrong.argmax())}",
                "Leave these samples out.",
            )
        )


def with_masks(data: Data) -> Data:
    """Returns the data with masks as booleans, if they fit the inputs.

    Raises:
        CommandError: If they do not.
    """
    if data.masks is None:
        return data
    try:
        shape = (len(data), *axes_of(data.inputs))
        return dataclasses.replace(data, masks=check_masks(data.masks, shape))
    except (ValueError, TypeError) as error:
        raise CommandError(str(error)) from error


def subject(
    name: str, model: keras.Model, data: Data, batch_size: int
) -> Subject:
    """Returns what is explained, if model and data fit together.

    Raises:
        CommandError: If they do not.
    """
    try:
        first = checks.standardize(model, data.inputs[:1])
        shape = tf.TensorSpec([None, *first.shape[1:]], first.dtype)
        heads = record(model, shape).heads
    except REFUSALS as error:
        raise CommandError(reason(error)) from error
    shapes = [tuple(head.shape) for head in heads]
    if len(shapes) != 1 or len(shapes[0]) > 2:
        raise CommandError(
            message(
                "The command evaluates explanations of models with one output "
                "of classes.",
                f"outputs of shape {', '.join(map(str, shapes))}",
                "Use keras_explain.evaluation from Python for other models.",
            )
        )
    classes = shapes[0][-1] if len(shapes[0]) == 2 else 1
    if classes == 1:
        return Subject(name, model, None, float("nan"))
    if classes is not None and data.labels.max() >= classes:
        raise CommandError(
            message(
                f"A label is out of range: the model tells {classes} classes "
                "apart, 0 is the first.",
                f"{data.name}, with the label {data.labels.max()}",
            )
        )
    predicted = _predicted(model, data.inputs, batch_size)
    right = float(np.mean(predicted == data.labels))
    return Subject(name, model, data.labels, right)


def _predicted(
    model: keras.Model, inputs: np.ndarray, batch_size: int
) -> np.ndarray:
    found: list[Any] = []
    for start in range(0, len(inputs), batch_size):
        batch = checks.standardize(model, inputs[start : start + batch_size])
        outputs = np.asarray(model(batch, training=False), np.float32)
        if not np.isfinite(outputs).all():
            raise CommandError(
                message(
                    "The model gives NaN or infinite scores.",
                    f"for samples from number {start} on",
                    "Training has diverged, or the inputs are on another "
                    "scale.",
                )
            )
        found.append(outputs.argmax(1))
    return np.concatenate(found)
