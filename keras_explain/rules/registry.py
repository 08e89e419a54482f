"""Rules for layers of other people."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.rules import Place, Rule

_RULES: dict[type, Rule] = {}


def register(layer_type: type, rule: Rule) -> None:
    """Makes the relevance methods use a rule for a layer they do not know.

    It holds for all that propagate relevance (LRP, deep Taylor, excitation
    backprop, DeepLIFT and its relatives), in every model, and goes before
    the rules of their composites. A later registration of the same class takes
    the place of an earlier one.

    Args:
        layer_type: Class of the layer; subclasses are meant as well.
        rule: One of `keras_explain.rules`: `Pass` for a nonlinearity that
            hands on what it is given, `Epsilon()` for a layer with a
            `kernel` and a `bias`, `Norm()` for one that is affine, or any
            object with the methods of `keras_explain.engine.rules.Rule`.

    Raises:
        TypeError: If one is not a class and the other not a rule.

    Example:

    >>> class Swoosh(keras.layers.Layer):
    ...     def call(self, x):
    ...         return x * keras.ops.sigmoid(x - 1)
    >>> keras_explain.rules.register(Swoosh, keras_explain.rules.Pass)
    """
    if not isinstance(layer_type, type):
        raise TypeError(
            message(
                "A rule is registered for a class of layers.",
                f"layer_type={layer_type!r}",
                "Pass the class itself: `register(MyLayer, rule)`.",
            )
        )
    if isinstance(rule, type) or not hasattr(rule, "prepared"):
        raise TypeError(
            message(
                "This is no rule.",
                f"rule={rule!r}",
                "Pass one of `keras_explain.rules`, made: `Epsilon()` and not "
                "`Epsilon`; or an object with `prepared` and `apply`.",
            )
        )
    _RULES[layer_type] = rule


def unregister(layer_type: type) -> None:
    """Takes the rule of a class back; nothing happens if it has none."""
    _RULES.pop(layer_type, None)


def found(operation: Any) -> Rule | None:
    """Returns the rule of a layer's class, or of the nearest above it."""
    for kind in type(operation).__mro__:
        if kind in _RULES:
            return _RULES[kind]
    return None


def is_registered(call: Call, graph: Graph) -> bool:
    """Selects calls of layers for which a rule was registered."""
    return found(call.operation) is not None


@dataclasses.dataclass(frozen=True)
class _Registered:
    """Stands for the rule that was registered for a layer."""

    splits = False
    reads = ""

    def prepared(self, place: Place) -> Rule | None:
        rule = found(place.call.operation)
        return None if rule is None else rule.prepared(place)

    def apply(self, *_: Any) -> Any:
        raise TypeError("It has to be prepared.")


Registered = _Registered()
