"""How a gradient passes one operation when it is not to pass as usual.

A `Rule` gives one call another backward pass and leaves its forward pass as
it is. Methods that modify the backward pass (guided backpropagation, and the
relevance methods) are assignments of rules to calls, nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from keras_explain.engine.graph import Call, Graph

# Elementwise functions by the name of the class or function that computes
# them. The kinks of the first group are at zero (and at a cap): the gradient
# is a gate there, which is what guided rules act on.
RELU_FAMILY = {
    "ReLU",
    "Relu",
    "relu",
    "ReLU6",
    "Relu6",
    "relu6",
    "LeakyReLU",
    "LeakyRelu",
    "leaky_relu",
    "PReLU",
}
SMOOTH_FAMILY = {
    "ELU", "Elu", "elu", "Selu", "selu", "Celu", "celu", "Gelu", "gelu",
    "Silu", "silu", "swish", "Glu", "glu", "Softplus", "softplus",
    "Softsign", "softsign", "SoftShrink", "soft_shrink", "HardShrink",
    "hard_shrink", "Sigmoid", "sigmoid", "LogSigmoid", "log_sigmoid",
    "HardSigmoid", "hard_sigmoid", "HardSilu", "hard_silu", "hard_swish",
    "Tanh", "tanh", "HardTanh", "hard_tanh", "TanhShrink", "tanh_shrink",
    "Exponential", "exponential", "Mish", "mish", "SquarePlus",
    "squareplus", "SparsePlus", "sparse_plus", "Threshold", "threshold",
}  # fmt: skip
# The ops TensorFlow computes them with; found outside an intercepted call,
# they are out of the reach of any rule.
RAW_RELU = frozenset({"Relu", "Relu6", "LeakyRelu"})


class Rule(Protocol):
    """Gives a call another backward pass."""

    def prepared(self, call: Call, graph: Graph) -> Rule:
        """Returns the rule for one call, before anything runs.

        Here a rule takes what is known without running: the layer and its
        weights, what feeds it (are the inputs non-negative?), and what
        follows it (a batch normalization to fold in?).
        """

    def apply(
        self, function: Callable, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Returns `function(*args, **kwargs)` with a modified gradient."""


@dataclasses.dataclass(frozen=True)
class ActivationRule:
    """A rule for an elementwise nonlinearity `y = f(x)`.

    Attributes:
        name: What it is called in messages.
        backward: `(upstream, x, gradient) -> downstream`, where
            `gradient(u)` is what the function itself would pass down for
            `u`. All are tensors of the shape of `x`.
    """

    name: str
    backward: Callable[[tf.Tensor, tf.Tensor, Callable], tf.Tensor]

    def prepared(self, call: Call, graph: Graph) -> ActivationRule:
        return self  # the same for every call

    def apply(
        self, function: Callable, args: tuple, kwargs: dict[str, Any]
    ) -> tf.Tensor:
        @tf.custom_gradient
        def ruled(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            y = function(x, *args[1:], **kwargs)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.gradients(y, x, upstream)[0]

            def backward(upstream: tf.Tensor, variables: Any = None) -> Any:
                downstream = self.backward(upstream, x, gradient)
                if variables is None:
                    return downstream
                return downstream, [None] * len(variables)  # e.g. PReLU's

            return y, backward

        return ruled(args[0])
