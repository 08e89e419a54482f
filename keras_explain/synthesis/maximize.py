"""Pictures that maximize a target: what a network looks for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_explain.engine.class_target import as_target
from keras_explain.engine.each_target import Each
from keras_explain.engine.errors import message
from keras_explain.engine.targets import Target
from keras_explain.synthesis import value_range as ranges
from keras_explain.synthesis.diversity import Diversity
from keras_explain.synthesis.driver import Progress, drive
from keras_explain.synthesis.objective import (
    ModelObjective,
    record_rows,
    repeated,
    sample_shape,
)
from keras_explain.synthesis.optimize import Loop
from keras_explain.synthesis.problem import Problem
from keras_explain.synthesis.quasi_newton import QuasiNewton
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.resuming import check_start, with_earlier
from keras_explain.synthesis.settings import (
    Settings,
    check_pixels,
    image_and_shape,
    transforms_for,
)


class Maximization:
    """A compiled `maximize`, to be run again as a model learns.

    Args:
        model: A built Keras model with one input.
        target: As for `maximize`.
        settings: As for `maximize`.
    """

    def __init__(self, model: keras.Model, target: Any, **settings: Any):
        declared = sample_shape(model)
        self.model = model
        self.settings = Settings(**settings)
        self.targets = _targets(target)
        given = self.settings
        image, shape = image_and_shape(given, model, declared)
        self.shape = shape
        graph, _ = record_rows(model, 1, shape, given.layer)
        if image.bounded:
            self.value_range = ranges.find(
                model, graph, given.value_range, given.preprocess
            )
        else:
            self.value_range = ranges.ValueRange(
                -np.inf, np.inf, given.preprocess, "without bounds"
            )
        if image.bounded and not self.value_range.bounded:
            raise ValueError(
                message(
                    f"{type(image).__name__} makes pictures between two "
                    "values.",
                    f"value_range={given.value_range!r}",
                    "Pass `image=Pixels(bounds=None)` for values without "
                    "bounds.",
                )
            )
        self.image = image
        if given.optimizer == "lbfgs":
            self._runner: Loop | QuasiNewton = QuasiNewton(
                [
                    self._problem([t], [f])
                    for t, f in zip(*self._rows, strict=True)
                ]
            )
        else:
            optimizer = given.optimizer or image.optimizer()
            self._runner = Loop(self._problem(*self._rows), optimizer)

    def run(
        self,
        steps: int = 512,
        *,
        snapshots: Iterable[int] = (),
        start: Synthesis | None = None,
        callback: Callable[[Progress], bool | None] | None = None,
        verbose: bool | str = "auto",
        advance: Callable[..., None] | None = None,
    ) -> Synthesis:
        """Makes the pictures; the arguments are those of `maximize`.

        `advance`, if given, is told of the steps in place of a bar.
        """
        if not (isinstance(steps, (int, np.integer)) and steps >= 0):
            raise ValueError(
                message(
                    "The number of steps is not negative.", f"steps={steps!r}"
                )
            )
        if start is None:
            self._runner.reset()
        else:
            if self.settings.optimizer != "lbfgs":  # which never goes on
                check_start(start, int(steps), self._titles(), self._plain())
            self._runner.restore(getattr(start, "state", {}))
        run = drive(
            self._runner,
            int(steps),
            snapshots=snapshots,
            callback=callback,
            verbose=verbose,
            earlier=start,
            advance=advance,
        )
        values = self.value_range.values
        return Synthesis(
            images=np.asarray(values(run.images), np.float32),
            score=run.score,
            history=run.history,
            frames=with_earlier(
                start,
                run.steps,
                {
                    step: np.asarray(values(frame), np.float32)
                    for step, frame in run.frames.items()
                },
            ),
            steps=run.steps,
            stopped=run.stopped,
            titles=self._titles(),
            settings={"steps": int(steps), **self._plain()},
            value_range=(self.value_range.low, self.value_range.high),
            state=run.state,
        )

    @property
    def _rows(self) -> tuple[list[Target], list[int]]:
        return repeated(self.targets, self.settings.batch)

    def _problem(self, targets: list[Target], facets: list[int]) -> Problem:
        given = self.settings
        regularizers = [
            r for r in given.regularizers if not isinstance(r, Diversity)
        ]
        for r in given.regularizers:
            if isinstance(r, Diversity):
                targets = [t - r.target(given.batch) for t in targets]
        check_pixels(regularizers, self.image)
        seeds = [given.seed + k for k in range(given.batch)]
        random = Randomness(seeds, facets)
        objective = ModelObjective(
            self.model,
            targets[0] if len(set(targets)) == 1 else Each(tuple(targets)),
            self.value_range,
            len(targets),
            self.shape,
            given.layer,
        )
        return Problem(
            objective=objective,
            parameterization=self.image,
            shape=self.shape,
            random=random,
            transforms=transforms_for(given.transforms, self.shape, self.image),
            regularizers=regularizers,
            averaging=given.averaging,
            warmup=given.warmup,
        )

    def _plain(self) -> dict[str, Any]:
        plain = self.settings.plain()
        if self.settings.optimizer is None:
            plain["optimizer"] = repr(type(self.image.optimizer()).__name__)
        return plain

    def _titles(self) -> list[str]:
        return [title_of(target) for target in self._rows[0]]


def maximize(
    model: keras.Model,
    target: Any,
    *,
    steps: int = 512,
    snapshots: Iterable[int] = (),
    start: Synthesis | None = None,
    callback: Callable[[Progress], bool | None] | None = None,
    **settings: Any,
) -> Synthesis:
    """Makes pictures that a class, a unit or a direction answers to most.

    Use it to see what a network looks for: a prototype of a class, the
    pattern of a channel, several facets of one (`batch` and `Diversity`).
    Costs `steps` gradients of the whole batch; the loop runs in the graph
    and is traced once.

    `x* = argmax_x E_t[S(t(x))] - sum_k R_k(x)`, by gradient ascent on the
    numbers that `image` makes a picture of, with random transforms `t`.
    Class scores are logits, and units are read before their nonlinearity.
    Units of a batch do not influence each other: a list of eight gives what
    eight runs give.

    Args:
        model: A built Keras model with one input, of any rank and number of
            channels.
        target: A class index, a `Target`, or a list of them: one picture
            for each.
        steps: Number of steps; with `start`, those before count.
        snapshots: Steps after which the pictures are kept as `frames`.
        start: A `Synthesis` of the same settings to go on from.
        callback: Called with a `Progress` a few times each second; the run
            ends if it returns `True`.
        image: A parameterization. By default `Fourier()` in the size of the
            model's input, and `Pixels` for rows of a table.
        transforms: `"robust"`, a list of transforms, or `None`.
        regularizers: Penalties, changes of gradients or of pixels, see
            `synthesis`.
        optimizer: A Keras optimizer, of which a copy is used; `"lbfgs"`,
            which takes no random transforms; or `None` for the one that
            suits `image`.
        batch: Pictures for each target, from different seeds.
        size: Of the pictures, where the model leaves it open: one number,
            or one for each open axis; 128 if nothing is said.
        seed: Same seed, same picture, bit for bit on a CPU.
        value_range: `(low, high)` of the model's inputs, if the model does
            not say.
        preprocess: What is done to pictures in `value_range` (0 to 255 if
            none is given) before the model sees them.
        layer: Whose output is made in place of the inputs, such as the
            embedding of tokens.
        warmup: First steps in which the gradient passes shut ReLUs, for
            pictures whose whole gradient is zero.
        averaging: Weight of the past in a running mean of the pictures,
            which is then what is returned.
        verbose: Whether to show a progress bar.

    Returns:
        A `Synthesis`.

    Raises:
        TypeError: If a part is of the wrong kind.
        ValueError: If there is no such unit, nothing says what the range of
            values is, or the score is not finite at the start.

    Example:

    >>> from keras_explain.synthesis import maximize
    >>> made = maximize(
    ...     model, [3, 5], steps=8, value_range=(0, 1), verbose=False
    ... )
    >>> made.images.shape, made.steps
    ((2, 8, 8, 3), 8)

    References:
        Erhan et al., 2009. Visualizing Higher-Layer Features of a Deep
        Network. Technical report 1341, University of Montreal.
        Simonyan et al., 2013. Deep Inside Convolutional Networks.
        https://arxiv.org/abs/1312.6034
        Olah et al., 2017. Feature Visualization.
        https://distill.pub/2017/feature-visualization
    """
    verbose = settings.pop("verbose", "auto")
    check_names(settings)
    return Maximization(model, target, **settings).run(
        steps,
        snapshots=snapshots,
        start=start,
        callback=callback,
        verbose=verbose,
    )


def _full_signature() -> inspect.Signature:
    """All arguments by name, for `help` and for editors."""
    own = dict(inspect.signature(maximize).parameters)
    own.pop("settings")
    more = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(Settings).parameters.values()
    ]
    verbose = inspect.Parameter(
        "verbose", inspect.Parameter.KEYWORD_ONLY, default="auto"
    )
    return inspect.Signature([*own.values(), *more, verbose])


maximize.__signature__ = _full_signature()  # type: ignore[attr-defined]


def check_names(settings: dict[str, Any]) -> None:
    """Raises `TypeError` if there is no such setting."""
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in settings:
        if name not in known:
            raise TypeError(
                message(
                    "There is no such setting.",
                    f"{name}={settings[name]!r}",
                    f"The settings are {', '.join(known)}.",
                )
            )


def _targets(target: Any) -> list[Target]:
    if isinstance(target, (list, tuple, np.ndarray)) and np.ndim(target) == 1:
        found = [as_target(one) for one in target]
    else:
        found = [as_target(target)]
    if not found:
        raise ValueError(
            message("There is nothing to maximize.", "an empty list of targets")
        )
    for one in found:
        if getattr(one, "index", 0) is None:
            raise ValueError(
                message(
                    "A picture that is yet to be made has no predicted class.",
                    repr(target),
                    "Pass a class index, or a list of them.",
                )
            )
    return found


def title_of(target: Target) -> str:
    """Returns a line for a target, such as `class 3`."""
    name = type(target).__name__
    config = target.get_config()
    if "targets" in config:
        parts = [
            f"{factor:+g} {title_of(part)}"
            for factor, part in zip(
                config.get("factors", [1.0]), target.targets, strict=False
            )
        ]
        return " ".join(parts).removeprefix("+1 ")
    if name == "Class":
        return f"class {config['index']}"
    where = f"{config['layer']} " if "layer" in config else ""
    return f"{where}{name.lower()} {config.get('index', '')}".strip()
