"""What is kept on disk, so that an interrupted run can go on.

Each image has a folder with its heat maps, its explanations and, written
last, `result.json`. An image is finished when that file is there and carries
the key of this image and these options.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_explain import plots
from keras_explain.cli.run import Outcome, Picture
from keras_explain.engine.files import write_aside
from keras_explain.report import Cell, Prediction, Row

RESULT = "result.json"
# Pictures on the page; those in the folders keep their size.
_PAGE_SIDE = 256
_PAGE_BYTES = 20_000


def fingerprint(*parts: Any) -> str:
    """Returns a short text that changes when the parts do."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class About:
    """What the report says of a whole run, kept with each image."""

    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()


class Store:
    """The folder of results.

    Args:
        out: The folder; it is there already.
        options: Fingerprint of all that a result depends on but the image.
    """

    def __init__(self, out: Path, options: str):
        self.out = out
        self.options = options

    def folder(self, image: Path) -> Path:
        """The folder of an image, with a name that any disk can hold."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", image.stem).strip("-")[:40]
        place = fingerprint(os.path.abspath(image))[:8]
        return self.out / f"{plain or 'image'}-{place}"

    def key(self, image: Path) -> str:
        """What the result of an image depends on."""
        stat = image.stat()
        return fingerprint(
            os.path.abspath(image), stat.st_mtime_ns, stat.st_size, self.options
        )

    def is_done(self, image: Path) -> bool:
        """Whether the image was explained with these options."""
        try:
            key = self.key(image)
        except OSError:
            return False
        return _read(self.folder(image) / RESULT).get("key") == key

    def begin(self, image: Path) -> None:
        """Clears what an earlier or an interrupted run left of an image."""
        folder = self.folder(image)
        folder.mkdir(exist_ok=True)
        # First the file that says the others are whole.
        (folder / RESULT).unlink(missing_ok=True)
        for pattern in ("*.png", "*.npz", "*.part", ".*.part"):
            for file in folder.glob(pattern):
                file.unlink()

    def abandon(self, image: Path) -> None:
        """Clears the folder of an image that was begun and not finished."""
        folder = self.folder(image)
        if folder.is_dir() and not (folder / RESULT).exists():
            self.begin(image)
            folder.rmdir()

    def finish(
        self,
        image: Path,
        key: str,
        picture: Picture,
        *,
        outcomes: Sequence[Outcome],
        predictions: Sequence[Prediction],
        about: About,
    ) -> None:
        """Writes all files of an image."""
        folder = self.folder(image)
        self.begin(image)
        write_aside(folder / "picture.png", plots.to_png(picture.pixels))
        cells = []
        for outcome in outcomes:
            cell = dataclasses.asdict(outcome.cell)
            content = cell.pop("picture")
            if outcome.explanation is not None:
                outcome.explanation.save(folder / f"{cell['method']}.npz")
                write_aside(folder / f"{cell['method']}.png", content)
            cells.append(cell)
        result = {
            "key": key,
            "options": self.options,
            "image": os.fsencode(os.path.abspath(image)).decode(
                "utf-8", "replace"
            ),
            "name": picture.name,
            "predictions": [dataclasses.asdict(p) for p in predictions],
            "about": dataclasses.asdict(about),
            "cells": cells,
        }
        text = json.dumps(result, indent=1)
        write_aside(folder / RESULT, text.encode("utf-8", "replace"))

    def results(self) -> list[tuple[Path, dict[str, Any]]]:
        """Returns the finished images of these options, by path."""
        found = []
        for file in self.out.glob(f"*/{RESULT}"):
            result = _read(file)
            if result.get("options") == self.options:
                image = Path(result["image"])
                # One that has changed since is not what was explained.
                if not image.exists() or self.is_done(image):
                    found.append((file.parent, result))
        return sorted(found, key=lambda pair: _natural(pair[1]["image"]))


def rows(results: Sequence[tuple[Path, dict[str, Any]]]) -> tuple[Row, ...]:
    """Returns the rows of the report for finished images."""
    names = collections.Counter(result["name"] for _, result in results)
    return tuple(
        _row(folder, result, names[result["name"]] > 1)
        for folder, result in results
    )


def _row(folder: Path, result: dict[str, Any], is_ambiguous: bool) -> Row:
    cells = []
    for kept in result["cells"]:
        kept = dict(kept, notes=tuple(kept["notes"]))
        if not kept["refused"]:
            kept["picture"] = _for_page(folder / f"{kept['method']}.png")
        cells.append(Cell(**kept))
    return Row(
        name=result["name"],
        picture=_for_page(folder / "picture.png"),
        cells=tuple(cells),
        predictions=tuple(Prediction(**p) for p in result["predictions"]),
        facts=(("in", os.path.dirname(result["image"])),)
        if is_ambiguous
        else (),
    )


def about(results: Sequence[dict[str, Any]]) -> About:
    """Puts together what the runs of several images said."""
    facts: dict[tuple[str, str], None] = {}
    notices: dict[str, None] = {}
    for result in results:
        facts.update(dict.fromkeys(map(tuple, result["about"]["facts"])))
        notices.update(dict.fromkeys(result["about"]["notices"]))
    return About(tuple(facts), tuple(notices))


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 'cat 10' behind 'cat 9'."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _for_page(path: Path) -> bytes:
    """Returns a picture small enough for a page of many."""
    content = path.read_bytes()
    if len(content) <= _PAGE_BYTES:
        return content
    with Image.open(io.BytesIO(content)) as file:
        picture = file.convert("RGB")
    picture.thumbnail((_PAGE_SIDE, _PAGE_SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(
        buffer, format="JPEG", quality=90, subsampling=0
    )
    return buffer.getvalue()
