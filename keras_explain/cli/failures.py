"""What a command says when it cannot go on: one short message, no traceback."""

from __future__ import annotations

import os

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


class CommandError(Exception):
    """Something that the person at the keyboard can mend."""


class ImageError(Exception):
    """One picture cannot be explained; the others can."""


def shown(text: str | os.PathLike[str]) -> str:
    """Returns a name that is safe to print.

    A file name may hold bytes that are no text, and control characters that
    a terminal would obey.
    """
    text = os.fsencode(text).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}"
                   for c in text)  # fmt: skip
