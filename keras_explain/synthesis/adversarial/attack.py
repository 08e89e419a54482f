"""What an attack is: options whose `perturb` is the mathematics.

`attack_run` does the rest.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple, TypedDict

import tensorflow as tf

from keras_explain.engine.errors import message, near
from keras_explain.synthesis.adversarial.classifier import (
    Classifier,
    odds_against,
)


class CommonOptions(TypedDict, total=False):
    """Options of every attack.

    Attributes:
        targeted: Whether the labels are classes to reach.
        bounds: `(low, high)`, the values that images may have.
        batch_size: Most images in memory at once.
    """

    targeted: bool
    bounds: tuple[float, float] | None
    batch_size: int


class Changed(NamedTuple):
    """What the mathematics of an attack returns.

    Attributes:
        images: `(batch, ...)`, inside the bounds.
        steps: `(batch,)` int32, in how many steps each was changed.
        moved: `(batch,)` bool, whether there was a gradient to follow.
    """

    images: tf.Tensor
    steps: tf.Tensor
    moved: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Task:
    """A batch to attack, under trace.

    Attributes:
        classifier: The model.
        images: `(batch, ...)` float32, as they are.
        logits: `(batch, classes)` of them.
        labels: `(batch,)` int32, to leave or to reach.
        active: `(batch,)` bool, whether there is something to do.
        targeted: Whether the labels are to be reached.
        numbers: Of the attack, and the bounds `"low"` and `"high"`.
    """

    classifier: Classifier
    images: tf.Tensor
    logits: tf.Tensor
    labels: tf.Tensor
    active: tf.Tensor
    targeted: bool
    numbers: dict[str, tf.Tensor]

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images inside the bounds."""
        low, high = self.numbers["low"], self.numbers["high"]
        return tf.clip_by_value(images, low, high)

    def uphill(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the attack raises, `(batch,)`, and its gradient.

        It is the logarithm of the odds against the labels, or for them if
        they are to be reached; the direction of the gradient is that of the
        cross entropy.
        """
        return self.classifier.differentiate(images, self.gain)

    def gain(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns what `uphill` returns first, of logits."""
        against = odds_against(logits, self.labels)
        return -against if self.targeted else against

    def reached(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns whether scores are those of a success, `(batch,)`."""
        found = tf.argmax(logits, -1, output_type=tf.int32)
        same = tf.equal(found, self.labels)
        return same if self.targeted else ~same


@dataclasses.dataclass(frozen=True)
class Attack:
    """Options of an attack; what depends on them is pure."""

    name: ClassVar[str] = ""
    # Names of options that the traced computation depends on.
    static: ClassVar[tuple[str, ...]] = ()
    # Whether images that have reached their label already are refused.
    refuses_reached: ClassVar[bool] = True

    def numbers(self) -> dict[str, float | int]:
        """Returns the options that are handed to the compiled function."""
        return {}

    def check(self, bounds: tuple[float, float]) -> None:
        """Raises or warns about options that do not fit the bounds."""

    def settings(
        self, targeted: bool, bounds: tuple[float, float]
    ) -> dict[str, Any]:
        """Returns what was done, such that JSON can hold it."""
        return {
            "attack": self.name,
            **dataclasses.asdict(self),
            "targeted": targeted,
            "bounds": bounds,
        }

    def perturb(self, task: Task) -> Changed:
        """The mathematics, under trace; rows do not look at each other."""
        raise NotImplementedError

    def succeeded(self, task: Task, logits: tf.Tensor) -> tf.Tensor:
        """Returns whether the final scores are those of a success."""
        return task.reached(logits)


def nonzero(values: tf.Tensor) -> tf.Tensor:
    """Returns whether any value of a row is not zero, `(batch,)`."""
    # A sum of floats is several times as fast as `reduce_any`, and NaN is
    # not taken for zero.
    axes = list(range(1, values.shape.rank))
    return tf.not_equal(tf.reduce_sum(tf.abs(values), axes), 0.0)


def unit_length(gradient: tf.Tensor) -> tf.Tensor:
    """Returns each row divided by its Euclidean length; zeros stay."""
    axes = list(range(1, gradient.shape.rank))
    # By the largest value first, as squares of tiny numbers underflow.
    largest = tf.reduce_max(tf.abs(gradient), axes, keepdims=True)
    gradient = tf.math.divide_no_nan(gradient, largest)
    length = tf.sqrt(tf.reduce_sum(gradient**2, axes, keepdims=True))
    return tf.math.divide_no_nan(gradient, length)


def chosen(
    given: dict[str, Any], defaults: dict[str, Any], function: str
) -> dict[str, Any]:
    """Returns the defaults with what was given in their place, or raises."""
    for name in given:
        if name not in defaults:
            raise TypeError(
                message(
                    f"`{function}` has no such option.",
                    f"{name}={given[name]!r}",
                    f"Near names: {near(name, defaults)}.",
                )
            )
    return {**defaults, **given}
