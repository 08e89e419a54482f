"""Who comes first, and of whom that can be said."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a method stands by one measure.

    Attributes:
        rank: From 1, the best; equal values share the mean of theirs.
        scaled: The same, stretched to the number of all methods where the
            measure says nothing about some.
        best: Whether no other value is better.
        close: Whether the difference to the best is within one joint
            standard error, the root of the sum of both squares.
    """

    rank: float
    scaled: float
    best: bool
    close: bool


def places(
    values: Mapping[str, tuple[float, float]], higher: bool, number: int
) -> dict[str, Place]:
    """Returns the places of methods by one measure.

    Args:
        values: Mean and standard error of each method; those whose mean is
            NaN have no place.
        higher: Whether high is good.
        number: How many methods are compared in all.
    """
    names = [name for name, (mean, _) in values.items() if not math.isnan(mean)]
    if not names:
        return {}
    means = np.array([values[name][0] for name in names])
    errors = np.array([values[name][1] for name in names])
    signed = -means if higher else means
    ranks = stats.rankdata(signed)
    first = int(signed.argmin())
    stretch = (number - 1) / (len(names) - 1) if len(names) > 1 else 1.0
    found = {}
    for k, name in enumerate(names):
        best = bool(signed[k] == signed[first])
        # NaN, of a single sample, is within nothing.
        joint = math.hypot(errors[k], errors[first])
        close = not best and bool(signed[k] - signed[first] <= joint)
        rank = float(ranks[k])
        scaled = 1 + (rank - 1) * stretch
        if len(names) == 1:
            scaled = (1 + number) / 2  # a race of one says nothing
        found[name] = Place(rank, scaled, best, close)
    return found


def mean_ranks(
    by_measure: Mapping[str, Mapping[str, Place]],
) -> dict[str, float]:
    """Returns the mean of the scaled ranks of each method.

    Over the measures that say something about it; a method without any is
    not there.
    """
    ranks: dict[str, list[float]] = {}
    for placed in by_measure.values():
        for name, place in placed.items():
            ranks.setdefault(name, []).append(place.scaled)
    return {name: float(np.mean(each)) for name, each in ranks.items()}
