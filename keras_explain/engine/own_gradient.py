"""Gives a tensor a gradient of one's own, and forgets it with its graph.

`tf.custom_gradient` files each gradient that is made under trace under a name
of its own in a register of TensorFlow, and never takes it out. With it stay
the tensors that it works on, their graph, and the model: a program that
explains many models, or makes many explainers, would grow by all of them.
Here one gradient is registered for all, which finds what to do at the graph
that the operation is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_REGISTERED = "KerasExplainOwnGradient"
_FUNCTIONS = "_keras_explain_own_gradients"

Backward = Callable[[tf.Tensor], Sequence[tf.Tensor | None]]


def give_gradient(
    output: tf.Tensor, inputs: Sequence[tf.Tensor], backward: Backward
) -> tf.Tensor:
    """Returns `output`, with `backward` for its gradient to `inputs`.

    In a graph it is there for `tf.gradients`, which the engine works with. A
    tape looks up gradients elsewhere, and sees it in eager execution only.

    Args:
        output: Any tensor. How it was made does not matter.
        inputs: The tensors that are to receive something.
        backward: Takes the gradient of the output; returns one for each
            input, `None` for those that receive none.
    """
    if tf.executing_eagerly():
        return _at_once(output, inputs, backward)
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map({"IdentityN": _REGISTERED}):
        given, *_ = tf.identity_n([output, *inputs])
    # The graph and the function hold each other, and go together.
    if not hasattr(graph, _FUNCTIONS):
        setattr(graph, _FUNCTIONS, {})
    getattr(graph, _FUNCTIONS)[given.op.name] = backward
    return given


@tf.RegisterGradient(_REGISTERED)
def _own_gradient(
    op: tf.Operation, upstream: tf.Tensor, *_: Any
) -> list[tf.Tensor | None]:
    backward = getattr(op.graph, _FUNCTIONS)[op.name]
    return [None, *backward(upstream)]


def _at_once(
    output: tf.Tensor, inputs: Sequence[tf.Tensor], backward: Backward
) -> tf.Tensor:
    @tf.custom_gradient
    def identity(*inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return tf.identity(output), lambda upstream: tuple(backward(upstream))

    return identity(*inputs)
