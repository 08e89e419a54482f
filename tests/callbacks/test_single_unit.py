"""Of a single unit it is told which of two classes is explained."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.callbacks import ExplanationLogger
from keras_explain.engine.errors import ExplainWarning

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(12, 8, 8, 3)).astype("float32")
Y = np.arange(12) % 2
NAMES = ["cat", "dog"]


def one_unit(activation, loss):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, activation="relu")(inputs)
    unit = layers.Dense(1)
    logits = unit(layers.Flatten()(features))
    # Half of the samples on either side.
    unit.bias.assign([-np.median(keras.Model(inputs, logits)(X))])
    model = keras.Model(inputs, layers.Activation(activation)(logits))
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


CLASSIFIERS = {
    "sigmoid": ("sigmoid", keras.losses.BinaryCrossentropy()),
    "logit": (None, keras.losses.BinaryCrossentropy(from_logits=True)),
}


def shown(model, data, *, explainer=ke.Gradient, y=Y, **options):
    """What is written of a model that does not change, and its captions."""
    found, maps = [], []

    class Kept(explainer):
        def explain(self, *args, **kwargs):
            maps.append(super().explain(*args, **kwargs))
            return maps[-1]

    logger = ExplanationLogger(
        Kept, data, writers=found.extend, name="kept", on_error="raise",
        max_outputs=12, **options,
    )  # fmt: skip
    model.fit(X, y, verbose=0, callbacks=[logger])
    return [picture.caption for picture in found], maps[0].attributions


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_the_predicted_class_is_named_and_explained(head):
    model = one_unit(*CLASSIFIERS[head])
    captions, maps = shown(model, (X, Y), labels=NAMES)
    out = np.asarray(model(X), "float64").ravel()
    p = out if head == "sigmoid" else 1 / (1 + np.exp(-out))
    side = (p > 0.5).astype(int)
    assert 0 < side.sum() < len(side)
    for k, text in enumerate(captions):
        share = 100 * max(p[k], 1 - p[k])
        expected = f"predicted: {NAMES[side[k]]}, {share:.1f} %"
        if side[k] != Y[k]:
            expected += f" (true: {NAMES[Y[k]]})"
        assert text == expected
    towards = ke.Gradient(model).explain(X, 0).attributions
    signs = np.where(side == 1, 1, -1).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(maps, signs * towards, atol=1e-6)


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_the_true_class_may_be_either(head):
    model = one_unit(*CLASSIFIERS[head])
    captions, maps = shown(model, (X, Y[:, None]), target="true")
    assert [text.split(",")[0] for text in captions] == [
        f"true: {y}" for y in Y
    ]
    towards = ke.Gradient(model).explain(X, 0).attributions
    signs = np.where(Y == 1, 1, -1).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(maps, signs * towards, atol=1e-6)


def test_an_index_is_that_of_the_unit():
    model = one_unit(*CLASSIFIERS["sigmoid"])
    captions, _ = shown(model, X, target=0, labels=NAMES)
    p = np.asarray(model(X)).ravel()
    for text, share in zip(captions, p, strict=True):
        assert text == f"class: dog, {100 * share:.1f} %"
    captions, _ = shown(model, X, target=2 * ke.Class(0))
    assert all(text.startswith("score ") for text in captions)


@pytest.mark.parametrize("values", [None, Y + 0.5, Y + 2])
def test_a_regression_has_a_score(values):
    model = one_unit(None, "mse")
    data = X if values is None else (X, values)
    captions, _ = shown(model, data)
    for text, score in zip(captions, np.asarray(model(X)).ravel(), strict=True):
        assert text == f"score {score:.3g}"


def test_labels_that_are_no_two_classes():
    logger = ExplanationLogger(
        "saliency", (X, Y + 1), writers=[].extend, target="true"
    )
    model = one_unit(*CLASSIFIERS["sigmoid"])
    with pytest.warns(ExplainWarning, match="two classes apart, 0 and 1"):
        model.fit(X, Y, verbose=0, callbacks=[logger])
