"""DeepDream: a picture changed to what a layer already sees in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import interruption
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message
from keras_explain.engine.progress import bar
from keras_explain.engine.targets import Target
from keras_explain.engine.unit_targets import LayerActivation
from keras_explain.synthesis import value_range as ranges
from keras_explain.synthesis.conditioning import NormalizedGradient
from keras_explain.synthesis.driver import (
    Progress,
    Run,
    check_snapshots,
    drive,
)
from keras_explain.synthesis.objective import (
    ModelObjective,
    record_rows,
    sample_shape,
)
from keras_explain.synthesis.optimize import Loop
from keras_explain.synthesis.parameterizations import Pixels
from keras_explain.synthesis.parts import Regularizer
from keras_explain.synthesis.problem import Objective, Problem
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.tiles import TiledObjective
from keras_explain.synthesis.transforms import Jitter

# Pictures of more pixels than this are seen in tiles, where the model leaves
# the size of its input open.
_MOST_PIXELS = 640 * 640
_TILE = 512


@dataclasses.dataclass(frozen=True)
class _Options:
    """How it is dreamt; the keyword arguments of `deep_dream`."""

    octaves: int = 4
    octave_scale: float = 1.4
    steps: int = 10
    step_size: float = 1.5 / 255
    jitter: int = 32
    gradient: Regularizer = dataclasses.field(
        default_factory=NormalizedGradient
    )
    tile: int | None = None
    value_range: tuple[float, float] | None = None
    preprocess: Any = None
    seed: int = 0
    snapshots: Iterable[int] = ()
    callback: Callable[[Progress], bool | None] | None = None

    def __post_init__(self) -> None:
        for name, low in (
            ("octaves", 1), ("octave_scale", 1.01), ("steps", 1),
            ("step_size", 0), ("jitter", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (np.isreal(value) and np.isfinite(value) and value >= low):
                raise ValueError(
                    message(
                        f"`{name}` is a number of at least {low}.",
                        f"{name}={value!r}",
                    )
                )


def deep_dream(
    model: keras.Model,
    image: Any,
    target: Any,
    *,
    verbose: bool | str = "auto",
    **options: Any,
) -> Synthesis:
    """Changes a picture to what a network already sees in it.

    Use it to see which patterns a layer answers to, in a picture of your
    own. Costs `octaves * steps` gradients, the small octaves less.

    Each octave is climbed in equal steps along the gradient of
    `mean a(x)^2`, from the smallest to the full size; what an octave added
    is carried to the next, and so is the detail of the picture itself. The
    gradient of a large picture is made tile by tile.

    Args:
        model: A built Keras model with one input of pictures.
        image: `(height, width, channels)` or a batch of such, in the
            model's range of values.
        target: A layer or its path; `{layer: weight}` for several; or a
            `Target`.
        octaves: Number of sizes.
        octave_scale: How much larger each is than the one before.
        steps: Number of steps in each.
        step_size: Mean change of a pixel in a step, as a share of the range
            of values.
        jitter: Most pixels that the picture is rolled by before each step.
        gradient: What brings gradients to one size, such as
            `LaplacianNormalized()`.
        tile: Height and width of the tiles of pictures that are larger; by
            default the size the model takes, or 512 for pictures above
            640 x 640.
        value_range, preprocess, seed: As for `maximize`.
        snapshots: Steps, counted through all octaves, after which the
            picture is kept as one of `frames`, in its full size.
        callback: As for `maximize`; its steps count through all octaves.
        verbose: Whether to show a progress bar.

    Returns:
        A `Synthesis` with pictures in the size of the given ones.

    Raises:
        ValueError: If there is no such layer, or the picture lies outside
            the range of values.

    Example:

    >>> from keras_explain.synthesis import deep_dream
    >>> made = deep_dream(model, images, "conv1", octaves=1, steps=2,
    ...                   value_range=(-10, 10), verbose=False)
    >>> made.images.shape
    (2, 8, 8, 3)

    References:
        Mordvintsev et al., 2015. Inceptionism: Going Deeper into Neural
        Networks. https://github.com/google/deepdream
    """
    given = _options(options)
    wanted = _target(target)
    declared = sample_shape(model)
    pictures = _pictures(image, declared)
    found = _range(model, pictures, given)
    pictures = found.pictures(found.check(pictures, "The picture"))
    sizes = _sizes(pictures.shape[1:3], given)
    bases = [_resized(pictures, size) for size in sizes]
    detail = np.zeros_like(bases[0])
    wanted_steps = check_snapshots(given.snapshots, len(sizes) * given.steps)
    runs: list[Run] = []
    with (
        bar(len(sizes) * given.steps, "Dreaming", verbose) as advance,
        interruption.between_steps(),
    ):
        for size, base in zip(sizes, bases, strict=True):
            advance(0, f"Dreaming at {size[1]} x {size[0]}")
            start = np.clip(base + _resized(detail, size), 0, 1)
            objective = _objective(model, wanted, found, start.shape, given)
            before = len(runs) * given.steps
            run = _octave(
                objective,
                start,
                given,
                advance=advance,
                callback=_counting_from(before, given.callback),
                snapshots=[
                    step - before
                    for step in wanted_steps
                    if 0 < step - before <= given.steps or step == before == 0
                ],
            )
            runs.append(run)
            detail = run.images - base
            if run.stopped != "finished":
                break
    return _result(runs, found, given, target, sizes[-1])


def _octave(
    objective: Objective,
    start: np.ndarray,
    given: _Options,
    **watching: Any,
) -> Run:
    """The picture after the steps of one octave."""
    roll = given.jitter / max(start.shape[1:3])
    # Tiles must not meet at the same place twice.
    tiled = isinstance(objective, TiledObjective)
    jitter = Jitter(1.0 if tiled else min(roll, 1.0), border="wrap")
    problem = Problem(
        objective=objective,
        parameterization=Pixels(initial=start, bounds="clip"),
        shape=start.shape[1:],
        random=Randomness([given.seed], [0] * len(start)),
        transforms=[jitter] if given.jitter or tiled else [],
        regularizers=[given.gradient],
    )
    # The normalized gradient has values of about one.
    loop = Loop(problem, keras.optimizers.SGD(given.step_size))
    return drive(loop, given.steps, **watching)


def _counting_from(
    before: int, callback: Callable[[Progress], bool | None] | None
) -> Callable[[Progress], bool | None] | None:
    """A callback that is told of all steps, not of those of an octave."""
    if callback is None:
        return None
    return lambda seen: callback(
        dataclasses.replace(seen, step=before + seen.step)
    )


def _objective(
    model: keras.Model,
    target: Target,
    found: ranges.ValueRange,
    shape: tuple[int, ...],
    given: _Options,
) -> Objective:
    rows, height, width, channels = shape
    fixed = sample_shape(model)[:2]
    tile = given.tile
    if None not in fixed:
        tall, wide = int(fixed[0] or 0), int(fixed[1] or 0)
    elif tile is not None:
        tall = wide = tile
    elif height * width > _MOST_PIXELS:
        tall = wide = _TILE
    else:
        tall, wide = height, width
    if (tall, wide) == (height, width):
        return ModelObjective(model, target, found, rows, shape[1:])
    seen = ModelObjective(model, target, found, rows, (tall, wide, channels))
    return TiledObjective(seen, (tall, wide))


def _options(options: dict[str, Any]) -> _Options:
    known = [field.name for field in dataclasses.fields(_Options)]
    for name in options:
        if name not in known:
            raise TypeError(
                message(
                    "There is no such option.",
                    f"{name}={options[name]!r}",
                    f"The options are {', '.join(known)}.",
                )
            )
    return _Options(**options)


def _target(target: Any) -> Target:
    """A layer, several with weights, or a target as it is."""
    if isinstance(target, Target):
        return target
    if isinstance(target, Mapping):
        weighted = [w * LayerActivation(name) for name, w in target.items()]
        if weighted:
            return sum(weighted[1:], weighted[0])
    if isinstance(target, (str, keras.layers.Layer)):
        return LayerActivation(target)
    raise TypeError(
        message(
            "A dream is about a layer, several with weights, or a Target.",
            repr(target),
            "Pass such as 'mixed4' or {'mixed4': 1.0, 'mixed5': 1.5}.",
        )
    )


def _pictures(image: Any, declared: tuple[int | None, ...]) -> np.ndarray:
    array = np.asarray(image, np.float32)
    if array.ndim == 3:
        array = array[np.newaxis]
    if (
        array.ndim != 4
        or len(declared) != 3
        or array.shape[-1] != declared[-1]
        or not array.size
    ):
        raise ValueError(
            message(
                "Dreams are of pictures, (height, width, channels) or a "
                f"batch, for a model that takes {declared}.",
                f"an array of shape {array.shape}",
                "Pass pictures with as many channels as the model takes.",
            )
        )
    return array


def _range(
    model: keras.Model, pictures: np.ndarray, given: _Options
) -> ranges.ValueRange:
    declared = sample_shape(model)
    shape = tuple(
        size or length
        for size, length in zip(declared, pictures.shape[1:], strict=True)
    )
    graph, _ = record_rows(model, 1, shape)
    found = ranges.find(model, graph, given.value_range, given.preprocess)
    if not found.bounded:
        raise ValueError(
            message(
                "A dream needs values with a smallest and a largest one.",
                f"value_range={given.value_range!r}",
                "Pass such as (0, 255).",
            )
        )
    return found


def _sizes(full: tuple[int, int], given: _Options) -> list[tuple[int, int]]:
    """From the smallest octave to the full size."""
    sizes = []
    for octave in range(given.octaves - 1, -1, -1):
        factor = given.octave_scale**octave
        size = tuple(round(length / factor) for length in full)
        if min(size) >= min(16, *full):
            sizes.append((size[0], size[1]))
    if len(sizes) < given.octaves:
        warn(
            f"Only {len(sizes)} of {given.octaves} octaves have 16 pixels or "
            "more; the smaller ones are left out."
        )
    return sizes


def _resized(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pictures.shape[1:3] == size:
        return pictures
    resized = tf.image.resize(
        pictures, size, tf.image.ResizeMethod.BICUBIC, antialias=True
    )
    return resized.numpy()


def _result(
    runs: list[Run],
    found: ranges.ValueRange,
    given: _Options,
    target: Any,
    full: tuple[int, int],
) -> Synthesis:
    last = runs[-1]
    history = {
        name: np.concatenate([run.history[name] for run in runs])
        for name in last.history
    }

    def shown(pictures: np.ndarray) -> np.ndarray:
        pictures = np.clip(_resized(pictures, full), 0, 1)
        return np.asarray(found.values(pictures), np.float32)

    images = shown(last.images)
    return Synthesis(
        images=images,
        score=last.score,
        history=history,
        frames={
            k * given.steps + step: shown(frame)
            for k, run in enumerate(runs)
            for step, frame in sorted(run.frames.items())
        },
        steps=sum(run.steps for run in runs),
        stopped=last.stopped,
        titles=[f"dream of {target}"] * len(images),
        settings={
            field.name: repr(getattr(given, field.name))
            for field in dataclasses.fields(given)
            if field.name not in ("snapshots", "callback")
        },
        value_range=(found.low, found.high),
        state={},
    )
