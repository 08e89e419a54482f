"""What DeepLIFT keeps whatever the network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.attribution.deeplift import DeepLIFT
from tests import zoo
from tests.laws.difference_nets import (
    NETS,
    RANDOM,
    net,
    pictures,
    randomized,
    score,
    shapley,
    sums,
)
from tests.marking import slow_but

pytestmark = RANDOM
# The others are long to trace.
QUICK = set(NETS) - {"sequence", "attention", "kinks", "masked_attention"}
RULES = ["rescale", "reveal_cancel", "genomics_default"]


@pytest.mark.parametrize("name", slow_but(QUICK, NETS))
def test_contributions_sum_to_the_difference(name):
    model = randomized(NETS[name]())
    x, r = pictures(), pictures(4)[3]
    expected = score(model, x, 1) - score(model, r[None], 1)
    found = {}
    for rule in RULES:
        explanation = DeepLIFT(model, baseline=r, rule=rule).explain(x, 1)
        found[rule] = explanation.attributions
        flow = np.abs(explanation.attributions).sum((1, 2, 3))
        error = np.abs(sums(explanation) - expected)
        assert np.all(error < 2e-5 * np.maximum(flow, np.abs(expected)))
        assert np.all(np.abs(explanation.delta - sums(explanation) + expected)
                      < 1e-5 * np.maximum(flow, 1e-4))  # fmt: skip
    # Not the gradient: that is far off.
    plain = ke.Gradient(model)(x, 1) * (x - r)
    missing = np.abs(np.sum(plain, (1, 2, 3)) - expected)
    assert np.any(missing > 1e-3 * np.abs(expected))


@pytest.mark.parametrize("name", slow_but(QUICK, NETS))
def test_one_sample_is_explained_whatever_the_others(name):
    """Others may equal the baseline, in part or in all but a pixel."""
    model = randomized(NETS[name]())
    x, r = pictures(), pictures(4)[3]
    x[1, :4] = r[:4]
    x[2] = r
    x[2, 0, 0, 0] += 1
    each = np.stack([r] * 3)
    explain = DeepLIFT(model, baseline=r)
    together = explain(x, 1)
    apart = np.concatenate([explain(x[k : k + 1], 1) for k in range(3)])
    scale = np.abs(apart).max()
    np.testing.assert_allclose(together, apart, atol=2e-5 * scale)
    # A row for each sample says the same as one for all.
    rows = DeepLIFT(model, baseline=each)(x, 1)
    np.testing.assert_allclose(together, rows, atol=2e-5 * scale)
    by_function = DeepLIFT(model, baseline=lambda x: 0 * x + r)(x, 1)
    np.testing.assert_allclose(together, by_function, atol=2e-5 * scale)


@pytest.mark.parametrize(
    "name", ["functional", "subclassed", "sigmoid", "logits", "ops_nodes"]
)
@pytest.mark.parametrize("of", ["probability", "log_probability"])
def test_probabilities_are_divided_as_well(name, of):
    specimen = zoo.build(name)
    model, x = randomized(specimen.model, 2.0), specimen.inputs
    index = 0 if specimen.head == "sigmoid" else 3
    target = ke.Class(index, of=of)
    explanation = DeepLIFT(model, baseline=0.2).explain(x, target)
    start = score(model, np.full_like(x, 0.2), target)
    expected = score(model, x, target) - start
    flow = np.abs(explanation.attributions).sum((1, 2, 3))
    np.testing.assert_allclose(
        sums(explanation), expected, atol=1e-5 * flow.max()
    )


def test_probabilities_far_from_each_other():
    """Logits 100 apart: a common shift alone would give 0 / 0."""
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, activation="softmax")]
    )
    model.set_weights([np.eye(3) * 100, np.zeros(3)])
    x, r = np.array([[1.0, 0.1, -1]]), np.array([-1.0, 0.5, 1])
    explanation = DeepLIFT(model, baseline=r).explain(
        x, ke.Class(1, of="probability") - ke.Class(2, of="probability")
    )
    assert np.all(np.isfinite(explanation.attributions))
    np.testing.assert_allclose(sums(explanation), [1.0], atol=1e-5)


@pytest.mark.parametrize(
    "target",
    [
        ke.LayerActivation("conv2"),
        ke.Direction("conv2", np.arange(6.0), cosine_power=1),
        ke.Neuron("conv2", (2, 3, 1)),
        ke.Channel("conv2", 4),
        ke.Class(2) - ke.Class(3) * 2,
        ke.Output(lambda y: tf.reduce_sum(y**2, 1)),
    ],
    ids=lambda t: type(t).__name__,
)
@pytest.mark.parametrize("rule", RULES)
def test_other_targets(target, rule):
    model = randomized(zoo.build("functional").model)
    x = zoo.images(2)
    explanation = DeepLIFT(model, baseline=0.3, rule=rule).explain(x, target)
    start = score(model, np.full_like(x, 0.3), target)
    expected = score(model, x, target) - start
    np.testing.assert_allclose(sums(explanation), expected, rtol=2e-4)


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_and_layer(name):
    specimen = zoo.build(name)
    randomized(specimen.model)
    index = 0 if specimen.head == "sigmoid" else 3
    layer = specimen.feature_map or "hidden"
    for options in ({}, {"layer": layer}):
        explanation = DeepLIFT(specimen.model, **options).explain(
            specimen.inputs, index
        )
        flow = sums(explanation) - explanation.delta
        assert np.all(np.abs(explanation.delta) < 1e-4 * np.abs(flow) + 1e-6)
    if specimen.integers:
        tokens = DeepLIFT(specimen.model).explain(specimen.inputs, index)
        assert tokens.attributions.shape == specimen.inputs.shape
        padding = specimen.inputs == 0
        np.testing.assert_array_equal(tokens.attributions[padding], 0)


def test_what_passes_the_layer_by_stays():
    x = inputs = keras.Input((4,))
    y = layers.Dense(3, activation="tanh", name="side")(x)
    z = layers.Dense(3, activation="softplus", name="other")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(y * z)))
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for baseline in (0.5, np.full((3, 4), 0.5)):
        explanation = DeepLIFT(model, baseline=baseline, layer="side").explain(
            data, 0
        )
        side = keras.Model(inputs, [y, z])
        y1, z1 = side(data)
        y0, _ = side(np.full((3, 4), 0.5, "float32"))
        kernel, _ = model.layers[-1].weights
        expected = (y1 - y0) * z1 * kernel[:, 0]
        np.testing.assert_allclose(
            explanation.attributions, expected, atol=1e-6
        )
        np.testing.assert_allclose(explanation.delta, 0, atol=1e-6)


def test_equal_values_have_the_gradient_for_a_multiplier():
    """Two inputs that cancel in a hidden unit are told apart."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(1, activation="relu", use_bias=False),
            layers.Dense(1),
        ]
    )
    model.layers[0].set_weights([np.array([[1.0], [-1.0]])])
    model.layers[1].set_weights([np.array([[2.0]]), np.zeros(1)])
    found = DeepLIFT(model, baseline=np.array([2.0, 1]))(np.array([[3.0, 2]]))
    np.testing.assert_array_equal(found, [[2, -2]])


