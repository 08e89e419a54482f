"""The coalitions of KernelSHAP, its regression and its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_explain.attribution.surrogate import KernelSHAP, estimates
from keras_explain.attribution.surrogate.coalitions import (
    kernel_plan,
    subsets,
)
from tests.attribution.surrogate.games import random_game


@pytest.mark.parametrize(("features", "size"), [(5, 0), (5, 2), (6, 6), (7, 3)])
def test_subsets(features, size):
    found = subsets(features, size)
    assert len(found) == math.comb(features, size)
    assert len(np.unique(found, axis=0)) == len(found)
    assert np.all(found.sum(1) == size)


@pytest.mark.parametrize("features", [2, 3, 6, 9])
def test_all_coalitions_where_they_fit(features):
    plan = kernel_plan(features, 2**features - 2, 0)
    assert len(np.unique(plan.masks, axis=0)) == 2**features
    assert len(plan.masks) == 2**features and not len(plan.counts)
    size = plan.masks[2:].sum(1)
    for s, weight in zip(size, plan.weights[2:], strict=True):
        s, m = int(s), features
        expected = (m - 1) / (math.comb(m, s) * s * (m - s))
        np.testing.assert_allclose(weight, expected)


@pytest.mark.parametrize(
    ("features", "budget"), [(12, 300), (30, 2108), (200, 500), (9, 500)]
)
def test_drawn_coalitions(features, budget):
    plan = kernel_plan(features, budget, 3)
    masks, m = plan.masks, features
    assert np.all(masks[0] == 0) and np.all(masks[1] == 1)
    # Each once, within the budget, and with its complement.
    assert len(np.unique(masks, axis=0)) == len(masks)
    assert budget - 1 <= len(masks) - 2 <= budget
    pairs = masks[plan.drawn :].reshape(-1, 2, m)
    assert len(pairs) == len(plan.counts) > 0
    np.testing.assert_array_equal(pairs[:, 0], 1 - pairs[:, 1])
    weights = plan.weights[plan.drawn :].reshape(-1, 2)
    np.testing.assert_allclose(weights[:, 0], weights[:, 1])
    np.testing.assert_allclose(
        weights[:, 0] / plan.counts, weights[0, 0] / plan.counts[0]
    )
    # All weights together are those of the kernel.
    whole = sum((m - 1) / (s * (m - s)) for s in range(1, m))
    np.testing.assert_allclose(plan.weights.sum(), whole)
    again = kernel_plan.__wrapped__(features, budget, 3)
    np.testing.assert_array_equal(again.masks, masks)
    other = kernel_plan(features, budget, 4)
    assert other.masks.shape != masks.shape or np.any(other.masks != masks)


def test_draws_follow_the_kernel():
    """Over many seeds each coalition weighs what the kernel gives it."""
    m, total = 6, {}
    number = 3000
    for seed in range(number):
        plan = kernel_plan.__wrapped__(m, 14, seed)
        for row, weight in zip(plan.masks[2:], plan.weights[2:], strict=True):
            key = tuple(row)
            total[key] = total.get(key, 0) + weight / number
    for row, weight in total.items():
        s = sum(row)
        expected = (m - 1) / (math.comb(m, s) * s * (m - s))
        # Each is drawn some two hundred times.
        np.testing.assert_allclose(weight, expected, rtol=0.35)
    by_size = {s: sum(w for row, w in total.items() if sum(row) == s)
               for s in range(1, m)}  # fmt: skip
    for s, weight in by_size.items():
        np.testing.assert_allclose(weight, (m - 1) / (s * (m - s)), rtol=0.05)


def constrained(plan, scores):
    """The same problem, one equation for the multiplier."""
    z, w = plan.masks[2:].astype(float), plan.weights[2:]
    y, total = scores[2:] - scores[0], scores[1] - scores[0]
    m = z.shape[1]
    system = np.zeros((m + 1, m + 1))
    system[:m, :m] = 2 * np.einsum("n,ni,nj->ij", w, z, z)
    system[:m, m] = system[m, :m] = 1
    right = np.append(2 * np.einsum("n,ni,n->i", w, z, y), total)
    return np.linalg.solve(system, right)[:m]


@pytest.mark.parametrize("budget", [60, 200, 1022])
def test_regression_against_lagrange(budget):
    m = 10
    plan = kernel_plan(m, budget, 1)
    scores = np.stack(
        [random_game(m, k)(plan.masks) + 1e4 * k for k in range(3)], 1
    )
    values, errors = estimates.kernel(plan, scores)
    for k in range(3):
        np.testing.assert_allclose(
            values[k], constrained(plan, scores[:, k]), atol=1e-7
        )
    np.testing.assert_allclose(values.sum(1), scores[1] - scores[0], rtol=1e-9)
    assert np.all((errors > 1e-6) == (budget < 1022))


def test_fewer_coalitions_than_features_still_add_up():
    plan = kernel_plan(40, 10, 0)
    scores = random_game(40)(plan.masks)[:, None]
    values, errors = estimates.kernel(plan, scores)
    np.testing.assert_allclose(values.sum(1), scores[1] - scores[0], rtol=1e-9)
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(errors))


def test_standard_errors_cover_the_truth_and_fall():
    m = 12
    score = random_game(m, 2)
    masks = np.arange(2**m)[:, None] >> np.arange(m) & 1
    truth = estimates.exact(score(masks)[:, None], m)[0]
    mean, spread = {}, {}
    for budget in (200, 800):
        found, errors = [], []
        for seed in range(60):
            plan = kernel_plan.__wrapped__(m, budget, seed)
            value, error = estimates.kernel(plan, score(plan.masks)[:, None])
            found.append(value[0])
            errors.append(error[0])
        hits = np.abs(np.array(found) - truth) < 2 * np.array(errors)
        assert 0.88 < np.mean(hits) < 0.995
        mean[budget] = np.sqrt(np.mean(np.square(errors)))
        spread[budget] = np.sqrt(np.mean(np.var(found, 0)))
        assert 0.8 < mean[budget] / spread[budget] < 1.25
    # Twice as small with four times the draws.
    assert 1.6 < mean[200] / mean[800] < 2.6


def test_seeds_and_default_budget(model, images):
    first, again, other = (
        KernelSHAP(model, segmenter="each", num_samples=80, seed=s)(images, 1)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2 * np.abs(first).max()
    assert len(KernelSHAP(model)._plan(64).masks) == 2 + 2 * 64 + 2048
