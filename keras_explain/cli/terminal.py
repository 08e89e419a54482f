"""What is printed: news on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import message

Advance = Callable[[str], None]


def say(text: str) -> None:
    """Prints news."""
    print(text, file=sys.stderr, flush=True)


def counted(number: int, thing: str) -> str:
    """Returns `"1 image"` or `"2 images"`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def result(path: Path) -> None:
    """Prints where the report is, alone on stdout for use in scripts."""
    print(shown(os.path.abspath(path)), flush=True)


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Shows a bar on stderr if someone is there to see it.

    Yields:
        A function to call after each step with what was done.
    """
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    bar = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("[dim]{task.fields[last]}"),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(title, total=total, last="")
        yield lambda last: bar.update(task, advance=1, last=escape(shown(last)))


def check_writable(folder: Path) -> None:
    """Makes a folder, and finds out early whether it can be written to.

    Raises:
        CommandError: If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(
            message(
                "The output folder cannot be written to.",
                f"--out {shown(folder)} ({error.strerror or error})",
                "Choose another one with --out.",
            )
        ) from error
