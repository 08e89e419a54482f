"""From scores of coalitions to a value for each feature, in float64 NumPy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from keras_explain.attribution.surrogate.coalitions import KernelPlan


class Solution(NamedTuple):
    """What a method found, in NumPy, a row for each sample.

    Attributes:
        values: `(batch, features)`.
        errors: Their standard errors.
        facts: `(batch, facts)`, a number for each name in `_facts`.
    """

    values: np.ndarray
    errors: np.ndarray
    facts: np.ndarray


def complete(
    values: np.ndarray, errors: np.ndarray, empty: np.ndarray, full: np.ndarray
) -> Solution:
    """Returns values that should add up, with what is left over.

    Its facts are `"delta"` and `"baseline_score"`.

    Args:
        values: `(batch, features)`.
        errors: Their standard errors.
        empty: `(batch,)` scores with no feature shown.
        full: With all.
    """
    # As they are handed out, in single precision.
    sums = values.astype(np.float32).sum(1, dtype=np.float64)
    delta = sums - (full - empty)
    return Solution(values, errors, np.stack([delta, empty], 1))


def exact(scores: np.ndarray, features: int) -> np.ndarray:
    """Shapley values of games of which every coalition is known.

        phi_j = sum_{S without j} s! (M - s - 1)! / M! (v(S + j) - v(S))

    Args:
        scores: `(2^M, games)`; bit j of a row's number says whether feature
            j is in.
        features: M.

    Returns:
        `(games, features)`.
    """
    m = features
    v = scores - scores[0]  # so that large constants do not round
    number = np.arange(2**m)
    found = np.empty((scores.shape[1], m))
    size = np.array([bin(k).count("1") for k in number])
    share = [
        math.factorial(s) * math.factorial(m - s - 1) / math.factorial(m)
        for s in range(m)
    ]
    for j in range(m):
        without = number[(number >> j) & 1 == 0]
        weights = np.take(share, size[without])
        gain = v[without | (1 << j)] - v[without]
        found[:, j] = weights @ gain
    return found


def kernel(
    plan: KernelPlan, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solves the constrained weighted least squares of KernelSHAP.

        min_phi sum_S w(S) (v(S) - v(0) - sum_{j in S} phi_j)^2
        such that sum_j phi_j = v(all) - v(0)

    What the features share equally is set aside; what is left sums to zero,
    so that the constraint holds exactly. The standard errors are those of
    the draws: the sandwich covariance of the solution, with one term for
    each pair of complements that was drawn.

    Args:
        plan: The coalitions.
        scores: `(coalitions, games)`.

    Returns:
        The values and their standard errors, `(games, features)` each.
    """
    m = plan.masks.shape[1]
    total = scores[1] - scores[0]
    if m == 1:
        return total[:, np.newaxis], np.zeros((len(total), 1))
    z = plan.masks[2:].astype(np.float64)
    size = z.mean(1, keepdims=True)
    centered = z - size
    weighted = centered * plan.weights[2:, np.newaxis]
    inverse = np.linalg.pinv(centered.T @ weighted, rcond=1e-11, hermitian=True)
    target = scores[2:] - scores[0] - size * total
    away = inverse @ (weighted.T @ target)  # (features, games)
    errors = np.zeros_like(away)
    draws = plan.counts.sum()
    if draws:
        start = plan.drawn - 2
        rest = (target - centered @ away)[start:]
        gap = rest[::2] - rest[1::2]  # (pairs, games)
        lever = centered[start::2] @ inverse * (plan.mass / 2)
        share = plan.counts / draws
        for game in range(gap.shape[1]):
            terms = lever * gap[:, game, np.newaxis]
            terms = terms - share @ terms
            variance = share @ np.square(terms) / max(draws - 1, 1)
            errors[:, game] = np.sqrt(variance)
    return (total / m + away).T, errors.T


def walks(
    places: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Averages what each feature adds on its turn, over random orders.

    Args:
        places: `(orders, features)`, the place of each feature.
        scores: `(2 + orders * 2 * (features - 1), games)`: of no and of all
            features, then for each order of the sets of 1, 2, ... first and
            of 1, 2, ... last features.

    Returns:
        The values and their standard errors, `(games, features)` each. An
        order and its reverse are one draw.
    """
    orders, m = places.shape
    games = scores.shape[1]
    between = scores[2:].reshape(orders, 2, m - 1, games)
    ends = np.broadcast_to(
        scores[:2, np.newaxis, np.newaxis, np.newaxis],
        (2, orders, 2, 1, games),
    )
    path = np.concatenate([ends[0], between, ends[1]], 2)
    gains = np.diff(path, axis=2)  # (orders, 2, features, games)
    forth = np.take_along_axis(gains[:, 0], places[..., np.newaxis], 1)
    turned = m - 1 - places
    back = np.take_along_axis(gains[:, 1], turned[..., np.newaxis], 1)
    each = (forth + back) / 2
    errors = each.std(0, ddof=1) / math.sqrt(orders)
    return each.mean(0).T, errors.T
