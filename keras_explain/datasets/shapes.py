"""Textured, colored shapes on clutter, with a mask for all that was drawn.

A data set whose truth is known pixel by pixel: the label is the shape of the
largest object and nothing else, while color and texture vary freely. So an
explanation can be held against the mask of the object, a unit against the
masks of shapes, colors, textures and parts, and a concept against pictures
that have it. Nothing is downloaded; every picture is a function of its
arguments alone.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_explain.datasets.backgrounds import draw_background
from keras_explain.datasets.outlines import OUTLINES, rasterize
from keras_explain.datasets.textures import TEXTURES
from keras_explain.engine.errors import candidates, message

if TYPE_CHECKING:
    import tensorflow as tf

_COLORS = {
    "red": (222, 45, 48),
    "orange": (245, 130, 25),
    "yellow": (248, 208, 40),
    "green": (46, 160, 67),
    "cyan": (20, 186, 190),
    "blue": (38, 98, 226),
    "purple": (128, 62, 206),
    "pink": (236, 88, 164),
}

CLASS_NAMES = tuple(OUTLINES)
COLOR_NAMES = tuple(_COLORS)
TEXTURE_NAMES = tuple(TEXTURES)
PART_NAMES = ("interior", "edge", "corner")
MASK_NAMES = ("object", "shape", "color", "texture", "part")
SPLITS = ("train", "validation", "test")

MIN_SIZE, MAX_SIZE = 64, 224
MAX_DISTRACTORS = 4

# A picture draws from streams of its own for each of these, so that the same
# picture with and without distractors differs in the distractors alone.
_LABELS, _OBJECT, _BACKGROUND, _DISTRACTORS = range(4)


class Scene(NamedTuple):
    """One picture and the truth about it.

    Attributes:
        image: uint8 array of shape `(height, width, 3)`.
        label: The class of the largest object, an index of `CLASS_NAMES`.
        masks: Dictionary of uint8 arrays of shape `(height, width)`.
            `"object"` is 1 on the labeled object and 0 elsewhere. `"shape"`,
            `"color"`, `"texture"` and `"part"` are index maps of every
            object, distractors included: 0 is the background, `k + 1` is
            entry `k` of `CLASS_NAMES`, `COLOR_NAMES`, `TEXTURE_NAMES` and
            `PART_NAMES`.
    """

    image: np.ndarray
    label: int
    masks: dict[str, np.ndarray]


class _Thing(NamedTuple):
    """An object to draw; lengths and places in fractions of the picture."""

    shape: int
    color: int
    texture: int
    radius: float
    center: np.ndarray
    rng: np.random.Generator


def make_scene(
    seed: int,
    index: int,
    size: int = 96,
    distractors: int = 0,
    split: str = "train",
) -> Scene:
    """Draws one picture with its masks.

    The same arguments give the same picture, in any order and any process.
    A picture keeps its objects at another `size`, and its labeled object and
    background with another number of `distractors`. Each run of
    `len(CLASS_NAMES)` pictures, from index 0 on, has every class once.

    Args:
        seed: Integer from 0; another seed is another data set.
        index: Integer from 0; the number of the picture.
        size: Height and width in pixels, 64 to 224.
        distractors: How many smaller objects of other classes to add, 0 to 4.
        split: `"train"`, `"validation"` or `"test"`; they share no picture.

    Returns:
        A `Scene`: image uint8 `(size, size, 3)`, label, masks
        `(size, size)`.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If a number is not an integer.

    Example:

    >>> from keras_explain.datasets import shapes
    >>> scene = shapes.make_scene(seed=0, index=3, distractors=2)
    >>> scene.image.shape, scene.image.dtype
    ((96, 96, 3), dtype('uint8'))
    >>> shown = set(scene.masks["shape"][scene.masks["object"] == 1].tolist())
    >>> shown == {scene.label + 1}
    True
    """
    seed = _integer("seed", seed, 0, 2**32 - 1)
    index = _integer("index", index, 0, 2**32 - 1)
    size, distractors, split_id = _checked(size, distractors, split)
    key = (split_id, seed)
    label = _label(key, index)
    things = _things(key, index, label, distractors)
    background = _stream(key, index, _BACKGROUND)
    canvas = draw_background(background, size)
    masks = {name: np.zeros((size, size), np.uint8) for name in MASK_NAMES}
    for thing in things:
        covered, box = _draw(thing, canvas, masks)
    masks["object"][box] = covered
    return Scene(np.rint(canvas).astype(np.uint8), label, masks)


def load(
    num: int = 1024,
    split: str = "train",
    size: int = 96,
    seed: int = 0,
    distractors: int = 0,
    masks: bool = False,
) -> tuple[Any, ...]:
    """Draws the first `num` pictures of a split into memory.

    Args:
        num: How many pictures; a larger number only adds pictures.
        split: `"train"`, `"validation"` or `"test"`; they share no picture.
        size: Height and width in pixels, 64 to 224.
        seed: Integer from 0; another seed is another data set.
        distractors: How many smaller objects of other classes to add, 0 to 4.
        masks: Whether to return the masks too.

    Returns:
        `(images, labels)`: uint8 `(num, size, size, 3)` in `[0, 255]` and
        int64 `(num,)`. With `masks=True`, `(images, labels, masks)`, where
        `masks` is a dictionary of uint8 `(num, size, size)`; see `Scene`.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If a number is not an integer.

    Example:

    >>> from keras_explain.datasets import shapes
    >>> images, labels = shapes.load(num=8, split="test")
    >>> images.shape, sorted(labels.tolist())
    ((8, 96, 96, 3), [0, 1, 2, 3, 4, 5, 6, 7])
    """
    num = _integer("num", num, 1, 2**32 - 1)
    size, distractors, _ = _checked(size, distractors, split)
    images = np.empty((num, size, size, 3), np.uint8)
    labels = np.empty(num, np.int64)
    names = MASK_NAMES if masks else ()
    all_masks = {n: np.empty((num, size, size), np.uint8) for n in names}
    for index in range(num):
        scene = make_scene(seed, index, size, distractors, split)
        images[index], labels[index] = scene.image, scene.label
        for name in names:
            all_masks[name][index] = scene.masks[name]
    return (images, labels, all_masks) if masks else (images, labels)


def as_dataset(
    num: int | None = None,
    split: str = "train",
    size: int = 96,
    seed: int = 0,
    distractors: int = 0,
    masks: bool = False,
) -> tf.data.Dataset:
    """Streams the pictures of a split, drawn when they are asked for.

    Element `i` equals picture `i` of `load`. Pictures are drawn anew in each
    epoch; add `.cache()` to keep them.

    Args:
        num: How many pictures, or `None` for a stream that does not end.
        split: `"train"`, `"validation"` or `"test"`; they share no picture.
        size: Height and width in pixels, 64 to 224.
        seed: Integer from 0; another seed is another data set.
        distractors: How many smaller objects of other classes to add, 0 to 4.
        masks: Whether to add the masks to each element.

    Returns:
        A `tf.data.Dataset` of single pictures, not batches: `(image, label)`,
        uint8 `(size, size, 3)` and an int64 scalar. With `masks=True`,
        `(image, label, masks)`, where `masks` is a dictionary of uint8
        `(size, size)`; drop it before `fit`, which would take it for
        sample weights.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If a number is not an integer.

    Example:

    >>> from keras_explain.datasets import shapes
    >>> dataset = shapes.as_dataset(num=32, size=64).batch(16)
    >>> [image.shape.as_list() for image, label in dataset]
    [[16, 64, 64, 3], [16, 64, 64, 3]]
    """
    import tensorflow as tf

    last = 2**32 - 1
    num = last if num is None else _integer("num", num, 1, last)
    seed = _integer("seed", seed, 0, last)
    size, distractors, _ = _checked(size, distractors, split)
    names = MASK_NAMES if masks else ()

    def draw(index: np.ndarray) -> list[np.ndarray]:
        scene = make_scene(seed, int(index), size, distractors, split)
        drawn = [scene.masks[name] for name in names]
        return [scene.image, np.array(scene.label, np.int64), *drawn]

    def element(index: tf.Tensor) -> tuple[Any, ...]:
        dtypes = [tf.uint8, tf.int64] + [tf.uint8] * len(names)
        image, label, *drawn = tf.numpy_function(draw, [index], dtypes)
        image = tf.ensure_shape(image, (size, size, 3))
        label = tf.ensure_shape(label, ())
        if not names:
            return image, label
        drawn = [tf.ensure_shape(mask, (size, size)) for mask in drawn]
        return image, label, dict(zip(names, drawn, strict=True))

    return tf.data.Dataset.range(num).map(element)


def _integer(name: str, value: Any, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            message(f"`{name}` must be an integer.", f"{name}={value!r}")
        ) from None
    if not low <= number <= high:
        raise ValueError(
            message(
                f"`{name}` must lie between {low} and {high}.",
                f"{name}={value!r}",
            )
        )
    return number


def _checked(size: Any, distractors: Any, split: Any) -> tuple[int, int, int]:
    size = _integer("size", size, MIN_SIZE, MAX_SIZE)
    distractors = _integer("distractors", distractors, 0, MAX_DISTRACTORS)
    if split not in SPLITS:
        raise ValueError(
            message(
                "There is no such split.",
                f"split={split!r}",
                f"The splits are {candidates(SPLITS)}.",
            )
        )
    return size, distractors, SPLITS.index(split)


def _stream(
    key: tuple[int, int], index: int, purpose: int
) -> np.random.Generator:
    return np.random.default_rng([*key, index, purpose])


def _label(key: tuple[int, int], index: int) -> int:
    """The class of a picture: each run of pictures holds every class once."""
    run, place = divmod(index, len(CLASS_NAMES))
    order = _stream(key, run, _LABELS).permutation(len(CLASS_NAMES))
    return int(order[place])


def _things(
    key: tuple[int, int], index: int, label: int, distractors: int
) -> list[_Thing]:
    """The objects of a picture, the labeled one last."""
    rng = _stream(key, index, _OBJECT)
    radius = rng.uniform(0.20, 0.32)
    margin = radius + 0.02
    center = rng.uniform(margin, 1 - margin, 2)
    labeled = _thing(rng, label, radius, center)
    others: list[_Thing] = []
    rng = _stream(key, index, _DISTRACTORS)
    for _ in range(distractors):
        shape = (label + rng.integers(1, len(CLASS_NAMES))) % len(CLASS_NAMES)
        radius = rng.uniform(0.075, 0.105)
        center, radius = _free_place(rng, radius, [labeled, *others])
        others.append(_thing(rng, int(shape), radius, center))
    return [*others, labeled]


def _thing(
    rng: np.random.Generator, shape: int, radius: float, center: np.ndarray
) -> _Thing:
    color = int(rng.integers(len(COLOR_NAMES)))
    texture = int(rng.integers(len(TEXTURE_NAMES)))
    return _Thing(shape, color, texture, radius, center, rng)


def _free_place(
    rng: np.random.Generator, radius: float, things: list[_Thing]
) -> tuple[np.ndarray, float]:
    """The first free one of many random places, else the freest of them.

    Also returns the radius, made smaller where nothing else helps.
    """
    margin = radius + 0.02
    places = rng.uniform(margin, 1 - margin, (128, 2))
    centers = np.stack([thing.center for thing in things])
    radii = np.array([thing.radius for thing in things])
    gaps = np.linalg.norm(places[:, None] - centers, axis=-1) - radii
    room = gaps.min(1) - 0.02
    best = int(
        (room >= radius).argmax() if room.max() >= radius else room.argmax()
    )
    return places[best], min(radius, float(room[best]))


def _draw(
    thing: _Thing, canvas: np.ndarray, masks: dict[str, np.ndarray]
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Paints an object and its index maps; returns its mask and its box."""
    size, rng = len(canvas), thing.rng
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    stretch = np.array([1.0, rng.uniform(0.86, 1.0)])
    affine = size * thing.radius * rotation * stretch
    outline = OUTLINES[CLASS_NAMES[thing.shape]]
    rim = max(1.0, 0.018 * size)
    box, coverage = rasterize(outline, affine, thing.center * size, rim)
    paint = _paint(thing, size, box)
    dark = 0.42 * paint.mean((0, 1))
    paint += 0.85 * coverage.edge[..., None] * (dark - paint)
    canvas[box] += coverage.object[..., None] * (paint - canvas[box])

    covered = coverage.object >= 0.5
    # A share of the object, not of the pixel: a half covered pixel is all edge.
    half = 0.5 * coverage.object
    part = np.where(coverage.edge >= half, 2, 1)
    part = np.where(coverage.corner >= half, 3, part)
    values = {
        "shape": thing.shape + 1,
        "color": thing.color + 1,
        "texture": thing.texture + 1,
        "part": part[covered],
    }
    for name, value in values.items():
        masks[name][box][covered] = value
    return covered, box


