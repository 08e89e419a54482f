"""Sanity checks: maps of other outputs, and of shifted inputs."""

from __future__ import annotations

import numpy as np
import pytest

import keras_explain
from keras_explain.evaluation import neuron_sensitivity, shift_invariance
from keras_explain.evaluation.similarity import spearman
from tests import zoo
from tests.evaluation import nets


def test_neuron_sensitivity():
    model, x = zoo.build("functional").model, zoo.images(4)
    blind = neuron_sensitivity(lambda i, t: i, x, model=model)
    np.testing.assert_allclose(blind.per_sample, 1)
    explainer = keras_explain.Gradient(model)
    options = {"similarity": "spearman", "num_draws": 3}
    found = neuron_sensitivity(explainer, x, **options)
    parts = neuron_sensitivity(explainer, x, batch_size=1, **options)
    np.testing.assert_allclose(found.per_sample, parts.per_sample, atol=1e-5)
    assert found.mean < 0.99
    same = neuron_sensitivity(explainer, x, 3, other=3)
    assert same.n_valid == 0
    maps = [np.asarray(explainer(x, k)).sum(-1).reshape(4, -1) for k in (1, 2)]
    one = neuron_sensitivity(explainer, x, 1, other=2, similarity="spearman")
    np.testing.assert_allclose(one.per_sample, spearman(*maps), atol=1e-5)
    single = keras_explain.Gradient(zoo.build("sigmoid").model)
    with pytest.raises(ValueError, match="no other output to explain"):
        neuron_sensitivity(single, x)
    with pytest.raises(ValueError, match="Another class is compared"):
        neuron_sensitivity(
            explainer, x, keras_explain.Class(1) - keras_explain.Class(2)
        )


def test_shift_invariance_of_a_linear_model():
    """Gradient times input moves by w m, and the gradient does not."""
    w = np.array([1.0, -2.0, 0.5], "float32")
    model, x = nets.linear(w), np.ones((2, 3), "float32")
    assert shift_invariance(keras_explain.Gradient(model), x).mean == 0
    moved = shift_invariance(
        keras_explain.InputXGradient(model), x, shift=[0.0, 3.0, 0.0]
    )
    np.testing.assert_allclose(moved.per_sample, 2 * 3 / 8)  # -2 and -8
    called = shift_invariance(
        lambda m, i, t: np.asarray(keras_explain.InputXGradient(m)(i)), x,
        shift=[0.0, 3.0, 0.0], model=model,
    )  # fmt: skip
    np.testing.assert_allclose(called.per_sample, moved.per_sample)


def test_shift_invariance_at_padded_borders():
    """Put into the biases, the shift would be wrong at the borders."""
    specimen = zoo.build("functional")
    model, x = specimen.model, zoo.images(3)
    nodes = len(model._inbound_nodes)
    for explainer in (keras_explain.Gradient(model),
                      keras_explain.GradCAM(model, layer="conv2")):  # fmt: skip
        found = shift_invariance(explainer, x, shift=2.0, batch_size=2)
        assert found.mean < 1e-3
    assert len(model._inbound_nodes) == nodes
    explainer = keras_explain.Gradient(model)
    for shift in (np.ones(2), np.ones((3, 8, 8, 3)), np.nan):
        with pytest.raises(ValueError, match="shift is a number, or an array"):
            shift_invariance(explainer, x, shift=shift)
    with pytest.raises(ValueError, match="shifted model does not compute"):
        shift_invariance(explainer, x, shift=1e8)
    tokens = zoo.build("lstm")
    with pytest.raises(ValueError, match="constant is added to the inputs"):
        shift_invariance(
            keras_explain.Gradient(tokens.model, layer="embedding"),
            tokens.inputs,
        )
