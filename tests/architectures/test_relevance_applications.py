"""Relevance is finite and adds up on every family of keras.applications."""

from __future__ import annotations

import importlib.util
import pathlib
import warnings

import pytest

import keras_explain as ke
from tests.architectures.test_applications import FAMILIES
from tests.marking import slow_but

_PATH = pathlib.Path(__file__).parents[2] / "docs" / "applications_table.py"
_SPEC = importlib.util.spec_from_file_location("applications_table", _PATH)
applications_table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(applications_table)

# It stands for the others where time is short.
QUICK = {"vgg16"}


def test_all_families_are_in_the_table():
    assert set(applications_table.MODELS) == set(FAMILIES)


@pytest.mark.parametrize("family", slow_but(QUICK, applications_table.MODELS))
def test_relevance_adds_up(family):
    with warnings.catch_warnings():
        # Random deep networks have dead maps.
        warnings.simplefilter("ignore", ke.ExplainWarning)
        found = applications_table.measure(family)
    for name, result in found.items():
        assert result.finite, name
        assert result.error < applications_table.TOLERANCE, name
