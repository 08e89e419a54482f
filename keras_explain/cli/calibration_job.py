"""A calibrator fitted on some samples and measured on others."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads
from keras_explain.calibration.samples import flat_samples
from keras_explain.calibration.wrapping import Calibrator
from keras_explain.cli import terminal
from keras_explain.cli.arrays import Samples
from keras_explain.cli.failures import CommandError
from keras_explain.cli.measures import Measures, measure
from keras_explain.engine import interruption
from keras_explain.engine.errors import ExplainWarning, message

# Half the last digit that bfloat16 has next to one.
_SAME = 1e-2


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows of a file.

    Attributes:
        samples: The file.
        rows: Which of them.
        text: The same for people.
    """

    samples: Samples
    rows: np.ndarray
    text: str


@dataclasses.dataclass(frozen=True)
class Split:
    """What is fitted on, what is measured on, and how it came about.

    Attributes:
        fit: To fit on.
        test: To measure on.
        text: What a reader should know of it.
    """

    fit: Part
    test: Part
    text: str


def whole(samples: Samples, others: Samples) -> Split:
    """Fits on one file and measures on another."""
    fit, test = (
        Part(each, np.arange(len(each)), f"{_count(len(each))} of {each.file}")
        for each in (samples, others)
    )
    return Split(
        fit,
        test,
        f"The calibrator was fitted on {fit.text} ({_names(samples)}). All "
        f"numbers and diagrams are of {test.text} ({_names(others)}).",
    )


def held_out(samples: Samples, share: float, seed: int) -> Split:
    """Fits on a part of a file and measures on the rest.

    Raises:
        CommandError: If one of them would be empty.
    """
    count = len(samples)
    held = round(count * share)
    if not 0 < held < count:
        raise CommandError(
            message(
                "There are too few samples to hold some out.",
                f"{_count(count)} and --holdout {share:g}",
                "Pass more samples, or others to measure on with --test.",
            )
        )
    order = np.random.default_rng(seed).permutation(count)
    # In the order of the file, so that a shuffle is no reason for a change.
    fit, test = np.sort(order[held:]), np.sort(order[:held])
    return Split(
        Part(samples, fit, f"{_count(len(fit))} of {samples.file}"),
        Part(samples, test, f"{_count(held)} held out of {samples.file}"),
        f"The calibrator was fitted on {len(fit)} of the {_count(count)} of "
        f"{samples.file} ({_names(samples)}). All numbers and diagrams are of "
        f"the other {held}, which were drawn at random with seed {seed}.",
    )


def _count(number: int) -> str:
    return terminal.counted(number, "sample")


def _names(samples: Samples) -> str:
    *first, last = samples.names
    return f"arrays {', '.join(first)} and {last}"


class _Batches(keras.utils.PyDataset):
    """The batches of a part.

    Args:
        part: Of a file.
        batch_size: Most rows in a batch.
        asked: Is called before each batch.
    """

    def __init__(self, part: Part, batch_size: int, asked: Callable[[], None]):
        super().__init__()
        self.part, self.batch_size, self.asked = part, batch_size, asked

    def __len__(self) -> int:
        return -(-len(self.part.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        self.asked()
        first = index * self.batch_size
        rows = self.part.rows[first : first + self.batch_size]
        samples = self.part.samples
        inputs = tf.nest.map_structure(lambda a: a[rows], samples.inputs)
        return inputs, samples.labels[rows]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        split: What was fitted on and measured on.
        before: Numbers of the model.
        after: Numbers of the calibrated model.
        notices: Sentences a reader should know, warnings among them.
    """

    split: Split
    before: Measures
    after: Measures
    notices: tuple[str, ...]


class Job:
    """Fits a calibrator and measures what it is worth.

    Args:
        calibrator: With its model, not fitted yet.
        split: The samples.
        batch_size: Most samples the model sees at once.
    """

    def __init__(self, calibrator: Calibrator, split: Split, batch_size: int):
        self.calibrator = calibrator
        self.split = split
        self.batch_size = batch_size

    def run(self) -> Outcome:
        """Does it.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed; between two batches.
            ValueError, TypeError: As `Calibrator.fit`.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExplainWarning)
            logits = self._read()
            part = self.split.test
            labels = part.samples.labels[part.rows]
            scores, truth = flat_samples(logits, labels)
            given = np.asarray(heads.probabilities(tf.constant(scores)))
            before = measure(given, truth)
            calibrated = self.calibrator.calibrate(scores)
            after = measure(calibrated, truth)
        said = [
            str(w.message)
            for w in caught
            if issubclass(w.category, ExplainWarning)
        ]
        notices = (
            *self._about_logits(given.reshape(logits.shape)),
            *dict.fromkeys(said),
            *_about_impossible(after),
        )
        return Outcome(self.split, before, after, notices)

    def _read(self) -> np.ndarray:
        """Fits, and returns the logits to measure on."""
        size = self.batch_size
        parts = (self.split.fit, self.split.test)
        total = sum(-(-len(part.rows) // size) for part in parts)
        with (
            terminal.progress("Batches", total) as advance,
            interruption.between_steps() as check,
        ):

            def asked() -> None:
                check()
                advance("")

            fit, test = (_Batches(part, size, asked) for part in parts)
            self.calibrator.fit(fit, batch_size=size, verbose=False)
            check()
            logits = self.calibrator.logits(
                test, batch_size=size, verbose=False
            )
            check()
        return logits

    def _about_logits(self, given: np.ndarray) -> Iterable[str]:
        """Says so if the model returns something else than probabilities."""
        model: Any = self.calibrator.source
        part = self.split.test
        inputs, _ = _Batches(part, self.batch_size, lambda: None)[0]
        outputs = np.asarray(model.predict_on_batch(inputs), "float32")
        if not np.allclose(outputs, given[: len(outputs)], atol=_SAME):
            yield (
                "The model ends in no softmax or sigmoid: its outputs are "
                "taken for logits, and 'before' is what a softmax or sigmoid "
                "makes of them."
            )


def _about_impossible(after: Measures) -> Iterable[str]:
    if after.impossible:
        yield (
            f"The calibrated model gives {after.impossible} of the labels "
            "measured the probability zero. The log likelihood counts each of "
            "them as 87.3, and not as infinite."
        )
