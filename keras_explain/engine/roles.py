"""What part a call plays, by which rules are chosen.

A role is what papers state a rule for: a linear layer, a sum, a maximum, a
product. It follows from the class of the operation or, where no class is
known, from the TensorFlow ops it made: a custom layer that only scales and
adds is as good as one of Keras.
"""

from __future__ import annotations

from keras import layers

from keras_explain.engine.graph import INPUT, Call, Graph
from keras_explain.engine.interception import AttentionCore
from keras_explain.engine.linear import is_linear
from keras_explain.engine.linearity import AFFINE, MOVING
from keras_explain.engine.rules import RELU_FAMILY, SMOOTH_FAMILY

# Layers and the `keras.ops` nodes of the same meaning, by class name.
_BY_KIND = {
    "winner": (
        "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool",
        "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
        "Maximum", "Max",
    ),
    "affine": (
        "Add", "Subtract", "Average", "AveragePooling1D", "AveragePooling2D",
        "AveragePooling3D", "AveragePool", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalAveragePooling3D",
        "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D",
        "AdaptiveAveragePooling3D",
    ),
    "moving": (
        "Concatenate", "Cropping1D", "Cropping2D", "Cropping3D",
        "Dropout", "Embedding", "Flatten", "GaussianDropout",
        "GaussianNoise", "Identity", "InputLayer", "Permute", "RepeatVector",
        "Reshape", "SpatialDropout1D", "SpatialDropout2D",
        "SpatialDropout3D", "ZeroPadding1D", "ZeroPadding2D",
        "ZeroPadding3D", "ActivityRegularization", "AlphaDropout",
    ),
    "rescaling": ("Rescaling", "Normalization", "Masking"),
    "product": ("Multiply",),
    "bilinear": ("Matmul", "Einsum", "Dot", "Tensordot", "Inner"),
    "softmax": ("Softmax", "softmax"),
    "normalization": (
        "LayerNormalization", "RMSNormalization", "GroupNormalization",
        "UnitNormalization", "LayerNorm", "RMSNorm",
    ),
    "batch_normalization": ("BatchNormalization",),
    "attention": ("Attention", "AdditiveAttention"),
    "activation": tuple(RELU_FAMILY | SMOOTH_FAMILY),
}  # fmt: skip
_ROLE_OF_KIND = {
    kind: role for role, kinds in _BY_KIND.items() for kind in kinds
}
# Of these, one argument may be a constant, which makes them affine.
_MAY_BE_AFFINE = {"product", "bilinear", "winner"}

_NON_NEGATIVE = {
    "relu", "Relu", "relu6", "Relu6", "ReLU6", "sigmoid", "Sigmoid",
    "softmax", "Softmax", "hard_sigmoid", "HardSigmoid", "softplus",
    "Softplus", "exponential", "Exponential", "Exp",
}  # fmt: skip
_KEEPS_SIGN = {"winner", "moving", "affine", "product", "inside"}


def role_of(call: Call) -> str:
    """Returns the part a call plays.

    One of `"linear"`, `"batch_normalization"`, `"affine"`, `"moving"`,
    `"rescaling"`, `"activation"`, `"winner"`, `"product"`, `"bilinear"`,
    `"softmax"`, `"normalization"`, `"attention"`, `"recurrent"`; `"head"`
    for the final softmax or sigmoid, `"inside"` for what only calls others,
    `"unknown"` for what no rule is known for.
    """
    operation = call.operation
    if call.is_head and call.leaf:
        # Set aside, and all of it that is more than the softmax with it.
        return "head" if call.linearity == MOVING else "unknown"
    if call.kind == "Activation":
        return "inside"  # what it holds is a call of its own
    if is_linear(operation):
        return "linear"
    if isinstance(operation, AttentionCore):
        return "attention"
    if isinstance(operation, (layers.RNN, layers.Bidirectional)):
        return "recurrent"  # both directions have to be seen at once
    role = _ROLE_OF_KIND.get(call.kind)
    if role in _MAY_BE_AFFINE and call.linearity != "nonlinear":
        role = None  # of a constant
    if role is not None:
        return role
    if call.linearity == MOVING:
        return "moving" if call.leaf else "inside"
    if call.linearity == AFFINE and call.leaf:
        return "affine"
    return "unknown"


def non_negative(index: int, graph: Graph) -> bool:
    """Whether a call's output can be known to have no negative value."""
    if index == INPUT:
        return False
    call = graph.calls[index]
    operation = call.operation
    if call.kind in _NON_NEGATIVE:
        return True
    if call.kind == "ReLU":
        return not getattr(operation, "negative_slope", 0)
    if role_of(call) not in _KEEPS_SIGN or not call.leaf:
        return False
    known = call.kind in _ROLE_OF_KIND or call.kind == "Activation"
    if not known or call.kind == "Subtract":
        return False  # weights of any sign
    return bool(call.arguments) and all(
        makers and all(non_negative(maker, graph) for maker in makers)
        for makers in call.arguments
    )


def feeds_non_negative(call: Call, graph: Graph) -> bool:
    """Whether all that a call is given is known not to be negative."""
    return bool(call.arguments) and all(
        makers and all(non_negative(maker, graph) for maker in makers)
        for makers in call.arguments
    )
