"""Routes every operation call of a model through a handler, without a trace.

An operation is anything with a `.call`: a layer at any depth, or a
`keras.ops` node of a Functional graph. While a model is being traced, each
one's `call` is shadowed on the instance, so that Keras calls the handler in
its place. Afterwards the shadow is gone and the compiled function carries
the behavior. No clone, no surgery, no second inbound node.

A fused activation (`Dense(activation="relu")`) is split off in the same way:
the function held by the layer's `activation` attribute is shadowed and
arrives at the handler as a `FusedActivation` of its own; so does what an
attention layer computes between its projections, as an `AttentionCore`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

Handler = Callable[..., Any]

# One trace at a time: shadows sit on objects that threads share. Reentrant,
# because a compiled explainer may be traced inside another trace.
TRACE_LOCK = threading.RLock()


class Inner:
    """A function that a layer calls inside, as an operation of its own.

    Attributes:
        layer: The layer that holds it.
        function: What the layer would have called.
        name: The last part of its path.
    """

    name = ""

    def __init__(self, layer: Any, function: Callable):
        self.layer = layer
        self.function = function

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.layer.name!r}>"


class FusedActivation(Inner):
    """The nonlinearity held in a layer's `activation`."""

    name = "activation"


class AttentionCore(Inner):
    """What an attention layer does between its projections.

    Its arguments are the projected query, key and value.
    """

    name = "attention"


# Methods of layers that are intercepted beside `call`.
_INNER_METHODS = {"_compute_attention": AttentionCore}


def children(operation: Any) -> list[Any]:
    """Returns the operations that `operation` may call directly."""
    if isinstance(operation, keras.Model) and hasattr(operation, "operations"):
        found = list(operation.operations)
    elif isinstance(operation, keras.Sequential):
        found = list(operation.layers)
    else:
        found = []
    if isinstance(operation, keras.Layer):
        # Sublayers held in attributes, lists and dicts alike; a Functional
        # subclass may hold some beside its graph.
        found += operation._flatten_layers(include_self=False, recursive=False)
    unique = {id(child): child for child in found if child is not operation}
    return list(unique.values())


def operations(model: keras.Model) -> dict[int, tuple[str, Any]]:
    """Returns `{id: (path, operation)}` of all that the model may call.

    The path is made of names from the outside in: `"backbone/conv5"`. An
    operation that can be reached by several paths has the shortest one. The
    model itself has the empty path.
    """
    found: dict[int, tuple[str, Any]] = {id(model): ("", model)}
    queue = [("", model)]
    while queue:
        prefix, parent = queue.pop(0)
        for child in children(parent):
            if id(child) not in found:
                path = f"{prefix}/{child.name}" if prefix else child.name
                found[id(child)] = (path, child)
                queue.append((path, child))
    return found


def fused_activation(operation: Any) -> Callable | None:
    """Returns the nonlinearity an operation holds in `activation`, if any."""
    if hasattr(operation, "recurrent_activation"):
        # A recurrent cell: its kernel is chosen by the identity of the
        # function, so that a shadow would change the computation.
        return None
    function = held_activation(operation)
    if isinstance(function, keras.Operation):
        return None  # an Operation is intercepted by its own `call`
    return function


def held_activation(operation: Any) -> Callable | None:
    """Returns what is in `activation`, whatever it is; `None` for linear."""
    function = getattr(operation, "__dict__", {}).get("activation")
    if not callable(function) or function is keras.activations.linear:
        return None
    return function


@contextlib.contextmanager
def without_activation(layer: Any) -> Iterator[None]:
    """Within the context, a layer's `call` ends before its activation."""
    if held_activation(layer) is None:
        yield
        return
    restore = shadow(layer, "activation", keras.activations.linear)
    try:
        yield
    finally:
        restore()


def shadow(target: Any, attribute: str, replacement: Any) -> Callable:
    """Sets an instance attribute past Keras's tracking; returns the undo."""
    missing = object()
    before = target.__dict__.get(attribute, missing)
    object.__setattr__(target, attribute, replacement)

    def undo() -> None:
        if before is missing:
            object.__delattr__(target, attribute)
        else:
            object.__setattr__(target, attribute, before)

    return undo


def _route(operation: Any, call: Callable, handler: Handler) -> Callable:
    owner = threading.get_ident()

    def routed(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != owner:
            return call(*args, **kwargs)
        return handler(operation, call, *args, **kwargs)

    # Keras chooses by name and signature in a few places.
    routed.__name__ = getattr(call, "__name__", "call")
    routed.__wrapped__ = call  # type: ignore[attr-defined]
    return routed


@contextlib.contextmanager
def intercept(model: keras.Model, handler: Handler) -> Iterator[None]:
    """Within the context, calls go to `handler(operation, call, *args)`.

    The handler returns what the caller gets; `call(*args, **kwargs)` does
    what would have been done. Calls from other threads are not routed.

    Args:
        model: Any built Keras 3 model.
        handler: Called as `handler(operation, call, *args, **kwargs)`, where
            `operation` is a layer, a `keras.ops` node or an `Inner`.
    """
    undo: list[Callable] = []
    with TRACE_LOCK:
        try:
            for _, operation in operations(model).values():
                function = fused_activation(operation)
                if function is not None:
                    fused = FusedActivation(operation, function)
                    routed = _route(fused, function, handler)
                    undo.append(shadow(operation, "activation", routed))
                for name, kind in _INNER_METHODS.items():
                    method = getattr(operation, name, None)
                    if isinstance(operation, keras.Layer) and method:
                        inner = kind(operation, method)
                        routed = _route(inner, method, handler)
                        undo.append(shadow(operation, name, routed))
                routed = _route(operation, operation.call, handler)
                undo.append(shadow(operation, "call", routed))
            yield
        finally:
            for restore in reversed(undo):
                restore()
