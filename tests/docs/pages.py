"""Reads the pages of the documentation and runs the code in them."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
# Their code runs by default, that of the others with the long tests.
SHORT = [page for page in PAGES if page.stem == "getting_started"]
_FENCE = re.compile(
    r"(?:<!-- *(?P<note>[^>]*?) *-->\n)?^```(?P<language>[\w{}-]*)[^\n]*\n"
    r"(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path, language: str) -> list[tuple[int, str, str]]:
    """Returns `(line, note, code)` of the fenced blocks of a language.

    The note is the HTML comment in the line before the block.
    """
    text = page.read_text(encoding="utf-8")
    return [
        (
            text.count("\n", 0, found.start("code")) + 1,
            found["note"] or "",
            found["code"],
        )
        for found in _FENCE.finditer(text)
        if found["language"] == language
    ]


def run_page(page: Path) -> None:
    """Runs the Python of a page from top to bottom, in one namespace."""
    # A module that can be found, as serialization and AutoGraph expect.
    module = types.ModuleType(f"{page.stem}_page")
    sys.modules[module.__name__] = module
    try:
        for line, note, code in blocks(page, "python"):
            if not note.startswith("not run:"):
                # Errors are then reported with the line of the page.
                padded = "\n" * (line - 1) + code
                exec(_compiled(padded, page), vars(module))
    finally:
        del sys.modules[module.__name__]


def _compiled(code: str, page: Path) -> types.CodeType:
    # Not with the `annotations` import of this file.
    return compile(code, str(page), "exec", dont_inherit=True)


def commands(name: str) -> list[str]:
    """Returns the lines of the README's block marked with a command."""
    found = [
        code
        for _, note, code in blocks(ROOT / "README.md", "shell")
        if note == f"command: {name}"
    ]
    return [line for code in found for line in code.splitlines()]
