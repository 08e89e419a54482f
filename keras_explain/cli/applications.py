"""The models of `keras.applications`, found by looking at the module."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

import keras
import numpy as np

from keras_explain.cli.failures import CommandError, shown
from keras_explain.cli.labels import Labels
from keras_explain.engine.errors import message, near

# What those were trained on that leave the size open, such as MobileNetV3.
USUAL_SIDE = 224


@dataclasses.dataclass(frozen=True)
class Application:
    """A function that builds a model, and the module it comes from."""

    name: str
    function: Callable[..., keras.Model]
    module: ModuleType

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """Prepares pixels in 0..255, `(batch, height, width, 3)`."""
        return np.asarray(self.module.preprocess_input(images.copy()))


def found() -> dict[str, Application]:
    """Returns all applications by name."""
    known = {}
    for name, function in inspect.getmembers(keras.applications, callable):
        # The module as it was written: the public one may lack the function.
        module = sys.modules.get(function.__module__)
        if module is not None and hasattr(module, "preprocess_input"):
            known[name] = Application(name, function, module)
    return known


def find(name: str) -> Application:
    """Returns the application of a name, in upper or lower case.

    Raises:
        CommandError: If there is none.
    """
    known = found()
    for application in known.values():
        if application.name.casefold() == name.casefold():
            return application
    folded = {k.casefold(): k for k in known}
    close = near(name.casefold(), folded)
    for lower, proper in folded.items():
        close = close.replace(f"'{lower}'", f"'{proper}'")
    raise CommandError(
        message(
            "There is no such model: no file, and nothing in "
            "keras.applications.",
            shown(name),
            f"Near names: {close}.",
        )
    )


class _OnceBegun(io.TextIOBase):
    """Passes text on to stderr from the second line on.

    Keras announces a download before it knows whether there is a network;
    what follows is the progress bar of a download that has begun.
    """

    def __init__(self) -> None:
        self.held: str | None = ""

    def write(self, text: str) -> int:
        if self.held is not None:
            self.held += text
            if "\n" not in self.held.rstrip("\n"):
                return len(text)
            text, self.held = self.held, None
        return sys.stderr.write(text)


def build(application: Application, weights: str) -> keras.Model:
    """Builds a model.

    Args:
        application: Which one.
        weights: `"imagenet"`, `"none"` for random ones, or a file.

    Raises:
        CommandError: If the weights cannot be had.
    """
    if weights not in ("imagenet", "none") and not os.path.isfile(weights):
        raise CommandError(
            message(
                "There is no such file of weights.",
                f"--weights {shown(weights)}",
                "Pass imagenet, none or the path of a file.",
            )
        )
    try:
        with contextlib.redirect_stdout(_OnceBegun()):
            return application.function(
                weights=None if weights == "none" else weights
            )
    except Exception as error:
        wanted = _download(error)
        if wanted is None and weights in ("imagenet", "none"):
            raise
        if wanted is None:
            raise CommandError(
                message(
                    f"The weights do not fit {application.name}.",
                    f"--weights {shown(weights)} ({_first_line(error)})",
                    "A model file is opened by its path in place of a name.",
                )
            ) from error
        raise CommandError(
            f"The weights of {application.name} could not be downloaded: put "
            f"{os.path.basename(wanted[0])} into {os.path.dirname(wanted[0])} "
            f"(it is at {wanted[1]}), or pass --weights FILE, or "
            "--weights none for random ones."
        ) from error


def imagenet_labels(application: Application) -> tuple[Labels, str]:
    """Returns the names of the ImageNet classes, or why there are none."""
    try:
        with contextlib.redirect_stdout(_OnceBegun()):
            decoded = application.module.decode_predictions(
                np.eye(1000, dtype=np.float32), top=1
            )
    except Exception as error:
        wanted = _download(error)
        if wanted is None:
            raise
        return Labels(), (
            "The names of the ImageNet classes could not be downloaded, so "
            f"classes are shown by number: put {os.path.basename(wanted[0])} "
            f"into {os.path.dirname(wanted[0])}, or pass --labels FILE."
        )
    return Labels(tuple(row[0][1].replace("_", " ") for row in decoded)), ""


def _download(error: BaseException) -> tuple[str, str] | None:
    """The file and address of a download that failed, if that is what it is.

    Keras does not put the name of the file into its message, and it is not
    always the last part of the address; the frame of the call knows it.
    """
    trace = error.__traceback__
    while trace is not None:
        frame: FrameType = trace.tb_frame
        if frame.f_code.co_name == "get_file":
            known: dict[str, Any] = frame.f_locals
            if "download_target" in known and "origin" in known:
                return str(known["download_target"]), str(known["origin"])
        trace = trace.tb_next
    return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
