import sys

import pytest


@pytest.fixture(autouse=True)
def no_pyplot_figures():
    """Fails any test here that leaves a figure in the state of pyplot."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
