"""What to do about operations that no rule is known for.

Which way out there is depends on where an operation stands: rules are
registered for classes of layers, and neither a function nor the `call` of a
model is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_explain.engine.errors import candidates, message
from keras_explain.engine.graph import Call
from keras_explain.engine.interception import FusedActivation, Inner

# A message gives that many different pieces of advice; it names all calls.
_MOST_WAYS = 3
# Layers that have rules, in place of TensorFlow ops.
_IN_PLACE_OF = {
    "Add": "Add()",
    "AddN": "Add()",
    "AddV2": "Add()",
    "Elu": "ELU()",
    "LeakyRelu": "LeakyReLU()",
    "Maximum": "Maximum()",
    "Relu": "ReLU()",
    "Relu6": "ReLU(max_value=6)",
    "Selu": "Activation('selu')",
    "Sigmoid": "Activation('sigmoid')",
    "Softmax": "Softmax()",
    "Softplus": "Activation('softplus')",
    "Sub": "Subtract()",
    "Tanh": "Activation('tanh')",
}
# The same of ops that are nonlinear where both factors depend on the inputs.
_OF_TWO = {
    "BatchMatMulV2": "Dot(...)",
    "Einsum": "Dot(...)",
    "MatMul": "Dot(...)",
    "Mul": "Multiply()",
}


def describe(call: Call) -> str:
    """Names a call for a message: its path, class and ops in question."""
    own = _ops(call)
    ops = f" ({', '.join(own)})" if own else ""
    return f"{call.path or 'the model itself'}: {call.kind}{ops}"


def no_rule(
    method: str,
    calls: Sequence[Call],
    *,
    registered: bool = True,
    hint: str = "",
) -> str:
    """Returns the message of a method that knows no rule for some calls.

    Args:
        method: Name of the method.
        calls: The calls.
        registered: Whether rules that are registered count. They do not in
            a composite that was made without them.
        hint: What the method says of rules to register, `", with ..."`.
    """
    if registered:
        ways = [_way_out(call, hint) for call in calls]
    else:
        ways = [
            "Make the composite by `rules.relevance_composite(...)`, which "
            "has rules for all without a kernel and takes those that are "
            "registered; or give it an entry `(rules.path(...), rule)`."
        ]
    return message(
        f"{method} knows no rule for some operations.",
        candidates(_unique(map(describe, calls)), 6),
        "\n".join(_unique(ways)[:_MOST_WAYS]),
    )


def _ops(call: Call) -> tuple[str, ...]:
    """The types of a call's own ops that are in need of a rule.

    Sums are, where the call runs layers as well: a rule for all of it would
    take the place of theirs.
    """
    return call.nonlinear_ops + (() if call.leaf else call.affine_ops)


def _way_out(call: Call, hint: str) -> str:
    """What can be done about one call."""
    operation = call.operation
    if isinstance(operation, FusedActivation):
        return (
            f"`{call.kind}` is a function, and rules are registered for "
            "classes: call it in a layer class of your own behind "
            f"{operation.layer.name!r}, in place of its `activation`, and "
            f"register that: {_register('ThatLayer', hint)}."
        )
    layer = operation.layer if isinstance(operation, Inner) else operation
    if layer is not None and not isinstance(layer, keras.Layer):
        return _of_a_function(call, hint)
    name = "the model" if layer is None else f"`{type(layer).__name__}`"
    inside = f"in the `call` of {name} use layers that it holds: " + (
        ", ".join(_replacements(call, hint))
    )
    if layer is None:  # a rule has nothing to be registered for
        return f"{inside[0].upper()}{inside[1:]}."
    if _is_public(layer):
        name = f"keras.layers.{type(layer).__name__}"
        return f"State the rule of the layer: {_register(name, hint)}."
    stated = _register(type(layer).__name__, hint)
    if not call.leaf:
        # A rule for all of it is blind to the layers inside.
        return (
            f"{inside[0].upper()}{inside[1:]}; or state a rule for the layer "
            f"as one: {stated}."
        )
    known = any(op in _IN_PLACE_OF for op in _ops(call))
    return f"State the rule of the layer: {stated}" + (
        f"; or {inside}." if known else "."
    )


def _of_a_function(call: Call, hint: str) -> str:
    """Of a node of a Functional graph."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", call.kind).lower()
    known = f", `keras.ops.{name}`" if hasattr(keras.ops, name) else ""
    return (
        f"{call.path!r} is a function{known}, and rules are registered for "
        "classes: call it in a layer class of your own, and register that: "
        f"{_register('ThatLayer', hint)}."
    )


def _replacements(call: Call, hint: str) -> list[str]:
    """The layers to use for the ops of a call."""
    found: list[str] = []
    others: list[str] = []
    affine: list[str] = []
    for op in _ops(call):
        bends = op in call.nonlinear_ops
        layer = _IN_PLACE_OF.get(op) or (_OF_TWO.get(op) if bends else None)
        if layer is not None:
            found.append(f"a `keras.layers.{layer}` for {op}")
        else:
            (others if bends else affine).append(op)
    if affine:
        found.append(
            f"a layer class of your own for {', '.join(affine)}, which needs "
            "no rule if it only moves, scales and adds"
        )
    if others:
        found.append(
            f"a layer class of your own for {', '.join(others)}, which you "
            f"register: {_register('ThatLayer', hint)}"
        )
    return _unique(found)


def _register(name: str, hint: str) -> str:
    return f"`keras_explain.rules.register({name}, rule)`{hint}"


def _is_public(layer: Any) -> bool:
    """Whether it is a layer of Keras, whose `call` nobody can change."""
    kind = type(layer)
    return getattr(keras.layers, kind.__name__, None) is kind


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
