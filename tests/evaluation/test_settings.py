"""A result keeps all options of the measure that made it."""

from __future__ import annotations

import inspect
import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain
from keras_explain import evaluation
from tests import zoo

X = zoo.images(2)
BOX = np.zeros((2, 8, 8))
BOX[:, 2:6, 2:6] = 1
ATTENTION = np.random.default_rng(0).uniform(size=(2, 8, 8))
MEASURES = {
    name: value
    for name in evaluation.__all__
    if inspect.isfunction(value := getattr(evaluation, name))
    and "explainer" in inspect.signature(value).parameters
}
FEW = {"similarity": "spearman"}
# The data and the options of a short run, where the defaults are not enough.
RUNS = {
    "pointing_game": ((X, BOX), {}),
    "weak_localization": ((X, BOX), {}),
    "human_agreement": ((X, ATTENTION), {"size": 4}),
    "deletion": (X, {"steps": 2}),
    "insertion": (X, {"steps": 2}),
    "perturbation_curve": (X, {"region": 4}),
    "log_odds_erasure": (X, {"target": 0, "other": 1}),
    "road": (X, {"shares": (0.3,)}),
    "sensitivity_n": (X, {"subsets": 2, "sizes": 2}),
    "infidelity": (X, {"num_samples": 2}),
    "max_sensitivity": (X, {"num_samples": 2}),
    "model_randomization": (X, {"layers": ["logits"], **FEW}),
    "label_randomization": ((X, np.array([0, 1])), {"train": 1, **FEW}),
    "neuron_sensitivity": (X, FEW),
    "shift_invariance": (X, {}),
    "completeness": (X, {"baseline": np.zeros((8, 8, 3), "float32")}),
    "implementation_invariance": (X, {}),
    "linearity": (X, {"target": 0, "other": 1}),
    "sensitivity_a": (X, {"num_features": 2}),
    "sensitivity_b": (X, {"num_features": 2, "num_draws": 1}),
    "symmetry": (X, {"pairs": [((0, 0), (0, 1))]}),
}
# A function that makes models is no value to keep.
NOT_KEPT = {"build"}


def net():
    head = layers.Dense(2, activation="softmax", name="logits")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), head])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("name", MEASURES)
def test_settings_hold_every_option(name):
    explainer = keras_explain.Gradient(net())
    data, options = RUNS[name]
    options = dict(options)
    if name == "implementation_invariance":
        options["other"] = explainer
    if name == "label_randomization":
        explainer, options["build"] = keras_explain.Gradient, net
    found = MEASURES[name](explainer, data, **options)
    wanted = {
        p.name
        for p in inspect.signature(MEASURES[name]).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert wanted - NOT_KEPT <= set(found.settings)
    assert json.loads(json.dumps(found.settings)) == found.settings


def sums(inputs, target):
    return np.asarray(inputs).sum(-1)


@pytest.mark.parametrize(
    ("name", "function", "options", "error", "text"),
    [
        ("deletion", lambda i, t: None, {}, TypeError, "returns maps"),
        ("deletion", lambda i: i, {}, TypeError, r"`\(inputs, target\)`"),
        ("model_randomization", sums, {}, TypeError, r"`\(model, inputs"),
        ("shift_invariance", sums, {}, TypeError, r"`\(model, inputs"),
        ("deletion", sums, {"batch_size": "a"}, TypeError, "at least one"),
        ("shift_invariance", sums, {"tolerance": "a"}, TypeError, "a share"),
        ("implementation_invariance", sums, {"tolerance": -1, "other": sums},
         ValueError, "a share"),
        ("perturbation_curve", sums, {"region": 40}, ValueError,
         "A region covers the whole"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(name, function, options, error, text):
    with pytest.raises(error, match=text):
        MEASURES[name](function, X, model=net(), **options)


def test_tolerance_of_the_pointing_game_is_a_number():
    with pytest.raises(ValueError, match="a distance in pixels"):
        evaluation.pointing_game(sums, (X, BOX), tolerance="a")


def test_labels_need_a_compiled_model():
    def build():
        return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten()])

    with pytest.raises(ValueError, match="is not compiled"):
        evaluation.label_randomization(
            keras_explain.Gradient, (X, np.array([0, 1])), build=build, train=1
        )
