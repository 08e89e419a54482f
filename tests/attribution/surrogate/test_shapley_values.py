"""Exact and sampled Shapley values, against the definition and the laws."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from keras import ops

from keras_explain.attribution.surrogate import (
    KernelSHAP,
    ShapleySampling,
    ShapleyValues,
    estimates,
)
from keras_explain.attribution.surrogate.coalitions import permutations
from tests import zoo
from tests.attribution.surrogate.games import (
    X,
    bent,
    game,
    golden,
    layered,
    random_game,
    shapley,
    value_of,
)
from tests.marking import slow_but

ALL = [ShapleyValues, KernelSHAP, ShapleySampling]
# The same laws hold for both, by other ways.
EXACT = slow_but({KernelSHAP}, ALL[:2])
_GOLDEN = (
    pathlib.Path(__file__).parents[2]
    / "reference"
    / "data"
    / "surrogate_golden.json"
)
ROWS = np.array([[0.0, 0, 0, 0], [1, 1, 0, 2]], "float32")


@pytest.mark.parametrize("cls", ALL[:2])
@pytest.mark.parametrize("rows", [np.zeros((1, 4)), ROWS])
def test_the_definition(cls, rows):
    found = cls(game(bent), fill=rows, batch_size=5)(X)
    for x, phi in zip(X, found, strict=True):
        expected = shapley(value_of(bent, x.astype("float64"), rows), 4)
        np.testing.assert_allclose(phi, expected, atol=2e-6)


@pytest.mark.parametrize("cls", EXACT)
def test_golden_numbers(cls):
    """Those of the authors, who look at all coalitions as well."""
    numbers = json.loads(_GOLDEN.read_text())["shap_kernel"]
    rows, x = np.array(numbers["background"]), np.array(numbers["x"])
    found = cls(game(golden), fill=rows).explain(x.astype("float32"))
    for key in ("phi", "exact_phi"):
        np.testing.assert_allclose(found.attributions, numbers[key], atol=1e-6)
    np.testing.assert_allclose(
        found.details["baseline_score"], numbers["expected_value"], atol=1e-6
    )


@pytest.mark.parametrize("cls", EXACT)
def test_numbers_of_captum(cls):
    x = np.array([[20.0, 50, 30], [2, 10, 3]], "float32")
    model = layered()
    expected = [[230 / 3, 590 / 3, 350 / 3], [7, 32.5, 10.5]]
    np.testing.assert_allclose(cls(model)(x, 0), expected, rtol=1e-5)
    joined = cls(model, segmenter=np.array([0, 0, 1]))(x[:1], 0)
    np.testing.assert_allclose(joined, [[275, 275, 115]], rtol=1e-5)
    moved = cls(model, fill=np.array([10.0, 20, 10]))(x[:1], 0)
    np.testing.assert_allclose(moved, [[40, 120, 80]], rtol=1e-5)


@pytest.mark.parametrize("name", ["tabular", "inputs_dict"])
def test_kernel_shap_is_exact_where_all_coalitions_are_seen(name):
    specimen = zoo.build(name)
    options = {"segmenter": "grid", "batch_size": 1024}
    if name == "inputs_dict":  # blocks of 2 x 2, and the four values
        quarters = np.arange(8)[:, None] // 4 * 2 + np.arange(8) // 4
        options["segmenter"] = {"image": quarters, "vector": np.arange(4, 8)}
    exact = ShapleyValues(specimen.model, **options).explain(specimen.inputs, 1)
    kernel = KernelSHAP(specimen.model, **options).explain(specimen.inputs, 1)
    a, b = exact.attributions, kernel.attributions
    if name == "tabular":
        a, b = {"x": a}, {"x": b}
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-6)
        assert np.abs(a[key]).max() > 1e-2
    errors = kernel.details["standard_errors"]
    assert all(not np.any(e) for e in (
        errors.values() if isinstance(errors, dict) else [errors]))  # fmt: skip


@pytest.mark.parametrize("cls", ALL)
def test_local_accuracy(cls):
    specimen = zoo.build("functional")
    found = cls(specimen.model, segmenter="grid").explain(specimen.inputs, 3)
    maps, segments = found.attributions, found.details["segments"]
    assert np.abs(found.delta).max() < 1e-6 * np.abs(found.scores).max()
    for k in range(2):
        values = [maps[k][segments[k] == j] for j in np.unique(segments[k])]
        assert len(values) == found.details["num_features"][k]
        assert all(np.ptp(v) == 0 for v in values)
        total = sum(v.flat[0] for v in values)
        expected = found.scores[k] - found.details["baseline_score"][k]
        np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", ALL)
def test_missingness_and_dummy(cls):
    """A value equal to its fill gets nothing; nor one that is not used."""
    x = X.copy()
    x[:, 1] = 0.7

    def unused(x):  # all but the third
        return ops.tanh(x[:, 0] * x[:, 1]) + x[:, 3] * x[:, 1] + x[:, 0]

    fill = np.array([0.0, 0.7, 0, 0.2])
    found = cls(game(unused), fill=fill)(x).numpy()
    scale = np.abs(found).max()
    assert np.abs(found[:, 1:3]).max() < 1e-6 * scale
    assert np.abs(found[:, [0, 3]]).min() > 1e-3 * scale


@pytest.mark.parametrize("cls", EXACT)
def test_symmetry_linearity_and_consistency(cls):
    def even(x):  # the same in the first two
        return ops.tanh(x[:, 0] + x[:, 1]) * x[:, 2] + x[:, 0] * x[:, 1]

    x = np.abs(X)
    x[:, 1] = x[:, 0]
    phi = cls(game(even))(x).numpy()
    np.testing.assert_allclose(phi[:, 0], phi[:, 1], atol=1e-6)

    other = cls(game(bent))(x).numpy()
    both = cls(game(lambda x: 2 * even(x) - bent(x)))(x).numpy()
    np.testing.assert_allclose(both, 2 * phi - other, atol=1e-5)

    # With this the first value adds more whatever else is shown.
    more = cls(game(lambda x: even(x) + x[:, 0] * x[:, 3]))(x).numpy()
    assert np.all(more[:, 0] > phi[:, 0] + 1e-3)


def test_exact_formula_against_all_orders():
    score = random_game(5)
    masks = np.arange(32)[:, None] >> np.arange(5) & 1
    scores = np.stack([score(masks), score(masks) ** 2], 1)
    found = estimates.exact(scores + 1e6, 5)
    for column in range(2):

        def value(shown, column=column):
            return scores[sum(1 << j for j in shown), column]

        np.testing.assert_allclose(found[column], shapley(value, 5), atol=1e-8)


def test_sampling_is_the_mean_over_its_orders():
    """The walk along each order and its reverse, step by step."""
    number, m = 3, 4
    places = permutations(m, number, 5)
    gains = []
    for place in places:
        order = [int(j) for j in np.argsort(place)]
        pair = []
        for walk in (order, order[::-1]):
            value, found = value_of(bent, X[0].astype("float64"),
                                    np.zeros((1, m))), np.zeros(m)  # fmt: skip
            for step, j in enumerate(walk):
                found[j] = value(frozenset(walk[: step + 1])) - value(
                    frozenset(walk[:step])
                )
            pair.append(found)
        gains.append(np.mean(pair, 0))
    explainer = ShapleySampling(
        game(bent), num_permutations=number, seed=5, batch_size=7
    )
    explanation = explainer.explain(X)
    np.testing.assert_allclose(
        explanation.attributions[0], np.mean(gains, 0), atol=1e-5
    )
    np.testing.assert_allclose(
        explanation.details["standard_errors"][0],
        np.std(gains, 0, ddof=1) / np.sqrt(number),
        atol=1e-5,
    )


def chains(score, places):
    m = places.shape[1]
    rows = [np.zeros(m), np.ones(m)]
    for place in places:
        rows += [place < s for s in range(1, m)]
        rows += [place >= m - s for s in range(1, m)]
    return score(np.array(rows, float))[:, None]


def test_standard_errors_of_sampling_cover_the_truth():
    score, m = random_game(8), 8
    masks = np.arange(2**m)[:, None] >> np.arange(m) & 1
    truth = estimates.exact(score(masks)[:, None], m)[0]
    mean = {}
    for number in (16, 64):
        hits, errors = [], []
        for seed in range(60):
            places = permutations(m, number, seed)
            found, error = estimates.walks(places, chains(score, places))
            hits.append(np.abs(found[0] - truth) < 2 * error[0])
            errors.append(error[0])
        assert 0.9 < np.mean(hits) < 0.99
        mean[number] = np.sqrt(np.mean(np.square(errors)))
    assert 1.8 < mean[16] / mean[64] < 2.2


def test_too_many_features_for_all_coalitions():
    specimen = zoo.build("functional")
    with pytest.raises(ValueError, match=r"(?s)up to 16 features.*64 features"
                       r".*KernelSHAP or ShapleySampling"):  # fmt: skip
        ShapleyValues(specimen.model, segmenter="each")(specimen.inputs)


def test_refused_options(model):
    with pytest.raises(ValueError, match="at least two orders"):
        ShapleySampling(model, num_permutations=1)
    with pytest.raises(ValueError, match="a coalition and its complement"):
        KernelSHAP(model, num_samples=1)
    with pytest.raises(ValueError, match="at least one row"):
        ShapleyValues(model, batch_size=0)


@pytest.mark.parametrize("cls", ALL)
def test_one_feature_gets_everything(cls, model, images):
    found = cls(model, segmenter=np.zeros((8, 8), int)).explain(images, 1)
    expected = found.scores - found.details["baseline_score"]
    np.testing.assert_allclose(
        found.attributions[:, 0, 0, 0], expected, rtol=1e-4
    )
