"""LRP as it is used: bad input, models of one's own, traces."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests import zoo


def chain(*stack, shape=(5,)):
    return keras.Sequential([keras.Input(shape), *stack])


def vectors(count=2, size=5):
    x = np.random.default_rng(0).normal(size=(count, size))
    return x.astype("float32")


# Bad rules and options.


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rules.AlphaBeta(2, 2), "alpha - beta = 1.*alpha=2, beta=2"),
        (lambda: rules.AlphaBeta(0, -1), "neither of them negative"),
        (lambda: rules.Gamma(-0.5), "gamma=-0.5.*at least 0"),
        (lambda: rules.Epsilon(0), "stabilizer must be positive.*epsilon=0"),
        (lambda: rules.Epsilon(-1.0), "epsilon=-1"),
        (lambda: rules.Epsilon(np.nan), "epsilon=nan"),
        (lambda: rules.ZPlus(0), "epsilon=0"),
        (lambda: rules.AlphaBeta(epsilon=0), "epsilon=0"),
        (lambda: rules.WSquare(0), "epsilon=0"),
        (lambda: rules.Flat(-1), "epsilon=-1"),
        (lambda: rules.ZBox(1, 0), "below its upper.*low=1, high=0"),
        (lambda: rules.ZBox(1, 1), "low=1, high=1"),
        (lambda: rules.ZBox([0, 2], [1, 1]), "below its upper"),
        (lambda: rules.ZBox(0), "two sides.*low=0, high=None"),
        (lambda: rules.ZBox(np.nan, 1), "must be finite.*low=nan"),
        (lambda: rules.ZBox(0, np.inf), "must be finite.*high=inf"),
        (lambda: rules.ZBox([0, 1], [1, 2, 3]), "fit each other.*\\(3,\\)"),
        (lambda: rules.Attention("flow"), "two ways.*'flow'.*'attn_lrp'"),
        (lambda: rules.relevance_composite(attention="x"), "variant='x'"),
    ],
)
def test_bad_rules(make, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rules.ZBox("a", 1), "are numbers.*low='a', high=1"),
        (lambda: rules.Composite(((rules.linear, 3),)), "is a rule.*: 3"),
        (lambda: rules.Composite((rules.linear,)), "pairs of a selector"),
        (lambda: rules.relevance_composite((rules.linear, rules.Epsilon)),
         "is a rule.*Epsilon"),
        (lambda: rules.relevance_composite(("conv1", rules.Epsilon())),
         "pairs of a selector.*'conv1'.*path"),
        (lambda: rules.relevance_composite((layers.Dense, rules.Epsilon())),
         "pairs of a selector.*Dense.*layer_type"),
        (lambda: rules.relevance_composite(rules.Epsilon()),
         "pairs of a selector"),
    ],
)  # fmt: skip
def test_what_is_no_rule_and_no_selector(make, words):
    with pytest.raises(TypeError, match=f"(?s){words}"):
        make()


def test_bounds_that_do_not_fit_the_inputs():
    model = chain(layers.Dense(3))
    for composite in (
        "epsilon_gamma_box",
        rules.relevance_composite((rules.linear, rules.ZBox(-9, [9.0] * 4))),
    ):
        explainer = ke.LRP(
            model, composite=composite, low=[-9.0] * 4, high=[9.0] * 4
        )
        with pytest.raises(ValueError, match=r"(?s)fit the inputs.*\(4,\)"):
            explainer(vectors(), 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Norm(0),
        lambda: rules.Norm(-1),
        lambda: rules.Bilinear("flow"),
        lambda: rules.Softmax("flow"),
        lambda: rules.Gamma(np.nan),
        lambda: rules.AlphaBeta(np.nan, 0),
    ],
    ids=["zero", "negative", "bilinear", "softmax", "gamma", "alpha"],
)
def test_numbers_and_names_that_no_rule_takes(make):
    with pytest.raises(ValueError, match="Received"):
        make()


def test_bad_options(model):
    with pytest.raises(ValueError, match="(?s)no composite.*'epsilon_plus'"):
        ke.LRP(model, composite="epsilon_pluss")
    for wrong in (3, None, rules.Epsilon()):
        with pytest.raises(TypeError, match="name or a `keras_explain.rules"):
            ke.LRP(model, composite=wrong)
    with pytest.raises(ValueError, match="below its upper.*\n.*low=1, high=0"):
        ke.LRP(model, low=1, high=0)
    with pytest.raises(ValueError, match="(?s)two sides.*low=1, high=None"):
        ke.LRP(model, composite="deep_taylor", low=1)


def test_the_box_rule_needs_a_box(model, images):
    with pytest.raises(ValueError, match="(?s)needs the bounds.*low=None"):
        ke.LRP(model, composite="epsilon_gamma_box")(images, 0)
    with pytest.raises(ValueError, match="(?s)outside the box.*samples \\[0"):
        ke.LRP(model, composite="epsilon_gamma_box", low=-0.1, high=0.1)(
            images, 0
        )


@pytest.mark.parametrize("of", ["probability", "log_probability"])
def test_a_probability_is_no_score_to_divide(model, images, of):
    for target in (ke.Class(0, of=of), ke.Class(1) - ke.Class(0, of=of)):
        with pytest.raises(ValueError, match="(?s)before the softmax.*logit"):
            ke.LRP(model)(images, target)


def test_a_network_without_kernels():
    model = chain(layers.ReLU(name="relu"), layers.Flatten())
    with pytest.raises(ValueError, match="(?s)a kernel.*'relu'.*Gradient"):
        ke.LRP(model)(vectors(), 0)


def test_integers_cannot_be_explained():
    """Whole numbers of a float model can; inputs of integers cannot."""
    model = chain(layers.Dense(3))
    whole = np.array([[1, 2, 3, 4, 5]])
    found = ke.LRP(model, composite="epsilon")(whole, 0)
    np.testing.assert_allclose(
        found, ke.LRP(model, composite="epsilon")(whole.astype("float32"), 0)
    )
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(3)(ops.cast(inputs, "float32")))
    with pytest.raises(ValueError, match="(?s)differentiated.*integers"):
        ke.LRP(model)(whole.astype("int32"), 0)


def broken():
    model = chain(layers.Dense(4, activation="relu"), layers.Dense(3))
    model.layers[0].set_weights([np.full((5, 4), np.nan), np.zeros(4)])
    return model


def test_weights_that_are_not_numbers_are_named():
    with pytest.raises(ValueError, match="weights that are NaN"):
        ke.LRP(broken())(vectors(), 0)


# Traces.


def test_a_trace_shows_the_conservation():
    """In a chain without biases the sums are the score at every layer."""
    model = chain(
        layers.Conv2D(4, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Flatten(name="flat"),
        layers.Dense(3, use_bias=False, activation="softmax", name="out"),
        shape=(8, 8, 3),
    )
    x = zoo.images(2)
    explainer = ke.LRP(model, composite="epsilon")
    trace = explainer.trace(x, 1)
    names = ["inputs", "conv", "norm", "relu", "pool", "flat"]
    assert list(trace.layers)[:6] == names
    np.testing.assert_allclose(
        trace.layers["inputs"], explainer(x, 1), atol=1e-6
    )
    assert trace.layers["conv"].shape == (2, 6, 6, 4)
    for name, sums in trace.sums.items():
        np.testing.assert_allclose(
            sums, trace.scores, rtol=1e-3, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(
        trace.layers["relu"],
        ke.LRP(model, composite="epsilon", layer="relu")(x, 1),
        atol=1e-6,
    )
    assert "pool" in str(trace) and "score" in str(trace)


def test_options_are_kept(model, images, tmp_path):
    explainer = ke.LRP(model, composite="deep_taylor", low=-5, high=5)
    config = json.loads(json.dumps(explainer.get_config()))
    again = ke.LRP.from_config(model, config)
    np.testing.assert_array_equal(again(images, 0), explainer(images, 0))


def test_an_explanation_by_a_composite_of_ones_own_is_saved(
    model, images, tmp_path
):
    composite = rules.relevance_composite((rules.linear, rules.Epsilon()))
    explainer = ke.LRP(model, composite=composite)
    json.dumps(explainer.get_config())
    explainer.explain(images, 0).save(tmp_path / "found.npz")


def test_an_output_of_one_s_own_starts_with_what_it_sees():
    """Of logits it is the target of the same class; probabilities are none."""
    specimen = zoo.build("logits")
    explainer = ke.LRP(specimen.model)
    mine = explainer(specimen.inputs, ke.Output(lambda y: y[:, 3]))
    expected = explainer(specimen.inputs, 3)
    np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-7)
    softmax = ke.LRP(zoo.build("functional").model)
    with pytest.raises(ValueError, match="before the softmax"):
        softmax(specimen.inputs, ke.Output(lambda y: y[:, 3]))


def test_a_number_that_is_a_maximum_receives_nothing():
    """`maximum(x, 0.5)`: where the number wins, relevance is lost to it."""
    inputs = keras.Input((5,))
    x = ops.maximum(layers.Dense(6)(inputs), 0.1)
    model = keras.Model(inputs, layers.Dense(3)(x))
    found = ke.LRP(model, composite="epsilon").explain(3 * vectors(), 1)
    assert np.isfinite(found.attributions).all()
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
