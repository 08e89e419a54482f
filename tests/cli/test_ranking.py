"""Ranks by hand."""

import math

import pytest

from keras_explain.cli.ranking import mean_ranks, places

NAN = math.nan


def ranks(values, higher=True, number=None):
    found = places(values, higher, number or len(values))
    return {name: place.rank for name, place in found.items()}


def test_high_or_low_is_good():
    values = {"a": (0.1, 0), "b": (0.9, 0), "c": (0.5, 0)}
    assert ranks(values) == {"b": 1, "c": 2, "a": 3}
    assert ranks(values, higher=False) == {"a": 1, "c": 2, "b": 3}


def test_equal_values_share_the_mean_of_their_ranks():
    values = {"a": (1, 0), "b": (1, 0), "c": (0, 0), "d": (2, 0)}
    assert ranks(values) == {"d": 1, "a": 2.5, "b": 2.5, "c": 4}


def test_best_and_what_cannot_be_told_from_it():
    values = {
        "best": (1.0, 0.3),
        "near": (0.51, 0.4),  # the joint error is 0.5
        "far": (0.49, 0.4),
        "same": (1.0, 0.0),
        "alone": (0.9, NAN),
    }
    found = places(values, True, 5)
    assert {n for n, p in found.items() if p.best} == {"best", "same"}
    assert {n for n, p in found.items() if p.close} == {"near"}
    low = {name: (-mean, error) for name, (mean, error) in values.items()}
    assert places(low, False, 5) == found


def test_nan_has_no_place_and_ranks_are_stretched():
    values = {"a": (3, 0), "b": (2, 0), "c": (1, 0), "d": (NAN, NAN)}
    found = places(values, True, 7)
    assert {n: (p.rank, p.scaled) for n, p in found.items()} == {
        "a": (1, 1), "b": (2, 4), "c": (3, 7),
    }  # fmt: skip
    assert places({"d": (NAN, NAN)}, True, 7) == {}
    # A race of one is in the middle: it says nothing.
    assert places({"a": (3, 0)}, True, 7)["a"].scaled == 4


def test_mean_over_what_is_there():
    first = places({"a": (2, 0), "b": (1, 0)}, True, 2)
    second = places({"b": (2, 0), "c": (5, 0), "a": (1, 0)}, True, 3)
    found = mean_ranks({"first": first, "second": second})
    assert found == pytest.approx({"a": 2.0, "b": 2.0, "c": 1.0})
