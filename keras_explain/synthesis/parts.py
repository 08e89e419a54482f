"""The parts an optimization is put together from.

All are frozen dataclasses: they hold options, compare and are saved by value
and print as they were made. What they compute is pure: tensors in, tensors
out, one row for each picture, and no row looks at another.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.targets import frozen, plain
from keras_explain.synthesis.randomness import Randomness

# Every part is saved under this package name; a class keeps its key.
registered = keras.saving.register_keras_serializable("keras_explain")


class Part:
    """A frozen dataclass of options that compares and is saved by value.

    Subclasses are made with `eq=False`: options may be arrays, which the
    comparison that `dataclasses` writes cannot take.
    """

    def get_config(self) -> dict[str, Any]:
        """Returns the options, as numbers, strings and lists."""
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Returns the part that `get_config` described."""
        return cls(**config)

    def __eq__(self, other: Any) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> Any:
        """What two parts that are the same have in common."""
        return (
            type(self).__name__,
            *(
                _fixed(getattr(self, field.name))
                for field in dataclasses.fields(self)  # type: ignore[arg-type]
            ),
        )

    def _set(self, name: str, value: Any) -> None:
        """Brings an option to its form, in `__post_init__`."""
        object.__setattr__(self, name, value)

    def _check_number(
        self, name: str, low: float = -math.inf, high: float = math.inf
    ) -> None:
        """Raises unless an option is a finite number in `[low, high]`."""
        value = getattr(self, name)
        what = f"{type(self).__name__} takes a number as `{name}`"
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(message(f"{what}.", f"{name}={value!r}"))
        number = float(value)
        if not (math.isfinite(number) and low <= number <= high):
            bound = f" from {low:g}" * (low > -math.inf)
            bound += f" to {high:g}" * (high < math.inf)
            raise ValueError(message(f"{what}{bound}.", f"{name}={value!r}"))

    def _check_count(
        self, name: str, low: int = 1, *, optional: bool = False
    ) -> None:
        """Raises unless an option is an integer of at least `low`."""
        value = getattr(self, name)
        if value is None and optional:
            return
        what = f"{type(self).__name__} takes an integer as `{name}`"
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(message(f"{what}.", f"{name}={value!r}"))
        if value < low:
            raise ValueError(
                message(f"{what}, at least {low}.", f"{name}={value!r}")
            )

    def _check_array(self, name: str) -> None:
        """Brings an option to a finite float32 array, or raises.

        A number stays a number, and what is not given stays so.
        """
        value = getattr(self, name)
        if value is None:
            return
        array = np.asarray(value, np.float32)
        if not array.size or not np.isfinite(array).all():
            received = "NaN or infinite values" if array.size else "no values"
            raise ValueError(
                message(
                    f"{type(self).__name__} takes finite values as `{name}`.",
                    received,
                )
            )
        self._set(name, array if array.ndim else float(array))

    def _check_choice(self, name: str, choices: tuple[Any, ...]) -> None:
        """Raises unless an option is one of a few."""
        value = getattr(self, name)
        if not any(value is c or value == c for c in choices):
            known = ", ".join(repr(choice) for choice in choices)
            raise ValueError(
                message(
                    f"{type(self).__name__} knows {name} {known}.",
                    f"{name}={value!r}",
                )
            )


