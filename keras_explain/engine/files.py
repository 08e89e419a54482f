"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from keras_explain.engine.errors import message


def write_aside(
    path: str | os.PathLike, write: Callable[[BinaryIO], object] | bytes
) -> None:
    """Writes a file aside and renames it, so that nobody sees half of it.

    Args:
        path: Where it belongs. Missing folders are made.
        write: The content, or a function that writes it to an open file.

    Raises:
        OSError: If it cannot be written there; of the class that the system
            gave.
    """
    target = Path(path)
    # In the same folder, as a rename across file systems is a copy; and not
    # by `tempfile`, whose files only their owner may read.
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            if isinstance(write, bytes):
                file.write(write)
            else:
                write(file)
        aside.replace(target)
    except OSError as error:
        raise type(error)(
            message(
                "The file cannot be written there.",
                f"path={os.fspath(path)!r} ({error.strerror or error})",
                "Choose a folder that you may write to and that has space "
                "left.",
            )
        ) from error
    finally:
        # Only still there if something went wrong.
        if aside.is_file():
            aside.unlink()
