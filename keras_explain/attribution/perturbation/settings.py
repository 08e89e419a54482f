"""How learned masks are optimized, and how they are made.

Lengths are shares of the size of each axis: those of the authors at 224
pixels.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar

from keras_explain.engine.checks import check_choice
from keras_explain.engine.errors import message

_PUBLISHED = 224


@dataclasses.dataclass(frozen=True)
class ExtremalSettings:
    """The steps of `ExtremalPerturbation`, and what is rarely changed.

    Args:
        num_steps: Steps of gradient ascent.
        step: Distance of the cells of a mask, as a share of each axis (and
            at least one position).
        sigma: How far a cell reaches, as a share of each axis.
        max_blur: Largest standard deviation of the blur, likewise.
        num_levels: Of the pyramid of blurred inputs.
        learning_rate: Of gradient ascent, for a grid of 32 x 32 numbers; it
            is less for fewer, where slopes are steeper.
        momentum, dampening: Of gradient ascent.
        first_weight, last_weight: Of the area loss; it grows by the same
            factor at each step.
        score_span: What the reward is scaled to: the difference between
            nothing and everything hidden. `None` leaves it as it is.
        jitter: Whether pictures are turned left to right at even steps.
        batch_size: Most rows the model sees at once; a batch counts once
            for each area, and twice for the dual variant. At least one area
            of a batch is optimized at a time.

    Raises:
        TypeError, ValueError: If a setting is no number, or not in its range.
    """

    num_steps: int = 800
    step: float = 7 / _PUBLISHED
    sigma: float = 21 / _PUBLISHED
    max_blur: float = 20 / _PUBLISHED
    num_levels: int = 8
    learning_rate: float = 0.01
    momentum: float = 0.9
    dampening: float = 0.9
    first_weight: float = 30.0
    last_weight: float = 5000.0
    score_span: float | None = 10.0
    jitter: bool = True
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in (
            "step",
            "sigma",
            "learning_rate",
            "first_weight",
            "last_weight",
            *(["score_span"] if self.score_span is not None else []),
        ):
            _check_number(self, name, 0, math.inf, above=True)
        _check_number(self, "max_blur", 0, math.inf)
        for name in ("momentum", "dampening"):
            _check_number(self, name, 0, 1)
        _check_count(self, "num_steps", 1)
        _check_count(self, "num_levels", 2)
        _check_count(self, "batch_size", 1)


@dataclasses.dataclass(frozen=True)
class MeaningfulSettings:
    """The steps of `MeaningfulPerturbation`, and what is rarely changed.

    Args:
        num_steps: Steps of Adam.
        cells: Numbers of a mask along each axis, at most one a position.
        smoothing: Standard deviation of the blur of the upsampled mask, as a
            share of each axis.
        blur: Standard deviation of the blur that hides, likewise.
        noise_stddev: Of the noise that hides, in standard deviations of each
            channel of a sample.
        jitter: By how much of each axis inputs are shifted, at most.
        learning_rate: Of Adam.
        l1_weight: Of the sum of what is hidden (delete) or kept (preserve).
        tv_weight, tv_power: Of the total variation, and its exponent.
        batch_size: Most rows the model sees at once while the first mask
            is chosen.

    Raises:
        TypeError, ValueError: If a setting is no number, or not in its range.
    """

    num_steps: int = 300
    cells: int = 28
    smoothing: float = 5 / _PUBLISHED
    blur: float = 10 / _PUBLISHED
    noise_stddev: float = 1.0
    jitter: float = 4 / _PUBLISHED
    learning_rate: float = 0.1
    l1_weight: float = 1e-4
    tv_weight: float = 1e-2
    tv_power: float = 3.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        _check_number(self, "learning_rate", 0, math.inf, above=True)
        for name in (
            "smoothing",
            "blur",
            "noise_stddev",
            "l1_weight",
            "tv_weight",
        ):
            _check_number(self, name, 0, math.inf)
        _check_number(self, "jitter", 0, 1)
        _check_number(self, "tv_power", 1, math.inf)
        _check_count(self, "num_steps", 1)
        _check_count(self, "cells", 1)
        _check_count(self, "batch_size", 1)


Settings = TypeVar("Settings", ExtremalSettings, MeaningfulSettings)


def settings_from(cls: type[Settings], given: Any) -> Settings:
    """Returns settings: those given, those of a dict, or the defaults."""
    if given is None:
        return cls()
    if isinstance(given, cls):
        return given
    if isinstance(given, Mapping):
        names = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            check_choice("settings", name, names)
        return cls(**given)
    raise TypeError(
        message(
            f"`settings` is {cls.__name__}, or a dict of its values.",
            f"settings={given!r}",
            f"Pass such as `{cls.__name__}(jitter=0)`.",
        )
    )


def _check_number(
    settings: Any, name: str, low: float, high: float, above: bool = False
) -> None:
    value = getattr(settings, name)
    what = f"{type(settings).__name__} takes a number as `{name}`"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message(f"{what}.", f"{name}={value!r}"))
    fits = low < value if above else low <= value
    if not (fits and value <= high and math.isfinite(value)):
        least = "above" if above else "from"
        most = f" to {high:g}" * (high < math.inf)
        raise ValueError(
            message(f"{what}, {least} {low:g}{most}.", f"{name}={value!r}")
        )


def _check_count(settings: Any, name: str, low: int) -> None:
    value = getattr(settings, name)
    what = f"{type(settings).__name__} takes an integer as `{name}`"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(f"{what}.", f"{name}={value!r}"))
    if value < low:
        raise ValueError(
            message(f"{what}, at least {low}.", f"{name}={value!r}")
        )
