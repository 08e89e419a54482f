"""What DeepSHAP and GradientSHAP keep."""

from __future__ import annotations

import numpy as np
import pytest

import keras_explain as ke
from keras_explain.attribution.deeplift import DeepLIFT, DeepSHAP
from keras_explain.attribution.gradient_shap import GradientSHAP
from tests import zoo
from tests.laws.difference_nets import (
    RANDOM,
    background,
    linear_model,
    randomized,
    score,
    shapley,
    sums,
)

pytestmark = RANDOM


def test_deep_shap_is_the_mean_over_the_background():
    model = randomized(zoo.build("tabular").model)
    x, rows = zoo.build("tabular").inputs, background()
    explanation = DeepSHAP(model, background=rows).explain(x)
    single = [DeepLIFT(model, baseline=r)(x) for r in rows]
    np.testing.assert_allclose(
        explanation.attributions, np.mean(single, 0), atol=1e-5
    )
    classes = explanation.target
    scores = [score(model, rows, int(c)).mean() for c in classes]
    expected = explanation.scores - scores
    np.testing.assert_allclose(sums(explanation), expected, atol=1e-5)
    none = DeepSHAP(model).explain(x)
    np.testing.assert_allclose(none.attributions, DeepLIFT(model)(x), atol=1e-6)


@pytest.mark.parametrize("cls", [DeepSHAP, GradientSHAP])
def test_shap_of_a_linear_model_is_exact(cls):
    model, x, rows = linear_model(), background()[:2] + 1, background()
    options = {} if cls is DeepSHAP else {"num_samples": 12}
    explanation = cls(model, background=rows, **options).explain(x, 1)
    kernel, bias = (np.asarray(w, "float64") for w in model.weights)
    if cls is DeepSHAP:
        for k in range(2):
            each = [
                shapley(lambda p: p @ kernel[:, 1] + bias[1],
                        np.float64(x[k]), np.float64(r))
                for r in rows
            ]  # fmt: skip
            expected = np.mean(each, 0)
            np.testing.assert_allclose(
                explanation.attributions[k], expected, atol=1e-5
            )
    else:  # the rows that were drawn; the same for both samples
        mean = x - explanation.attributions / kernel[:, 1]
        np.testing.assert_allclose(mean[0], mean[1], atol=1e-5)
        inside = np.linalg.lstsq(
            np.vstack([rows.T, np.ones(6)]), np.append(mean[0], 1), rcond=None
        )[0]
        counts = inside * 12
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
        assert np.all(counts > -0.01) and np.sum(counts > 0.5) > 2
    np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)


def test_gradient_shap_of_one_row_nears_integrated_gradients():
    model = randomized(zoo.build("tabular").model)
    x, row = zoo.build("tabular").inputs, background(1)
    expected = ke.IntegratedGradients(model, baseline=row, num_steps=300)(x, 1)
    few, many = (
        GradientSHAP(model, background=row, num_samples=n).explain(x, 1)
        for n in (4, 1024)
    )
    scale = np.abs(expected).max()
    error = np.abs(many.attributions - expected).max()
    assert error < 0.08 * scale
    assert error < np.abs(few.attributions - expected).max()
    assert np.abs(many.delta).max() < 0.1 * scale


def test_gradient_shap_draws():
    model = randomized(zoo.build("tabular").model)
    x, rows = zoo.build("tabular").inputs, background()
    options = {"background": rows, "num_samples": 5}
    first = GradientSHAP(model, **options)(x, 1)
    small = GradientSHAP(model, **options, batch_size=2)(x, 1)
    np.testing.assert_allclose(first, small, atol=1e-6)
    alone = GradientSHAP(model, **options)(x[1:], 1)
    np.testing.assert_allclose(first[1:], alone, atol=1e-6)
    other = GradientSHAP(model, **options, seed=1)(x, 1)
    noisy = GradientSHAP(model, **options, noise_stddev=0.1)(x, 1)
    scale = np.abs(first).max()
    assert np.abs(first - other).max() > 1e-2 * scale
    assert 1e-3 * scale < np.abs(first - noisy).max() < scale
