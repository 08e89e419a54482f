"""Bounds of the inputs: where the z-B rule gets them from, and refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain import rules
from tests import zoo


def rescaling_model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Rescaling(-1 / 127.5, offset=1.0),
            layers.ZeroPadding2D(1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, bias_initializer="normal"),
        ]
    )


def pixels():
    noise = np.random.default_rng(0).uniform(0, 255, (2, 6, 6, 3))
    return noise.astype("float32")


def inner(composite):
    """The composite with bounds at the layer, and not at the inputs."""
    return rules.relevance_composite(
        (rules.first(rules.linear), composite),
        (rules.convolution, rules.Gamma(0.25)),
        (rules.linear, rules.Epsilon()),
    )


def test_bounds_are_carried_on_to_the_first_layer():
    """Through a rescaling that turns them around; padding stays zero.

    In the padding the box has the bounds zero and zero, so that it is the
    same as giving the rule bounds that are zero there.
    """
    model, x = rescaling_model(), pixels()
    found = ke.LRP(model, composite="epsilon_gamma_box", low=0, high=255)(x)
    border = np.zeros((1, 8, 8, 1), "float32")
    border[:, 1:-1, 1:-1] = 1
    composite = inner(rules.ZBox(-border, border + 1e-30))
    expected = ke.LRP(model, composite=composite)(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_model_that_rescales_pixels_says_what_they_are():
    model, x = rescaling_model(), pixels()
    named = ke.LRP(model, composite="epsilon_gamma_box")(x)
    given = ke.LRP(model, composite="epsilon_gamma_box", low=0, high=255)(x)
    np.testing.assert_array_equal(named, given)
    free = ke.DeepTaylor(model)(x)
    boxed = ke.DeepTaylor(model, low=0, high=255)(x)
    np.testing.assert_array_equal(free, boxed)


def test_bounds_for_each_channel():
    specimen = zoo.build("functional")
    low, high = np.array([-5.0, -6, -7]), np.array([5.0, 6, 7])
    composite = "epsilon_gamma_box"
    explainer = ke.LRP(specimen.model, composite=composite, low=low, high=high)
    found = explainer.explain(specimen.inputs, verbose=False)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    wide = ke.LRP(specimen.model, composite=composite, low=-7, high=7)
    assert np.abs(wide(specimen.inputs) - found.attributions).max() > 1e-4


def test_deep_taylor_squares_weights_where_nothing_is_bounded():
    specimen = zoo.build("functional")
    found = ke.DeepTaylor(specimen.model)(specimen.inputs, 3)
    composite = rules.relevance_composite(
        (rules.first(rules.linear), rules.WSquare(zero_bias=True)),
        (rules.linear, rules.ZPlus(zero_bias=True)),
    )
    expected = ke.LRP(specimen.model, composite=composite)
    np.testing.assert_array_equal(found, expected(specimen.inputs, 3))


def test_deep_taylor_has_the_sign_of_the_score():
    specimen = zoo.build("functional")
    explainer = ke.DeepTaylor(specimen.model, low=-9, high=9)
    for index in range(zoo.CLASSES):
        found = explainer.explain(specimen.inputs, index, verbose=False)
        sign = np.sign(found.scores)[:, None, None, None]
        assert (found.attributions * sign >= -1e-7).all()
        np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def test_a_box_that_is_not_known_is_asked_for():
    specimen = zoo.build("functional")
    explainer = ke.LRP(specimen.model, composite="epsilon_gamma_box")
    with pytest.raises(ValueError, match=r"low=-1, high=1"):
        explainer(specimen.inputs)


def test_inputs_outside_the_box_are_refused():
    specimen = zoo.build("functional")
    inputs = np.clip(specimen.inputs, -1, 1)
    explainer = ke.DeepTaylor(specimen.model, low=-1, high=1)
    explainer(inputs)
    inputs[1, 2, 3] = 1.5
    with pytest.raises(ValueError, match=r"samples \[1\], low=-1, high=1"):
        explainer(inputs)
    composite = inner(rules.ZBox(-1, 1))
    with pytest.raises(ValueError, match="outside the box"):
        ke.LRP(specimen.model, composite=composite)(inputs)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(1, 1, "below"), (2, -2, "below"), (0, None, "two sides")],
)
def test_no_box(low, high, text):
    specimen = zoo.build("functional")
    for method in (ke.LRP, ke.DeepTaylor):
        with pytest.raises(ValueError, match=text):
            method(specimen.model, low=low, high=high)
