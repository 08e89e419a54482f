"""Sensitivity-n, infidelity and max-sensitivity, against their formulas."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain
from keras_explain.engine import sampling
from keras_explain.evaluation import (
    infidelity,
    max_sensitivity,
    sensitivity_n,
)
from tests import zoo
from tests.evaluation import nets
from tests.marking import slow_but

W = np.random.default_rng(5).normal(size=12).astype("float32")


def contributions(inputs, target):
    return inputs * W


def three_layers():
    """Two hidden layers; all units but one are on for positive inputs."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(3, activation="relu"),
            layers.Dense(4, activation="relu"),
            layers.Dense(2),
        ]
    )
    ones = np.ones
    model.set_weights(
        [np.eye(3), np.zeros(3), ones((3, 4)), np.array([-10.0, 1, 1, 1]),
         ones((4, 2)), np.array([-1.0, 1.0])]
    )  # fmt: skip
    return model


def test_additive_models_have_sensitivity_one():
    """A peer gives exact attributions 0.829."""
    x = np.random.default_rng(0).normal(size=(5, 12)).astype("float32")
    model = nets.linear(W)
    found = sensitivity_n(contributions, x, model=model, subsets=30,
                          sizes=[1, 2, 5, 9, 11], batch_size=64)  # fmt: skip
    np.testing.assert_allclose(found.curve["per_sample"], 1, atol=1e-5)
    opposite = sensitivity_n(lambda i, t: -i * W, x, model=model, subsets=30)
    assert opposite.mean == pytest.approx(-1, abs=1e-5)
    # With all positions nothing varies, and one alone says nothing.
    whole = sensitivity_n(contributions, x, model=model, sizes=[12])
    assert whole.n_valid == 0 and np.isnan(whole.mean)
    constant = sensitivity_n(
        lambda i, t: np.ones_like(i), x, model=model, sizes=[3]
    )
    assert constant.n_valid == 0


def test_sensitivity_n_of_pictures():
    """Channels of a pixel go together, and their attributions are summed."""
    x = zoo.images(4, 4)
    model = nets.total((4, 4, 3))
    found = sensitivity_n(lambda i, t: i, x, model=model, sizes=3, subsets=20)
    np.testing.assert_allclose(found.per_sample, 1, atol=1e-5)
    np.testing.assert_array_equal(found.curve["x"], [1, 4, 13])
    net = zoo.build("functional").model
    x = zoo.images(4)
    explainer = keras_explain.Gradient(net)
    options = {"sizes": [4, 16], "subsets": 8}
    whole = sensitivity_n(explainer, x, **options)
    parts = sensitivity_n(explainer, x, batch_size=3, **options)
    np.testing.assert_allclose(whole.per_sample, parts.per_sample, atol=1e-3)
    other = sensitivity_n(explainer, x, seed=1, **options)
    assert np.all(whole.per_sample != other.per_sample)


def test_sensitivity_n_against_numpy():
    """Exactly n positions go; the predicted class of the whole is scored."""
    specimen = zoo.build("tabular")
    model, x = specimen.model, specimen.inputs
    a = np.random.default_rng(3).normal(size=x.shape).astype("float32")
    found = sensitivity_n(nets.given(a), x, model=model, sizes=[1, 3],
                          subsets=6, seed=4, of="probability")  # fmt: skip
    drawn = sampling.normal(tf.range(12), 4, [5], 0).numpy()
    clean = np.asarray(model(x))
    for k, index in enumerate(clean.argmax(1)):
        for column, size in enumerate((1, 3)):
            sums, drops = [], []
            for row in drawn[6 * column : 6 * column + 6]:
                gone = np.isin(np.arange(5), np.argsort(row)[:size])
                after = np.asarray(model(np.where(gone, 0, x[k])[None]))
                sums.append(a[k][gone].sum())
                drops.append(clean[k, index] - after[0, index])
            assert found.curve["per_sample"][k, column] == pytest.approx(
                np.corrcoef(sums, drops)[0, 1], abs=1e-3
            )


