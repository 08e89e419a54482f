"""Extremal perturbations: layers, kinds of inputs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.attribution.perturbation.areas import TOLERANCE
from keras_explain.attribution.perturbation.extremal import ExtremalPerturbation
from tests import zoo
from tests.marking import slow_but


def test_channels_of_a_layer():
    specimen = zoo.build("functional")
    model = specimen.model
    explainer = ExtremalPerturbation(
        model, areas=(0.25, 0.5), layer="conv2", settings={"num_steps": 200}
    )
    found = explainer.explain(specimen.inputs, 2)
    channels = found.details["channels"]
    assert channels.shape == (2, 2, 6)
    np.testing.assert_allclose(
        channels.mean(-1), [[0.25, 0.5]] * 2, atol=TOLERANCE
    )
    assert found.attributions.shape == (2, 8, 8, 6)
    np.testing.assert_allclose(
        found.attributions,
        np.broadcast_to(channels.mean(1)[:, None, None], (2, 8, 8, 6)),
        rtol=1e-6,
    )
    first = model.get_layer("conv1")(specimen.inputs)
    activation = np.asarray(model.get_layer("conv2")(first))
    before = activation.mean(-1)
    after = (activation * channels.mean(1)[:, None, None]).mean(-1)
    for name, expected in (("before", before), ("after", after),
                           ("diff", after - before)):  # fmt: skip
        np.testing.assert_allclose(
            found.details[name], expected, atol=1e-5, err_msg=name
        )
    # The channel that speaks most for the class is kept most.
    weights = model.get_layer("logits").get_weights()[0][:, 2]
    gain = activation.mean((1, 2)) * weights
    best = np.take_along_axis(channels[:, 0], gain.argmax(-1)[:, None], -1)
    assert np.all(best[:, 0] > channels[:, 0].max(-1) - 0.01)
    worst = np.take_along_axis(channels[:, 0], gain.argmin(-1)[:, None], -1)
    assert np.all(worst < 0.1)


@pytest.mark.parametrize(
    "name",
    slow_but({"inputs_dict"}, ["series", "volume", "inputs_dict", "lstm"]),
)
def test_other_inputs(name):
    specimen = zoo.build(name)
    layer = specimen.feature_map if specimen.integers else None
    explainer = ExtremalPerturbation(
        specimen.model, areas=(0.3,), layer=layer, settings={"num_steps": 2}
    )
    found = explainer.explain(specimen.inputs)
    key = "channels" if layer else "masks"
    for mask in tf.nest.flatten(found.details[key]):
        means = mask.reshape(2, -1).mean(-1)
        np.testing.assert_allclose(means, 0.3, atol=TOLERANCE)


@pytest.mark.slow
def test_a_size_of_its_own_for_each_call():
    specimen = zoo.build("open_size")
    explainer = ExtremalPerturbation(specimen.model, settings={"num_steps": 2})
    for size in (8, 11):
        images = zoo.images(2, size)
        assert explainer(images).shape == images.shape
    unknown = tf.function(
        explainer, input_signature=[tf.TensorSpec((None, None, None, 3))]
    )
    with pytest.raises(ValueError, match="size of the inp.*\n.*\n.*ensure_"):
        unknown(zoo.images(2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"areas": (0.0,)}, "share between 0 and 1"),
        ({"variant": "preserv"}, "`variant` is one.*'preserve'"),
        ({"perturbation": "blurr"}, "`perturbation` is one.*'blur'"),
        ({"reward": "contrast"}, "`reward` is one.*'contrastive'"),
        ({"settings": {"num_steps": 0}}, "`num_steps`, at least 1"),
        ({"settings": {"num_step": 9}}, "`settings` is one.*'num_st"),
        ({"settings": {"num_levels": 1}}, "`num_levels`, at least 2"),
        ({"settings": {"sigma": 0}}, "`sigma`, above 0"),
        ({"settings": {"momentum": 1.5}}, "`momentum`, from 0 to 1"),
        ({"settings": {"last_weight": float("inf")}}, "`last_weight`, ab"),
    ],
)
def test_refused_values(model, options, words):
    with pytest.raises(ValueError, match=f"(?s){words}".replace(".*\\n", ".*")):
        ExtremalPerturbation(model, **options)


@pytest.mark.parametrize(
    "settings", [{"num_steps": 2.5}, {"num_steps": True}, {"sigma": "a"}, 3]
)
def test_refused_types(model, settings):
    with pytest.raises(TypeError, match="Settings.*\nReceived: .*"):
        ExtremalPerturbation(model, settings=settings)


def test_refused_uses(model, images):
    specimen = zoo.build("lstm")
    with pytest.raises(ValueError, match="hold integers.*\n.*'embedding'"):
        ExtremalPerturbation(specimen.model)(specimen.inputs)
    contrast = ExtremalPerturbation(model, reward="contrastive")
    with pytest.raises(ValueError, match="compares a class.*\n.*Channel"):
        contrast(images, ke.Channel("conv2", 1))
    sigmoid = zoo.build("sigmoid")
    contrast = ExtremalPerturbation(sigmoid.model, reward="contrastive")
    with pytest.raises(ValueError, match="compares a class.*\n.*single value"):
        contrast(sigmoid.inputs)


def test_config_holds_the_settings(model):
    explainer = ExtremalPerturbation(
        model, areas=(0.2,), settings={"num_steps": 3, "jitter": False}
    )
    config = explainer.get_config()
    assert config["settings"]["num_steps"] == 3
    again = ExtremalPerturbation.from_config(model, config)
    assert again.settings == explainer.settings
