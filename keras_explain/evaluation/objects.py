"""Objects in pictures: masks, boxes and what maps make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from keras_explain.engine.errors import message


def check_masks(truth: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns masks as booleans, `(batch, *positions)`.

    Args:
        truth: `(batch, *positions)`, or with one channel at the end; 1 and
            0, or booleans.
        shape: `(batch, *positions)` of the inputs.

    Raises:
        ValueError: If they are of another shape or hold other values.
    """
    masks = np.asarray(truth)
    if masks.ndim == len(shape) + 1 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    if masks.shape != shape:
        raise ValueError(
            message(
                "There is a mask for each sample, of the size of its input.",
                f"masks of shape {np.shape(truth)} for {shape}",
                "Resize them with the nearest neighbour.",
            )
        )
    if masks.dtype != bool and not np.isin(masks, (0, 1)).all():
        raise ValueError(
            message(
                "A mask holds 1 where the object is, and 0.",
                f"values from {masks.min()} to {masks.max()}",
                "Pass such as `labels == index`, or `masks > 0`.",
            )
        )
    return masks.astype(bool)


def check_boxes(truth: np.ndarray, batch: int) -> np.ndarray:
    """Returns boxes `(batch, k, 2 * axes)`; NaN for one that is not there."""
    boxes = np.asarray(truth, np.float64)
    boxes = boxes[:, np.newaxis] if boxes.ndim == 2 else boxes
    half = boxes.shape[-1] // 2
    low, high = boxes[..., :half], boxes[..., half:]
    if len(boxes) != batch or np.any(low >= high):
        raise ValueError(
            message(
                "A box is (top, left, bottom, right), the last two behind "
                "the first.",
                f"boxes of shape {np.shape(truth)}",
                "The box of a single pixel at (3, 5) is (3, 5, 4, 6). Fill "
                "up with NaN where samples have fewer boxes.",
            )
        )
    return boxes


def box_around(mask: np.ndarray) -> np.ndarray | None:
    """Returns the tight half-open box of a mask, `(2 * axes,)`."""
    if not mask.any():
        return None
    slices = ndimage.find_objects(mask.astype(np.int8))[0]
    return np.array(
        [s.start for s in slices] + [s.stop for s in slices], np.float64
    )


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Returns the largest connected part, diagonals included.

    Of several of one size it is the first from the top left.
    """
    around = ndimage.generate_binary_structure(mask.ndim, mask.ndim)
    labels, number = ndimage.label(mask, around)
    if number == 0:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + int(sizes.argmax())


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the intersection over the union of two boxes."""
    half = len(one) // 2
    low = np.maximum(one[:half], other[:half])
    high = np.minimum(one[half:], other[half:])
    common = np.prod(np.maximum(high - low, 0))
    sizes = [np.prod(box[half:] - box[:half]) for box in (one, other)]
    return float(common / (sum(sizes) - common))


def threshold_mask(values: np.ndarray, share: float) -> np.ndarray:
    """Returns where a map is at least a share of its maximum.

    Nowhere if nothing is positive.
    """
    high = values.max()
    return values >= share * high if high > 0 else np.zeros(values.shape, bool)


def grabcut_mask(
    picture: np.ndarray, values: np.ndarray, steps: int, seed: int
) -> np.ndarray:
    """Returns what GrabCut takes for the object where a map says it is.

    Args:
        picture: `(height, width, 1 or 3)`.
        values: `(height, width)`; the largest 5 % are surely of the object,
            the smallest 30 % surely of the background; the
            rest probably of the one or the other, by its median.
        steps: How often the colors are fitted.
        seed: Of the random numbers of OpenCV.

    Raises:
        ImportError: If OpenCV is not installed.
    """
    cv2 = open_cv()
    low, high = np.quantile(values, (0.30, 0.95))
    marks = np.where(values > np.median(values), cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    marks = marks.astype(np.uint8)
    # Of values that tie for the smallest 30 % none is sure: the zeros of a
    # sparse map would fix everything around its peaks.
    sure = values >= high if high > low else values > high
    marks[values < low], marks[sure] = cv2.GC_BGD, cv2.GC_FGD
    outside = np.isin(marks, (cv2.GC_BGD, cv2.GC_PR_BGD))
    if not sure.any() or not outside.any():
        return np.zeros(values.shape, bool)  # such as of a constant map
    span = np.ptp(picture)
    scaled = (picture - picture.min()) / (span if span > 0 else 1.0)
    image = np.round(255 * scaled).astype(np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(image, (*values.shape, 3)))
    cv2.setRNGSeed(seed % (2**31 - 1))
    colors = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, marks, None, *colors, steps, cv2.GC_INIT_WITH_MASK)
    return (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)


def open_cv() -> Any:
    """Returns the package of OpenCV, or says how to install it."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            message(
                "GrabCut needs OpenCV.",
                "an installation without the package cv2",
                "Run `pip install keras-explain-toolkit[evaluation]`.",
            )
        ) from error
    return cv2
