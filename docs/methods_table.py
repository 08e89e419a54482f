"""The tables of methods in README.md and docs/choosing_a_method.md.

python docs/methods_table.py --write

Without `--write` it prints the table of the README.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import keras_explain.attribution  # noqa: F401  (fills the catalogue)
from keras_explain.engine.catalogue import Entry, entries

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"

# Families in the order of the page; one that is not here comes last.
FAMILIES = {
    "cam": "Class activation maps",
    "gradient": "Gradients",
    "path": "Paths from a baseline",
    "relevance": "Relevance (LRP, deep Taylor, excitation backprop)",
    "deep_lift": "Differences from a reference (DeepLIFT, SHAP)",
    "pattern": "Patterns",
    "noise": "Wrappers that add noise",
    "backprop": "Modified backward passes",
}


def families() -> list[tuple[str, list[Entry]]]:
    """Returns the entries of the catalogue by family, with its title."""
    order = list(FAMILIES)

    def place(entry: Entry) -> tuple[int, str]:
        known = entry.family in FAMILIES
        number = order.index(entry.family) if known else len(order)
        return number, entry.family

    grouped = groupby(sorted(entries(), key=place), key=lambda e: e.family)
    return [(title(family), list(members)) for family, members in grouped]


def title(family: str) -> str:
    """Returns the heading of a family."""
    return FAMILIES.get(family, family.replace("_", " ").capitalize())


def readme_table() -> str:
    """Returns one table of all methods, as Markdown."""
    rows = [
        (
            f"{entry.title}" + (" (wrapper)" if entry.wraps else ""),
            f"`{entry.cls.__name__}`",
            entry.cost,
            entry.needs or "-",
            entry.paper,
        )
        for _, members in families()
        for entry in members
    ]
    return table(("Method", "Class", "Cost", "Needs", "Paper"), rows)


def page_tables() -> str:
    """Returns a table for each family, with what a method shows."""
    parts = []
    for heading, members in families():
        rows = [
            (
                f"{{py:class}}`~keras_explain.{entry.cls.__name__}` "
                f"`{entry.name}`",
                entry.summary,
                entry.cost,
                entry.needs or "-",
                entry.paper,
            )
            for entry in members
        ]
        names = ("Method", "Shows", "Cost", "Needs", "Paper")
        parts.append(f"### {heading}\n\n{table(names, rows)}")
    return "\n\n".join(parts)


def table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    lines = [names, ("---",) * len(names), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


PAGES: dict[str, Callable[[], str]] = {
    "README.md": readme_table,
    "docs/choosing_a_method.md": page_tables,
}


def updated(text: str, made: str) -> str:
    """Returns a page with `made` between its markers."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(arguments: list[str]) -> None:
    if arguments != ["--write"]:
        print(readme_table())
        return
    for name, make in PAGES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(updated(text, make()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
