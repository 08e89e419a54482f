"""Gives tensors another backward pass, and accounts for what goes missing.

What flows back through a model under relevance rules is relevance itself:
the "gradient" of a tensor is how much of the score is ascribed to it. A
connection states what the inputs of an operation receive of the relevance of
its output, and how much no input receives, because it is due to a bias or to
a stabilizer. That part is the gradient of the sink, a tensor of zeros with
one value for each sample, so that TensorFlow sums it over the whole model,
and leaves it out where nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_explain.engine.checks import checked_number
from keras_explain.engine.errors import message
from keras_explain.engine.fusion import in_one_pass, origins
from keras_explain.engine.own_gradient import give_gradient

_LEAST_HALF = 1e-3


class Shares(NamedTuple):
    """How the relevance of an output is divided.

    Attributes:
        inputs: What each input receives, in the shapes of the inputs.
        lost: What none of them does: tensors of any shape whose first axis
            is the batch.
    """

    inputs: Sequence[tf.Tensor | None]
    lost: Sequence[tf.Tensor] = ()


def connect(
    output: tf.Tensor,
    inputs: Sequence[tf.Tensor],
    backward: Callable[[tf.Tensor], Shares],
    sink: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns `output`, with `backward` for its gradient to `inputs`.

    Args:
        output: Any tensor. How it was made does not matter.
        inputs: The tensors that are to receive something.
        backward: Takes what flows to the output.
        sink: `(batch,)` zeros, whose gradient is what goes missing.
    """
    if sink is None:
        sink = tf.zeros([1])

    def gradient(upstream: tf.Tensor) -> list[tf.Tensor | None]:
        shares = backward(upstream)
        received = [
            None if share is None else tf.cast(share, given.dtype)
            for share, given in zip(shares.inputs, inputs, strict=True)
        ]
        lost = [_by_sample(part, sink) for part in shares.lost]
        return [tf.add_n([tf.zeros_like(sink), *lost]), *received]

    return give_gradient(output, [sink, *inputs], gradient)


def _by_sample(lost: tf.Tensor, sink: tf.Tensor) -> tf.Tensor:
    # The first axis may be a multiple of the batch where a layer folds steps
    # of time into it.
    rows = tf.reshape(tf.cast(lost, tf.float32), [tf.shape(sink)[0], -1])
    return tf.reduce_sum(rows, axis=1)


def cut(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor for use inside a rule, apart from the model."""
    return tf.stop_gradient(tensor)


def later(tensor: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the tensor in float32, not before `upstream` is there.

    What a rule computes from it is computed on the way back, and so takes
    no memory while the model runs forward.
    """
    with tf.control_dependencies(origins(upstream)):
        return tf.identity(tf.cast(tensor, tf.float32))


def ratio(
    relevance: tf.Tensor,
    z: tf.Tensor,
    epsilon: float,
    *,
    positive: bool = False,
    share: float = 1.0,
) -> tf.Tensor:
    """Returns `share * relevance / stabilized(z)`.

    Args:
        relevance: Of the values.
        z: The values.
        epsilon: Stabilizer; 0 if `z` needs none.
        positive: Whether no value is negative.
        share: Which part of the relevance is divided.
    """
    return in_one_pass(
        _ratio, relevance, z, epsilon=epsilon, positive=positive, share=share
    )


def _ratio(
    relevance: tf.Tensor,
    z: tf.Tensor,
    epsilon: float,
    positive: bool,
    share: float,
) -> tf.Tensor:
    if epsilon:
        z = z + epsilon if positive else stabilized(z, epsilon)
    return (relevance if share == 1 else share * relevance) / z


_EPSILON_ADVICE = "Pass a small number such as 1e-6."
# From here on float32 holds it as it is.
_LEAST = float(np.finfo(np.float32).tiny)


def checked_epsilon(epsilon: Any) -> float:
    """Returns a stabilizer as a float.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not positive, or not finite, in float32.
    """
    value = checked_number("epsilon", epsilon, _EPSILON_ADVICE)
    if not _LEAST <= value < np.inf:
        raise ValueError(
            message(
                "The stabilizer must be positive and finite: relevance is "
                "divided by it.",
                f"epsilon={epsilon}",
                _EPSILON_ADVICE,
            )
        )
    return value


def stabilized(z: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Moves values away from zero by `epsilon`; zero counts as positive."""
    if z.dtype == tf.float16:
        epsilon = max(epsilon, _LEAST_HALF)  # its reciprocal must not overflow
    epsilon = tf.constant(epsilon, z.dtype)
    return z + tf.where(z >= 0, epsilon, -epsilon)
