"""Takes a run from its first step to its last, and loses nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from keras_explain.engine import interruption
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import message
from keras_explain.engine.progress import bar
from keras_explain.synthesis.optimize import Stretch
from keras_explain.synthesis.result import Synthesis


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Number of steps made.
        score: `(rows,)`, the last scores, as the model saw the pictures.
        images: Returns the pictures as they are now, in `[0, 1]` or raw.
    """

    step: int
    score: np.ndarray
    images: Callable[[], np.ndarray]


class Runner(Protocol):
    """What makes the steps: a `Loop`, or `QuasiNewton`."""

    step: int

    def stretches(self, until: int) -> Iterator[Stretch]: ...

    def images(self) -> np.ndarray: ...

    def scores(self) -> np.ndarray: ...

    def state(self) -> dict[str, np.ndarray]: ...

    def sound(self) -> bool: ...

    def undo(self) -> None: ...


@dataclasses.dataclass
class Run:
    """What came of a run; pictures in `[0, 1]` or raw."""

    images: np.ndarray
    score: np.ndarray
    history: dict[str, np.ndarray]
    frames: dict[int, np.ndarray]
    steps: int
    stopped: str
    state: dict[str, np.ndarray]


def drive(
    runner: Runner,
    steps: int,
    *,
    snapshots: Iterable[int] = (),
    callback: Callable[[Progress], bool | None] | None = None,
    verbose: bool | str = "auto",
    earlier: Synthesis | None = None,
    advance: Callable[..., None] | None = None,
) -> Run:
    """Makes steps up to a number, with a bar, frames and a way out.

    The first Ctrl-C ends the run in good order, and what was made is
    returned. So does a score or gradient that is not finite, with the last
    good pictures.

    Args:
        runner: What makes the steps.
        steps: The last step, those made before counted.
        snapshots: Steps after which the pictures are kept.
        callback: Called after each stretch; ends the run with `True`.
        verbose: Whether to show a progress bar.
        earlier: What was made before, whose history is gone on with.
        advance: Told of the steps in place of a bar of its own.

    Raises:
        ValueError: If a snapshot is no step of this run, or the score is
            not finite before the first step.
    """
    wanted = check_snapshots(snapshots, steps)
    first, stopped = runner.step, "finished"
    frames: dict[int, np.ndarray] = {}
    parts: list[dict[str, np.ndarray]] = []
    if earlier is not None:
        parts.append(earlier.history)
    ends = sorted({s for s in wanted if s > first} | {steps})
    if first in wanted:
        frames[first] = runner.images()
    silent = None
    with (
        _bar(max(steps - first, 1), verbose, advance) as tell,
        interruption.between_steps() as check,
    ):
        try:
            for end in ends:
                for stretch in runner.stretches(end):
                    parts.append(stretch.history)
                    silent = stretch.silent
                    tell(stretch.steps)
                    if stretch.failed:
                        raise _Diverged
                    _tell(callback, runner, stretch)
                    check()
                if end in wanted and runner.step == end:
                    frames[end] = runner.images()
        except _Diverged:
            stopped = "diverged"
        except _Enough:
            stopped = "callback"
        except KeyboardInterrupt:
            stopped = "interrupted"
    stopped = _settled(runner, first, stopped)
    frames = {step: f for step, f in frames.items() if step <= runner.step}
    if silent is not None and silent.any():
        _say_silent(silent)
    return Run(
        images=runner.images(),
        score=runner.scores(),
        history=_joined(parts, runner.step),
        frames=frames,
        steps=runner.step,
        stopped=stopped,
        state=runner.state(),
    )


@contextlib.contextmanager
def _bar(
    steps: int, verbose: bool | str, advance: Callable[..., None] | None
) -> Iterator[Callable[..., None]]:
    if advance is not None:
        yield advance
        return
    with bar(steps, "Making pictures", verbose) as own:
        yield own


class _Diverged(Exception):
    pass


class _Enough(Exception):
    pass


def _settled(runner: Runner, first: int, stopped: str) -> str:
    """Takes a last step back that led nowhere; returns how the run ended."""
    if stopped != "diverged":
        # After the last step there is none that would find out.
        if runner.step == first or runner.sound():
            return stopped
        stopped = "diverged" if stopped == "finished" else stopped
    _say_diverged(runner.step)
    runner.undo()
    return stopped


def _tell(callback: Any, runner: Runner, stretch: Stretch) -> None:
    if callback is None or not stretch.steps:
        return
    score = stretch.history["score"][-1]
    if callback(Progress(runner.step, score, runner.images)) is True:
        raise _Enough


def check_snapshots(snapshots: Iterable[int], steps: int) -> set[int]:
    """Returns the steps, or raises if one is none of a run's."""
    wanted = {int(step) for step in snapshots}
    wrong = sorted(step for step in wanted if not 0 <= step <= steps)
    if wrong:
        raise ValueError(
            message(
                f"A snapshot is taken at a step from 0 to {steps}.",
                f"snapshots at {wrong[:8]}",
                "Leave them out, or make more steps.",
            )
        )
    return wanted


def _joined(
    parts: list[dict[str, np.ndarray]], steps: int
) -> dict[str, np.ndarray]:
    names = parts[0] if parts else {}
    return {
        name: np.concatenate([part[name] for part in parts])[:steps]
        for name in names
    }


def _say_diverged(step: int) -> None:
    if step == 0:
        raise ValueError(
            message(
                "The score or its gradient is not finite at the start.",
                "NaN or infinity before the first step",
                "Look for NaN in the weights of the network: "
                "`[w.name for w in model.weights if np.isnan(w).any()]`.",
            )
        )
    warn(
        f"The run diverged: after step {step} the score or its gradient is "
        "not finite. The pictures are the last good ones; use a smaller "
        "learning rate."
    )


def _say_silent(silent: np.ndarray) -> None:
    rows = np.nonzero(silent)[0]
    warn(
        f"The score of {len(rows)} of {len(silent)} pictures has no gradient "
        f"(rows {rows[:8].tolist()}): the unit is silent on all that was "
        "tried. Start from another `seed`, or from a picture to which it "
        "answers with `Pixels(initial=...)`; raise `warmup`; or maximize a "
        "unit of an earlier layer."
    )
