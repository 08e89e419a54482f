"""What a page did in a browser."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.browser import chromium

__all__ = ["chromium"]


@dataclasses.dataclass
class Visit:
    """An open page and what it did.

    Attributes:
        page: The page of playwright.
        said: Messages on the console, and errors of scripts.
        asked: Addresses it asked for, itself and those it holds left out.
    """

    page: object
    said: list[str]
    asked: list[str]


@pytest.fixture
def visit(chromium):
    """Opens a file: `visit(path, width=..., scheme=...)`."""
    contexts = []

    def visit(path: Path, width=1280, height=900, scheme="light") -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        visited = Visit(page, [], [])
        address = path.absolute().as_uri()
        page.on("console", lambda m: visited.said.append(m.text))
        page.on("pageerror", lambda e: visited.said.append(str(e)))
        page.on(
            "request",
            lambda r: (
                r.url.startswith("data:")
                or r.url == address
                or visited.asked.append(r.url)
            ),
        )
        page.goto(address)
        return visited

    yield visit
    for context in contexts:
        context.close()


EVIL = '<img src=x onerror="window.ran=1"><script>window.ran=2</script>\''
