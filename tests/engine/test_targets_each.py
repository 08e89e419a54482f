"""A target of its own for each sample, and units of one layer in one trace."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_explain as ke
from keras_explain.engine.each_target import Each
from tests import zoo

MIXED = [
    ke.Channel("conv2", 1),
    ke.Class(3) - ke.Class(5),
    ke.Channel("conv2", 4),
    ke.Neuron("conv2", (1, -1, 3)),
    ke.Direction("conv2", [1.0, 0.0, 2.0, 0.0, 0.0, -1.0], 2.0),
    2 * ke.Channel("conv2", 0),
    ke.Class(),
]


@pytest.fixture
def specimen():
    found = zoo.build("functional")
    found.model.get_layer("conv2").bias.assign([3.0] * 6)  # all units live
    return found.model, zoo.images(len(MIXED))


@pytest.mark.parametrize("chosen", [slice(None), [0, 2], [3, 3], [1, 4, 5]])
def test_each_sample_has_what_it_would_have_alone(specimen, chosen):
    model, x = specimen
    rows = np.arange(len(MIXED))[chosen]
    targets = [MIXED[row] for row in rows]
    explainer = ke.Gradient(model)
    together = explainer.explain(x[rows], targets)
    for k, row in enumerate(rows):
        alone = explainer.explain(x[row : row + 1], MIXED[row])
        np.testing.assert_allclose(
            together.attributions[k], alone.attributions[0], atol=1e-7
        )
        np.testing.assert_allclose(together.scores[k], alone.scores[0], 1e-5)


def test_they_follow_the_batches_and_repetitions(specimen):
    model, x = specimen
    for explainer in (
        ke.Gradient(model),
        ke.IntegratedGradients(model, num_steps=4),
    ):
        whole = explainer.explain(x, MIXED).attributions
        parts = explainer.explain(x, MIXED, batch_size=3).attributions
        np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_units_of_a_layer_share_a_trace(specimen):
    model, x = specimen
    explainer = ke.Gradient(model)
    for index in range(4):
        explainer(x[:1], ke.Channel("conv2", index))
        explainer(x[:1], ke.Neuron("conv2", (0, 1, index)))
        explainer(x[:1], ke.Direction("conv2", np.eye(6)[index]))
    assert len(explainer._functions) == 3
    explainer(x[:2], [ke.Channel("conv2", 0), ke.Channel("conv2", 5)])
    assert len(explainer._functions) == 4


def test_serialize():
    target = Each(tuple(MIXED))
    config = keras.saving.serialize_keras_object(target)
    assert keras.saving.deserialize_keras_object(config) == target


def test_a_silent_layer_has_a_gradient_of_zero_not_of_nan(specimen):
    """The length of a zero vector has no gradient of its own."""
    model, x = specimen
    model.get_layer("conv2").bias.assign([-1e3] * 6)
    direction = ke.Direction("conv2", np.ones(6), 2.0)
    with pytest.warns(UserWarning, match="zero everywhere"):
        found = ke.Gradient(model).explain(x, direction)
    assert np.all(found.attributions == 0)


def test_mistakes_are_told(specimen):
    model, x = specimen
    with pytest.raises(ValueError, match="2 targets for 7 samples"):
        ke.Gradient(model)(x, MIXED[:2])
    with pytest.raises(ValueError, match="has 6 channels"):
        ke.Gradient(model)(x[:2], [ke.Channel("conv2", 1),
                                   ke.Channel("conv2", 6)])  # fmt: skip
