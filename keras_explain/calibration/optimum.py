"""The fits on logits, solved to their optimum in float64.

Logits are `(N, K)`, labels class numbers `(N,)`. One column is the score of
class 1 against class 0. Samples are visited in blocks, so that float64 copies
of large data never exist.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Inverse temperatures are looked for from e^-10 to e^10.
LARGEST = float(np.exp(10.0))
_BLOCK = 2**20  # logits in a block


def blocks(
    logits: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields `(logits, labels)` of some samples at a time, in float64."""
    rows = max(1, _BLOCK // logits.shape[1])
    for first in range(0, len(logits), rows):
        last = first + rows
        yield logits[first:last].astype("float64"), labels[first:last]


def cross_entropy(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns the summed negative log likelihood and its gradient.

    Args:
        scores: `(N, K)`; one column goes through a sigmoid.
        labels: `(N,)`.

    Returns:
        A number, and the gradient with respect to the scores: probabilities
        minus one-hot labels.
    """
    if scores.shape[1] == 1:
        signs = np.where(labels == 1, 1.0, -1.0)[:, None]
        loss = np.logaddexp(0.0, -signs * scores)
        # The sigmoid of the wrong sign, without overflow.
        wrong = np.exp(-np.logaddexp(0.0, signs * scores))
        return float(loss.sum()), -signs * wrong
    rows = np.arange(len(scores))
    shifted = scores - scores.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1)
    loss = np.log(total) - shifted[rows, labels]
    gradient = powers / total[:, None]
    gradient[rows, labels] -= 1.0
    return float(loss.sum()), gradient


def temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, str]:
    """Returns the temperature with the least negative log likelihood.

    The likelihood is convex in the inverse temperature `beta = 1 / T`, so
    that its slope has one zero: Newton's method finds it, kept within a
    bracket that every evaluation narrows.

    Returns:
        `T`, and `"low"` or `"high"` if it is at that end of `[e^-10, e^10]`,
        `"flat"` if no temperature is better than another, or `""`.
    """
    low, high = 1.0 / LARGEST, LARGEST
    beta, start = 1.0, _moments(1.0, logits, labels)
    if start == (0.0, 0.0) and not np.ptp(_differences(logits)):
        return 1.0, "flat"
    if _moments(low, logits, labels)[0] >= 0:
        return 1.0 / low, "high"
    if _moments(high, logits, labels)[0] <= 0:
        return 1.0 / high, "low"
    slope, curvature = start
    for _ in range(200):
        if slope > 0:
            high = beta
        else:
            low = beta
        step = beta - slope / curvature if curvature > 0 else 0.0
        new = step if low < step < high else float(np.sqrt(low * high))
        if abs(new - beta) <= 1e-14 * beta:
            break
        beta = new
        slope, curvature = _moments(beta, logits, labels)
    return 1.0 / beta, ""


def _differences(logits: np.ndarray) -> np.ndarray:
    """How far classes are apart, for one column from the other at zero."""
    if logits.shape[1] == 1:
        return np.append(logits, 0.0)
    return np.append(np.ptp(logits, axis=1), 0.0)


def _moments(
    beta: float, logits: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    """Mean slope and curvature of the loss in the inverse temperature.

    They are the mean of the logits under the model less the logit of the
    label, and their variance under the model.
    """
    slope = curvature = 0.0
    for z, y in blocks(logits, labels):
        if z.shape[1] == 1:
            z = np.concatenate([np.zeros_like(z), z], axis=1)
        rows = np.arange(len(z))
        z = z - z[rows, y][:, None]
        powers = np.exp(beta * (z - z.max(axis=1, keepdims=True)))
        powers /= powers.sum(axis=1, keepdims=True)
        mean = (powers * z).sum(axis=1)
        slope += float(mean.sum())
        curvature += float((powers * (z - mean[:, None]) ** 2).sum())
    return slope / len(logits), curvature / len(logits)


class AffineLoss:
    """Negative log likelihood of `W z + b`, with the ODIR penalty.

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
        diagonal: Whether `W` is diagonal.
        odir: Weights of the penalty on what is off the diagonal, and on `b`.
    """

    def __init__(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        diagonal: bool,
        odir: tuple[float, float] = (0.0, 0.0),
    ):
        self.logits, self.labels = logits, labels
        self.diagonal, self.odir = diagonal, odir
        self.classes = logits.shape[1]

    def start(self) -> np.ndarray:
        """The parameters that change nothing."""
        count = self.classes
        weights = np.ones(count) if self.diagonal else np.eye(count).ravel()
        return np.concatenate([weights, np.zeros(count)])

    def split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns `W` (its diagonal) and `b`."""
        weights, bias = np.split(parameters, [-self.classes])
        if not self.diagonal:
            weights = weights.reshape(self.classes, self.classes)
        return weights, bias

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the loss and its gradient."""
        weights, bias = self.split(parameters)
        loss = 0.0
        slopes, offset = np.zeros_like(weights), np.zeros_like(bias)
        for z, y in blocks(self.logits, self.labels):
            scores = (z * weights if self.diagonal else z @ weights.T) + bias
            part, slope = cross_entropy(scores, y)
            loss += part
            slopes += (slope * z).sum(0) if self.diagonal else slope.T @ z
            offset += slope.sum(axis=0)
        count = len(self.logits)
        penalty, by_weights, by_bias = self._penalty(weights, bias)
        gradient = np.concatenate(
            [
                (slopes / count + by_weights).ravel(),
                offset / count + by_bias,
            ]
        )
        return loss / count + penalty, gradient

    def _penalty(
        self, weights: np.ndarray, bias: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The penalty and its gradients."""
        off_diagonal, on_bias = self.odir
        count = self.classes
        on_bias = on_bias / count
        outside = np.zeros_like(weights)
        if not self.diagonal and count > 1:
            off_diagonal = off_diagonal / (count * (count - 1))
            outside = weights - np.diag(np.diag(weights))
        penalty = off_diagonal * (outside**2).sum() + on_bias * (bias**2).sum()
        return (
            float(penalty),
            2 * off_diagonal * outside,
            2 * on_bias * bias,
        )


def affine(loss: AffineLoss) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns `W`, `b` with the least loss, and whether it was reached."""
    from scipy.optimize import minimize

    options = {
        "maxiter": 2000,
        "maxfun": 4000,
        "maxcor": 20,
        "maxls": 50,
        "ftol": 1e-15,
        "gtol": 1e-8,
    }
    found = minimize(
        loss, loss.start(), jac=True, method="L-BFGS-B", options=options
    )
    weights, bias = loss.split(found.x)
    return weights, bias, bool(np.abs(found.jac).max() < 1e-4)


def platt(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Returns slope and intercept of a sigmoid over scores.

    The labels are drawn in from zero and one, as if one more sample of each
    kind had been seen, so that the optimum is finite even where a score tells
    the classes apart without error.

    Args:
        scores: `(N,)`.
        positive: `(N,)` booleans.
    """
    above = int(positive.sum())
    below = len(positive) - above
    targets = np.where(positive, (above + 1) / (above + 2), 1 / (below + 2))
    scores = scores.astype("float64")
    # Newton's method is the same on any scale; its matrix is not.
    center, scale = scores.mean(), scores.std() or 1.0
    design = np.stack([(scores - center) / scale, np.ones_like(scores)], 1)
    found = np.array([0.0, np.log((above + 1) / (below + 1))])
    loss = _sigmoid_loss(design @ found, targets)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -700, 700)))
        slope = design.T @ (p - targets)
        curvature = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), slope)
        size = 1.0
        while size > 1e-10:
            new = found - size * step
            better = _sigmoid_loss(design @ new, targets)
            if better <= loss - 1e-4 * size * (slope @ step):
                break
            size /= 2
        else:
            break  # no step is better: this is the optimum
        found, loss = new, better
    return float(found[0] / scale), float(found[1] - found[0] * center / scale)


def _sigmoid_loss(scores: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0.0, scores) - targets * scores).sum())
