"""The mean of several models, alone and calibrated."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_explain.calibration.binning import HistogramBinning
from keras_explain.calibration.ensemble import Ensemble
from keras_explain.calibration.scaling import TemperatureScaling
from tests.calibration import slow_calibration as slow

NOISE = np.random.default_rng(4)
X = NOISE.normal(size=(50, 4)).astype("float32")
Y = (2 * X[:, :3] + NOISE.gumbel(size=(50, 3))).argmax(1)


pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax")


def member(units=3, activation: str | None = "softmax"):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(units, activation=activation)]
    )
    kernel = model.layers[0].kernel
    kernel.assign(kernel + np.eye(4, units))
    return model


def scores(model):
    return model.predict(X, verbose=False).astype("float64")


def test_mean_of_probabilities():
    members = [member(), member(), member(activation=None)]
    ensemble = Ensemble(members)
    expected = sum(scores(m) for m in members[:2])
    expected = (expected + slow.softmax(scores(members[2]))) / 3
    np.testing.assert_allclose(scores(ensemble), expected, atol=1e-6)
    np.testing.assert_allclose(ensemble.model(X), expected, atol=1e-6)


def test_members_of_one_unit():
    members = [member(1, "sigmoid"), member(1, None)]
    linear = 1 / (1 + np.exp(-scores(members[1])))
    expected = (scores(members[0]) + linear) / 2
    np.testing.assert_allclose(scores(Ensemble(members)), expected, atol=1e-6)


def test_an_average_is_not_taken_for_logits():
    inputs = keras.Input((4,))
    parts = [member()(inputs), member()(inputs)]
    model = keras.Model(inputs, layers.Average()(parts))
    np.testing.assert_allclose(
        scores(Ensemble([model])), scores(model), atol=1e-6
    )
    nested = Ensemble([Ensemble([model]), model])
    np.testing.assert_allclose(scores(nested), scores(model), atol=1e-6)
    calibrator = TemperatureScaling(model).fit((X, Y))
    np.testing.assert_allclose(
        calibrator.logits(X), np.log(scores(model)), atol=1e-5
    )


@pytest.mark.parametrize("units", [1, 3])
def test_calibrated_saved_and_loaded(units, tmp_path):
    activation = "softmax" if units > 1 else "sigmoid"
    ensemble = Ensemble([member(units, activation) for _ in range(2)])
    labels = Y if units > 1 else (Y == 0).astype(int)
    calibrator = TemperatureScaling(ensemble).fit((X, labels))
    p = scores(ensemble)
    z = np.log(p) if units > 1 else np.log(p / (1 - p))
    np.testing.assert_allclose(calibrator.logits(X), z, atol=1e-5)
    wrapped = calibrator.model
    found = wrapped.predict(X, verbose=0)
    expected = slow.softmax(z / calibrator.temperature)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(calibrator.predict(X), found, atol=1e-6)
    for model in (wrapped, ensemble.model):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            loaded.predict(X, verbose=0), model.predict(X, verbose=0)
        )


def test_calibrated_models_are_members():
    first = HistogramBinning(member()).fit((X, Y)).model
    second = TemperatureScaling(member()).fit((X, Y)).model
    expected = (scores(first) + scores(second)) / 2
    found = scores(Ensemble([first, second]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = TemperatureScaling(first).fit((X, Y))
    np.testing.assert_allclose(
        slow.softmax(again.logits(X)), scores(first), atol=1e-5
    )


@pytest.mark.slow
def test_an_ensemble_is_better_than_its_members():
    members = []
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(16, activation="relu"),
                layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.05), loss="sparse_categorical_crossentropy"
        )
        model.fit(X[:25], Y[:25], epochs=30, verbose=0)
        members.append(model)
    losses = [slow.likelihood(scores(m)[25:], Y[25:]) for m in members]
    loss = slow.likelihood(scores(Ensemble(members))[25:], Y[25:])
    assert loss < np.mean(losses)  # by Jensen's inequality


def test_fitted_calibrators_are_members():
    first = TemperatureScaling(member()).fit((X, Y))
    second = member()
    expected = (scores(first.model) + scores(second)) / 2
    found = scores(Ensemble([first, second]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = TemperatureScaling(first).fit((X, Y))
    np.testing.assert_allclose(
        slow.softmax(again.logits(X)), scores(first.model), atol=1e-5
    )
    with pytest.raises(RuntimeError, match="not fitted"):
        Ensemble([TemperatureScaling(member())])


@pytest.mark.parametrize(
    "make", [member, lambda: Ensemble([member()]), lambda: None, lambda: 3]
)
def test_members_come_in_a_list(make):
    with pytest.raises(TypeError, match=r"Ensemble\(\[first, second\]\)"):
        Ensemble(make())


def test_members_are_checked():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
    with pytest.raises(TypeError, match="keras.Model"):
        Ensemble([layers.Dense(3)])
    with pytest.raises(ValueError, match="not built"):
        Ensemble([keras.Sequential([layers.Dense(3)])])
    with pytest.raises(ValueError, match="`from_logits` says"):
        Ensemble([member()], from_logits="maybe")
    with pytest.raises(ValueError, match="same classes"):
        Ensemble([member(3), member(4)])
    with pytest.raises(ValueError, match="does not return logits"):
        Ensemble([member(3)], from_logits=True)


def test_unknown_heads_must_be_told():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.sin(layers.Dense(3)(inputs)))
    with pytest.raises(ValueError, match="cannot be seen"):
        Ensemble([model])
    expected = slow.softmax(scores(model))
    found = Ensemble([model], from_logits=True).predict(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_subclassed_members():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return ops.softmax(self.dense(x))

    members = [Own(), Own()]
    for model in members:
        model(X)
    ensemble = Ensemble(members)
    expected = (scores(members[0]) + scores(members[1])) / 2
    np.testing.assert_allclose(scores(ensemble), expected, atol=1e-6)
    np.testing.assert_allclose(ensemble.model(X), expected, atol=1e-6)


@pytest.mark.parametrize("from_logits", ["auto", False])
def test_several_sigmoids_are_no_classes(from_logits):
    several = member(3, "sigmoid")
    with pytest.raises(ValueError, match="independent"):
        Ensemble([several], from_logits)
    with pytest.raises(ValueError, match="always one"):
        Ensemble([member(1, "softmax")], from_logits)


@pytest.mark.parametrize("units", [1, 3])
def test_a_linear_head_returns_no_probabilities(units):
    linear = member(units, None)
    with pytest.raises(ValueError, match="linear layer returns logits"):
        Ensemble([linear], from_logits=False)


def test_a_subclassed_linear_head_is_told_of_when_it_runs():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(X)
    ensemble = Ensemble([model], from_logits=False)
    with pytest.raises(ValueError, match="linear layer returns logits"):
        ensemble.predict(X)
