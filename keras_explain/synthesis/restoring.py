"""How pictures are restored: the options, and the run."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message, near
from keras_explain.synthesis import observed
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.driver import Progress, Run, drive
from keras_explain.synthesis.optimize import Loop
from keras_explain.synthesis.parts import Parameterization, Regularizer
from keras_explain.synthesis.problem import Problem
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.resuming import with_earlier
from keras_explain.synthesis.watching import Watched, WindowedVariance


@dataclasses.dataclass(frozen=True)
class Options:
    """How pictures are restored; the keyword arguments of `restore`."""

    snapshots: Iterable[int] = ()
    start: Synthesis | None = None
    callback: Callable[[Progress], bool | None] | None = None
    prior: Parameterization | None = None
    regularizers: Sequence[Regularizer] = ()
    optimizer: Any = None
    averaging: float = 0.99
    backtrack: float | None = 5.0
    stop: str | None = None
    window: int = 100
    patience: int = 1000
    runs: int = 1
    seed: int = 0
    value_range: tuple[float, float] | None = None
    shape: tuple[int, int, int] | None = None
    mask: Any = None
    verbose: bool | str = "auto"

    def __post_init__(self) -> None:
        if self.prior is not None and not (
            isinstance(self.prior, Parameterization) and self.prior.bounded
        ):
            raise TypeError(
                message(
                    "`prior` says how a picture between two values is made "
                    "of numbers.",
                    f"prior={self.prior!r}",
                    "Pass such as `DeepImagePrior()` or `Pixels()`.",
                )
            )
        if self.stop not in (None, "variance"):
            raise ValueError(
                message(
                    "A run goes to its last step, or ends when the variance "
                    "of the last pictures has passed its minimum.",
                    f"stop={self.stop!r}",
                    "Pass `stop=None` or `stop='variance'`.",
                )
            )
        for name, low, high in (
            ("averaging", 0, 1), ("window", 20, np.inf),
            ("patience", 1, np.inf), ("backtrack", 0, np.inf),
            ("runs", 1, np.inf),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "backtrack" and value is None:
                continue
            if not (_is_number(value) and low <= value < high):
                below = f" and less than {high}" * (high < np.inf)
                raise ValueError(
                    message(
                        f"`{name}` is a number of at least {low}{below}.",
                        f"{name}={value!r}",
                    )
                )

    def plain(self) -> dict[str, Any]:
        """Returns what made the picture, as JSON can hold it."""
        kept = (
            "prior", "regularizers", "optimizer", "averaging", "backtrack",
            "stop", "window", "patience", "runs", "seed", "value_range",
        )  # fmt: skip
        simple = (str, bool, int, float, type(None))
        values = {name: getattr(self, name) for name in kept}
        if isinstance(self.optimizer, keras.optimizers.Optimizer):
            values["optimizer"] = type(self.optimizer).__name__
        return {
            name: value if isinstance(value, simple) else repr(value)
            for name, value in values.items()
        }


def with_options(function: Callable) -> Callable:
    """Shows the arguments of `Options` by name, to `help` and editors."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.name != "options"]
    names = {p.name for p in own}
    more = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(Options).parameters.values()
        if p.name not in names
    ]
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *more]
    )
    return function


def options_of(
    given: dict[str, Any], prior: Parameterization | None = None
) -> Options:
    """Returns the options, or raises for names that are none.

    Args:
        given: By name.
        prior: What holds where none is given.
    """
    known = [field.name for field in dataclasses.fields(Options)]
    for name in given:
        if name not in known:
            raise TypeError(
                message(
                    "There is no such option.",
                    f"{name}={given[name]!r}",
                    f"Did you mean {near(name, known)}?",
                )
            )
    options = Options(**given)
    if options.prior is None:
        options = dataclasses.replace(options, prior=prior)
    return options


