"""Facets of one unit that differ from each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.targets import Target, View, registered


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Similarity(Target):
    """The mean cosine of a picture's style with those of its siblings.

    Args:
        layer: Layer, or its path, whose channels make up the style.
        facets: Rows that are siblings, side by side in the batch.
        weight: Factor.
    """

    layer: Any
    facets: int
    weight: float = 1.0

    def score(self, view: View) -> tf.Tensor:
        view.parameters()
        activation = tf.cast(view.activations[self.layer], tf.float32)
        channels = activation.shape[-1]
        rows = tf.shape(activation)[0]
        flat = tf.reshape(activation, [rows, -1, channels])
        gram = tf.matmul(flat, flat, transpose_a=True)
        gram = tf.reshape(gram, [-1, self.facets, channels * channels])
        gram = tf.math.l2_normalize(gram, -1, epsilon=1e-12)
        cosine = tf.matmul(gram, gram, transpose_b=True)
        others = 1.0 - tf.eye(self.facets)
        each = tf.reduce_sum(cosine * others, -1) / (self.facets - 1)
        return self.weight * tf.reshape(each, [-1])


@dataclasses.dataclass(frozen=True)
class Diversity:
    """Keeps the pictures of one target from looking alike.

    Use it with `batch` to see several facets of a unit. It is the one part
    that looks at other rows, and only at those of the same target.

    `R = weight * mean_j cos(G, G_j)` with the Gram matrix `G = A^T A` of a
    layer's channels, and `G_j` those of the other pictures.

    Args:
        weight: Positive number; as large as the scores are.
        layer: Layer, or its path, that says what pictures look like.

    Raises:
        ValueError: If the weight is not positive.

    Example:

    >>> from keras_explain.synthesis import Diversity, maximize
    >>> made = maximize(
    ...     model, 3, batch=2, regularizers=[Diversity(1.0, "conv1")],
    ...     steps=4, value_range=(0, 1), verbose=False,
    ... )
    >>> len(made)
    2

    References:
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
    """

    weight: float
    layer: Any

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(
                message(
                    "The weight of the diversity is positive.",
                    f"weight={self.weight!r}",
                )
            )

    def target(self, facets: int) -> Target:
        """Returns what is taken off the score.

        Raises:
            ValueError: If there is one picture only.
        """
        if facets < 2:
            raise ValueError(
                message(
                    "Diversity is among several pictures of one target.",
                    f"batch={facets}",
                    "Pass `batch=4`.",
                )
            )
        return Similarity(self.layer, facets, self.weight)
