"""Models that no method of rules can explain, each refused by every one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain import rules
from tests.attribution.test_relevance import chain, vectors


def fitted(kind):
    return lambda model: kind(model).fit(vectors(8), verbose=False)


def deep_shap(model):
    return ke.DeepSHAP(model, background=vectors(2))


METHODS = {
    "lrp": ke.LRP,
    "flat": lambda m: ke.LRP(m, composite="epsilon_alpha2_beta1_flat"),
    "behind": lambda m: ke.LRP(m, composite="epsilon", layer="second"),
    "deep_taylor": ke.DeepTaylor,
    "excitation": ke.ExcitationBackprop,
    "contrastive": ke.ContrastiveExcitationBackprop,
    "excitation_behind": lambda m: ke.ExcitationBackprop(m, layer="second"),
    "deep_lift": ke.DeepLIFT,
    "deep_lift_behind": lambda m: ke.DeepLIFT(m, layer="second"),
    "deep_shap": deep_shap,
    "smooth": lambda m: ke.SmoothGrad(ke.LRP(m), num_samples=2),
    "squares": lambda m: ke.SquareGrad(ke.DeepLIFT(m), num_samples=2),
    "twice": lambda m: ke.VarGrad(
        ke.SmoothGrad(ke.ExcitationBackprop(m), num_samples=2), num_samples=2
    ),
    "pattern_net": fitted(ke.PatternNet),
    "pattern_attribution": fitted(ke.PatternAttribution),
}


def model():
    return chain(
        layers.Dense(4, activation="relu", name="first"),
        layers.Dense(4, activation="relu", name="second"),
        layers.Dense(3),
    )


def broken(value=np.nan):
    made = model()
    kernel, bias = made.layers[0].get_weights()
    kernel[1, 2] = value
    made.layers[0].set_weights([kernel, bias])
    return made


@pytest.mark.parametrize("method", METHODS)
def test_one_weight_that_is_nan(method):
    """Also where rules do not look at it, or would hide it."""
    with pytest.raises(ValueError, match="(?s)weights that are NaN.*'first'"):
        METHODS[method](broken())(vectors(), 0)


class Part(layers.Layer):
    """Cuts the last value off."""

    def call(self, x):
        return x[:, :-1]


@pytest.mark.parametrize("method", ["lrp", "smooth", "squares", "twice"])
def test_a_weight_that_is_nan_and_out_of_sight(method):
    """The score is a number: nothing else would tell. Also in a wrapper."""
    mine = chain(layers.Dense(4, name="first"), Part(), layers.Dense(3))
    kernel, bias = mine.layers[0].get_weights()
    kernel[1, -1] = np.nan
    mine.layers[0].set_weights([kernel, bias])
    assert np.isfinite(mine(vectors())).all()
    explainer = METHODS[method](mine)
    for run in (explainer, explainer.explain):
        with pytest.raises(ValueError, match="(?s)weights that are NaN.*'fir"):
            run(vectors(), 0)


@pytest.mark.parametrize(
    "method", ["lrp", "deep_lift", "deep_shap", "smooth", "twice"]
)
def test_a_model_that_diverges_later(method):
    """Weights are looked at again by `explain`, and by `trace`."""
    mine = model()
    explainer = METHODS[method](mine)
    explainer(vectors(), 0)
    mine.set_weights(broken(np.inf).get_weights())
    with pytest.raises(ValueError, match="weights that are NaN"):
        explainer.explain(vectors(), 0, verbose=False)
    if method == "lrp":
        with pytest.raises(ValueError, match="weights that are NaN"):
            explainer.trace(vectors(), 0)


def test_infinity_that_is_meant_and_large_weights_pass():
    class Masked(layers.Layer):
        def build(self, shape):
            self.offset = self.add_weight(
                shape=(4,), trainable=False, initializer="zeros"
            )

        def call(self, x):
            return x

    mine = chain(layers.Dense(4), Masked(), layers.Dense(3))
    # Of the first two the sum is infinite.
    mine.layers[1].set_weights([np.array([3e38, 3e38, 0, -np.inf])])
    assert np.abs(ke.LRP(mine)(vectors(), 0)).max() > 0


def inner(behind):
    """A classifier with its softmax left on, and more behind it."""
    softmax = layers.Dense(3, activation="softmax", name="probabilities")
    return chain(layers.Dense(4, activation="relu"), softmax, behind)


def ensemble():
    x = inputs = keras.Input((5,))
    both = [layers.Dense(3, activation="softmax")(x) for _ in range(2)]
    return keras.Model(inputs, layers.Dense(2)(layers.Average()(both)))


@pytest.mark.parametrize("method", ["lrp", "deep_taylor"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: inner(layers.Dense(2)),
        lambda: inner(layers.Rescaling(2.0)),
        lambda: chain(inner(layers.Dense(2)), layers.Dense(2)),
        ensemble,
    ],
    ids=["dense", "rescaling", "nested", "ensemble"],
)
def test_a_softmax_that_all_would_end_at(method, make):
    with pytest.raises(ValueError, match="(?s)end at a softmax.*softmax in '"):
        METHODS[method](make())(vectors(), 0)


@pytest.mark.filterwarnings("ignore:The map of")  # of a unit that is dead
def test_a_softmax_that_does_no_harm():
    """Before the layer, before the unit, beside the way, or with a rule."""
    keras.utils.set_random_seed(0)
    model, x = inner(layers.Dense(3, name="out")), vectors()
    assert np.abs(ke.LRP(model, layer="probabilities")(x, 0)).max() > 0
    hidden = ke.Neuron(model.layers[0].name, (1,))
    ke.LRP(model)(x, hidden)
    own = rules.relevance_composite(
        (rules.linear, rules.Epsilon()), attention="attn_lrp"
    )
    assert np.abs(ke.LRP(model, composite=own)(x, 0)).max() > 0
    a = b = keras.Input((5,))
    b = layers.Dense(5, activation="softmax")(b)
    gated = keras.Model(a, layers.Dense(3)(layers.Multiply()([a, b])))
    assert np.abs(ke.LRP(gated)(x, 0)).max() > 0


@pytest.mark.parametrize(
    "method", ["lrp", "deep_taylor", "excitation", "contrastive",
               "pattern_net", "pattern_attribution"],
)  # fmt: skip
def test_a_network_without_kernels(method):
    mine = chain(layers.ReLU(name="relu"), layers.Flatten())
    words = "(?s)a kernel.*'relu'.*Gradient"
    with pytest.raises(ValueError, match=words):
        METHODS[method](mine)(vectors(), 0)


@pytest.mark.parametrize("method", [ke.DeepLIFT, deep_shap])
def test_differences_need_no_kernel(method):
    mine = chain(layers.ReLU(name="relu"), layers.Flatten())
    found = method(mine).explain(np.abs(vectors()) + 5, 0, verbose=False)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", [ke.DeepLIFT, ke.IntegratedGradients])
def test_a_baseline_that_is_no_number(method, value):
    for baseline in (value, np.array([0, 0, value, 0, 0])):
        with pytest.raises(ValueError, match="baseline holds NaN"):
            method(model(), baseline=baseline)(vectors(), 0)


@pytest.mark.parametrize("method", [ke.DeepSHAP, ke.GradientSHAP])
def test_a_background_that_is_no_number(method):
    rows = vectors(3)
    rows[1, 2] = np.nan
    with pytest.raises(ValueError, match="background holds NaN"):
        method(model(), background=rows)(vectors(), 0)
