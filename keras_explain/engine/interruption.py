"""Ctrl-C between two steps, where nothing is half done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_SAID = b"\nStopping after this batch. Ctrl-C again stops at once.\n"


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], None]]:
    """Within this context the first Ctrl-C waits for the end of a step.

    An exception in the middle of one may come where TensorFlow's own code
    calls Python's, and take the process down. The second Ctrl-C does not
    wait. Within another such context, what was pressed there counts as well:
    so a work of several runs keeps what it has while one of them begins.

    Yields:
        What to call after each step. It raises `KeyboardInterrupt` if
        Ctrl-C was pressed.
    """
    pressed = threading.Event()

    def note(*_: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        os.write(2, _SAID)  # a stream may be in the middle of a line

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    around = getattr(before, "check", None)
    if around is not None:
        yield around
        return
    here = threading.current_thread() is threading.main_thread()
    if not here or before is not signal.default_int_handler:
        yield check  # somebody else decides what Ctrl-C does
        return
    note.check = check  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
