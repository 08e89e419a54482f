"""Where pictures go: TensorBoard, files, or anything that can be called."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.image import metadata

from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of a model that trains.

    Attributes:
        tag: What it shows, `"explanations/grad_cam/0"`.
        image: `(height, width, 3)` uint8.
        caption: What it says, in words.
        step: Number of the epoch, from 0, as Keras counts for TensorBoard;
            or the number of batches so far, if batches are counted.
        epoch: Number of the epoch, from 0.
        folder: Name of this moment, `"epoch_003"` (from 1, as Keras prints
            it), `"batch_000200"` or `"train_end"`.
    """

    tag: str
    image: np.ndarray
    caption: str
    step: int
    epoch: int
    folder: str


Writer = Callable[[Sequence[Picture]], Any]


class TensorBoardWriter:
    """Writes image summaries for TensorBoard, and flushes each time.

    TensorBoard keeps ten pictures of a tag: start it with
    `--samples_per_plugin images=1000` to see more epochs.

    Args:
        log_dir: Folder of the logs. The pictures are a run of their own in
            it, `explanations`, and do not disturb what
            `keras.callbacks.TensorBoard` writes there.

    Raises:
        TypeError, ValueError: If it is the name of no folder.
        OSError: If nothing can be written there.
    """

    run = "explanations"

    def __init__(self, log_dir: str | os.PathLike):
        self.folder = (_folder(log_dir) / self.run).resolve()
        check_folder(self.folder)
        self._is_open = False

    def __call__(self, pictures: Sequence[Picture]) -> None:
        # TensorBoard follows one file of a run, the latest: callbacks that
        # share a folder have to share the file.
        shared = _OPEN.setdefault(self.folder, _File(self.folder))
        if not self._is_open:
            shared.users += 1
            self._is_open = True
        writer = shared.writer()
        with writer.as_default(), tf.summary.record_if(True):
            for picture in pictures:
                self._write(picture)
        writer.flush()

    def _write(self, picture: Picture) -> None:
        # As `tf.summary.image` does, but for the encoder: TensorFlow's takes
        # three times as long as all the rest of a callback.
        height, width, _ = picture.image.shape
        tf.summary.write(
            picture.tag,
            tf.constant([str(width), str(height), _png(picture.image)]),
            step=picture.step,
            metadata=metadata.create_summary_metadata(
                display_name="", description=picture.caption
            ),
        )

    def close(self) -> None:
        """Closes the file, unless another callback writes to it."""
        if not self._is_open:
            return
        shared = _OPEN[self.folder]
        shared.users -= 1
        if not shared.users:
            del _OPEN[self.folder]
            shared.close()
        self._is_open = False


class _File:
    """An open file of TensorBoard, with the number of its users.

    A training that was interrupted leaves its file open. If the file has
    been deleted since, what is written to it would be lost.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.users = 0
        self._writer: Any = None
        self._files: set[Path] = set()

    def writer(self) -> Any:
        """Returns what writes to the file, opened again if it is gone."""
        if not self._files or not all(path.exists() for path in self._files):
            self.close()
            self.folder.mkdir(parents=True, exist_ok=True)
            before = set(self.folder.iterdir())
            self._writer = tf.summary.create_file_writer(str(self.folder))
            self._writer.flush()
            self._files = set(self.folder.iterdir()) - before
        return self._writer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _png(image: np.ndarray) -> bytes:
    """A picture as PNG, written fast rather than small."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    return file.getvalue()


# By folder.
_OPEN: dict[Path, _File] = {}


class PNGWriter:
    """Writes PNG files, `epoch_003/explanations_grad_cam_0.png`.

    Each file appears as a whole or not at all.

    Args:
        folder: Where to. Made if it is missing.

    Raises:
        TypeError, ValueError: If it is the name of no folder.
        OSError: If nothing can be written there.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = _folder(folder).resolve()
        check_folder(self.folder)

    def __call__(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            name = picture.tag.replace("/", "_")
            path = self.folder / picture.folder / f"{name}.png"
            write_aside(path, _png(picture.image))

    def close(self) -> None:
        """Nothing is open."""


def _folder(name: Any) -> Path:
    """Returns the path of a folder that someone has named."""
    named = isinstance(name, (str, os.PathLike)) and not isinstance(name, bytes)
    text = os.fspath(name) if named else None
    if not isinstance(text, str):
        raise TypeError(
            message(
                "The folder for pictures is a path.",
                repr(name),
                "Pass `'logs'`; other places for pictures are `writers=`.",
            )
        )
    if not text.strip() or "\0" in text:
        raise ValueError(
            message(
                "The folder for pictures needs a name.",
                repr(text),
                "Pass `'logs'`, or `'.'` for the folder that one is in.",
            )
        )
    return Path(text)


def check_folder(folder: Path) -> None:
    """Raises `OSError` where files cannot be written, before a training."""
    probe = folder / ".writable"
    write_aside(probe, b"")
    probe.unlink()


def as_writers(log_dir: Any, writers: Any, needed: bool = True) -> list[Writer]:
    """Returns the writers that a callback was given.

    Raises:
        ValueError: If there is none, and one is needed.
        TypeError: If one cannot be called.
    """
    if not isinstance(writers, (list, tuple)):
        writers = [] if writers is None else [writers]
    found: list[Writer] = list(writers)
    if log_dir is not None:
        found.insert(0, TensorBoardWriter(log_dir))
    if needed and not found:
        raise ValueError(
            message(
                "The pictures have to go somewhere.",
                "neither `log_dir` nor `writers`",
                "Pass `log_dir='logs'` for TensorBoard, or "
                "`writers=PNGWriter('pictures')`.",
            )
        )
    for writer in found:
        if not callable(writer):
            raise TypeError(
                message(
                    "A writer is called with a list of pictures.",
                    repr(writer),
                    "Pass `log_dir=` for a folder of TensorBoard, or "
                    "`PNGWriter(folder)`.",
                )
            )
    return found
