"""Models of hundreds of layers, each of which is run a few times only."""

from __future__ import annotations

import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def graphs_as_they_are():
    """Without the passes of TensorFlow over a graph before it runs.

    They make no difference to what is looked at here, and take a fourth of
    the time; all other tests have them.
    """
    options = tf.config.optimizer
    options.set_experimental_options({"disable_meta_optimizer": True})
    yield
    options.set_experimental_options({"disable_meta_optimizer": False})
