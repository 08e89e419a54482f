"""Attacks that could only mislead are refused, and say why."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain
from keras_explain.synthesis import deepfool, fgsm, pgd
from tests import zoo
from tests.synthesis.adversarial.victims import linear

X = np.random.default_rng(0).uniform(size=(4, 6)).astype("float32")


@pytest.fixture
def model():
    weights = np.random.default_rng(1).normal(size=(6, 3))
    return linear(weights)


def rescaled(scale, offset=0.0):
    model = keras.Sequential([
        keras.Input((6,)), layers.Rescaling(scale, offset),
        layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    return model


def says(error, *parts):
    text = str(error.value)
    assert "Received: " in text
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize("attack", [fgsm, pgd])
@pytest.mark.parametrize("epsilon", [0, -0.1, float("nan"), float("inf")])
def test_epsilon_is_above_zero(model, attack, epsilon):
    with pytest.raises(ValueError) as error:
        attack(model, X, epsilon=epsilon, bounds=(0, 1))
    says(error, "above zero", f"epsilon={epsilon!r}", "units of the inputs")


@pytest.mark.parametrize("epsilon", ["8/255", None, True, [0.1]])
def test_epsilon_is_a_number(model, epsilon):
    with pytest.raises(TypeError) as error:
        fgsm(model, X, epsilon=epsilon, bounds=(0, 1))
    says(error, "epsilon=")


@pytest.mark.parametrize(
    ("epsilon", "text"), [(1.5, "any image at all"), (1e-4, "a tenth of")]
)
def test_epsilon_on_another_scale_is_told_about(model, epsilon, text):
    with pytest.warns(keras_explain.ExplainWarning, match=text):
        pgd(model, X, epsilon=epsilon, steps=1, bounds=(0, 1))


def test_epsilon_in_l2_may_be_larger_than_the_range(model):
    pgd(model, X, epsilon=1.5, norm="l2", steps=1, bounds=(0, 1))


@pytest.mark.parametrize(
    "bounds", [(1, 0), (0, 0), (0, float("nan")), (0, float("inf"))]
)
def test_bounds_go_up(model, bounds):
    with pytest.raises(ValueError) as error:
        fgsm(model, X, epsilon=0.1, bounds=bounds)
    says(error, "the lower one first", f"bounds={bounds!r}")


@pytest.mark.parametrize("bounds", [1, (0, 1, 2), "auto", ("a", "b")])
def test_bounds_are_two_numbers(model, bounds):
    with pytest.raises(TypeError) as error:
        fgsm(model, X, epsilon=0.1, bounds=bounds)
    says(error, "two numbers", "(0, 255)")


def test_bounds_are_never_guessed(model):
    with pytest.raises(ValueError) as error:
        fgsm(model, X, epsilon=0.1)
    says(error, "not known", "bounds=None", "bounds=(low, high)")
    with pytest.raises(ValueError):
        fgsm(rescaled(1.0), X, epsilon=0.1)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1 / 255, 0.0), (1 / 127.5, -1.0)]
)
def test_bounds_are_read_from_the_model(scale, offset):
    found = fgsm(rescaled(scale, offset), 255 * X, epsilon=8)
    assert found.settings["bounds"] == (0.0, 255.0)
    assert found.images.min() >= 0 and found.images.max() <= 255
    pixels = np.round(255 * X).astype("uint8")
    assert fgsm(rescaled(scale, offset), pixels, epsilon=8).norm_linf.max() <= 8


def test_images_of_0_to_1_for_a_model_of_pixels_are_told_about():
    with pytest.warns(keras_explain.ExplainWarning, match="largest pixel"):
        fgsm(rescaled(1 / 255), X, epsilon=8)


def test_inputs_outside_the_bounds_are_refused(model):
    with pytest.raises(ValueError) as error:
        fgsm(model, X - 0.5, epsilon=0.1, bounds=(0, 1))
    says(error, "outside the bounds", "values from -0.4", "np.clip")
    # What rounding does is no reason to refuse.
    found = fgsm(model, np.float32([[1 + 1e-6] * 6]), epsilon=0.1,
                 bounds=(0, 1))  # fmt: skip
    assert found.images.max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_are_finite(model, value):
    x = X.copy()
    x[2, 1] = value
    with pytest.raises(ValueError) as error:
        fgsm(model, x, epsilon=0.1, bounds=(0, 1))
    says(error, "NaN or infinite", "1 images", "[2]")


def test_there_is_something_to_attack(model):
    with pytest.raises(ValueError, match="no samples"):
        fgsm(model, X[:0], epsilon=0.1, bounds=(0, 1))


@pytest.mark.parametrize(
    ("labels", "kind", "part"),
    [
        ([0, 1, 2, 3], ValueError, "Pass 0 to 2"),
        ([0, 1, 2, -1], ValueError, "Pass 0 to 2"),
        (7, ValueError, "Pass 0 to 2"),
        ([0, 1, 2], ValueError, "(3,) for 4 images"),
        ([0, 1, 2, 0, 1], ValueError, "(5,) for 4 images"),
        (np.eye(4, 3, dtype=int), ValueError, "argmax"),
        (np.eye(4, 3), TypeError, "argmax"),
        ([0.0, 1.0, 2.0, 0.0], TypeError, "integers"),
        ("cat", TypeError, "integers"),
        ([True] * 4, TypeError, "integers"),
    ],
)
def test_labels(model, labels, kind, part):
    with pytest.raises(kind) as error:
        fgsm(model, X, labels, epsilon=0.1, bounds=(0, 1))
    says(error, part)


@pytest.mark.parametrize("number", [3, 5])
def test_labels_of_a_stream(model, number):
    data = tf.data.Dataset.from_tensor_slices(X).batch(2)
    with pytest.raises(ValueError, match="one label for each image"):
        fgsm(model, data, [0] * number, epsilon=0.1, bounds=(0, 1))


def test_binary_labels_are_0_and_1():
    model = linear(np.ones((6, 1)), head="sigmoid")
    fgsm(model, X, [1, 1, 0, 1], epsilon=0.1, bounds=(0, 1))
    with pytest.raises(ValueError, match="Pass 0 to 1"):
        fgsm(model, X, [1, 1, 0, 2], epsilon=0.1, bounds=(0, 1))


def test_a_target_is_named(model):
    for attack in (pgd, fgsm):
        with pytest.raises(ValueError) as error:
            attack(model, X, epsilon=0.1, targeted=True, bounds=(0, 1))
        says(error, "classes to reach", "labels=None")


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_target_is_another_class(model, batch_size):
    own = np.asarray(model(X)).argmax(-1)
    targets = (own + 1) % 3
    targets[2] = own[2]
    with pytest.raises(ValueError) as error:
        deepfool(model, X, targets, targeted=True, bounds=(0, 1),
                 batch_size=batch_size)  # fmt: skip
    says(error, "target class already", f"target {own[2]} for images [2]")


def test_norms(model):
    with pytest.raises(ValueError) as error:
        pgd(model, X, epsilon=0.1, norm="l1", bounds=(0, 1))
    says(error, "norm='l1'", "'linf', 'l2'")


@pytest.mark.parametrize(
    ("attack", "options", "kind", "part"),
    [
        (pgd, {"steps": 0}, ValueError, "from 1"),
        (pgd, {"steps": 1.5}, TypeError, "steps=1.5"),
        (pgd, {"step_size": 0}, ValueError, "step_size=0"),
        (pgd, {"seed": 2**31}, ValueError, "seed=2147483648"),
        (pgd, {"random": True}, TypeError, "random_start"),
        (pgd, {"batch_size": 0}, ValueError, "batch_size=0"),
        (deepfool, {"max_steps": 0}, ValueError, "from 1"),
        (deepfool, {"num_candidates": 1}, ValueError, "from 2"),
        (deepfool, {"overshoot": -0.1}, ValueError, "overshoot=-0.1"),
        (deepfool, {"overshoot": None}, ValueError, "overshoot=None"),
        (deepfool, {"epsilon": 0.1}, TypeError, "epsilon=0.1"),
    ],
)
def test_other_options(model, attack, options, kind, part):
    budget = {"epsilon": 0.1} if attack is pgd else {}
    with pytest.raises(kind) as error:
        attack(model, X, bounds=(0, 1), **{**budget, **options})
    says(error, part)


@pytest.mark.parametrize("units", [1, 0])
def test_a_regression_is_refused(units):
    x = inputs = keras.Input((6,))
    x = layers.Dense(1)(x)
    if not units:
        x = layers.Reshape(())(x)
    with pytest.raises(ValueError) as error:
        fgsm(keras.Model(inputs, x), X, epsilon=0.1, bounds=(0, 1))
    says(error, "regression", 'Activation("sigmoid")')


def test_independent_labels_are_refused():
    model = zoo.build("multi_label").model
    with pytest.raises(ValueError) as error:
        fgsm(model, zoo.images(2), epsilon=0.1, bounds=(-9, 9))
    says(error, "sigmoid of its own", "model.outputs[0][:, 3:4]")


def test_a_softmax_over_one_class_is_refused():
    model = linear(np.ones((6, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of it, too
        with pytest.raises(ValueError, match="always one"):
            fgsm(model, X, epsilon=0.1, bounds=(0, 1))


def test_several_outputs_and_positions_are_refused():
    for (model, images), part in (
        (zoo.two_outputs(), "one output"),
        (zoo.segmenter(), "whole images"),
    ):
        with pytest.raises(ValueError) as error:
            fgsm(model, images, epsilon=0.1, bounds=(-9, 9))
        says(error, part)


def test_several_inputs_and_tokens_are_refused():
    for name, part in (("inputs_list", "2 inputs"), ("lstm", "int32")):
        built = zoo.build(name)
        with pytest.raises(TypeError) as error:
            fgsm(built.model, built.inputs, epsilon=0.1, bounds=(-9, 9))
        says(error, "one array of numbers", part)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="keras.Model"):
        fgsm(lambda x: x, X, epsilon=0.1, bounds=(0, 1))
    unbuilt = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="not built"):
        pgd(unbuilt, X, epsilon=0.1, bounds=(0, 1))


def dead():
    """A ReLU that is never on for inputs below one half."""
    x = inputs = keras.Input((2,))
    x = layers.Dense(2, activation="relu", name="hidden")(x)
    x = layers.Dense(2, activation="softmax")(x)
    model = keras.Model(inputs, x)
    model.get_layer("hidden").set_weights([np.eye(2), np.array([-0.5, -0.5])])
    return model


@pytest.mark.parametrize(
    "attack",
    [
        lambda m, x: fgsm(m, x, epsilon=0.1, bounds=(0, 1)),
        lambda m, x: pgd(m, x, epsilon=0.1, bounds=(0, 1)),
        lambda m, x: pgd(m, x, epsilon=0.1, norm="l2", bounds=(0, 1)),
        lambda m, x: deepfool(m, x, bounds=(0, 1)),
    ],
)
def test_a_gradient_of_zero_is_told_about_and_changes_nothing(attack):
    x = np.float32([[0.2, 0.1], [0.9, 0.8], [0.3, 0.3]])
    with pytest.warns(keras_explain.ExplainWarning, match="zero for 2 of 3"):
        found = attack(dead(), x)
    np.testing.assert_array_equal(found.images[[0, 2]], x[[0, 2]])
    np.testing.assert_array_equal(found.steps[[0, 2]], 0)
    assert not found.success[[0, 2]].any()
    assert found.steps[1] > 0 and found.norm_l2[1] > 0


def test_broken_weights_are_refused(model):
    weights, bias = model.get_weights()
    weights[0, 0] = np.nan
    model.set_weights([weights, bias])
    with pytest.raises(ValueError) as error:
        fgsm(model, X, epsilon=0.1, bounds=(0, 1))
    says(error, "NaN or infinite", "earlier checkpoint")


def test_labels_that_are_all_wrong_are_told_about(model):
    own = np.asarray(model(X)).argmax(-1)
    with pytest.warns(keras_explain.ExplainWarning, match="none of the"):
        found = fgsm(model, X, (own + 1) % 3, epsilon=0.1, bounds=(0, 1))
    np.testing.assert_array_equal(found.images, X)
    assert np.isnan(found.success_rate)


def test_inputs_that_cannot_be_differentiated_are_refused():
    x = inputs = keras.Input((6,))
    x = layers.Lambda(tf.stop_gradient, output_shape=(6,))(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    with pytest.raises(ValueError) as error:
        fgsm(model, X, epsilon=0.1, bounds=(0, 1))
    says(error, "cannot be differentiated")
