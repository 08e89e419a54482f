"""Names of classes: from a file, or those of ImageNet."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import candidates, message, near


@dataclasses.dataclass(frozen=True)
class Labels:
    """The names of the classes in their order; empty if not known."""

    names: tuple[str, ...] = ()

    def text(self, index: int) -> str:
        """Returns the name of a class, or `"class 3"`."""
        if 0 <= index < len(self.names):
            return self.names[index]
        return f"class {index}"

    def index(self, text: str) -> int:
        """Returns the class meant by a number or a name.

        Raises:
            CommandError: If no class, or more than one, has the name.
        """
        if text.strip().lstrip("+-").isdigit():
            return int(text)
        if not self.names:
            raise CommandError(
                message(
                    "The names of the classes are not known.",
                    f"--target {shown(text)!r}",
                    "Pass --labels FILE, or the number of the class.",
                )
            )
        plain = [_plain(name) for name in self.names]
        found = [k for k, name in enumerate(plain) if name == _plain(text)]
        if len(found) == 1:
            return found[0]
        if found:
            raise CommandError(
                message(
                    "Several classes have this name.",
                    f"--target {shown(text)!r}",
                    f"Pass a number: {', '.join(map(str, found))}.",
                )
            )
        close = near(_plain(text), plain)
        matching = [n for n in self.names if _plain(text) in _plain(n)]
        raise CommandError(
            message(
                "There is no such class.",
                f"--target {shown(text)!r}",
                f"Near names: {candidates(matching) if matching else close}.",
            )
        )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def read(path: str | os.PathLike[str]) -> Labels:
    """Reads names from a file.

    Args:
        path: One name a line; or JSON: a list of names, or a dictionary from
            the number of a class to its name, or to a list that ends in its
            name, as Keras keeps those of ImageNet.

    Raises:
        CommandError: If the file cannot be read as such.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CommandError(
            message("The labels cannot be read.", f"{shown(path)} ({reason})")
        ) from error
    names = _names(text, path)
    if not names:
        raise CommandError(message("The file of labels is empty.", shown(path)))
    return Labels(tuple(names))


def _names(text: str, path: str | os.PathLike[str]) -> list[str]:
    if not text.lstrip().startswith(("[", "{")):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            numbered = {int(key): name for key, name in value.items()}
            value = [numbered[k] for k in range(len(numbered))]
        return [str(v[-1] if isinstance(v, list) else v) for v in value]
    except (ValueError, KeyError, IndexError, RecursionError) as error:
        raise CommandError(
            message(
                "The labels are no JSON list of names, and no dictionary "
                "from 0, 1, 2, ... to names.",
                f"{shown(path)} ({error})",
            )
        ) from error
