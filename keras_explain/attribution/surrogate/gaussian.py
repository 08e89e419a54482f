"""The game of an affine score whose values follow a normal distribution."""

from __future__ import annotations

import numpy as np

from keras_explain.attribution.surrogate import coalitions, estimates

# Up to so many values all sets are looked at; beyond, random orders.
MOST_EXACT = 10
# Eigenvalues below this share of the largest are taken for zero.
_RANK = 1e-6


def shapley(
    weights: np.ndarray,
    away: np.ndarray,
    covariance: np.ndarray,
    num_permutations: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values of v(S) = E[w x + b | x_S], x ~ N(mu, C).

        v(S) - v(0) = w C[:, S] C[S, S]^+ (x_S - mu_S)

    Args:
        weights: w of each sample, `(batch, values)`.
        away: x - mu.
        covariance: C.
        num_permutations: Number of orders where there are too many values
            to look at all sets.
        seed: Of the orders.

    Returns:
        The values and their standard errors, `(batch, values)`.
    """
    size = len(covariance)
    reach = weights @ covariance  # w C of each sample

    def score(shown: np.ndarray) -> np.ndarray:
        chosen = np.flatnonzero(shown)
        if not len(chosen):
            return np.zeros(len(weights))
        block = covariance[np.ix_(chosen, chosen)]
        inverse = np.linalg.pinv(block, rcond=_RANK, hermitian=True)
        return np.sum(reach[:, chosen] @ inverse * away[:, chosen], 1)

    if size <= MOST_EXACT:
        bits = np.arange(2**size)[:, np.newaxis] >> np.arange(size) & 1
        values = estimates.exact(np.stack([score(row) for row in bits]), size)
        return values, np.zeros_like(values)
    places = coalitions.permutations(size, num_permutations, seed)
    scores = [score(np.zeros(size)), score(np.ones(size))]
    for place in places:
        scores += [score(place < number) for number in range(1, size)]
        scores += [score(place >= size - number) for number in range(1, size)]
    return estimates.walks(places, np.stack(scores))