def _paint(thing: _Thing, size: int, box: tuple[slice, slice]) -> np.ndarray:
    """The color of each pixel of a box: two shades, a texture, some light."""
    rng = thing.rng
    base = np.array(_COLORS[COLOR_NAMES[thing.color]], np.float32)
    base = np.clip(base * rng.uniform(0.9, 1.06) + rng.normal(0, 5, 3), 0, 255)
    toward, amount = (255, 0.62) if rng.random() < 0.6 else (0, 0.5)
    shade = base + amount * (toward - base)
    y, x = np.mgrid[box].astype(np.float32) + 0.5
    x, y = x / size - thing.center[0], y / size - thing.center[1]
    period = rng.uniform(0.07, 0.105)
    turn, light = rng.uniform(0, 2 * np.pi, 2)
    shift = rng.random(2)
    u = (x * np.cos(turn) + y * np.sin(turn)) / period + shift[0]
    v = (y * np.cos(turn) - x * np.sin(turn)) / period + shift[1]
    texture = TEXTURES[TEXTURE_NAMES[thing.texture]]
    mix = texture(u, v, period * size)[..., None]
    slope = (x * np.cos(light) + y * np.sin(light)) / thing.radius
    paint = (base + mix * (shade - base)) * (1 + 0.12 * slope[..., None])
    return np.clip(paint, 0, 255).astype(np.float32)
