"""Pictures and figures as files: the same bytes for the same content."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside
from keras_explain.plots.color import to_displayable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without these, files carry the date and the version of Matplotlib, and the
# same figure never makes the same file twice.
_NO_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


def to_png(picture: Figure | Any) -> bytes:
    """Encodes a figure or an image as PNG.

    The same content gives the same bytes: no date and no software version is
    written.

    Args:
        picture: A `matplotlib.figure.Figure`, or an image as `to_displayable`
            takes it.

    Returns:
        The bytes of the PNG file.

    Raises:
        ValueError: If an image has a wrong shape, or NaN or infinite values.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import to_png
    >>> to_png(np.zeros((2, 2), "uint8"))[1:4]
    b'PNG'
    """
    return _encode(picture, "png")


def save(picture: Figure | Any, path: str | os.PathLike[str]) -> None:
    """Writes a figure or an image to a file.

    The file appears at once and complete: it is written under another name
    and then renamed, so that a reader, or a crash, never leaves half a file.
    Missing folders are made.

    Args:
        picture: A `matplotlib.figure.Figure`, or an image as `to_displayable`
            takes it.
        path: Where to write. It ends in `.png`; a figure may also be written
            as `.pdf` or `.svg`.

    Raises:
        ValueError: If the ending is none of these.
        OSError: If the file cannot be written there.

    Example:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from keras_explain.plots import save
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "map.png"
    >>> save(np.zeros((2, 2), "uint8"), path)
    >>> path.exists()
    True
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    kinds = list(_NO_METADATA) if _is_figure(picture) else ["png"]
    if kind not in kinds:
        raise ValueError(
            message(
                "The ending of the file does not name a format to write.",
                f"path={os.fspath(path)!r}",
                "It may end in " + ", ".join(f".{k}" for k in kinds) + ".",
            )
        )
    # Encoded before anything is written: a bad picture leaves no file.
    write_aside(target, _encode(picture, kind))


def _is_figure(picture: Any) -> bool:
    return hasattr(picture, "savefig")


def _encode(picture: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    if _is_figure(picture):
        picture.savefig(buffer, format=kind, metadata=_NO_METADATA[kind])
    else:
        from PIL import Image

        Image.fromarray(np.ascontiguousarray(to_displayable(picture))).save(
            buffer, format="PNG"
        )
    return buffer.getvalue()
