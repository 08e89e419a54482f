"""Finds image files, and decodes them with care for what they may hold."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_explain.cli.failures import CommandError, ImageError, shown
from keras_explain.engine.errors import message

MOST_PIXELS = 100_000_000
# The longest side of pictures for models that take any size.
MOST_SIDE = 512

_ENDINGS = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip


def find(arguments: Iterable[str], out: Path | None) -> list[Path]:
    """Returns the image files meant by files, folders and patterns.

    Args:
        arguments: Paths of files and folders, and patterns such as
            `"photos/**/*.jpg"`. A folder stands for the images right in it.
        out: The folder of results; nothing in it is taken for an image.
            `None` if there is none to beware of.

    Raises:
        CommandError: If one of the arguments stands for no image.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        for path in _expand(argument):
            absolute = os.path.abspath(path)
            result = out is not None and Path(absolute).is_relative_to(
                os.path.abspath(out)
            )
            if not result:
                found.setdefault(absolute, path)
    if not found and out is not None:
        raise CommandError(
            message(
                "There is no image to explain.",
                f"only files in the output folder {shown(out)}",
                "Name other images, or another --out.",
            )
        )
    return list(found.values())


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        inside = sorted(path.iterdir())
        images = [p for p in inside if p.suffix.lower() in _ENDINGS]
        images = [p for p in images if p.is_file()]
        what = "The folder holds no image."
    elif path.exists():
        return [path]
    elif glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))
        images = [Path(n) for n in names if os.path.isfile(n)]
        what = "No file fits the pattern."
    else:
        raise CommandError(message("There is no such image.", shown(argument)))
    if images:
        return images
    raise CommandError(
        message(
            what,
            shown(argument),
            f"Images end in {', '.join(_ENDINGS)}; for those in folders "
            "further down use a pattern: 'folder/**/*.jpg'.",
        )
    )


def load(
    path: Path,
    size: tuple[int, int] | None,
    channels: int,
    most: int = MOST_SIDE,
) -> np.ndarray:
    """Decodes and resizes a picture.

    Args:
        path: Image file, or `.npy` file of shape `(height, width)` or
            `(height, width, channels)`.
        size: Height and width of the result; `None` for those of the file,
            but at most `most`.
        channels: 1 or 3.
        most: Longest side where there is no size.

    Returns:
        uint8 array of shape `(height, width, channels)`.

    Raises:
        ImageError: If the file holds no picture that can be explained.
    """
    try:
        picture = _array(path) if path.suffix == ".npy" else _decode(path)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, MemoryError, EOFError) as error:
        raise ImageError(f"cannot be decoded: {error}") from error
    return _fitted(picture, size, channels, most)


def _decode(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # The size is checked here, by the header and before decoding.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")
        try:
            file = Image.open(path)
        except Image.DecompressionBombError:
            raise ImageError(
                f"has more than {MOST_PIXELS // 10**6} million pixels"
            ) from None
        with file:
            _check_size(file.width, file.height)
            file.load()
            return _in_rgb(ImageOps.exif_transpose(file))


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ImageError(
            f"has {width:,} x {height:,} pixels, more than "
            f"{MOST_PIXELS // 10**6} million; make it smaller first"
        )


def _in_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        if picture.mode.startswith("I;16") or values.max(initial=0) > 255:
            values = values / 257.0  # 16 bits to 8
        return _from_values(values)
    if picture.has_transparency_data:
        # Hidden colors below transparent pixels are often black.
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _array(path: Path) -> Image.Image:
    values = np.load(path, allow_pickle=False, mmap_mode="r")
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 and (values.ndim != 3 or values.shape[-1] != 3):
        raise ImageError(
            f"has shape {values.shape}, not (height, width) or "
            "(height, width, 3)"
        )
    _check_size(values.shape[1], values.shape[0])
    return _from_values(np.asarray(values))


def _from_values(values: np.ndarray) -> Image.Image:
    """Makes a picture of numbers in 0..255, or of floats in 0..1."""
    if values.size == 0 or values.dtype.kind not in "uifb":
        raise ImageError(f"holds no pixels: {values.shape} {values.dtype}")
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise ImageError(f"holds {bad} NaN or infinite pixels of {values.size}")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise ImageError(
            f"has pixels from {low:.4g} to {high:.4g}; they must lie in "
            "0 to 255, or for floats in 0 to 1"
        )
    if values.dtype.kind in "fb" and high <= 1:
        values = values * 255.0
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _fitted(
    picture: Image.Image,
    size: tuple[int, int] | None,
    channels: int,
    most: int,
) -> np.ndarray:
    if size is None:
        ratio = min(1.0, most / max(picture.size))
        width = max(1, round(picture.width * ratio))
        height = max(1, round(picture.height * ratio))
    else:
        height, width = size
    if channels == 1:
        picture = picture.convert("L")
    if picture.size != (width, height):
        picture = picture.resize(
            (width, height), Image.Resampling.BICUBIC, reducing_gap=3.0
        )
    return np.asarray(picture).reshape(height, width, channels)