def _fixed(value: Any) -> Any:
    """Returns something that compares and hashes by value."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, tuple):
        return tuple(_fixed(item) for item in value)
    return frozen(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Parameterization(Part):
    """How a picture is made from the numbers that are optimized."""

    # The optimizer and its learning rate that suit these numbers.
    learning_rate = 0.05

    def start(
        self, shape: tuple[int, ...], random: Randomness
    ) -> list[tf.Tensor]:
        """Returns the first values, each `(rows, ...)` float32.

        Args:
            shape: Of one picture, without the batch axis, channels last.
            random: The draws before the first step.
        """
        raise NotImplementedError

    def images(
        self, values: list[tf.Tensor], shape: tuple[int, ...]
    ) -> tf.Tensor:
        """Returns `(rows, *shape)` float32 pictures.

        They lie in `[0, 1]`, from the darkest to the brightest value the
        model takes, or are raw values if `bounded` is false.
        """
        raise NotImplementedError

    def sampled(
        self,
        values: list[tf.Tensor],
        shape: tuple[int, ...],
        random: Randomness,
    ) -> tf.Tensor:
        """Returns the pictures of one step, for what changes them by chance.

        Args:
            values, shape: As for `images`.
            random: The draws of this step.
        """
        return self.images(values, shape)

    def project(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """Brings values back to where they may lie, after each step."""
        return values

    @property
    def bounded(self) -> bool:
        """Whether `images` lie in `[0, 1]`."""
        return True

    @property
    def in_pixels(self) -> bool:
        """Whether the values are one tensor in the shape of the pictures."""
        return False

    def optimizer(self) -> Any:
        """Returns the Keras optimizer that is used where none is given."""
        return keras.optimizers.Adam(self.learning_rate)


@dataclasses.dataclass(frozen=True, eq=False)
class Transform(Part):
    """Changes pictures at random before the model sees them."""

    def __call__(self, images: tf.Tensor, random: Randomness) -> tf.Tensor:
        """Returns the changed pictures.

        Args:
            images: `(rows, *positions, channels)` float32.
            random: The draws of this step.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False)
class Regularizer(Part):
    """Prefers some pictures to others; a subclass fills in what it does."""

    @property
    def name(self) -> str:
        """Key in `Synthesis.history`."""
        return type(self).__name__

    @property
    def needs_pixels(self) -> bool:
        """Whether it works on values that are pixels, and on no others."""
        return False

    @property
    def penalizes(self) -> bool:
        """Whether it takes something off the score."""
        return type(self).penalty is not Regularizer.penalty

    @property
    def changes_steps(self) -> bool:
        """Whether steps are not along the gradient of the score alone."""
        own = type(self)
        return not (
            own.gradient is Regularizer.gradient
            and own.project is Regularizer.project
        )

    def penalty(self, images: tf.Tensor) -> tf.Tensor | None:
        """Returns `(rows,)`, weighted, to be taken off the score; or none.

        Args:
            images: `(rows, *shape)`, before the transforms, in `[0, 1]` or
                raw as the parameterization makes them.
        """
        return None

    def gradient(self, gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns the gradient that is followed, `(rows, ...)`.

        Args:
            gradient: Of the total score by one tensor of values: upward.
            step: Scalar int32, counted from 0.
        """
        return gradient

    def project(
        self, images: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """Returns the pixels after the update, `(rows, *shape)`.

        Args:
            images: The updated pixels.
            gradient: What was followed to get there.
            step: Scalar int32, counted from 0.
        """
        return images


def given_rows(
    given: np.ndarray | float, shape: tuple[int, ...], random: Randomness
) -> tf.Tensor:
    """Returns what a user gives to start from, with one row for each.

    Args:
        given: `shape`, or `(n, *shape)` with one for all rows, one for each
            facet or one for each row; or a number for all values.
        shape: Of one.
        random: Knows the rows and their facets.
    """
    rows, facets = random.rows, len(random.seeds)
    given = np.asarray(given)
    if not given.ndim:
        given = np.full(shape, given)
    one = given.shape == tuple(shape)
    batch = given[None] if one else given
    count = len(batch)
    if batch.shape[1:] != tuple(shape) or count not in (1, facets, rows):
        counts = " or ".join(str(n) for n in sorted({1, facets, rows}))
        raise ValueError(
            message(
                f"What to start from has shape {tuple(shape)}, or holds "
                f"{counts} of it.",
                f"an array of shape {given.shape}",
            )
        )
    values = tf.constant(batch, tf.float32)
    if count == rows and rows != facets:
        return values
    index = np.zeros(rows, np.int32) if count == 1 else random.facets
    return tf.gather(values, index)