def restored(
    images: Any,
    operator: Callable,
    steps: int,
    title: str,
    given: Options,
    *,
    pictures: bool = True,
) -> Synthesis:
    """Does the work of `restore` and its relatives.

    Args:
        images: What was observed.
        operator: Makes it of the pictures that are looked for.
        steps: Number of steps.
        title: A line for each row.
        given: The options.
        pictures: Whether what was observed has the range of pictures.
    """
    if not (isinstance(steps, numbers.Integral) and steps >= 0):
        raise ValueError(
            message("The number of steps is not negative.", f"steps={steps!r}")
        )
    values, value_range, weights = observed.read(
        images, given.mask, given.value_range, pictures=pictures
    )
    rows, runs = len(values), int(given.runs)
    prior = given.prior or DeepImagePrior()
    shape = tuple(given.shape or values.shape[1:])
    # One run of all rows after the other, each run with a seed of its own.
    values, weights = (np.tile(x, (runs, 1, 1, 1)) for x in (values, weights))
    observed.check_operator(operator, (rows * runs, *shape), values.shape)
    target = observed.Observed(values, weights, operator, value_range)
    problem = Problem(
        objective=target,
        parameterization=prior,
        shape=shape,
        # All rows draw the same: a picture is what it would be alone.
        random=Randomness(
            range(given.seed, given.seed + runs), np.repeat(range(runs), rows)
        ),
        regularizers=given.regularizers,
        averaging=given.averaging,
    )
    loop = Loop(problem, _optimizer(given, prior))
    if given.start is not None:
        loop.restore(given.start.state)
    stopping = (
        WindowedVariance(given.window, given.patience) if given.stop else None
    )
    watched = Watched(loop, given.backtrack, stopping)
    run = drive(
        watched, int(steps), snapshots=given.snapshots,
        callback=_ending(watched, given.callback), verbose=given.verbose,
        earlier=given.start,
    )  # fmt: skip
    _say_went_back(watched)
    return _result(run, watched, target, title, given)


def _optimizer(given: Options, prior: Parameterization) -> Any:
    if isinstance(given.optimizer, str):
        raise TypeError(
            message(
                "Pictures are restored by an optimizer of Keras.",
                f"optimizer={given.optimizer!r}",
                "Pass such as `keras.optimizers.Adam(0.01)`, or `None`.",
            )
        )
    return given.optimizer or prior.optimizer()


def _ending(watched: Watched, callback: Callable | None) -> Callable:
    """Returns a callback that also ends the run when it is enough."""

    def ends(progress: Progress) -> bool:
        asked = callback(progress) if callback is not None else False
        return asked is True or watched.enough

    return ends


def _say_went_back(watched: Watched) -> None:
    steps = watched.went_back
    if not steps:
        return
    found = ", ".join(map(str, steps[:8])) + ", ..." * (len(steps) > 8)
    warn(
        "Pictures became much worse and were put back to where they were up "
        f"to 100 steps before (after step {found}). A smaller learning rate "
        "avoids it."
    )


def _result(
    run: Run,
    watched: Watched,
    target: observed.Observed,
    title: str,
    given: Options,
) -> Synthesis:
    images, stopped = run.images, run.stopped
    best = None if watched.stopping is None else watched.stopping.images
    if best is not None:
        images = best
        stopped = "variance" if watched.enough else stopped
    runs = int(given.runs)

    def mean(pictures: np.ndarray) -> np.ndarray:
        """Over the runs, `(rows, ...)`."""
        each = pictures.reshape(runs, -1, *pictures.shape[1:])
        return each.mean(0) if runs > 1 else pictures

    def finished(pictures: np.ndarray) -> np.ndarray:
        values = target.value_range.values(mean(pictures))
        return np.asarray(values, np.float32)

    score = run.score
    if best is not None or runs > 1:
        again = np.tile(mean(images), (runs, 1, 1, 1))
        score = target.score(tf.constant(again)).numpy()
    images = finished(images)
    return Synthesis(
        images=images,
        score=score[: len(images)],
        history=run.history,
        frames=with_earlier(
            given.start,
            run.steps,
            {step: finished(frame) for step, frame in run.frames.items()},
        ),
        steps=run.steps,
        stopped=stopped,
        titles=[title] * len(images),
        settings={"steps": run.steps, **given.plain()},
        value_range=(target.value_range.low, target.value_range.high),
        state=run.state,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
