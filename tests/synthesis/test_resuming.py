"""Runs that go on, and starts they cannot go on from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_explain.synthesis import Fourier, Pixels, Synthesis
from keras_explain.synthesis.regularizers import L2, TotalVariation
from tests import zoo
from tests.synthesis.short_runs import quiet

SAME = {"regularizers": [L2(0.1)], "transforms": None}


@pytest.fixture(scope="module")
def model():
    return zoo.build("functional").model


@pytest.fixture(scope="module")
def half(model):
    return quiet(model, [1, 2], steps=4, snapshots=(0, 3), **SAME)


def test_frames_of_before_are_kept(model, half):
    more = quiet(model, [1, 2], steps=8, start=half, snapshots=(6,), **SAME)
    assert sorted(more.frames) == [0, 3, 6]
    np.testing.assert_array_equal(more.frames[3], half.frames[3])
    assert len(more.history["L2"]) == 8


def test_a_file_is_gone_on_from(model, half, tmp_path):
    half.save(tmp_path / "half.npz")
    start = Synthesis.load(tmp_path / "half.npz")
    more = quiet(model, [1, 2], steps=6, start=start, **SAME)
    assert sorted(more.frames) == [0, 3] and more.steps == 6


def test_the_default_optimizer_may_be_named(model, half):
    adam = Fourier().optimizer()
    more = quiet(model, [1, 2], steps=5, start=half, optimizer=adam, **SAME)
    assert more.steps == 5


OTHERS = [
    ({"target": [3, 4]}, "here target.*\n.*class 3, class 4, and.*class 1"),
    ({"target": [1, 2, 3]}, "here target"),
    ({"regularizers": ()}, r"here regularizers.*\n.*without L2"),
    ({"regularizers": [L2(0.1), TotalVariation(0.2)]}, "in addition TotalVar"),
    ({"regularizers": [L2(0.3)]}, r"without L2\(weight=0.1"),
    ({"seed": 5}, "here seed.*\n.*seed=5"),
    ({"optimizer": keras.optimizers.SGD(0.1)}, "here optimizer.*\n.*SGD"),
    ({"transforms": "robust"}, "here transforms"),
    ({"averaging": 0.5}, "here averaging"),
    ({"image": Pixels()}, "settings it had"),
    ({"steps": 4}, "counts those that were made.*\n.*4 steps"),
    ({"steps": 2}, "counts those that were made"),
]


@pytest.mark.parametrize(("change", "text"), OTHERS)
def test_other_settings_are_refused(model, half, change, text):
    options = {"steps": 8, **SAME, **change}
    with pytest.raises(ValueError, match=text):
        quiet(model, options.pop("target", [1, 2]), start=half, **options)


def test_starts_that_hold_nothing_are_refused(model, half):
    with pytest.raises(TypeError, match="goes on from a Synthesis"):
        quiet(model, [1, 2], start=half.images, **SAME)
    parts = Synthesis.concatenate([half, half])  # as grids are
    with pytest.raises(ValueError, match="nothing to go on from"):
        quiet(model, [1, 2], start=parts, **SAME)
