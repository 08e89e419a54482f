"""What is made of another tensor, and can be made again of it.

What a rule reads on the way back has to be held until then. The output of a
ReLU need not be where its input is held as well: it is the positive part. Nor
need a summand of which the sum and the other one are held.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_explain.engine.fusion import in_one_pass
from keras_explain.engine.relevance import later

# What is known of the tensors of a graph, which goes with it.
_FREE, _SUMS = "_keras_explain_free", "_keras_explain_sums"
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


def let_go(tensor: tf.Tensor) -> None:
    """Says that the rule that made a tensor reads it by `remade` alone.

    A rule that divides by a tensor has to read that tensor, and what divides
    relevance before it the same: of a difference no digit may be right where
    it is small.
    """
    if _is_made(tensor):
        made = origin(tensor)
        _known(made, _FREE)[made.ref()] = True


def note_sum(summand: tf.Tensor, other: tf.Tensor, total: tf.Tensor) -> None:
    """Says that a tensor is the difference of two others.

    Rules will find it as that, if what made it has let it go.

    Args:
        summand: Read by nothing but the sum and by rules.
        other: What it is added to.
        total: The sum, or its positive part if no relevance comes back
            where that is zero.
    """
    if not _is_made(summand):
        return  # all is held in eager execution
    made = origin(summand)
    if made.ref() in _known(made, _FREE):
        _known(made, _SUMS)[made.ref()] = total, other


def sum_of(tensor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor] | None:
    """The sum and the other summand that a tensor is found from, if any."""
    if not _is_made(tensor):
        return None
    made = origin(tensor)
    return _known(made, _SUMS).get(made.ref())


def remade(tensor: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns what `later` does, without the tensor where that need not be."""
    known = sum_of(tensor)
    if known is None:
        return later(tensor, upstream)
    total, other = (later(t, upstream) for t in known)
    return in_one_pass(tf.subtract, total, other, absorbable=True)


def _known(tensor: tf.Tensor, name: str) -> dict[Any, Any]:
    if not hasattr(tensor.graph, name):
        setattr(tensor.graph, name, {})
    return getattr(tensor.graph, name)


def _is_made(tensor: tf.Tensor) -> bool:
    # Not a constant from outside of the graph.
    return tf.is_symbolic_tensor(tensor)
