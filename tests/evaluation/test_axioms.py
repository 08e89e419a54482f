"""Laws of attributions: on methods that keep them and that break them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain
from keras_explain.evaluation import (
    completeness,
    implementation_invariance,
    linearity,
    sensitivity_a,
    sensitivity_b,
    symmetry,
)
from tests import zoo
from tests.evaluation import nets


def test_completeness_is_a_number():
    """A peer compares floats with ==, so that exact attributions fail."""
    w = np.random.default_rng(0).normal(size=40).astype("float32")
    x = np.random.default_rng(1).normal(size=(6, 40)).astype("float32")
    explainer = keras_explain.InputXGradient(nets.linear(w))
    found = completeness(explainer, x, batch_size=4)
    assert 0 <= found.mean < 1e-5 and found.details["relative"].max() < 1e-4
    # Of a doubled map the residual is the score itself.
    twice = completeness(lambda i, t: 2 * i * w, x, model=explainer.model)
    np.testing.assert_allclose(
        twice.per_sample, np.abs(x @ w), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(twice.details["relative"], 1, rtol=1e-3)


def test_completeness_takes_the_baseline_of_the_explainer():
    specimen = zoo.build("tabular")
    baseline = np.linspace(0, 1, 5).astype("float32")
    explainer = keras_explain.IntegratedGradients(
        specimen.model, baseline=baseline
    )
    found = completeness(explainer, specimen.inputs)
    assert found.details["relative"].max() < 0.05
    wrong = completeness(explainer, specimen.inputs, baseline=0.0)
    assert wrong.mean > 5 * found.mean
    np.testing.assert_allclose(
        found.per_sample, np.abs(explainer.explain(specimen.inputs).delta),
        atol=1e-5,
    )  # fmt: skip
    each = np.stack([baseline, -baseline])
    rows = keras_explain.IntegratedGradients(specimen.model, baseline=each)
    assert completeness(rows, specimen.inputs, batch_size=1).mean < 1e-2
    with pytest.raises(ValueError, match="baseline does not fit"):
        completeness(explainer, specimen.inputs, baseline=np.ones(3))


def test_completeness_needs_an_attribution_for_each_value():
    model, x = zoo.build("functional").model, zoo.images(2)
    cams = (keras_explain.GradCAM(model),
            keras_explain.GradCAM(model, layer="conv2"),
            keras_explain.SmoothGrad(keras_explain.GradCAM(model)))  # fmt: skip
    for explainer in cams:
        with pytest.raises(ValueError, match="Completeness adds up one"):
            completeness(explainer, x)
    with pytest.raises(ValueError, match="Completeness adds up one"):
        completeness(lambda i, t: i[:, ::2, ::2], x, model=model)
    sums = nets.total((8, 8, 3))
    for maps in (lambda i, t: i, lambda i, t: i.sum(-1)):
        assert completeness(maps, x, model=sums).mean < 1e-4
    tokens = zoo.build("lstm")
    explainer = keras_explain.Gradient(tokens.model, layer="embedding")
    assert completeness(explainer, tokens.inputs).n_valid > 0


def folded(model):
    """The same function, written without its batch normalization."""
    conv, norm, dense = (model.get_layer(n) for n in ("conv", "norm", "out"))
    gamma, beta, mean, var = norm.get_weights()
    factor = gamma / np.sqrt(var + norm.epsilon)
    kernel, bias = conv.get_weights()
    x = inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(3, 3, name="conv")(x)
    # ReLU(x) = (x + |x|) / 2
    x = (x + ops.abs(x)) / 2
    x = layers.Dense(2, name="out")(layers.GlobalAveragePooling2D()(x))
    other = keras.Model(inputs, x)
    other.get_layer("conv").set_weights(
        [kernel * factor, (bias - mean) * factor + beta]
    )
    other.get_layer("out").set_weights(dense.get_weights())
    return other


def test_implementation_invariance():
    x = inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(3, 3, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(2, name="out")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    random = np.random.default_rng(0)
    model.get_layer("norm").set_weights(
        [random.uniform(0.5, 2, 3) for _ in range(4)]
    )
    other, data = folded(model), zoo.images(3, 6, 1)
    first, second = (keras_explain.Gradient(m) for m in (model, other))
    found = implementation_invariance(first, data, other=second, batch_size=2)
    assert found.mean < 1e-4
    # It is the error, and not a yes: a map that is 10 % larger says so.
    larger = implementation_invariance(
        first, data, other=lambda i, t: 1.1 * np.asarray(second(i, t))
    )
    np.testing.assert_allclose(larger.per_sample, 0.1 / 1.1, rtol=1e-3)
    other.get_layer("out").set_weights([np.ones((3, 2)), np.ones(2)])
    with pytest.raises(ValueError, match="do not compute the same"):
        implementation_invariance(first, data, other=second)
    with pytest.raises(ValueError, match="compared value by value"):
        implementation_invariance(first, data, other=lambda i, t: i[..., 0])


def test_a_map_of_zeros_is_the_worst_error_and_not_left_out():
    """Divided by the first map alone it would be infinite, so not valid."""
    x = zoo.images(3, 6, 1)

    def nothing(inputs, target):
        return np.zeros_like(inputs)

    def something(inputs, target):
        return np.asarray(inputs)

    for pair in ((nothing, something), (something, nothing)):
        found = implementation_invariance(pair[0], x, other=pair[1])
        assert found.per_sample.tolist() == [1, 1, 1] and found.n_valid == 3
    same = implementation_invariance(nothing, x, other=nothing)
    assert same.per_sample.tolist() == [0, 0, 0]


def test_linearity():
    model, x = zoo.build("functional").model, zoo.images(3)
    gradient = keras_explain.Gradient(model)
    options = {"other": 2, "factors": (2.0, -1.5)}
    found = linearity(gradient, x, batch_size=2, **options)
    assert found.mean < 1e-4
    # The magnitude of a gradient is not linear.
    broken = linearity(keras_explain.Saliency(model), x, **options)
    assert broken.mean > 0.1

    def called(inputs, target):
        return np.asarray(gradient(inputs, target))

    assert linearity(called, x, 1, model=model, **options).mean < 1e-4
    with pytest.raises(ValueError, match="`factors` are two numbers"):
        linearity(gradient, x, other=1, factors=(1.0,))


def saturated():
    """f = 1 - ReLU(1 - x): flat behind 1."""
    return nets.of((1,), lambda x: 1 - ops.relu(1 - x))


def test_sensitivity_a():
    model, x = saturated(), np.array([[2.0], [0.5], [0.0]], "float32")
    broken = sensitivity_a(keras_explain.Gradient(model), x)
    np.testing.assert_array_equal(broken.per_sample, [0, 1, np.nan])
    np.testing.assert_array_equal(broken.details["tried"], [1, 1, 0])
    kept = sensitivity_a(keras_explain.IntegratedGradients(model), x)
    np.testing.assert_array_equal(kept.per_sample, [1, 1, np.nan])
    specimen = zoo.build("inputs_dict")
    explainer = keras_explain.InputXGradient(specimen.model)
    found = sensitivity_a(explainer, specimen.inputs, num_features=4)
    alone = sensitivity_a(explainer, specimen.inputs, num_features=4,
                          batch_size=1)  # fmt: skip
    np.testing.assert_array_equal(found.per_sample, alone.per_sample)


def test_sensitivity_b():
    model = nets.linear([1.0, 0.0, -2.0, 0.0])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    found = sensitivity_b(keras_explain.Gradient(model), x)
    np.testing.assert_array_equal(found.per_sample, 0)
    np.testing.assert_array_equal(found.details["dummies"], 2)
    itself = sensitivity_b(lambda i, t: i, x, model=model, batch_size=2)
    np.testing.assert_allclose(
        itself.per_sample,
        np.abs(x[:, [1, 3]]).max(1) / np.abs(x).max(1),
        rtol=1e-6,
    )
    # A model of which everything counts has none.
    full = sensitivity_b(lambda i, t: i, x, model=nets.linear([1, 1, 1, 1]))
    assert full.n_valid == 0
    picture = sensitivity_b(
        keras_explain.Gradient(zoo.build("functional").model), zoo.images(2),
        num_features=3, num_draws=2,
    )  # fmt: skip
    assert picture.details["dummies"].tolist() == [0, 0]
    tokens = zoo.build("lstm")
    with pytest.raises(ValueError, match="Features are given random values"):
        sensitivity_b(lambda i, t: i, tokens.inputs, model=tokens.model)


def test_symmetry():
    model = nets.of((3,), lambda x: x[:, :1] * x[:, 1:2] + 3 * x[:, 2:])
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    explainer = keras_explain.IntegratedGradients(model)
    found = symmetry(explainer, x, pairs=[(0, 1)], batch_size=3)
    np.testing.assert_allclose(found.per_sample, 0, atol=1e-5)
    # The third does not count as the first does.
    assert symmetry(explainer, x, pairs=[(0, 2)]).n_valid == 0
    first = symmetry(
        lambda i, t: i * [1, 2, 0], x, pairs=[(0, 1), (0, 2)], model=model
    )
    np.testing.assert_allclose(first.per_sample, 0.5)
    rows = symmetry(
        keras_explain.Gradient(nets.total((3, 3, 2))), zoo.images(2, 3, 2),
        pairs=[((0, 1), (2, 2)), (0, 8)],
    )  # fmt: skip
    np.testing.assert_allclose(rows.per_sample, 0, atol=1e-6)
    for pairs in ([(0, 3)], [(0,)], [((0, 1), 2)], []):
        with pytest.raises(ValueError, match="pair"):
            symmetry(explainer, x, pairs=pairs)
    specimen = zoo.build("inputs_dict")
    with pytest.raises(ValueError, match="those of one input"):
        symmetry(keras_explain.Gradient(specimen.model), specimen.inputs,
                 pairs=[(0, 1)])  # fmt: skip
