"""What takes the place of hidden parts holds finite numbers."""

from __future__ import annotations

import numpy as np
import pytest

import keras_explain
from keras_explain import evaluation
from keras_explain.attribution import perturbation, surrogate
from tests import zoo

EXPLAINERS = (
    perturbation.Occlusion,
    perturbation.FeatureAblation,
    perturbation.RISE,
    surrogate.LIME,
    surrogate.KernelSHAP,
    surrogate.ShapleyValues,
    surrogate.ShapleySampling,
)
MEASURES = (
    (evaluation.deletion, "fill", {}),
    (evaluation.insertion, "fill", {}),
    (evaluation.perturbation_curve, "fill", {}),
    (evaluation.log_odds_erasure, "fill", {"other": 1}),
    (evaluation.sensitivity_n, "fill", {}),
    (evaluation.completeness, "baseline", {}),
    (evaluation.sensitivity_a, "baseline", {}),
)
BAD = {
    "nan": float("nan"),
    "infinity": np.array([0, np.inf, 0, 0, 0], "float32"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("method", EXPLAINERS, ids=lambda m: m.__name__)
def test_explainers_refuse_what_is_not_finite(method, bad):
    model = zoo.build("tabular").model
    with pytest.raises(ValueError, match="holds NaN or infinite"):
        method(model, fill=bad)
    if method.__module__.startswith(surrogate.__name__):
        rows = np.zeros((4, 5), "float32")
        rows[2] = bad
        with pytest.raises(ValueError, match="holds NaN or infinite"):
            method(model, fill=rows)  # one row of a background


def test_linear_shap_refuses_a_background_that_is_not_finite():
    model = zoo.build("tabular").model
    rows = np.full((4, 5), np.nan)
    with pytest.raises(ValueError, match="background holds NaN"):
        surrogate.LinearSHAP(model, background=rows)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize(
    ("measure", "name", "options"),
    MEASURES,
    ids=lambda m: getattr(m, "__name__", ""),
)
def test_measures_refuse_what_is_not_finite(measure, name, options, bad):
    specimen = zoo.build("tabular")
    explainer = keras_explain.Gradient(specimen.model)
    with pytest.raises(ValueError, match="holds NaN or infinite"):
        measure(explainer, specimen.inputs, 0, **{name: bad}, **options)
