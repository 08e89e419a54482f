"""The settings that all measures share."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_explain.engine.errors import message, near

REDUCTIONS = ("sum", "magnitude")
SCORES = ("logit", "probability", "log_probability")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a measure runs; keyword arguments of every measure.

    Attributes:
        model: The model whose scores are asked for; `None` for that of the
            explainer. A callable has none, and needs it wherever scores are
            asked for, or where the class is to be the predicted one.
        reduce: How the channels of a map become one value for each
            position: `"sum"` of the signed values, or of their
            `"magnitude"`.
        of: Which score of a class is meant: `"logit"`, `"probability"` or
            `"log_probability"`; `None` for the one that the measure says.
        seed: Integer. The same seed gives the same result.
        batch_size: Most samples in memory at once, and most rows that a
            model sees at once.
        verbose: Whether to show a progress bar; `"auto"` where there is
            more than one batch and someone to see it.
    """

    model: keras.Model | None = None
    reduce: str = "sum"
    of: str | None = None
    seed: int = 0
    batch_size: int = 32
    verbose: bool | str = "auto"

    def __post_init__(self) -> None:
        check_choice("reduce", self.reduce, REDUCTIONS)
        if self.of is not None:
            check_choice("of", self.of, SCORES)
        if not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise ValueError(
                message(
                    "A seed is a non-negative integer.",
                    f"seed={self.seed!r}",
                    "The same seed gives the same result.",
                )
            )
        if self.batch_size < 1:
            raise ValueError(
                message(
                    "A batch holds at least one sample.",
                    f"batch_size={self.batch_size}",
                )
            )


def as_text(value: Any) -> Any:
    """Returns an option as JSON can hold it."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, dict):
        return {name: as_text(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)) and any(map(np.ndim, value)):
        return [as_text(part) for part in value]
    if np.ndim(value):
        return f"values of shape {np.shape(value)}"
    return repr(value)


def take(given: dict[str, Any], unused: tuple[str, ...] = ()) -> Settings:
    """Returns the settings of a measure from its keyword arguments.

    Args:
        given: What was passed.
        unused: Settings that say nothing to this measure.

    Raises:
        TypeError: If there is no such setting here.
    """
    fields = [f.name for f in dataclasses.fields(Settings)]
    known = [name for name in fields if name not in unused]
    for name in given:
        if name not in known:
            raise TypeError(
                message(
                    "The measure has no such setting.",
                    f"{name}={given[name]!r}",
                    f"Near names: {near(name, known)}.",
                )
            )
    return Settings(**given)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises `ValueError` unless an option is one of a few names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            message(
                f"`{name}` is one of a few names.",
                f"{name}={value!r}",
                f"Pass one of {', '.join(map(repr, choices))}.",
            )
        )


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises `ValueError` unless an option is a number of things."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            message(
                f"`{name}` is an integer of at least {least}.",
                f"{name}={value!r}",
            )
        )


def check_noise(noise_stddev: float) -> None:
    """Raises `ValueError` unless noise has a positive size."""
    if not noise_stddev > 0:
        raise ValueError(
            message(
                "Noise is a positive share of the range of the inputs.",
                f"{noise_stddev!r}",
                "Pass such as 0.1.",
            )
        )
