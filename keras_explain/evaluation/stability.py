"""How much an explanation changes when its input hardly does."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import check_count
from keras_explain.evaluation.faithfulness import (
    check_floating,
    span,
)
from keras_explain.evaluation.judged import Judge, Judgeable
from keras_explain.evaluation.positions import finite
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import check_noise, take


def max_sensitivity(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    radius: float = 0.02,
    num_samples: int = 10,
    **settings: Any,
) -> Evaluation:
    """The largest relative change of a map under small noise on the input.

    Low is good: an explanation that changes where the model does not is hard
    to believe. Costs `num_samples` explanations.

        max_j ||a(x + d_j) - a(x)|| / ||a(x)||,  d_j ~ U(-r, r)

    with `r = radius * range(x)`. The class of the input as it is is
    explained in all copies; the noise is the same for all samples. Where
    `a(x)` is zero everywhere the norm of the change itself is taken.

    Differs from the paper: the radius is relative to the range (maximum
    minus minimum) of each input, so that it means the same for pixels up to
    1 and up to 255.

    Args:
        explainer, data, target: See `pointing_game`; data are inputs, or
            `(inputs, y)`, of which `y` is left aside.
        radius: As a share of the range of each input.
        num_samples: How many noisy copies.
        settings: See `deletion`; without `reduce` and `of`.

    Returns:
        An `Evaluation`: a non-negative number for each sample; NaN where a
        map holds NaN.

    Raises:
        ValueError: If an option is out of range, or the inputs hold
            integers only.
        TypeError: See `deletion`.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> keras_explain.evaluation.max_sensitivity(
    ...     explainer, images, num_samples=2).n_valid
    2

    References:
        Yeh et al., 2019. On the (In)fidelity and Sensitivity of
        Explanations. https://arxiv.org/abs/1901.09392
    """
    check_noise(radius)
    check_count("num_samples", num_samples)
    judge = Judge(explainer, target, take(settings, ("reduce", "of")))
    found = []
    for batch in judge.batches(data, "Evaluating"):
        check_floating(batch.inputs, "Noise is added to the inputs.")
        explained = judge.explain(batch)
        clean = _flat(explained.maps)
        norm = np.linalg.norm(clean, axis=1)
        norm = np.where(norm > 0, norm, 1.0)
        largest = np.zeros(batch.size)
        valid = explained.finite
        for number in range(num_samples):
            noisy = _noisy(batch.inputs, radius, [judge.settings.seed, number])
            maps = judge.again(batch, noisy, explained.target)
            valid = valid & finite(maps)
            change = np.linalg.norm(_flat(maps) - clean, axis=1)
            largest = np.maximum(largest, change / norm)
        found.append(np.where(valid, largest, np.nan))
    return evaluated(
        "max_sensitivity",
        np.concatenate(found),
        judge.about(radius=radius, num_samples=num_samples),
    )


def _flat(maps: Any) -> np.ndarray:
    return np.concatenate(
        [np.asarray(m, np.float64).reshape(len(m), -1)
         for m in tf.nest.flatten(maps)], 1,
    )  # fmt: skip


def _noisy(inputs: Any, radius: float, source: list[int]) -> Any:
    flat = []
    for stream, x in enumerate(tf.nest.flatten(inputs)):
        if x.dtype.is_floating:
            random = np.random.default_rng([*source, stream])
            noise = random.uniform(-1, 1, x.shape[1:])
            x = x + tf.cast(noise, x.dtype) * (radius * span(x))
        flat.append(x)
    return tf.nest.pack_sequence_as(inputs, flat)
