"""Which cases of a parametrized test run by default."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(keep: Collection[Any], names: Iterable[Any]) -> list[Any]:
    """Parameters of which those in `keep` run by default.

    They stand for the others, which run with the long tests.
    """
    names = list(names)
    assert set(keep) <= set(names), set(keep) - set(names)
    return [
        name if name in keep
        else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]  # fmt: skip
