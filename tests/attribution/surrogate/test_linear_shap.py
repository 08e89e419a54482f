"""LinearSHAP: independent and correlated, and what is not affine."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from keras_explain.attribution.surrogate import LinearSHAP, gaussian
from tests import zoo
from tests.attribution.surrogate.games import shapley


def linear(weights, bias=1.0):
    weights = np.asarray(weights, "float32")
    model = keras.Sequential(
        [keras.Input((len(weights),)), keras.layers.Dense(weights.shape[-1])]
    )
    model.set_weights([weights, np.full(weights.shape[-1], bias)])
    return model


def correlated_rows(covariance, number=4000):
    """Rows of mean 0 whose sample covariance is as asked."""
    covariance = np.asarray(covariance, float)
    rows = np.random.default_rng(0).normal(size=(number, len(covariance)))
    rows -= rows.mean(0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(rows.T @ rows)).T
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return white @ root.T * np.sqrt(number - 1)


ONE = [[1.0], [0.0], [0.0]]
PAIR = [[1, 0.999999, 0], [0.999999, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(("weights", "covariance", "dependence", "expected"), [
    (ONE, PAIR, "correlated", [0.5, 0.5, 0]),
    (ONE, PAIR, "independent", [1, 0, 0]),
    (ONE, np.eye(3), "correlated", [1, 0, 0]),
])  # fmt: skip
def test_tied_pair(weights, covariance, dependence, expected):
    explainer = LinearSHAP(
        linear(weights),
        background=correlated_rows(covariance),
        feature_dependence=dependence,
    )
    found = explainer.explain(np.ones((1, 3), "float32"))
    np.testing.assert_allclose(found.attributions, [expected], atol=2e-3)
    assert np.abs(found.delta).max() < 1e-5


def test_tied_triple():
    covariance = np.ones((4, 4))
    covariance[3] = covariance[:, 3] = 0
    covariance[3, 3] = 1
    explainer = LinearSHAP(
        linear([[0.5], [0.8], [-0.3], [0.0]]),
        background=correlated_rows(covariance),
        feature_dependence="correlated",
    )
    found = explainer(np.ones((1, 4), "float32"))
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 1 / 3, 0]], atol=1e-4)


def test_independent_is_weights_times_distance():
    noise = np.random.default_rng(1)
    weights = noise.normal(size=(5, 3)).astype("float32")
    rows, x = noise.normal(size=(7, 5)), noise.normal(size=(2, 5))
    found = LinearSHAP(linear(weights), background=rows).explain(x)
    for k in range(2):
        expected = weights[:, found.target[k]] * (x[k] - rows.mean(0))
        np.testing.assert_allclose(
            found.attributions[k], expected, rtol=1e-4, atol=1e-5
        )
    scores = rows @ weights + 1
    total = found.scores - scores.mean(0)[found.target]
    np.testing.assert_allclose(
        found.attributions.sum(1), total, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def conditional(weights, away, covariance):
    """E[w x | x_S] - E[w x] by the formula of the normal distribution."""

    def value(shown):
        s = sorted(shown)
        r = [k for k in range(len(weights)) if k not in shown]
        if not s:
            return 0.0
        inverse = np.linalg.inv(covariance[np.ix_(s, s)])
        rest = covariance[np.ix_(r, s)] @ inverse @ away[s]
        return weights[s] @ away[s] + weights[r] @ rest

    return value


def test_correlated_is_the_mean_over_orders():
    noise = np.random.default_rng(2)
    rows = noise.normal(size=(40, 5)) @ noise.normal(size=(5, 5)) + 3
    weights, x = noise.normal(size=(5, 1)), noise.normal(size=(2, 5))
    found = LinearSHAP(
        linear(weights), background=rows, feature_dependence="correlated"
    ).explain(x)
    covariance = np.cov(rows.T)
    for k in range(2):
        away = x[k].astype("float32") - rows.mean(0)
        value = conditional(weights[:, 0], away, covariance)
        expected = shapley(value, 5)
        np.testing.assert_allclose(
            found.attributions[k], expected, rtol=2e-3, atol=2e-3
        )
    np.testing.assert_allclose(found.delta, 0, atol=1e-4)
    assert not found.details["standard_errors"].any()


def test_more_values_are_sampled(monkeypatch):
    noise = np.random.default_rng(3)
    root = noise.normal(size=(6, 6))
    covariance = root @ root.T
    weights, away = noise.normal(size=(2, 1, 6))
    exact, none = gaussian.shapley(weights, away, covariance, 25, 0)
    assert not none.any()
    monkeypatch.setattr(gaussian, "MOST_EXACT", 5)
    found, errors = gaussian.shapley(weights, away, covariance, 200, 0)
    assert np.all(errors > 0)
    assert np.all(np.abs(found - exact) < 4 * errors)
    np.testing.assert_allclose(found.sum(), exact.sum())


def test_the_linear_end_of_a_network():
    specimen = zoo.build("functional")
    rows = zoo.images(5)[2:]
    found = LinearSHAP(specimen.model, background=rows, layer="conv2").explain(
        specimen.inputs, 3
    )
    assert found.attributions.shape == (2, 8, 8, 6)
    kernel = np.asarray(specimen.model.get_layer("logits").get_weights()[0])
    first = keras.Model(
        specimen.model.inputs, specimen.model.get_layer("conv2").output
    )
    away = first.predict(specimen.inputs, verbose=0) - first.predict(
        rows, verbose=0
    ).mean(0)
    np.testing.assert_allclose(
        found.attributions, away * kernel[:, 3] / 64, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_several_inputs(kind):
    a, b = keras.Input((3,), name="a"), keras.Input((2, 2), name="b")
    flat = keras.layers.Flatten()(b)
    y = keras.layers.Dense(2)(keras.layers.Concatenate()([a, flat]))
    inputs = {"a": a, "b": b} if kind == "dict" else [a, b]
    model = keras.Model(inputs, y)
    noise = np.random.default_rng(0)
    rows = {"a": noise.normal(size=(9, 3)), "b": noise.normal(size=(9, 2, 2))}
    x = {"a": noise.normal(size=(2, 3)), "b": noise.normal(size=(2, 2, 2))}
    if kind == "list":
        rows, x = list(rows.values()), list(x.values())
    for dependence in ("independent", "correlated"):
        found = LinearSHAP(
            model, background=rows, feature_dependence=dependence
        ).explain(x, 1)
        parts = found.attributions
        parts = list(parts.values()) if kind == "dict" else parts
        assert [p.shape for p in parts] == [(2, 3), (2, 2, 2)]
        np.testing.assert_allclose(found.delta, 0, atol=1e-4)


@pytest.mark.parametrize("name", ["tabular", "series", "inputs_dict"])
def test_scores_that_bend_are_refused(name):
    specimen = zoo.build(name)
    with pytest.raises(ValueError, match=r"(?s)affine.*Received: a score that "
                       r"bends, at samples \[0, 1\].*KernelSHAP"):  # fmt: skip
        LinearSHAP(specimen.model)(specimen.inputs)


def test_refused_backgrounds_and_options():
    model, x = linear(ONE), np.ones((1, 3), "float32")
    with pytest.raises(ValueError, match="no such dep.*\n.*'corr'.*\n.*'corre"):
        LinearSHAP(model, feature_dependence="corr")
    with pytest.raises(ValueError, match="at least two orders"):
        LinearSHAP(model, num_permutations=1)
    with pytest.raises(ValueError, match="does not fit inputs.*\n.*\\(5, 4\\)"):
        LinearSHAP(model, background=np.zeros((5, 4)))(x)
    one = LinearSHAP(model, background=x * 0, feature_dependence="correlated")
    with pytest.raises(ValueError, match="several rows.*\n.*1 row"):
        one(x)
    with pytest.raises(ValueError, match="background equals the input"):
        LinearSHAP(model, background=x)(x)
    wide = linear(np.ones((300, 1)))
    many = LinearSHAP(
        wide,
        background=np.eye(300)[:4],
        feature_dependence="correlated",
    )
    with pytest.raises(ValueError, match="too large.*\n.*300 values"):
        many(np.ones((1, 300)))


def test_orders_are_counted():
    """Three tied values, by hand: all 6 orders."""
    value = conditional(
        np.array([1.0, 0.0]), np.ones(2), np.array([[1, 0.5], [0.5, 1]])
    )
    orders = list(itertools.permutations(range(2)))
    assert len(orders) == 2
    np.testing.assert_allclose(shapley(value, 2), [0.75, 0.25])
    found, _ = gaussian.shapley(
        np.array([[1.0, 0.0]]), np.ones((1, 2)),
        np.array([[1, 0.5], [0.5, 1]]), 2, 0,
    )  # fmt: skip
    np.testing.assert_allclose(found, [[0.75, 0.25]])
