"""What is made of another tensor, and can be made again of it.

What a rule reads on the way back has to be held until then. The output of a
ReLU need not be where its input is held as well: it is the positive part.
"""

from __future__ import annotations

import tensorflow as tf

_HAND_ON = {"Identity", "IdentityN", "StopGradient"}


def origin(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor of a graph that one is a copy of, or that itself."""
    while _is_made(tensor) and tensor.op.type in _HAND_ON:
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def positive_part_of(tensor: tf.Tensor) -> tf.Tensor | None:
    """The tensor that one is the positive part of, if it was made as that."""
    made = origin(tensor)
    if not _is_made(made) or made.op.type != "Relu":
        return None
    return origin(made.op.inputs[0])


def _is_made(tensor: tf.Tensor) -> bool:
    # Not a constant from outside of the graph.
    return tf.is_symbolic_tensor(tensor)
