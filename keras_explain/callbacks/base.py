"""What the callbacks share: when to look, where pictures go, and care.

A callback here only looks. It runs the model for itself, with functions of
its own, and leaves weights, random streams and the compiled train step alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.callbacks.schedule import Schedule
from keras_explain.callbacks.writers import (
    Picture,
    PNGWriter,
    TensorBoardWriter,
    Writer,
    as_writers,
)
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message

# Draws and writes while the training goes on: one thread for all callbacks, as
# they may share a file.
_ASIDE = ThreadPoolExecutor(1, "keras_explain_pictures")


class Shown(NamedTuple):
    """A picture before it is known where in the training it belongs.

    Attributes:
        tag: What it shows.
        image: `(height, width, 3)` uint8.
        caption: What it says, in words.
    """

    tag: str
    image: np.ndarray
    caption: str


class PictureLogger(keras.callbacks.Callback):
    """Base of the callbacks that write pictures while a model trains.

    Args:
        log_dir: Folder of the logs of TensorBoard, or `None`.
        writers: A writer, or a list of them: `TensorBoardWriter`,
            `PNGWriter`, or anything that is called with a list of `Picture`.
        every: `"epoch"`, a number of batches, or `"train_end"`.
        on_error: What happens when a picture cannot be made or written:
            `"warn"` warns once and goes on, as no training is to be lost to a
            picture; `"raise"` stops the training, which then waits until
            the pictures are written.

    Raises:
        ValueError: If there is no place for pictures, or an option is
            unknown.
        OSError: If nothing can be written to a folder, before the training.
    """

    # Whether there is nothing to do without a place for pictures.
    needs_writers = True

    def __init__(
        self,
        log_dir: str | os.PathLike | None = None,
        writers: Writer | Sequence[Writer] | None = None,
        every: str | int = "epoch",
        on_error: str = "warn",
    ):
        super().__init__()
        if on_error not in ("warn", "raise"):
            raise ValueError(
                message(
                    "`on_error` says what an error does to the training.",
                    f"on_error={on_error!r}",
                    "Pass `'warn'` or `'raise'`.",
                )
            )
        self.schedule = Schedule(every)
        self.writers = as_writers(log_dir, writers, self.needs_writers)
        self.on_error = on_error
        self._warned = False
        self._epoch = 0
        self._before: int | None = None
        self._in_epoch = 0
        self._pending: Future | None = None
        if self.schedule.counts_batches:
            # Keras waits for each batch where a callback looks at batches.
            self.on_train_batch_end = self._after_batch

    def shown(self) -> Iterable[Shown]:
        """Returns the pictures of the model as it is now.

        What looks at the model happens at once; pictures may be drawn as
        they are asked for, in another thread.
        """
        raise NotImplementedError

    def on_train_begin(self, logs: Any = None) -> None:
        self._warned = False
        self._before = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if self._before is None:
            # Only now is restored what a broken training has left.
            self._before = _batches_so_far(self.model)
            self.schedule.start(self._before)
        else:
            self._before += self._in_epoch
        self._in_epoch = 0

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        self._in_epoch = batch + 1
        number = (self._before or 0) + self._in_epoch
        if self.schedule.is_due(number):
            self._write(number, f"batch_{number:06d}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.schedule.every == "epoch":
            self._write(epoch, f"epoch_{epoch + 1:03d}")

    def on_train_end(self, logs: Any = None) -> None:
        if self.schedule.every == "train_end":
            self._write(self._epoch, "train_end")
        self._wait()
        for writer in self.writers:
            if hasattr(writer, "close"):
                _ASIDE.submit(writer.close).result()

    def _write(self, step: int, folder: str) -> None:
        if not self.writers:
            return
        self._wait()
        with self.careful():
            shown = self.shown()
            epoch = self._epoch

            def write() -> None:
                pictures = [
                    Picture(*each, step, epoch, folder) for each in shown
                ]
                for writer in self.writers:
                    writer(pictures)

            # What somebody else wrote may not expect a thread of ours.
            known = (TensorBoardWriter, PNGWriter)
            if all(isinstance(writer, known) for writer in self.writers):
                self._pending = _ASIDE.submit(write)
            else:
                write()
        if self.on_error == "raise":
            self._wait()

    def _wait(self) -> None:
        """Waits for the pictures before, and tells of what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self.careful():
                pending.result()

    @contextlib.contextmanager
    def careful(self) -> Iterator[None]:
        """Within this context an error does what `on_error` says."""
        try:
            yield
        except Exception as error:
            if self.on_error == "raise":
                raise
            if not self._warned:
                warn(
                    f"{type(self).__name__} could not show anything in epoch "
                    f"{self._epoch + 1}; the training goes on. "
                    f"{type(error).__name__}: {error}"
                )
            self._warned = True


def _batches_so_far(model: keras.Model) -> int:
    """How many batches a model has been trained on, also before a break."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return 0
    each = getattr(optimizer, "gradient_accumulation_steps", None) or 1
    # A variable of several devices is no number, but can be read.
    return int(tf.convert_to_tensor(optimizer.iterations)) * each
