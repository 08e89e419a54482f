"""A bar for long work, where there is someone to see it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(
    total: int | None, title: str, verbose: bool | str = "auto"
) -> Iterator[Callable[..., None]]:
    """Shows a progress bar on the error stream; yields what advances it.

    Args:
        total: How many steps there are, if known.
        title: What is being done.
        verbose: `True`, `False`, or `"auto"`: only where there is more than
            one step and the error stream is a terminal.

    Yields:
        `advance(steps=1, title=None)`; a title takes the place of the one
        before.
    """
    if verbose == "auto":
        verbose = total != 1 and sys.stderr.isatty()
    if not verbose:
        yield lambda steps=1, title=None: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total)

        def advance(steps: int = 1, title: str | None = None) -> None:
            shown.update(task, advance=steps)
            if title is not None:
                shown.update(task, description=title)

        yield advance
