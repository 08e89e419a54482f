"""A calibrated model is read by a process that has not made it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from keras_explain import calibration
from tests.calibration.test_ensemble import X, Y, member

MAKERS = {
    "temperature": calibration.TemperatureScaling,
    "vector": calibration.VectorScaling,
    "matrix": lambda m: calibration.MatrixScaling(m, odir=(0.1, 0.1)),
    "platt": calibration.PlattScaling,
    "histogram": calibration.HistogramBinning,
    "isotonic": calibration.IsotonicCalibration,
    "bayesian": calibration.BayesianBinning,
    "ensemble": lambda m: calibration.Ensemble([m, member()]),
    "of_ensemble": lambda m: calibration.TemperatureScaling(
        calibration.Ensemble([m, member()])
    ),
}
CODE = """
import sys
from pathlib import Path
import keras, numpy as np
import keras_explain.calibration
x = np.load(Path(sys.argv[1]) / "x.npy")
for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    np.save(path.with_suffix(".npy"), model.predict(x, verbose=0))
"""


@pytest.mark.slow
def test_each_is_loaded_in_a_fresh_process(tmp_path):
    expected = {}
    for name, make in MAKERS.items():
        made = make(member())
        if name != "ensemble":
            made.fit((X, Y))
        made.model.save(tmp_path / f"{name}.keras")
        expected[name] = made.model.predict(X, verbose=0)
    np.save(tmp_path / "x.npy", X)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for name, values in expected.items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, values, atol=1e-6, err_msg=name)
