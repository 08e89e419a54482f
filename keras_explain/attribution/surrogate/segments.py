"""Features: which values of an input are hidden and shown together.

A segment map has an integer for each position; values with the same number
are one feature. This file works in NumPy, one sample after the other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_explain.engine.errors import message, near

# Ways to cut a picture that have a name.
NAMES = ("quickshift", "slic", "grid", "each")
_SUPERPIXELS = ("quickshift", "slic")
# Quickshift as the authors of LIME set it, for pictures of 224 pixels: the
# width of the kernel grows and shrinks with the picture.
_KERNEL, _SIDE, _DISTANCE, _RATIO = 4.0, 224, 200.0, 0.2
_COMPACTNESS = 10.0


def check_segmenter(segmenter: Any) -> None:
    """Raises `ValueError` if a segmenter is a name that is not known."""
    for part in _leaves(segmenter):
        if isinstance(part, str) and part not in NAMES:
            raise ValueError(
                message(
                    "There is no such segmenter.",
                    f"segmenter={part!r}",
                    f"Near names: {near(part, NAMES)}. Or pass a function "
                    "from a picture to a map of integers, or such a map.",
                )
            )


def _leaves(segmenter: Any) -> list[Any]:
    if isinstance(segmenter, dict):
        return list(segmenter.values())
    return list(segmenter) if _is_structure(segmenter) else [segmenter]


def _is_structure(segmenter: Any) -> bool:
    """Whether there is one for each input, and not nested lists of numbers."""
    if isinstance(segmenter, dict):
        return True
    return isinstance(segmenter, (list, tuple)) and any(
        part is None or isinstance(part, str) or callable(part)
        or np.ndim(part) > 0 and hasattr(part, "shape")
        for part in segmenter
    )  # fmt: skip


def parts_of(segmenter: Any, keys: Sequence[Any]) -> list[Any]:
    """Returns what cuts each tensor: `None`, a name, a function, an array.

    Args:
        segmenter: As users pass it.
        keys: The names of the tensors if they are a dict, or their numbers.

    Raises:
        ValueError: If there is not one for each tensor.
    """
    if isinstance(segmenter, dict):
        fits = set(segmenter) <= set(keys)
        parts = [segmenter.get(key) for key in keys]
    elif _is_structure(segmenter) or (
        len(keys) > 1 and isinstance(segmenter, (list, tuple))
    ):
        fits = len(segmenter) == len(keys)
        parts = list(segmenter)
    else:
        array = not (
            segmenter is None
            or isinstance(segmenter, str)
            or callable(segmenter)
        )
        fits = not array or len(keys) == 1
        parts = [segmenter] * len(keys)
    if not fits:
        raise ValueError(
            message(
                "There is one segment map for each input of the model.",
                f"{type(segmenter).__name__} for inputs {list(keys)}",
                "Pass a list in this order or a dict with these names; None "
                "stands for the default.",
            )
        )
    return [
        part if part is None or isinstance(part, str) or callable(part)
        else np.asarray(part)
        for part in parts
    ]  # fmt: skip


def fit_map(
    array: np.ndarray, shape: tuple[int | None, ...], rows: slice | None
) -> np.ndarray:
    """Returns a given segment map with an axis for the samples.

    Args:
        array: Of the shape of the positions or of one sample, for all; or
            with a row for each sample.
        shape: Of the tensor that is cut, `None` where it is not known.
        rows: Where the batch is in the whole.

    Returns:
        `(1 or batch, *positions)` or `(1 or batch, *positions, channels)`.

    Raises:
        ValueError: If it does not fit or does not hold integers.
    """
    sample = shape[1:]
    positions = sample[:-1] if len(sample) > 1 else sample
    found = None
    for want in (positions, sample):
        if _fits(array.shape, want):
            found = array[np.newaxis]
            break
        if array.ndim and _fits(array.shape[1:], want):
            found = array if rows is None or len(array) == 1 else array[rows]
            break
    if found is None:
        raise _unfit(array, positions)
    shared = array.ndim < found.ndim or len(array) == 1
    if not shared and shape[0] not in (None, len(found)):
        raise _unfit(array, positions)
    if array.dtype.kind not in "iub":
        raise _no_integers(array)
    return np.asarray(found, np.int32)


def _fits(have: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    return len(have) == len(want) and all(
        a == b or b is None for a, b in zip(have, want, strict=True)
    )


def _unfit(array: np.ndarray, positions: Sequence[int | None]) -> ValueError:
    return ValueError(
        message(
            "A segment map has a number for each position, "
            f"{tuple(positions)}.",
            f"a map of shape {np.shape(array)}",
            "Cut the picture in the size in which the model sees it.",
        )
    )


def _no_integers(array: np.ndarray) -> ValueError:
    return ValueError(
        message(
            "A segment map holds integers: values with the same number are "
            "one feature.",
            f"dtype {array.dtype}",
            "Convert it: `segments.astype(int)`.",
        )
    )


def needs_scikit_image(part: Any) -> bool:
    """Whether a part of a segmenter is one of scikit-image."""
    return isinstance(part, str) and part in _SUPERPIXELS


def scikit_image() -> Any:
    """Returns `skimage.segmentation`, or says how to get it."""
    try:
        return importlib.import_module("skimage.segmentation")
    except ImportError as error:
        raise ImportError(
            message(
                "Superpixels are cut by scikit-image, which is not installed.",
                "an installation without the package skimage",
                'Run `pip install scikit-image`, or pass `segmenter="grid"`.',
            )
        ) from error


def cut(
    how: str | Callable, sample: np.ndarray, positions: tuple[int, ...],
    pieces: int,
) -> np.ndarray:  # fmt: skip
    """Returns the segment map of one sample, numbered from 0.

    Args:
        how: A name, or a function from a picture to its map.
        sample: The values; not looked at by `"grid"` and `"each"`.
        positions: The shape of the map.
        pieces: About how many segments there may be.
    """
    if callable(how):
        array = np.asarray(how(sample))
        if array.shape != positions:
            raise _unfit(array, positions)
        if array.dtype.kind not in "iub":
            raise _no_integers(array)
        found = array
    elif how == "each":
        found = np.arange(int(np.prod(positions))).reshape(positions)
    elif how == "grid":
        found = _grid(positions, pieces)
    else:
        found = _superpixels(how, sample, pieces)
        if found.min() == found.max():  # a picture of one color
            found = _grid(positions, pieces)
    return np.unique(found, return_inverse=True)[1].reshape(positions)


def _grid(positions: tuple[int, ...], pieces: int) -> np.ndarray:
    """Blocks of one size, as many along each axis."""
    each = max(1, int(np.floor(pieces ** (1 / len(positions)) + 1e-9)))
    found = np.zeros(positions, int)
    for axis, size in enumerate(positions):
        number = min(size, each)
        index = np.arange(size) * number // size
        shape = [-1 if k == axis else 1 for k in range(len(positions))]
        found = found * number + index.reshape(shape)
    return found


def _superpixels(how: str, image: np.ndarray, pieces: int) -> np.ndarray:
    segmentation = scikit_image()
    image = np.asarray(image, np.float64)
    low, high = image.min(), image.max()
    image = (image - low) / (high - low if high > low else 1.0)
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    in_color = image.shape[-1] == 3
    if how == "slic":
        return segmentation.slic(
            image,
            n_segments=pieces,
            compactness=_COMPACTNESS,
            convert2lab=in_color,
            channel_axis=-1,
        )
    return segmentation.quickshift(
        image,
        kernel_size=max(1.0, _KERNEL * max(image.shape[:2]) / _SIDE),
        max_dist=_DISTANCE,
        ratio=_RATIO,
        convert2lab=in_color,
        rng=0,
    )


def join(maps: Sequence[np.ndarray], given: Sequence[bool]) -> tuple[Any, int]:
    """Numbers the segments of one sample over all of its tensors.

    Args:
        maps: A map for each tensor.
        given: Whether it is one of the user's arrays; these share their
            numbers, so that a feature may span several inputs.

    Returns:
        The maps with numbers from 0, and how many there are.
    """
    start = max([int(m.max()) + 1 for m, g in zip(maps, given, strict=True)
                 if g], default=0)  # fmt: skip
    joint = []
    for array, fixed in zip(maps, given, strict=True):
        if not fixed:
            array = array + start
            start = int(array.max()) + 1
        joint.append(np.ravel(array))
    found = np.unique(np.concatenate(joint), return_inverse=True)
    numbers = np.ravel(found[1])
    ends = np.cumsum([len(j) for j in joint])[:-1]
    split = [
        part.reshape(m.shape).astype(np.int32)
        for part, m in zip(np.split(numbers, ends), maps, strict=True)
    ]
    return split, len(found[0])
