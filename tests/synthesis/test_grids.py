"""Many units at once."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import keras_explain as ke
from keras_explain.synthesis import class_grid, layer_grid, maximize
from tests import zoo

OPTIONS = {"steps": 3, "value_range": (0, 1), "verbose": False}


@pytest.fixture(scope="module")
def model():
    return zoo.build("functional").model


@pytest.mark.slow
def test_parts_are_as_one_batch(model):
    whole = maximize(
        model, [ke.Channel("conv2", k) for k in range(5)],
        snapshots=(1,), **OPTIONS,
    )  # fmt: skip
    parts = layer_grid(model, "conv2", 5, rows_at_once=2, snapshots=(1,),
                       **OPTIONS)  # fmt: skip
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-5)
    np.testing.assert_allclose(parts.frames[1], whole.frames[1], atol=1e-5)
    np.testing.assert_allclose(parts.score, whole.score, rtol=1e-4)
    assert parts.history["score"].shape == (3, 5)
    assert parts.titles == [f"conv2 channel {k}" for k in range(5)]


def test_all_classes(model):
    made = class_grid(model, **OPTIONS)
    assert len(made) == model.output_shape[-1]
    assert len(made.show().axes) >= len(made)


def test_units_beyond_the_last_are_not_asked_for(model):
    assert len(layer_grid(model, "conv2", 99, **OPTIONS)) == 6
    with pytest.raises(ValueError, match="has 6 channels"):
        layer_grid(model, "conv2", [5, 6], **OPTIONS)


def test_mistakes_are_told(model):
    with pytest.raises(ValueError, match="At least one picture"):
        class_grid(model, rows_at_once=0, **OPTIONS)
    made = maximize(model, 1, **OPTIONS)
    with pytest.raises(ValueError, match="from its beginning"):
        class_grid(model, start=made, **OPTIONS)


def test_ctrl_c_keeps_the_parts_that_were_made(model, capfd):
    """Also where it comes between two parts: the next makes one stretch."""
    pressed = []

    def press(progress):
        if progress.step == OPTIONS["steps"] and not pressed:
            pressed.append(progress.step)
            os.kill(os.getpid(), signal.SIGINT)

    settings = {**OPTIONS, "callback": press}
    made = layer_grid(model, "conv2", 6, rows_at_once=2, **settings)
    assert made.stopped == "interrupted" and len(made) == 2
    assert capfd.readouterr().err.count("Stopping") == 1
    whole = layer_grid(model, "conv2", 2, **OPTIONS)
    np.testing.assert_allclose(made.images, whole.images, atol=1e-5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_callback_ends_the_whole_grid(model):
    calls = []

    def enough(progress):
        calls.append(progress.step)
        return True

    made = layer_grid(model, "conv2", 6, rows_at_once=2, callback=enough,
                      **OPTIONS)  # fmt: skip
    assert made.stopped == "callback" and len(made) == 2 and len(calls) == 1
