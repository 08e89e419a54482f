"""What exists: the list that the CLI, docs, tests and callbacks iterate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from keras_explain.engine.errors import message, near

Cls = TypeVar("Cls", bound=type)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        name: Its name on the command line, `"grad_cam"`.
        cls: The explainer.
        family: The module it belongs to: `"gradient"`, `"cam"`, ...
        title: As the authors write it, `"Grad-CAM"`.
        paper: Author, year.
        cost: What one explanation costs, in a few words.
        needs: What a model must have beyond being differentiable; empty
            for nothing.
        wraps: Whether it takes another explainer in place of the model.
    """

    name: str
    cls: Any
    family: str
    title: str
    paper: str
    cost: str
    needs: str = ""
    wraps: bool = False

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


_ENTRIES: dict[str, Entry] = {}


def register(
    name: str,
    *,
    family: str,
    title: str,
    paper: str,
    cost: str,
    needs: str = "",
    wraps: bool = False,
) -> Callable[[Cls], Cls]:
    """Adds an explainer class to the catalogue."""

    def add(cls: Cls) -> Cls:
        if name in _ENTRIES and _ENTRIES[name].cls is not cls:
            raise ValueError(f"The name {name!r} is in the catalogue already.")
        _ENTRIES[name] = Entry(
            name, cls, family, title, paper, cost, needs, wraps
        )
        cls.catalogue_name = name  # type: ignore[attr-defined]
        return cls

    return add


def entries() -> tuple[Entry, ...]:
    """Returns all methods in the order in which they were added."""
    return tuple(_ENTRIES.values())


def find(name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
        ValueError: If there is none; the message names those most like it.
    """
    if name not in _ENTRIES:
        raise ValueError(
            message(
                "There is no such method.",
                f"method={name!r}",
                f"Near names: {near(name, _ENTRIES)}.",
            )
        )
    return _ENTRIES[name]
