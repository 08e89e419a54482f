"""Opens a model from a file, a folder or `keras.applications`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_explain import calibration  # noqa: F401 - known to Keras in files
from keras_explain.cli import applications
from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import message

# As `saved_model_cli scan` has them, and those that run Python.
_HARMFUL = {
    "ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "PyFunc",
    "PyFuncStateless", "EagerPyFunc",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model comes from; nothing is opened yet.

    Attributes:
        name: As it is shown.
        identity: Text that changes when the model does.
        path: File or folder, or `None`.
        application: Entry of `keras.applications`, or `None`.
        weights: Weights of the application.
        unsafe: Whether code in the file may run.
    """

    name: str
    identity: str
    path: Path | None = None
    application: applications.Application | None = None
    weights: str = ""
    unsafe: bool = False

    def open(self) -> keras.Model:
        """Opens the model.

        Raises:
            CommandError: If there is no model to be had.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.application is not None:
                return applications.build(self.application, self.weights)
            path = Path(self.path or "")
            if path.is_dir():
                return _saved_model(path, self.unsafe)
            return _load(path, self.unsafe)


def source(arguments: argparse.Namespace) -> Source:
    """Finds out what MODEL means.

    Raises:
        CommandError: If it means nothing.
    """
    text = arguments.model
    path = Path(text)
    if path.exists():
        if arguments.weights:
            raise CommandError(
                "--weights is for models of keras.applications; a model file "
                "has its own."
            )
        stamp = _stamp(path)
        return Source(
            shown(path.name), stamp, path=path, unsafe=arguments.unsafe
        )
    if path.suffix or len(path.parts) > 1:
        raise CommandError(message("There is no such model file.", shown(text)))
    application = applications.find(text)
    weights = arguments.weights or "imagenet"
    named = f"{application.name} {weights}"
    if os.path.isfile(weights):
        named += _stamp(Path(weights))
    return Source(
        application.name, named, application=application, weights=weights
    )


def _stamp(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(f), f.stat()) for f in files if f.is_file()]
    about = [(name, s.st_mtime_ns, s.st_size) for name, s in stats]
    return f"{os.path.abspath(path)} {about}"


def _load(path: Path, unsafe: bool) -> keras.Model:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            model = keras.saving.load_model(
                path, compile=False, safe_mode=not unsafe
            )
    except Exception as error:
        raise CommandError(_why(path, error, unsafe)) from error
    if not isinstance(model, keras.Model):
        raise CommandError(
            message(
                "The file holds something else than a model.",
                f"{shown(path)}, with a {type(model).__name__}",
            )
        )
    return model


def _why(path: Path, error: Exception, unsafe: bool) -> str:
    """Says in a few lines why a file could not be loaded."""
    text = " ".join(str(error).split())
    if not unsafe and "safe_mode" in text:
        return message(
            "The model file contains code, such as a Lambda layer, and code "
            "in a file can do anything.",
            shown(path),
            "If you trust where the file comes from, pass --unsafe.",
        )
    version = _keras_version(path)
    if version and int(version.split(".")[0]) < 3:
        return message(
            f"The file was written by Keras {version}, and Keras "
            f"{keras.__version__} cannot read it.",
            f"{shown(path)} ({_short(text)})",
            "Load it with the package tf_keras, save its weights with "
            "`model.save_weights`, and load them into the same model built "
            "with Keras 3.",
        )
    if version:
        return message(
            "The model cannot be opened. Layers of your own are known in "
            "Python only: use keras_explain from there.",
            f"{shown(path)} ({_short(text)})",
        )
    return message(
        "The file holds no Keras model.",
        shown(path),
        "A model is written by `model.save('model.keras')`; a file of "
        "weights alone is not enough.",
    )


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _keras_version(path: Path) -> str:
    """The version of Keras that wrote a model file; empty if none did."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("metadata.json"))
            return str(about["keras_version"])
        import h5py

        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                return ""
            return str(file.attrs.get("keras_version", "2"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return ""


def _saved_model(path: Path, unsafe: bool) -> keras.Model:
    """Wraps a SavedModel as one layer: it can be run, not looked into."""
    if not (path / "saved_model.pb").is_file():
        raise CommandError(
            message(
                "The folder holds no SavedModel.",
                f"{shown(path)}, without a file saved_model.pb",
            )
        )
    try:
        if not unsafe:
            _refuse_harmful(path)
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures["serving_default"]
        _, inputs = signature.structured_input_signature
        (spec,) = inputs.values()
        layer = keras.layers.TFSMLayer(
            str(path), call_endpoint="serving_default"
        )
        begin = keras.Input(spec.shape[1:], dtype=spec.dtype.name)
        outputs = layer(begin)
        return keras.Model(begin, list(outputs.values()))
    except CommandError:
        raise
    except Exception as error:
        text = _short(" ".join(str(error).split()))
        raise CommandError(
            message(
                "The SavedModel cannot be used: it needs a signature "
                "'serving_default' of one input.",
                f"{shown(path)} ({type(error).__name__}: {text})",
            )
        ) from error


def _refuse_harmful(path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    found = saved_model_pb2.SavedModel()
    found.ParseFromString((path / "saved_model.pb").read_bytes())
    ops = set()
    for meta in found.meta_graphs:
        graph: Any = meta.graph_def
        ops |= {node.op for node in graph.node}
        for function in graph.library.function:
            ops |= {node.op for node in function.node_def}
    if ops & _HARMFUL:
        raise CommandError(
            message(
                "The SavedModel reads or writes files, prints, or runs Python.",
                f"{shown(path)}, with {', '.join(sorted(ops & _HARMFUL))}",
                "If you trust where it comes from, pass --unsafe.",
            )
        )


@dataclasses.dataclass(frozen=True)
class ImageInput:
    """What pictures a model takes.

    Attributes:
        size: Height and width; `None` for any.
        channels: 1 or 3.
    """

    size: tuple[int, int] | None
    channels: int

    @property
    def spec(self) -> tf.TensorSpec:
        height, width = self.size or (None, None)
        return tf.TensorSpec((None, height, width, self.channels), tf.float32)


def image_input(model: keras.Model, size: int | None) -> ImageInput:
    """Returns what pictures a model takes.

    Args:
        model: The model.
        size: Height and width where the model leaves them open, or `None`.

    Raises:
        CommandError: If it does not take one picture.
    """
    shapes = input_shapes(model)
    fits = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][3] in (1, 3)
    if not fits:
        raise CommandError(
            message(
                "The command line explains models of one image: an input of "
                "shape (batch, height, width, 3) or (..., 1).",
                f"a model with {', '.join(map(str, shapes)) or 'no inputs'}",
                "Use keras_explain from Python for other models.",
            )
        )
    _, height, width, channels = shapes[0]
    if size is not None and size < 1:
        raise CommandError(f"--size must be at least 1, not {size}.")
    if size is not None and size not in (height or size, width or size):
        raise CommandError(
            f"The model takes {height} x {width} pixels, not --size {size}."
        )
    height, width = height or size, width or size
    if (height is None) != (width is None):
        raise CommandError(
            "The model leaves the height or the width open: pass --size."
        )
    if height is None or width is None:
        return ImageInput(None, channels or 3)
    return ImageInput((height, width), channels or 3)


def input_shapes(model: keras.Model) -> list[tuple[int | None, ...]]:
    """Returns the shapes of the inputs; empty if they are not known."""
    try:
        return [tuple(tensor.shape) for tensor in model.inputs]
    except (AttributeError, ValueError, TypeError):  # subclassed
        config = model.get_build_config() or {}
        shape = config.get("input_shape")
        if isinstance(shape, (list, tuple)) and len(shape) == 4:
            return [(None, *shape[1:])]
        return []