def test_sensitivity_n_refuses():
    x, model = np.ones((2, 12), "float32"), nets.linear(W)
    for sizes in ([0], [13], [1.5], []):
        with pytest.raises(
            ValueError, match="`sizes` are numbers of positions"
        ):
            sensitivity_n(contributions, x, model=model, sizes=sizes)
    with pytest.raises(
        ValueError, match="`subsets` is an integer of at least 2"
    ):
        sensitivity_n(contributions, x, model=model, subsets=1)
    with pytest.raises(TypeError, match="no such setting"):
        sensitivity_n(contributions, x, model=model, reduce="magnitude")


def test_infidelity_of_a_region_that_is_linear():
    """f = relu(relu(x1) - 1 - relu(x2)) at (3, 1)."""
    model = nets.of(
        (2,),
        lambda x: ops.relu(ops.relu(x[:, :1]) - 1 - ops.relu(x[:, 1:])),
    )
    x = np.array([[3.0, 1.0]] * 3, "float32")
    explainer = keras_explain.Gradient(model)
    found = infidelity(explainer, x, noise_stddev=0.02, num_samples=20)
    np.testing.assert_allclose(found.per_sample, 0, atol=1e-10)
    far = infidelity(explainer, x, noise_stddev=2.0, num_samples=20)
    assert far.mean > 1e-2
    assert max_sensitivity(explainer, x).mean == 0


@pytest.mark.parametrize("size", slow_but((2,), (1, 2, 3)))
def test_infidelity_of_removed_features(size):
    """Contributions are exact while no unit changes its side."""
    model, x = three_layers(), np.array([[1.0, 2.5, 3.3]], "float32")
    explainer = keras_explain.IntegratedGradients(model)

    def removed(inputs, number):
        key = tf.stack([7, number])
        draw = tf.random.stateless_uniform(tf.shape(inputs)[1:], key)
        gone = tf.cast(tf.argsort(tf.argsort(draw)) < size, inputs.dtype)
        return gone, inputs * (1 - gone)

    def larger(inputs, target):
        return 100 * np.asarray(explainer(inputs, target))

    options = {"perturbation": removed, "num_samples": 6, "model": model}
    found = infidelity(explainer, x, 0, **options)
    assert found.mean == pytest.approx(0, abs=1e-8)
    assert infidelity(larger, x, 0, **options).mean > 1
    fitted = infidelity(larger, x, 0, normalize=True, **options)
    assert fitted.mean == pytest.approx(0, abs=1e-8)


def test_infidelity_of_everything_is_the_completeness_error():
    """With all values removed it is the square of the residual."""
    model = zoo.build("tabular").model
    x = zoo.build("tabular").inputs
    explainer = keras_explain.IntegratedGradients(
        model, baseline=1.0, num_steps=3
    )
    found = infidelity(
        explainer, x, num_samples=2,
        perturbation=lambda i, n: (tf.ones_like(i), tf.ones_like(i)),
    )  # fmt: skip
    delta = explainer.explain(x).delta.astype("float64")
    np.testing.assert_allclose(found.per_sample, delta**2, rtol=1e-4)
    assert np.any(delta != 0)


