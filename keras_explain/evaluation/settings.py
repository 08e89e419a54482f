"""The settings that all measures share."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
from typing import Any

import keras
import numpy as np

from keras_explain.engine.checks import (
    check_choice,
    check_seed,
    is_integer,
)
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
        check_seed(self.seed)
        whole = is_integer(self.batch_size)
        if not whole or self.batch_size < 1:
            raise (ValueError if whole else TypeError)(
                message(
                    "A batch holds at least one sample.",
                    f"batch_size={self.batch_size!r}",
                    "Pass an integer of at least 1.",
                )
            )


def check_tolerance(tolerance: Any) -> None:
    """Raises unless a tolerance is a number from zero on."""
    number = isinstance(tolerance, numbers.Real)
    if not number or not tolerance >= 0:
        raise (ValueError if number else TypeError)(
            message(
                "`tolerance` is a share, zero or more.",
                f"tolerance={tolerance!r}",
                "Pass such as 1e-3.",
            )
        )


def check_callable(function: Any, *names: str) -> None:
    """Raises `TypeError` if a callable does not take these arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of code that is not Python
        return
    try:
        signature.bind(*names)
    except TypeError:
        raise TypeError(
            message(
                "The callable takes other arguments than it is given.",
                f"{getattr(function, '__name__', function)}{signature}",
                f"This measure calls it as `({', '.join(names)})`.",
            )
        ) from None


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
