"""Inputs and labels out of an `.npz` file."""

from __future__ import annotations

import dataclasses
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import candidates, message

# Names of inputs and labels that mean nothing else. Those of training data
# are not among them: a fit on these says that all is well.
_PAIRS = (
    ("x", "y"),
    ("inputs", "labels"),
    ("inputs", "targets"),
    ("images", "labels"),
    ("features", "labels"),
    ("data", "labels"),
    ("x_val", "y_val"),
    ("x_valid", "y_valid"),
    ("x_test", "y_test"),
)
_LABELS = ("y", "labels", "targets")
_WRITE = "Write one with `np.savez('val.npz', x=inputs, y=labels)`."
# What NumPy raises for an array that is cut off or was changed.
_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs and labels.

    Attributes:
        inputs: An array, or a dictionary of them by the inputs of the model.
        labels: An array with as many rows.
        file: Name of the file, as it is shown.
        names: Names of the arrays in it.
    """

    inputs: Any
    labels: np.ndarray
    file: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class Archive:
    """An `.npz` file whose arrays are not read yet.

    Args:
        path: The file.

    Raises:
        CommandError: If it is none.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.file = shown(self.path.name)
        if not self.path.exists():
            raise CommandError(
                message("There is no such data file.", shown(path))
            )
        try:
            opened = np.load(self.path, allow_pickle=False)
        except _DAMAGED as error:
            why = getattr(error, "strerror", None)
            raise self._no_archive(why or "") from error
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise self._no_archive()
        with opened:
            self.names = tuple(opened.files)

    def _no_archive(self, why: str = "") -> CommandError:
        received = shown(self.path) + (f" ({why})" if why else "")
        happened = "The file is no .npz archive of arrays."
        return CommandError(message(happened, received, _WRITE))

    def read(self, inputs: Sequence[str] = ()) -> Samples:
        """Reads inputs and labels.

        Args:
            inputs: Names of the inputs of the model, if it has several.

        Raises:
            CommandError: If it is not clear which arrays these are, or they
                cannot be read, or do not fit together.
        """
        *wanted, last = self._chosen(inputs)
        found = {name: self._array(name) for name in (*wanted, last)}
        labels = found[last]
        for name in wanted:
            if found[name].ndim == 0 or labels.ndim == 0:
                raise CommandError(
                    message(
                        "Inputs and labels have one row for each sample.",
                        self._shapes(found),
                    )
                )
            if len(found[name]) != len(labels):
                raise CommandError(
                    message(
                        "There is one label for each sample.",
                        self._shapes(found),
                    )
                )
        if not len(labels):
            raise CommandError(
                message(
                    "There is nothing to work on: the data hold no samples.",
                    self._shapes(found),
                    "Check the path or filter that made the file.",
                )
            )
        if inputs:
            values: Any = dict(zip(inputs, map(found.get, wanted), strict=True))
        else:
            (values,) = (found[name] for name in wanted)
        names = tuple(map(shown, (*wanted, last)))
        return Samples(values, labels, self.file, names)

    def optional(self, *names: str) -> np.ndarray | None:
        """Reads an array by one of several names; `None` if none is there.

        Raises:
            CommandError: If it cannot be read.
        """
        known = {name.casefold(): name for name in self.names}
        for name in names:
            if name in known:
                return self._array(known[name])
        return None

    def _chosen(self, inputs: Sequence[str]) -> tuple[str, ...]:
        """The names of the arrays, that of the labels last."""
        known = {name.casefold(): name for name in self.names}
        if inputs:
            labels = [known[name] for name in _LABELS if name in known]
            if set(inputs) <= set(self.names) and len(labels) == 1:
                return (*inputs, labels[0])
            raise self._unclear(
                "The model has several inputs, which the file does not have "
                "by their names, with the labels as y.",
                f"Name the arrays {candidates([*inputs, 'y'])}.",
            )
        found = [pair for pair in _PAIRS if known.keys() >= set(pair)]
        if not found:
            raise self._unclear("The file has no arrays x and y.", _WRITE)
        if found[0] != _PAIRS[0] and len(found) > 1:
            raise self._unclear(
                "It is not clear which arrays of the file are the inputs and "
                "which the labels.",
                "Name them x and y.",
            )
        return tuple(known[name] for name in found[0])

    def _unclear(self, happened: str, mend: str) -> CommandError:
        names = candidates(map(shown, self.names)) or "nothing"
        return CommandError(
            message(happened, f"{self.file}, with {names}", mend)
        )

    def _array(self, name: str) -> np.ndarray:
        try:
            with np.load(self.path, allow_pickle=False) as opened:
                return np.asarray(opened[name])
        except _DAMAGED as error:
            if "pickle" in str(error):
                raise CommandError(
                    message(
                        "The array holds Python objects, and to read those "
                        "is to run code.",
                        f"array {shown(name)!r} of {self.file}",
                        "Save arrays of numbers, with one size per axis.",
                    )
                ) from error
            raise CommandError(
                message(
                    "The array cannot be read: the file is damaged.",
                    f"array {shown(name)!r} of {self.file} ({error})",
                )
            ) from error

    def _shapes(self, found: dict[str, np.ndarray]) -> str:
        shapes = [
            f"{shown(name)!r} of shape {array.shape}"
            for name, array in found.items()
        ]
        return f"{self.file}, with {', '.join(shapes)}"
