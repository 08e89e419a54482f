"""Baselines of models with several inputs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from tests import zoo


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
@pytest.mark.parametrize("method", [ke.IntegratedGradients, ke.DeepLIFT])
def test_one_for_each_input(name, method):
    """Given in the structure of the inputs, and restored from a config."""
    specimen = zoo.build(name)
    parts = [np.full((8, 8, 3), 0.1), np.full(4, -0.2)]
    baseline = parts
    if name == "inputs_dict":
        baseline = dict(zip(("image", "vector"), parts, strict=True))
    explainer = method(specimen.model, baseline=baseline)
    found = explainer.explain(specimen.inputs, 1, verbose=False)
    scale = np.abs(found.scores).max()
    assert np.abs(found.delta).max() < 0.05 * scale
    again = method.from_config(specimen.model, explainer.get_config())
    values = again.explain(specimen.inputs, 1, verbose=False).attributions
    for one, other in zip(
        tf.nest.flatten(values),
        tf.nest.flatten(found.attributions),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_as_many_as_there_are_inputs():
    specimen = zoo.build("inputs_dict")
    explainer = ke.IntegratedGradients(specimen.model, baseline={"image": 0.0})
    with pytest.raises(ValueError, match="one array for each input"):
        explainer(specimen.inputs, 1)
