"""Gradients under trace, which are zero where nothing is depended on."""

from __future__ import annotations

import tensorflow as tf


def gradient_of(score: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a score of each row by the pictures.

    Args:
        score: `(rows,)`.
        images: `(rows, *shape)`.
    """
    (found,) = tf.gradients(tf.reduce_sum(score), [images])
    if found is None:  # it does not depend on them
        return tf.zeros_like(images)
    return tf.convert_to_tensor(found)


def chained(
    images: tf.Tensor, values: list[tf.Tensor], upward: tf.Tensor
) -> list[tf.Tensor]:
    """Returns the gradients by the numbers that pictures are made of.

    Args:
        images: `(rows, *shape)`, made of the values.
        values: Tensors `(rows, ...)`.
        upward: `(rows, *shape)`, the gradient by the pictures.
    """
    found = tf.gradients(images, values, [upward])
    return [
        tf.zeros_like(v) if g is None else tf.convert_to_tensor(g)
        for g, v in zip(found, values, strict=True)
    ]
