"""Which rule each call of a model gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from keras_explain.engine.errors import message
from keras_explain.engine.folding import Fold, folds, folds_of_relus
from keras_explain.engine.graph import INPUT, Call, Graph
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import Folded, Place, Rule

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


def role(*roles: str) -> Selector:
    """Selects calls by the part they play, see `engine.roles`."""
    wanted = frozenset(roles)
    return lambda call, graph: role_of(call) in wanted


def first(selector: Selector) -> Selector:
    """Selects the first call, in the order of execution, that another does."""

    def selects(call: Call, graph: Graph) -> bool:
        for other in graph.calls:
            if other.on_path and selector(other, graph):
                return other.key == call.key
        return False

    return selects


def last(selector: Selector) -> Selector:
    """Selects calls that another does, and no call behind them."""

    def selects(call: Call, graph: Graph) -> bool:
        if not selector(call, graph):
            return False
        behind = graph.behind(call)
        return not any(
            other.on_path and other.index in behind and selector(other, graph)
            for other in graph.calls
        )

    return selects


def inside(call: Call, closed: set[str]) -> bool:
    """Whether a call is part of another that has a rule as a whole."""
    parts = call.enclosing.split("/")
    return any("/".join(parts[:k]) in closed for k in range(1, len(parts) + 1))


def _check_entry(entry: Any) -> None:
    """Raises `TypeError` unless it is a pair of a selector and a rule."""
    is_pair = isinstance(entry, (tuple, list)) and len(entry) == 2
    if not is_pair or not callable(entry[0]) or isinstance(entry[0], type):
        raise TypeError(
            message(
                "A composite is made of pairs of a selector and a rule.",
                f"{entry!r}",
                "Write `(rules.linear, rules.Epsilon())`. Selectors are "
                "`linear`, `convolution`, and what `path('conv1')`, "
                "`kinds('ReLU')`, `layer_type(MyLayer)`, `role('affine')`, "
                "`first(...)` and `last(...)` return.",
            )
        )
    rule = entry[1]
    made = not isinstance(rule, type) and hasattr(rule, "prepared")
    if rule is not None and not made:
        raise TypeError(
            message(
                "The second of each pair of a composite is a rule.",
                f"{rule!r}",
                "Pass one of `keras_explain.rules`, made: `Epsilon()` and not "
                "`Epsilon`; or `None`, to leave the call alone.",
            )
        )


@dataclasses.dataclass(frozen=True)
class Composite:
    """An ordered list of (selector, rule): the first match wins.

    Attributes:
        entries: The pairs. A rule of `None` means: leave this call alone,
            and do not look further.
        folds: Whether batch normalizations are folded into the linear
            layers they stand next to.
    """

    entries: tuple[tuple[Selector, Rule | None], ...]
    folds: bool = False

    def __post_init__(self) -> None:
        for entry in self.entries:
            _check_entry(entry)

    def __repr__(self) -> str:
        return f"<Composite of {len(self.entries)} entries>"

    def assign(
        self,
        graph: Graph,
        behind: Call | None = None,
        kept: frozenset[int] = frozenset(),
    ) -> dict[tuple[str, int], Rule]:
        """Returns `{call key: rule}` for the calls on the way to the output.

        Args:
            graph: The recorded run.
            behind: Only calls that depend on the output of this one.
            kept: Indices of calls whose output is looked at: no batch
                normalization is folded into them.
        """
        known, gone = folds(graph, kept) if self.folds else ({}, frozenset())
        reached = graph.behind(behind)
        at = {INPUT} if behind is None else {behind.index, *behind.makers}
        signals = reached | at
        chosen: dict[int, Rule] = {}
        closed: set[str] = set()
        for call in reversed(graph.calls):  # the outer before the inner
            if not call.on_path or call.index not in reached:
                continue
            if inside(call, closed):
                continue
            rule = Folded() if call.index in gone else self._rule(call, graph)
            if rule is None:
                continue
            chosen[call.index] = rule
            if not call.leaf and not rule.splits:
                closed.add(call.path)
        if self.folds:
            known, closing = folds_of_relus(graph, chosen, known, kept)
            chosen.update(dict.fromkeys(closing, Folded()))
        assigned: dict[tuple[str, int], Rule] = {}
        for index in sorted(chosen):
            call = graph.calls[index]
            place = Place(call, graph, known.get(index, Fold()), signals)
            prepared = chosen[index].prepared(place)
            if prepared is not None:
                assigned[call.key] = prepared
        return assigned

    def without_rule(
        self,
        graph: Graph,
        assigned: Mapping[tuple[str, int], Rule],
        behind: Call | None = None,
        needless: Callable[[Call], bool] = lambda call: False,
    ) -> list[Call]:
        """Returns the calls that bend the signal and have no rule.

        Args:
            graph: The recorded run.
            assigned: What `assign` returned.
            behind: As for `assign`.
            needless: Says of a call whether it needs no rule. What it calls
                inside, its activation too, is asked about alone.
        """
        reached = graph.behind(behind)
        closed = {
            call.path
            for call in graph.calls
            if call.key in assigned and not assigned[call.key].splits
        }
        found = [
            call
            for call in graph.calls
            if call.on_path
            and call.index in reached
            and call.key not in assigned
            and not inside(call, closed)
            and role_of(call) not in ("moving", "inside", "head")
            and not needless(call)
        ]
        outer = {call.path for call in found if call.path}
        return [call for call in found if not inside(call, outer)]

    def _rule(self, call: Call, graph: Graph) -> Rule | None:
        for selector, rule in self.entries:
            if selector(call, graph):
                return rule
        return None
