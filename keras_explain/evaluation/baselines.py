"""Maps that know nothing of the model: what any method must be better than.

Each is a callable `(inputs, target) -> maps` that every measure takes in the
place of an explainer. The map of a sample depends on that sample alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import ndimage

from keras_explain.engine.errors import message
from keras_explain.evaluation.positions import axes_of

# Standard deviation of the blob, as a share of each axis.
_WIDTH = 0.25


def random_map(seed: int = 0) -> Callable[[Any, Any], Any]:
    """Returns an explainer that draws a random map for each sample.

    Use it as the floor of a comparison: a method that is not better has found
    nothing. The numbers are uniform in `[0, 1)` and depend on the seed and on
    the values of the sample, not on its place in the data.

    Args:
        seed: Non-negative integer; another seed gives other maps.

    Returns:
        A callable `(inputs, target) -> maps`; maps `(batch, *positions)`,
        float32, in the structure of the inputs.

    Raises:
        ValueError: If the seed is no non-negative integer.

    Example:

    >>> from keras_explain.evaluation.baselines import random_map
    >>> random_map(seed=1)(images, None).shape
    (2, 8, 8)
    """
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or seed < 0:
        raise ValueError(
            message(
                "A seed is a non-negative integer.",
                f"seed={seed!r}",
                "The same seed gives the same result.",
            )
        )

    def random_map(inputs: Any, target: Any = None) -> Any:
        return _each_input(inputs, lambda x: _random(x, int(seed)))

    return random_map


def center_map(inputs: Any, target: Any = None) -> Any:
    """A blob in the center of every sample.

    Use it where objects tend to be in the middle: a method that is not better
    may only know where photographers point their cameras. It is a Gaussian
    whose standard deviation is a quarter of each axis:

        a(p) = exp(-sum_k (p_k - c_k)^2 / (2 (n_k / 4)^2))

    with the positions `p`, the center `c` and the sizes `n` of the axes.

    Args:
        inputs: `(batch, *positions, channels)`, or `(batch, values)` whose
            values have an order, such as tokens; or a structure of them.
        target: Not looked at.

    Returns:
        Maps `(batch, *positions)`, float32, from 0 to 1, in the structure of
        the inputs.

    Example:

    >>> from keras_explain.evaluation.baselines import center_map
    >>> map_of_first = center_map(images)[0]
    >>> bool(map_of_first[4, 4] > map_of_first[0, 0])
    True
    """
    return _each_input(inputs, _center)


def edge_map(inputs: Any, target: Any = None) -> Any:
    """The strength of the edges of every sample.

    Use it to see what a method knows of the model: a map that only traces the
    edges of the picture looks right without knowing any (Adebayo et al.,
    2018). It is the length of the Sobel gradient:

        a(p) = sqrt(sum_c sum_k (S_k * x_c)(p)^2)

    over the channels `c` and the axes `k`. Beyond the border the nearest
    value stands.

    Args:
        inputs: `(batch, *positions, channels)`, or a structure of them.
        target: Not looked at.

    Returns:
        Maps `(batch, *positions)`, float32, non-negative, in the structure
        of the inputs.

    Raises:
        ValueError: If an input is a table or holds tokens, whose values have
            no neighbors.

    Example:

    >>> from keras_explain.evaluation.baselines import edge_map
    >>> float(edge_map(np.ones((1, 8, 8, 3))).max())
    0.0

    References:
        Adebayo et al., 2018. Sanity Checks for Saliency Maps.
        https://arxiv.org/abs/1810.03292
    """
    return _each_input(inputs, _edges)


def _each_input(inputs: Any, make: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(inputs, (dict, list, tuple)):
        return tf.nest.map_structure(lambda x: make(np.asarray(x)), inputs)
    return make(np.asarray(inputs))


def _random(x: np.ndarray, seed: int) -> np.ndarray:
    # Of one dtype, so that bytes and floats of one value are one sample.
    values = np.asarray(x, np.float32)
    found = np.empty((len(x), *axes_of(x)), np.float32)
    for k, sample in enumerate(values):
        digest = hashlib.sha256(np.ascontiguousarray(sample).tobytes()).digest()
        words = np.frombuffer(digest, "<u4").tolist()
        random = np.random.default_rng([seed, *words])
        found[k] = random.random(found.shape[1:], np.float32)
    return found


def _center(x: np.ndarray) -> np.ndarray:
    sizes = axes_of(x)
    blob = np.zeros(sizes)
    for size, place in zip(sizes, np.indices(sizes), strict=True):
        blob -= ((place - (size - 1) / 2) / (_WIDTH * size)) ** 2 / 2
    return np.repeat(np.exp(blob)[np.newaxis].astype(np.float32), len(x), 0)


def _edges(x: np.ndarray) -> np.ndarray:
    if x.ndim < 3:
        raise ValueError(
            message(
                "Edges are between neighbors, and the values of a table or "
                "of tokens have none.",
                f"inputs of shape {x.shape}",
                "Pass inputs (batch, *positions, channels), or take another "
                "baseline.",
            )
        )
    values = np.asarray(x, np.float64)
    squares = np.zeros(values.shape)
    for axis in range(1, x.ndim - 1):
        squares += _sobel(values, axis) ** 2
    return np.sqrt(squares.sum(-1)).astype(np.float32)


def _sobel(values: np.ndarray, axis: int) -> np.ndarray:
    """Differences along an axis, smoothed along the other positions."""
    found = ndimage.correlate1d(values, [-1.0, 0.0, 1.0], axis, mode="nearest")
    for other in range(1, values.ndim - 1):
        if other != axis:
            found = ndimage.correlate1d(
                found, [1.0, 2.0, 1.0], other, mode="nearest"
            )
    return found
