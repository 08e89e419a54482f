"""Whether maps are where the objects are."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import ndimage

from keras_explain.engine.checks import check_choice, check_count
from keras_explain.engine.errors import message
from keras_explain.evaluation import objects
from keras_explain.evaluation.judged import Batch, Explained, Judge, Judgeable
from keras_explain.evaluation.positions import axes_of
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import take
from keras_explain.evaluation.similarity import average_ranks

_VARIANTS = ("hit", "energy", "rank", "roc")


def pointing_game(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    variant: str | int = "hit",
    tolerance: float = 15,
    average: str = "sample",
    ties: str = "mean",
    **settings: Any,
) -> Evaluation:
    """Whether a map points at the object.

    High is good. Costs the explanation, and nothing else. The variants, with
    the map `a` and the mask `M`:

    - `"hit"`: whether the maximum of `a` is at most `tolerance` pixels from
      a pixel of `M`. The tolerance is for boxes and pictures of 224 pixels;
      pass 0 for exact masks and small pictures.
    - `"energy"`: `sum_M a+ / sum a+`, the share of the positive part inside,
      also called relevance mass.
    - `"rank"`: `|top-K and M| / K` with `K = |M|`; a number in its place is
      another `K`.
    - `"roc"`: the area under the curve of `a` as a score of `M`.

    Ties: with `ties="mean"` the value is what a random order of equal values
    gives on average, so that a constant map scores the share of the picture
    that a hit may fall on; with `"index"` the first in the order of rows
    counts. `"roc"` always takes the average. A mask with no object, a map
    with NaN, a map with nothing positive for `"energy"`, and a mask that
    covers everything for `"roc"`, are not valid.

    Differs from the authors' code: the distance may equal the tolerance, so
    that 0 means "on the mask". With `average="class"`, `mean` is that over
    the classes that have a valid sample, as there, and `sem` its error.

    Args:
        explainer, target: See `deletion`; a callable needs no model.
        data: `(inputs, masks)`, or a dataset of such batches. Masks are
            `(batch, *positions)`, 1 inside and 0 outside.
        variant: See above.
        tolerance: Distance in pixels.
        average: `"sample"`, or `"class"`; then the targets must be classes.
        ties: `"mean"` or `"index"`.
        settings: `model`, `reduce`, `seed`, `batch_size`, `verbose`; see
            `Settings`.

    Returns:
        An `Evaluation`: a value from 0 to 1 for each sample; `details` has
        the `class` of each, -1 for none.

    Raises:
        ValueError: If an option is out of range, or masks or maps do not
            fit.
        TypeError: If the data are no pairs, or there is no such setting.

    Example:

    >>> masks = np.zeros((2, 8, 8), bool)
    >>> masks[:, 2:6, 2:6] = True
    >>> keras_explain.evaluation.pointing_game(
    ...     keras_explain.GradCAM(model), (images, masks), variant="energy",
    ...     tolerance=0).per_sample.shape
    (2,)

    References:
        Zhang et al., 2018. Top-Down Neural Attention by Excitation Backprop.
        https://arxiv.org/abs/1608.00507

        Arras et al., 2022. CLEVR-XAI: A Benchmark Dataset for the Ground
        Truth Evaluation of Neural Network Explanations.
        https://arxiv.org/abs/2003.07258
    """
    if isinstance(variant, str):
        check_choice("variant", variant, _VARIANTS)
    else:
        check_count("variant", variant)
    check_choice("average", average, ("sample", "class"))
    check_choice("ties", ties, ("mean", "index"))
    if not isinstance(tolerance, numbers.Real) or not tolerance >= 0:
        raise ValueError(
            message(
                "`tolerance` is a distance in pixels.",
                f"tolerance={tolerance!r}",
                "Pass 0 for hits on the mask itself.",
            )
        )
    judge = Judge(explainer, target, take(settings, ("of",)))
    found: list[float] = []
    classes: list[np.ndarray] = []
    for batch in judge.batches(data, "Evaluating", truth=True):
        explained = judge.explain(batch)
        values = single_map(judge, batch, explained)
        masks = objects.check_masks(batch.truth, values.shape)
        for value, mask in zip(values, masks, strict=True):
            found.append(_pointed(value, mask, variant, tolerance, ties))
        classes.append(explained.classes)
    each = np.concatenate(classes)
    if average == "class" and np.any(each < 0):
        raise ValueError(
            message(
                "A mean over classes needs the class of each sample.",
                f"target={judge.target!r}, with no class known",
                "Pass the classes as target, or the `model` of a callable.",
            )
        )
    return evaluated(
        "pointing_game",
        found,
        judge.about(variant=variant, tolerance=tolerance, average=average,
                    ties=ties),
        details={"class": each},
        groups=each if average == "class" else None,
    )  # fmt: skip


def single_map(judge: Judge, batch: Batch, explained: Explained) -> np.ndarray:
    """Returns the map of the one input that counts, `(batch, *positions)`.

    Of several it is the first with two axes of positions or more. A sample
    whose map is not finite is NaN everywhere.
    """
    reduced = judge.reduce(explained.maps, batch.inputs)
    wide = [v for v in reduced.values() if v.shape.rank > 2] or [
        *reduced.values()
    ]
    values = np.array(wide[0], np.float64)
    values[~explained.finite] = np.nan
    return values


def _pointed(
    a: np.ndarray,
    mask: np.ndarray,
    variant: str | int,
    tolerance: float,
    ties: str,
) -> float:
    if not mask.any() or np.isnan(a).any():
        return np.nan
    if variant == "energy":
        positive = np.maximum(a, 0)
        total = positive.sum()
        return positive[mask].sum() / total if total > 0 else np.nan
    if variant == "roc":
        inside, number = mask.sum(), mask.size
        if inside == number:
            return np.nan
        ranks = average_ranks(a.reshape(1, -1))[0][mask.ravel()].sum()
        return (ranks - inside * (inside + 1) / 2) / (
            inside * (number - inside)
        )
    if variant == "hit":
        near = mask
        if tolerance > 0:
            near = ndimage.distance_transform_edt(~mask) <= tolerance
        top = near[a == a.max()]
        return float(top[0] if ties == "index" else top.mean())
    size = int(mask.sum()) if variant == "rank" else min(int(variant), a.size)
    return _in_top(a.ravel(), mask.ravel(), size, ties)


def _in_top(a: np.ndarray, mask: np.ndarray, size: int, ties: str) -> float:
    """The share of the largest values that are inside."""
    order = np.argsort(-a, kind="stable")
    if ties == "index":
        return float(mask[order[:size]].mean())
    last = a[order[size - 1]]
    above, equal = a > last, a == last
    # Of the values that tie for the last places, the expected share.
    rest = (size - above.sum()) * mask[equal].mean()
    return float((mask[above].sum() + rest) / size)


def weak_localization(
    explainer: Judgeable,
    data: Any,
    target: Any = None,
    *,
    method: str = "threshold",
    threshold: float = 0.15,
    min_overlap: float = 0.5,
    **settings: Any,
) -> Evaluation:
    """Whether the box of a map is that of the object.

    High is good. Use it to see how far class labels alone teach a model
    where things are. Costs the explanation; `"grabcut"` a good part of a
    second for each picture of 224 pixels.

        hit = max_j IoU(box, object_j) >= min_overlap

    The box is the tight one around the largest connected part, diagonals
    included, of

    - `"threshold"`: the pixels of at least `threshold` times the maximum;
    - `"grabcut"`: what GrabCut of OpenCV makes of the picture's colors, with
      the largest 5 % of the map surely of the object and the smallest 30 %
      surely of the background.

    A map without a positive value, and for `"grabcut"` one without both
    kinds of pixels, has no box and misses. A sample with no object, or with
    NaN in its map, is not valid.

    Boxes are `(top, left, bottom, right)` in pixels, the last two behind the
    last row and column. Of a mask the box around all of it is taken.

    Args:
        explainer, target: See `pointing_game`.
        data: `(inputs, truth)`, or a dataset of such batches. The truth is
            a mask `(batch, height, width)`, a box `(batch, 4)`, or several
            `(batch, boxes, 4)`, filled up with NaN.
        method: `"threshold"` or `"grabcut"`.
        threshold: Share of the maximum; 0.2 for CAM and 0.15 for Grad-CAM in
            their papers.
        min_overlap: Intersection over union from which on it is a hit.
        settings: See `pointing_game`.

    Returns:
        An `Evaluation`: 1 or 0 for each sample; `details` has the `overlap`
        and the `box` found, NaN where there is none.

    Raises:
        ValueError: If an option is out of range, or truth or maps do not
            fit.
        TypeError: See `pointing_game`.
        ImportError: If GrabCut is asked for and OpenCV is not there.

    Example:

    >>> keras_explain.evaluation.weak_localization(
    ...     keras_explain.GradCAM(model), (images, [[1, 1, 7, 7]] * 2)
    ... ).n_valid
    2

    References:
        Zhou et al., 2016. Learning Deep Features for Discriminative
        Localization. https://arxiv.org/abs/1512.04150

        Simonyan et al., 2014. Deep Inside Convolutional Networks.
        https://arxiv.org/abs/1312.6034
    """
    check_choice("method", method, ("threshold", "grabcut"))
    for name, value in (("threshold", threshold),
                        ("min_overlap", min_overlap)):  # fmt: skip
        if not 0 < value <= 1:
            raise ValueError(
                message(
                    f"`{name}` is a share.",
                    f"{name}={value!r}",
                    "Pass a number above 0 and up to 1.",
                )
            )
    judge = Judge(explainer, target, take(settings, ("of",)))
    if method == "grabcut":
        objects.open_cv()  # refuses before the work
    boxes, overlaps = [], []
    for batch in judge.batches(data, "Evaluating", truth=True):
        values = single_map(judge, batch, judge.explain(batch))
        truth = _true_boxes(batch.truth, values.shape)
        pictures = (
            _pictures(batch, values.shape) if method == "grabcut" else values
        )
        for a, picture, objects_of in zip(values, pictures, truth, strict=True):
            box = _box(a, picture, method, (threshold, judge.settings.seed))
            boxes.append(box)
            overlaps.append(_best(box, objects_of, a))
    each = np.array(overlaps)
    hits = np.where(np.isnan(each), np.nan, each >= min_overlap)
    return evaluated(
        "weak_localization",
        hits,
        judge.about(method=method, threshold=threshold,
                    min_overlap=min_overlap),
        details={"overlap": each, "box": np.array(boxes)},
    )  # fmt: skip


def _true_boxes(truth: Any, shape: tuple[int, ...]) -> np.ndarray:
    given = np.asarray(truth)
    coordinates = 2 * (len(shape) - 1)
    as_masks = given.shape == shape or given.shape == (*shape, 1)
    if not as_masks and given.shape[-1] == coordinates and given.ndim in (2, 3):
        return objects.check_boxes(given, shape[0])
    masks = objects.check_masks(given, shape)
    found = np.full((shape[0], 1, coordinates), np.nan)
    for k, mask in enumerate(masks):
        if mask.any():
            found[k, 0] = objects.box_around(mask)
    return found


def _pictures(batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    for x in tf.nest.flatten(batch.inputs):
        picture = len(x.shape) == 4 and x.shape[-1] in (1, 3)
        if picture and axes_of(x) == shape[1:]:
            return np.asarray(x, np.float64)
    raise ValueError(
        message(
            "GrabCut takes pictures with one or three channels.",
            f"maps of shape {shape}",
            'Pass `method="threshold"`.',
        )
    )


def _box(
    a: np.ndarray, picture: np.ndarray, method: str, options: tuple[float, int]
) -> np.ndarray:
    nothing = np.full(2 * a.ndim, np.nan)
    if np.isnan(a).any():
        return nothing
    if method == "threshold":
        mask = objects.threshold_mask(a, options[0])
    else:
        mask = objects.grabcut_mask(picture, a, 5, options[1])
    box = objects.box_around(objects.largest_component(mask))
    return nothing if box is None else box


def _best(box: np.ndarray, truth: np.ndarray, a: np.ndarray) -> float:
    there = truth[~np.isnan(truth).any(1)]
    if not len(there) or np.isnan(a).any():
        return np.nan
    if np.isnan(box).any():
        return 0.0
    return max(objects.overlap(box, one) for one in there)
