"""What the tests of pages share."""

import os

import pytest


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """The folder of the pictures that examples drew in this run.

    All workers share it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "examples"
    folder.mkdir(exist_ok=True)
    return folder
