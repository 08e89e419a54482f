"""Shared fixtures: seeds, the model and the images of the examples."""

from __future__ import annotations

import gc
import os
import signal

# The allocator that counts what it hands out, which TensorFlow takes by itself
# only where it takes the kernels of oneDNN.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

import keras
import pytest

import keras_explain.attribution  # noqa: F401  (fills the catalogue)
from tests import long_cases, zoo

# A shell that runs the tests in the background has Ctrl-C ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images():
    return zoo.images(2)


@pytest.fixture
def model():
    return zoo.build("functional").model


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items):
    long = long_cases.read()
    for item in items:
        if item.nodeid in long:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    # What TensorFlow and Keras are made of, 370,000 objects, need not be looked
    # at by each full collection, of which most tests cause one or more.
    gc.collect()
    gc.freeze()
