"""Coalitions: which sets of features are looked at, and with what weight.

Everything depends on the number of features and on the seed alone, so that
samples of a batch with as many features share their coalitions.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

_ROUNDS = 32  # of drawing, until enough different coalitions are found


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """The coalitions of KernelSHAP.

    Attributes:
        masks: `(coalitions, features)` uint8; first none and all of the
            features, then the enumerated ones, then pairs of a drawn one
            and its complement.
        weights: `(coalitions,)` in the regression; 0 for the first two.
        drawn: Where the drawn ones begin.
        counts: How often each pair was drawn.
        mass: The kernel's weight of all sizes that are not enumerated.
    """

    masks: np.ndarray
    weights: np.ndarray
    drawn: int
    counts: np.ndarray
    mass: float


def subsets(features: int, size: int) -> np.ndarray:
    """Returns all sets of a size, `(sets, features)` uint8."""
    rows = np.zeros((math.comb(features, size), features), np.uint8)
    rows[:, :size] = 1
    # The next set in order: the last 1 that can move one to the right does,
    # and those behind it close up.
    chosen = list(range(size))
    for row in range(1, len(rows)):
        at = size - 1
        while chosen[at] == features - size + at:
            at -= 1
        chosen[at:] = range(chosen[at] + 1, chosen[at] + 1 + size - at)
        rows[row] = 0
        rows[row, chosen] = 1
    return rows


def shapley_weight(features: int, size: int) -> float:
    """The kernel of one coalition: (M - 1) / (C(M, s) s (M - s))."""
    return (features - 1) / (
        math.comb(features, size) * size * (features - size)
    )


@functools.lru_cache(maxsize=32)
def kernel_plan(features: int, budget: int, seed: int) -> KernelPlan:
    """Returns which coalitions KernelSHAP looks at.

    Sizes are enumerated, the smallest and the largest first, while draws
    would be expected to hit all of their coalitions; the rest of the budget
    is drawn by the kernel, in pairs of complements.

    Args:
        features: M.
        budget: Most coalitions beside the empty and the full one.
        seed: Of the draws.
    """
    m = features
    masks = [np.stack([np.zeros(m, np.uint8), np.ones(m, np.uint8)])]
    weights = [np.zeros(2)]
    everything = m <= 62 and 2**m - 2 <= budget
    sizes = list(range(1, m // 2 + 1))
    # Of a size together with that of the complements.
    mass = {
        s: (m - 1) / (s * (m - s)) * (1 if 2 * s == m else 2) for s in sizes
    }
    left = budget
    while sizes:
        size = sizes[0]
        number = math.comb(m, size) * (1 if 2 * size == m else 2)
        expected = left * mass[size] / sum(mass[s] for s in sizes)
        if not everything and expected < number * (1 - 1e-9):
            break
        rows = subsets(m, size)
        if 2 * size != m:
            rows = np.concatenate([rows, 1 - rows])
        masks.append(rows)
        weights.append(np.full(len(rows), shapley_weight(m, size)))
        left -= number
        sizes.pop(0)
    start = sum(map(len, masks))
    counts, rest = np.zeros(0, int), 0.0
    if sizes:
        rest = sum(mass[s] for s in sizes)
        share = np.array([mass[s] / rest for s in sizes])
        pairs, counts = _pairs(m, np.array(sizes), share, left // 2, seed)
        both = np.stack([pairs, 1 - pairs], 1).reshape(-1, m)
        masks.append(both)
        each = np.repeat(counts, 2) * (rest / (2 * counts.sum()))
        weights.append(each)
    return KernelPlan(
        np.concatenate(masks), np.concatenate(weights), start, counts, rest
    )


def _pairs(
    features: int, sizes: np.ndarray, share: np.ndarray, want: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws until there are `want` different pairs; returns their counts.

    Of each pair the half with the first feature stands for both.
    """
    want = max(1, want)
    noise = np.random.default_rng([seed, features])
    rows = np.zeros((0, features), np.uint8)
    for _ in range(_ROUNDS):
        size = noise.choice(sizes, want, p=share)
        order = np.argsort(np.argsort(noise.random((want, features))))
        new = (order < size[:, np.newaxis]).astype(np.uint8)
        new = np.where(new[:, :1] == 1, new, 1 - new)
        rows = np.concatenate([rows, new])
        packed = np.packbits(rows, axis=1)
        _, first, counts = np.unique(
            packed, axis=0, return_index=True, return_counts=True
        )
        if len(first) >= want:
            rows = rows[: np.sort(first)[want - 1] + 1]
            break
    _, first, counts = np.unique(
        np.packbits(rows, axis=1), axis=0, return_index=True,
        return_counts=True,
    )  # fmt: skip
    return rows[first], counts


@functools.lru_cache(maxsize=32)
def neighbors(
    features: int, number: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the neighbors of LIME, each once, and how often they came.

    The first is the sample itself, with all features; the others keep each
    feature with probability one half.
    """
    noise = np.random.default_rng([seed, features])
    rows = noise.integers(0, 2, (number, features), np.uint8)
    rows[0] = 1
    _, first, counts = np.unique(
        np.packbits(rows, axis=1), axis=0, return_index=True,
        return_counts=True,
    )  # fmt: skip
    order = np.argsort(first)
    return rows[first[order]], counts[order]


@functools.lru_cache(maxsize=32)
def permutations(features: int, number: int, seed: int) -> np.ndarray:
    """Returns the place of each feature in random orders, int32."""
    noise = np.random.default_rng([seed, features])
    places = np.tile(np.arange(features, dtype=np.int32), (number, 1))
    return noise.permuted(places, axis=1)