def test_a_product_and_a_maximum_as_shapley_says():
    one, two = keras.Input((1,)), keras.Input((1,))
    product = keras.Model([one, two], layers.Multiply()([one, two]))
    x, r = np.array([3.0, -2.0]), np.array([0.5, 4.0])
    found = DeepLIFT(product, baseline=[r[:1], r[1:]])(
        [x[None, :1], x[None, 1:]], 0
    )
    expected = shapley(np.prod, x, r)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_inside_a_wrapper(rule):
    """Without noise the mean over noisy copies is the thing itself."""
    model = randomized(zoo.build("functional").model)
    x = zoo.images(2)
    for baseline in (0.1, x[::-1] + 1):
        inner = DeepLIFT(model, baseline=baseline, rule=rule)
        outer = ke.SmoothGrad(inner, num_samples=3, noise_stddev=0.0)
        np.testing.assert_allclose(outer(x, 3), inner(x, 3), atol=1e-6)


def test_simple_windows_are_no_exception():
    """Two ways to the same numbers, ties and lost rows included."""
    x, r = np.round(pictures()), np.round(pictures(4)[3])
    found = []
    for form in ("VALID", "valid"):
        pool = layers.MaxPooling2D((2, 4))
        model = randomized(net(pool, layers.Conv2D(2, 2), shape=(9, 9, 3)))
        pool.padding = form  # in capitals the windows are not seen as simple
        pictures_ = [np.pad(t, [(0, 0)] * (t.ndim - 3) + [(0, 1)] * 2
                            + [(0, 0)]) for t in (x, r)]  # fmt: skip
        found.append(DeepLIFT(model, baseline=pictures_[1])(pictures_[0], 1))
        rows = np.stack([pictures_[1]] * 3)
        found.append(DeepLIFT(model, baseline=rows)(pictures_[0], 1))
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-6)
