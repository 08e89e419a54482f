"""Patterns as they are used: files, bad data, models they are not for."""

from __future__ import annotations

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.attribution.pattern import PatternAttribution, PatternNet
from keras_explain.engine import catalogue
from tests import zoo
from tests.laws.test_pattern_laws import conv_net, data

BOTH = pytest.mark.parametrize("cls", [PatternNet, PatternAttribution])


def test_one_file_serves_both_methods(tmp_path):
    model, x = conv_net(), data(2)
    explainer = PatternNet(model, signal="linear").fit(data())
    explainer.save(tmp_path / "patterns.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["patterns.npz"]
    loaded = PatternAttribution.load(model, tmp_path / "patterns.npz")
    assert loaded.signal == "linear"
    fitted = PatternAttribution(model, signal="linear").fit(data())
    np.testing.assert_array_equal(loaded(x, 1), fitted(x, 1))


def test_the_patterns_of_another_model_are_refused(tmp_path):
    path = tmp_path / "patterns.npz"
    PatternNet(zoo.build("functional").model).fit(zoo.images(2)).save(path)
    with pytest.raises(ValueError, match=r"(?s)another model.*'conv1'"):
        PatternNet.load(zoo.build("grey").model, path)
    other = keras.models.clone_model(zoo.build("functional").model)
    assert PatternNet.load(other, path).patterns  # the same layers
    x = inputs = keras.Input((8, 8, 3))
    for name, size in (("conv1", 4), ("conv2", 7)):
        x = layers.Conv2D(size, 3, activation="relu", name=name)(x)
    x = layers.GlobalAveragePooling2D()(x)
    wider = keras.Model(inputs, layers.Dense(10, name="logits")(x))
    with pytest.raises(ValueError, match=r"(?s)'conv2'.*\(3, 3, 4, 6\)"):
        PatternNet.load(wider, path)
    # A subclassed model does not say what it takes: at the first call.
    late = PatternNet.load(zoo.build("subclassed").model, path)
    with pytest.raises(ValueError, match="'first' does not fit"):
        late(zoo.images(2))
    np.savez(tmp_path / "else.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match="holds no patterns"):
        PatternNet.load(wider, tmp_path / "else.npz")


@BOTH
def test_before_fit_it_says_how_to_mend_it(cls):
    specimen = zoo.build("functional")
    explainer = cls(specimen.model)
    for use in (
        lambda: explainer(specimen.inputs),
        lambda: explainer.patterns,
        lambda: explainer.save("nowhere.npz"),
    ):
        with pytest.raises(ValueError, match=r"Call `explainer.fit\(data\)`"):
            use()


def test_data_that_say_nothing_are_refused_and_change_nothing():
    specimen = zoo.build("functional")
    explainer = PatternNet(specimen.model).fit(specimen.inputs)
    before = explainer.patterns
    with pytest.raises(ValueError, match="hold no samples"):
        explainer.fit(specimen.inputs[:0])
    wrong = zoo.images(4)
    wrong[3, 2, 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"(?s)NaN.*nan_to_num"):
        explainer.fit(wrong, batch_size=2)
    with pytest.raises(ValueError, match="has shape"):
        explainer.fit(np.zeros((2, 8, 8, 4)))
    for name, pattern in explainer.patterns.items():
        np.testing.assert_array_equal(pattern, before[name])
    with pytest.raises(ValueError, match="'relu_positive'"):
        PatternNet(specimen.model, signal="relu")


@BOTH
@pytest.mark.parametrize("name", ["vision_transformer", "lstm"])
def test_attention_and_recurrence_are_refused(cls, name):
    specimen = zoo.build(name)
    what = "AttentionCore" if name != "lstm" else "LSTM"
    for use in (cls(specimen.model).fit, cls(specimen.model)):
        with pytest.raises(ValueError, match=f"(?s)ReLUs.*{what}"):
            use(specimen.inputs)


@BOTH
def test_other_nonlinearities_are_named_once(cls):
    x = inputs = keras.Input((4,))
    x = layers.Dense(5, activation="gelu", name="wide")(x)
    x = layers.Multiply()([x, layers.Dense(5, activation="sigmoid")(inputs)])
    model = keras.Model(inputs, layers.Dense(2)(x))
    values = data(9, (4,))
    explainer = cls(model)
    with pytest.warns(ke.ExplainWarning, match="wide/activation: gelu"):
        explainer.fit(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explainer.fit(values).explain(values, 1, verbose=False)
    assert np.all(np.isfinite(found.attributions))
    if cls is PatternAttribution:
        assert np.abs(found.delta).max() < 1e-4


@BOTH
def test_the_catalogue_and_the_config(cls):
    entry = catalogue.find(cls.catalogue_name)
    assert entry.cls is cls
    assert (entry.family, entry.needs) == ("pattern", "patterns")
    model = zoo.build("functional").model
    explainer = cls(model, signal="relu_negative", layer="conv1")
    config = json.loads(json.dumps(explainer.get_config()))
    assert config == {"signal": "relu_negative", "layer": "conv1"}
    assert cls.from_config(model, config).get_config() == config


def test_a_raw_relu_inside_a_model_is_refused():
    class Raw(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = layers.Dense(4), layers.Dense(2)

        def call(self, x):
            return self.two(tf.nn.relu(self.one(x)))

    model = Raw()
    x = data(3, (4,))
    model(x)
    with pytest.raises(ValueError, match="Relu"):
        PatternNet(model).fit(x)
    assert ops.shape(model(x)) == (3, 2)
