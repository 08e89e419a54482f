"""What the calibrators compute, slowly and in float64, from the formulas."""

from __future__ import annotations

import math

import numpy as np


def drawn(temperature: float, samples: int = 2000, classes: int = 10):
    """Logits of a model that is calibrated at a temperature, and labels."""
    noise = np.random.default_rng(3)
    logits = 2 * noise.normal(size=(samples, classes))
    gumbel = noise.gumbel(size=logits.shape)
    return logits * temperature, (logits + gumbel).argmax(1)


def softmax(z: np.ndarray) -> np.ndarray:
    if z.shape[1] == 1:
        return 1 / (1 + np.exp(-z.astype("float64")))
    powers = np.exp(z.astype("float64") - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def likelihood(p: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log likelihood, for one column of the class 1."""
    if p.shape[1] == 1:
        p = np.concatenate([1 - p, p], axis=1)
    chosen = p[np.arange(len(y)), y]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def affine_loss(w, b, z, y, odir=(0.0, 0.0)) -> float:
    """`w` is a matrix."""
    scores = np.stack([w @ row + b for row in z])
    loss = likelihood(softmax(scores), y)
    classes = len(b)
    for i in range(classes):
        loss += odir[1] / classes * b[i] ** 2
        for j in range(classes):
            if i != j:
                loss += odir[0] / (classes * (classes - 1)) * w[i, j] ** 2
    return loss


def normalized(p: np.ndarray) -> np.ndarray:
    if p.shape[1] == 1:
        return p
    rows = []
    for row in p:
        total = row.sum()
        rows.append(
            row / total if total > 0 else np.full_like(row, 1 / len(p[0]))
        )
    return np.stack(rows)


def one_against_rest(curve, given, labels, queries) -> np.ndarray:
    """Applies `curve(given, positive, query)` to each class."""
    classes = given.shape[1]
    columns = []
    for k in range(classes):
        positive = labels == (1 if classes == 1 else k)
        columns.append([curve(given[:, k], positive, q) for q in queries[:, k]])
    return normalized(np.array(columns, "float64").T)


def histogram(num_bins: int):
    def curve(given, positive, query):
        def bin_of(p):
            for b in range(num_bins):
                if p <= np.float32((b + 1) / num_bins):
                    return b
            return num_bins - 1

        inside = [bin_of(p) == bin_of(query) for p in given]
        if not any(inside):
            return (bin_of(query) + 0.5) / num_bins
        return positive[np.array(inside)].mean()

    return curve


def isotonic(given, positive, query):
    """Pools neighbors that violate the order, then joins by lines."""
    xs = np.unique(given)
    blocks = []
    for x in xs:
        hits = positive[given == x]
        blocks.append([float(hits.sum()), float(len(hits)), [x]])
        while len(blocks) > 1 and (
            blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]
        ):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    ys = [hits / count for hits, count, inside in blocks for _ in inside]
    return np.interp(query, xs.astype("float64"), ys)


def bayesian(given, positive, query):
    """Naeini et al., model by model and bin by bin."""
    order = np.argsort(given, kind="stable")
    p, hit = given[order].astype("float64"), positive[order]
    n = len(p)
    fewest, most = max(1, int(n ** (1 / 3) / 10)), math.ceil(10 * n ** (1 / 3))
    scores, found = [], []
    for count in range(fewest, min(n, most) + 1):
        cuts = [k * n // count for k in range(count + 1)]
        edges = [0.0]
        edges += [(p[c - 1] + p[c]) / 2 for c in cuts[1:-1]]
        edges += [1.0]
        score = 0.0
        for b in range(count):
            inside = hit[cuts[b] : cuts[b + 1]]
            m, k = int(inside.sum()), int((~inside).sum())
            center = (edges[b] + edges[b + 1]) / 2
            alpha, beta = 2 / count * center, 2 / count * (1 - center)
            score += math.lgamma(2 / count) - math.lgamma(m + k + 2 / count)
            score += math.lgamma(m + alpha) - math.lgamma(alpha)
            score += math.lgamma(k + beta) - math.lgamma(beta)
            low = -1.0 if b == 0 else edges[b]
            if low < query <= edges[b + 1]:
                share = (m + alpha) / (m + k + alpha + beta)
        scores.append(score)
        found.append(share)
    weights = np.exp(np.array(scores) - max(scores))
    return float((weights * found).sum() / weights.sum())
