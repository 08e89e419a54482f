"""LIME against a slow statement of its regression."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from keras_explain.attribution.perturbation import Occlusion
from keras_explain.attribution.surrogate import (
    LIME,
    KernelSHAP,
    LinearSurrogate,
    ShapleySampling,
)
from keras_explain.attribution.surrogate.coalitions import neighbors
from tests import zoo
from tests.attribution.surrogate.games import X, bent, game, random_game


def draws(features, number, seed):
    """The neighbors before equal ones are joined."""
    rows = np.random.default_rng([seed, features]).integers(
        0, 2, (number, features), np.uint8
    )
    rows[0] = 1
    return rows.astype(float)


def proximity(z, kernel, width):
    found = []
    for row in z:
        one = np.ones(len(row))
        if kernel == "l2":
            d = np.linalg.norm(one - row)
        elif row.any():
            d = 1 - row @ one / (np.linalg.norm(row) * np.linalg.norm(one))
        else:
            d = 1.0
        found.append(np.sqrt(np.exp(-(d**2) / width**2)))
    return np.array(found)


def ridge(z, y, w, alpha=1.0):
    """Weighted ridge regression; the intercept is not penalized."""
    full = np.concatenate([z, np.ones((len(z), 1))], 1)
    inner = full.T @ (w[:, None] * full)
    inner[:-1, :-1] += alpha * np.eye(z.shape[1])
    return np.linalg.solve(inner, full.T @ (w * y)), inner, full


def test_neighbors_are_joined():
    rows, counts = neighbors(4, 300, 2)
    assert len(rows) == len(np.unique(rows, axis=0)) <= 16
    assert np.all(rows[0] == 1) and counts.sum() == 300
    for row, count in zip(rows, counts, strict=True):
        same = np.all(draws(4, 300, 2) == row, axis=1)
        assert same.sum() == count


@pytest.mark.parametrize(("kernel", "width", "given"), [
    ("cosine", 0.25, None), ("cosine", 0.6, 0.6),
    ("l2", 0.75 * 2.0, None), ("l2", 0.4, 0.4),
])  # fmt: skip
def test_regression(kernel, width, given):
    explainer = LIME(
        game(bent),
        num_samples=60,
        surrogate={"kernel": kernel, "kernel_width": given, "seed": 4},
    )
    found = explainer.explain(X)
    z = draws(4, 60, 4)
    w = proximity(z, kernel, width)
    for k, x in enumerate(X):
        y = np.asarray(bent((z * x).astype("float64")))
        solution, inner, full = ridge(z, y, w)
        np.testing.assert_allclose(
            found.attributions[k], solution[:-1], rtol=1e-4, atol=1e-5
        )
        rest = y - full @ solution
        mean = np.average(y, weights=w)
        r2 = 1 - np.sum(w * rest**2) / np.sum(w * (y - mean) ** 2)
        np.testing.assert_allclose(found.details["r2"][k], r2, atol=1e-5)
        np.testing.assert_allclose(
            found.details["intercept"][k], solution[-1], atol=1e-5
        )
        middle = np.einsum("n,ni,nj->ij", (w * rest) ** 2, full, full)
        covariance = np.linalg.inv(inner) @ middle @ np.linalg.inv(inner)
        np.testing.assert_allclose(
            found.details["standard_errors"][k],
            np.sqrt(np.diag(covariance))[:-1],
            rtol=1e-3, atol=1e-6,
        )  # fmt: skip


def test_sparse_by_forward_selection():
    m, score = 8, random_game(8, 3)
    z, counts = neighbors(m, 100, 0)
    y = score(z)
    surrogate = LinearSurrogate(num_features=3)
    found = surrogate.fit(z, counts, y)
    w = counts * proximity(z.astype(float), "cosine", 0.25)
    used: list[int] = []
    for _ in range(3):
        left = [k for k in range(m) if k not in used]
        errors = []
        for k in left:
            columns = z[:, [*used, k]].astype(float)
            solution, _, full = ridge(columns, y, w, alpha=1e-10)
            errors.append(np.sum(w * (y - full @ solution) ** 2))
        used.append(left[int(np.argmin(errors))])
    assert set(np.flatnonzero(found.coefficients)) == set(used)
    assert set(np.flatnonzero(found.errors)) == set(used)
    expected, _, _ = ridge(z[:, sorted(used)].astype(float), y, w)
    np.testing.assert_allclose(
        found.coefficients[sorted(used)], expected[:-1], rtol=1e-6
    )


def test_sparse_by_highest_weights():
    m, score = 12, random_game(12, 3)
    z, counts = neighbors(m, 200, 0)
    y = score(z)
    found = LinearSurrogate(num_features=7).fit(z, counts, y)
    w = counts * proximity(z.astype(float), "cosine", 0.25)
    ranking, _, _ = ridge(z.astype(float), y, w, alpha=0.01)
    used = set(np.argsort(-np.abs(ranking[:-1]))[:7])
    assert set(np.flatnonzero(found.coefficients)) == used
    every = LinearSurrogate(num_features=50).fit(z, counts, y)
    assert np.all(every.coefficients != 0)


def test_standard_errors_fall_with_the_draws():
    m, score = 10, random_game(10, 5)
    size, found = {}, {}
    for number in (200, 800):
        fits = []
        for seed in range(40):
            z, counts = neighbors.__wrapped__(m, number, seed)
            fits.append(LinearSurrogate().fit(z, counts, score(z)))
        size[number] = np.sqrt(np.mean([f.errors**2 for f in fits]))
        found[number] = np.sqrt(
            np.mean(np.var([f.coefficients for f in fits], 0))
        )
        assert 0.75 < size[number] / found[number] < 1.3
    assert 1.6 < size[200] / size[800] < 2.4


def test_linear_scores_are_found():
    """The hidden value is the mean of each segment; a linear score fits."""
    specimen = zoo.build("functional")
    found = LIME(specimen.model, num_samples=300, segmenter="grid").explain(
        specimen.inputs
    )
    assert np.all(found.details["r2"] <= 1)
    assert found.details["num_features"].tolist() == [25, 25]

    exact = LIME(game(lambda x: 30 * x[:, 0] - 20 * x[:, 2]), num_samples=900)
    explanation = exact.explain(X[:1])
    np.testing.assert_allclose(
        explanation.attributions, [[30, 0, -60, 0]], atol=1.5
    )
    assert explanation.details["r2"][0] > 0.99


def test_config_round_trip(model):
    made = LIME(model, surrogate=LinearSurrogate(num_features=3, kernel="l2"))
    config = json.loads(json.dumps(made.get_config()))
    again = LIME.from_config(model, config)
    assert again.surrogate == made.surrogate
    assert again.get_config() == config


def test_refused_options(model):
    with pytest.raises(ValueError, match="no such kernel.*\n.*'cos'.*\n.*'cos"):
        LIME(model, surrogate={"kernel": "cos"})
    with pytest.raises(ValueError, match="at least one feature.*\n.*=0"):
        LinearSurrogate(num_features=0)
    with pytest.raises(ValueError, match="kernel is positive.*\n.*=-1"):
        LinearSurrogate(kernel_width=-1)
    with pytest.raises(ValueError, match="at least two neighbors.*\n.*=1"):
        LIME(model, num_samples=1)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda m: LIME(m, num_samples="8"), TypeError, "`num_samples` is an"),
        (lambda m: KernelSHAP(m, num_samples=8.5), TypeError,
         "`num_samples` is an integer"),
        (lambda m: KernelSHAP(m, seed=1.5), ValueError, "A seed is a"),
        (lambda m: ShapleySampling(m, num_permutations=2.5), TypeError,
         "`num_permutations` is an integer"),
        (lambda m: LIME(m, surrogate={"num_feature": 3}), TypeError,
         "no such option.*\n.*num_feature=3.*\n.*'num_features'"),
        (lambda m: LIME(m, surrogate={"seed": -1}), ValueError, "A seed is a"),
    ],
)  # fmt: skip
def test_options_of_another_type_are_refused(model, make, error, text):
    with pytest.raises(error, match=text):
        make(model)


@pytest.mark.parametrize("method", [LIME, Occlusion], ids=lambda m: m.__name__)
def test_a_fill_that_is_no_token(method):
    tokens = zoo.build("lstm")
    (embedding,) = [
        layer
        for layer in tokens.model.layers
        if isinstance(layer, keras.layers.Embedding)
    ]
    for fill in (embedding.input_dim, -1):
        with pytest.raises(ValueError, match="no token of the vocabulary"):
            method(tokens.model, fill=fill)(tokens.inputs)
