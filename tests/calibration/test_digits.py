"""On real data: what a temperature does for a network that is too sure."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from keras_explain.calibration import TemperatureScaling
from tests.docs.pages import ROOT


@pytest.fixture
def benchmark():
    path = ROOT / "benchmarks" / "calibration.py"
    spec = importlib.util.spec_from_file_location("calibration_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_temperature_brings_the_error_down_fourfold(benchmark):
    _, held_out, (x, y) = benchmark.splits(0)
    model = benchmark.overconfident(0, epochs=300)
    calibrator = TemperatureScaling(model).fit(held_out)
    before, after = model.predict(x, verbose=0), calibrator.predict(x)
    error, likelihood, accuracy = benchmark.measured(before, y)
    better, likelier, same = benchmark.measured(after, y)
    assert error > 0.1 and better < error / 4
    assert likelier < likelihood
    assert same == accuracy
    np.testing.assert_array_equal(before.argmax(-1), after.argmax(-1))