def test_infidelity_against_numpy():
    model = nets.linear(W)
    x = np.random.default_rng(1).normal(size=(3, 12)).astype("float32")
    a = np.random.default_rng(2).normal(size=(3, 12)).astype("float32")
    seen = []

    def noise(inputs, number):
        key = tf.stack([3, number])
        return 0.1 * tf.random.stateless_normal(tf.shape(inputs)[1:], key)

    for number in range(5):
        seen.append(noise(x, number).numpy())
    draws = np.array(seen, "float64")
    expected = ((draws @ (a - W).T.astype("float64")) ** 2).mean(0)
    found = infidelity(nets.given(a), x, perturbation=noise, num_samples=5,
                       model=model, batch_size=2)  # fmt: skip
    np.testing.assert_allclose(found.per_sample, expected, rtol=1e-3)
    exact = infidelity(lambda i, t: i * W, x, perturbation="removal",
                       model=model)  # fmt: skip
    np.testing.assert_allclose(exact.per_sample, 0, atol=1e-9)
    slope = infidelity(lambda i, t: 0 * i + W, x, model=model,
                       perturbation="noisy_baseline")  # fmt: skip
    np.testing.assert_allclose(slope.per_sample, 0, atol=1e-9)
    for kind in ("noise",):
        runs = [
            infidelity(nets.given(a), x, perturbation=kind, model=model,
                       num_samples=7, batch_size=size).per_sample
            for size in (3, 2)
        ]  # fmt: skip
        np.testing.assert_allclose(*runs, rtol=1e-3)


def test_infidelity_refuses():
    specimen = zoo.build("functional")
    with pytest.raises(ValueError, match="an attribution for each input value"):
        infidelity(keras_explain.GradCAM(specimen.model), specimen.inputs)
    tokens = zoo.build("lstm")
    explainer = keras_explain.Gradient(tokens.model, layer="embedding")
    with pytest.raises(ValueError, match="Infidelity adds noise"):
        infidelity(explainer, tokens.inputs)
    with pytest.raises(ValueError, match="Noise is added to the inputs"):
        max_sensitivity(explainer, tokens.inputs)
    explainer = keras_explain.Gradient(specimen.model)
    with pytest.raises(ValueError, match="`perturbation` is one of"):
        infidelity(explainer, specimen.inputs, perturbation="square")
    with pytest.raises(ValueError, match="Noise is a positive share"):
        infidelity(explainer, specimen.inputs, noise_stddev=0)
    with pytest.raises(ValueError, match="structure of the inputs"):
        infidelity(explainer, specimen.inputs,
                   perturbation=lambda i, n: [i, i])  # fmt: skip
    with pytest.raises(ValueError, match="`num_samples` is an integer"):
        infidelity(explainer, specimen.inputs, num_samples=0)
    with pytest.raises(ValueError, match="fit a single perturbation"):
        infidelity(explainer, specimen.inputs, num_samples=1, normalize=True)


def test_several_inputs():
    specimen = zoo.build("inputs_dict")
    explainer = keras_explain.Gradient(specimen.model)
    found = infidelity(explainer, specimen.inputs, num_samples=3)
    assert found.n_valid == 2
    assert max_sensitivity(explainer, specimen.inputs).mean > 0
    assert sensitivity_n(
        explainer, specimen.inputs, sizes=[5], subsets=6
    ).n_valid == 2  # fmt: skip


def test_max_sensitivity_against_numpy():
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")

    def square(inputs, target):
        return np.square(inputs)

    found = max_sensitivity(square, x, radius=0.1, num_samples=4, seed=2)
    largest = np.zeros(3)
    for number in range(4):
        noise = np.random.default_rng([2, number, 0]).uniform(-1, 1, 6)
        moved = x + 0.1 * np.ptp(x, axis=1, keepdims=True) * noise
        change = np.linalg.norm(moved**2 - x**2, axis=1)
        largest = np.maximum(largest, change / np.linalg.norm(x**2, axis=1))
    np.testing.assert_allclose(found.per_sample, largest, rtol=1e-4)
    again = max_sensitivity(square, x, radius=0.1, num_samples=4, seed=2,
                            batch_size=1)  # fmt: skip
    np.testing.assert_array_equal(found.per_sample, again.per_sample)
    # The noise is relative to the range.
    scaled = max_sensitivity(square, 50 * x, radius=0.1, num_samples=4, seed=2)
    np.testing.assert_allclose(found.per_sample, scaled.per_sample, rtol=1e-4)
    zero = max_sensitivity(lambda i, t: 0 * i, x)
    np.testing.assert_array_equal(zero.per_sample, 0)
