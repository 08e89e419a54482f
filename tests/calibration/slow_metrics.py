"""The calibration errors in float64, one sample after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def uniform_bins(confidence, num_bins, edges):
    """Bin of each confidence, by comparing with every edge."""
    borders = [np.float32(i / num_bins) for i in range(num_bins + 1)]
    result = []
    for value in np.float32(confidence):
        for b in range(num_bins):
            low, high = borders[b], borders[b + 1]
            inside = low < value <= high
            if edges == "left":
                inside = low <= value < high
            last = b == num_bins - 1 and value == 1
            if inside or (b == 0 and value == 0) or last:
                result.append(b)
                break
        else:
            raise AssertionError(f"{value} is in no bin")
    return np.array(result)


def quantile(values, weights, rank, num_bins, edges):
    """The value at which `rank / num_bins` of the weight is reached."""
    order = np.argsort(values)
    wanted = Fraction(sum(map(Fraction, weights))) * rank / num_bins
    reached = Fraction(0)
    for here, after in zip(order, [*order[1:], None], strict=True):
        reached += Fraction(weights[here])
        if reached > wanted:
            return values[here]
        if reached == wanted:
            # Between two samples: the one nearer to the median, and at the
            # median that which closes the bin.
            below = 2 * rank > num_bins
            if 2 * rank == num_bins:
                below = edges == "right"
            return values[here if below else after]
    raise AssertionError("not reached")


def quantile_bins(values, weights, num_bins, edges):
    found = np.zeros(len(values), int)
    for rank in range(1, num_bins):
        q = quantile(values, weights, rank, num_bins, edges)
        found += (values >= q) if edges == "left" else (values > q)
    return found


def one_error(confidence, hits, weights, bins, norm):
    """The error of one class."""
    total, gaps = sum(weights), []
    for b in sorted(set(bins)):
        inside = [i for i in range(len(bins)) if bins[i] == b]
        n = sum(weights[i] for i in inside)
        accuracy = sum(weights[i] * hits[i] for i in inside) / n
        mean = sum(weights[i] * float(confidence[i]) for i in inside) / n
        gaps.append((n / total, abs(accuracy - mean)))
    if norm == "l1":
        return sum(n * gap for n, gap in gaps)
    if norm == "l2":
        return np.sqrt(sum(n * gap**2 for n, gap in gaps))
    if norm == "max":
        return max(gap for _, gap in gaps)
    return sum(gap for _, gap in gaps) / len(gaps)


def calibration_error(labels, p, weights, settings):
    """`settings`: num_bins, norm, kind, binning and edges."""
    num_bins, norm, kind, binning, edges = settings
    p = np.float32(p)
    if kind == "top_label":
        columns = [(p.max(-1), p.argmax(-1) == labels)]
    elif kind == "positive":
        columns = [(p[:, 1], labels == 1)]
    else:
        columns = [(p[:, k], labels == k) for k in range(p.shape[1])]
    errors = []
    for confidence, hits in columns:
        if binning == "uniform":
            bins = uniform_bins(confidence, num_bins, edges)
        else:
            bins = quantile_bins(confidence, weights, num_bins, edges)
        errors.append(one_error(confidence, hits, weights, bins, norm))
    return np.mean(errors)
