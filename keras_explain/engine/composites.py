"""Which rule each call of a model gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.rules import Rule

# A selector may ask about the call and about its place in the graph.
Selector = Callable[[Call, Graph], bool]


def kinds(*names: str) -> Selector:
    """Selects calls by the class name of the operation.

    Of a fused activation it is the name of the function, so that `"relu"`
    means the nonlinearity of `Dense(activation="relu")`.
    """
    wanted = frozenset(names)
    return lambda call, graph: call.kind in wanted


def layer_type(*types: type) -> Selector:
    """Selects calls of layers of these classes."""
    return lambda call, graph: isinstance(call.operation, types)


def path(*paths: str) -> Selector:
    """Selects calls by path, `"backbone/conv5"`."""
    wanted = frozenset(paths)
    return lambda call, graph: call.path in wanted


def first(selector: Selector) -> Selector:
    """Selects the first call, in the order of execution, that another does."""

    def selects(call: Call, graph: Graph) -> bool:
        for other in graph.calls:
            if other.on_path and selector(other, graph):
                return other.key == call.key
        return False

    return selects


@dataclasses.dataclass(frozen=True)
class Composite:
    """An ordered list of (selector, rule): the first match wins.

    Attributes:
        entries: The pairs. A rule of `None` means: leave this call alone,
            and do not look further.
    """

    entries: tuple[tuple[Selector, Rule | None], ...]

    def assign(self, graph: Graph) -> dict[tuple[str, int], Rule]:
        """Returns `{call key: rule}` for the calls on the way to the output."""
        assigned = {}
        for call in graph.calls:
            rule = self._rule(call, graph) if call.on_path else None
            if rule is not None:
                assigned[call.key] = rule.prepared(call, graph)
        return assigned

    def _rule(self, call: Call, graph: Graph) -> Rule | None:
        for selector, rule in self.entries:
            if selector(call, graph):
                return rule
        return None
