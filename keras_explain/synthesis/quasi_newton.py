"""Pictures by L-BFGS, each on its own and all in step."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import scipy.optimize

from keras_explain.engine.errors import message
from keras_explain.synthesis.optimize import Loop, Stretch
from keras_explain.synthesis.problem import Problem


class QuasiNewton:
    """Makes steps of problems of one row each by L-BFGS of SciPy.

    It needs a score that is the same whenever it is asked for, so that it
    takes no random transforms; and it keeps what it learned about the
    curvature to itself, so that it can not go on from a saved state.

    Args:
        problems: One for each picture.

    Raises:
        ValueError: If there are random transforms, or parts that change
            gradients or pixels.
    """

    def __init__(self, problems: Sequence[Problem]):
        for problem in problems:
            _check(problem)
        # The optimizer of the loops is not used; they hold the numbers.
        self._loops = [
            Loop(problem, keras.optimizers.SGD(0.0)) for problem in problems
        ]
        self.step = 0

    def reset(self) -> None:
        """Goes back to before the first step."""
        self.step = 0
        for loop in self._loops:
            loop.reset()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Cannot be done."""
        raise ValueError(
            message(
                "L-BFGS cannot go on from where it was.",
                "start=<Synthesis>",
                "Start from its pictures: `Pixels(initial=...)`.",
            )
        )

    def state(self) -> dict[str, np.ndarray]:
        """Returns the number of steps."""
        return {"step": np.asarray(self.step)}

    def images(self) -> np.ndarray:
        """Returns the pictures as they are."""
        return np.concatenate([loop.images() for loop in self._loops])

    def scores(self) -> np.ndarray:
        """Returns the score of each picture."""
        return np.concatenate([loop.scores() for loop in self._loops])

    def sound(self) -> bool:
        """They are: what is not finite was never kept."""
        return True

    def undo(self) -> None:
        """There is nothing to undo: what is not finite was never kept."""

    def stretches(self, until: int) -> Iterator[Stretch]:
        """Makes steps up to a number, or until none raises a score."""
        names = ["score", *self._loops[0].names]
        climbs = [_Climb(loop, until - self.step) for loop in self._loops]
        silent = np.zeros(len(climbs), bool)
        try:
            while self.step < until:
                entries = [climb.step() for climb in climbs]
                failed = any(climb.failed for climb in climbs)
                if failed or all(climb.ended for climb in climbs):
                    if failed:
                        none = np.zeros((0, len(climbs)), np.float32)
                        history = dict.fromkeys(names, none)
                        yield Stretch(0, history, silent, True, False)
                    return
                self.step += 1
                history = {
                    name: np.array([[e[name] for e in entries]], np.float32)
                    for name in names
                }
                yield Stretch(1, history, silent, False, False)
        finally:
            for climb in climbs:
                climb.end()


class _Climb:
    """L-BFGS on one picture, one step at a time.

    SciPy makes all steps in one call, and calls back after each. In a thread
    of its own it can be made to wait there, so that other pictures make
    their steps, and a run ends between two of them.

    Attributes:
        failed: Whether the score or its gradient became NaN or infinite.
        ended: Whether no more steps are made.
    """

    def __init__(self, loop: Loop, steps: int):
        self.failed = self.ended = False
        self._loop, self._steps = loop, steps
        self._good = loop.flat()
        self._here: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._error: BaseException | None = None
        self._stopping = False
        self._go, self._made = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def step(self) -> dict[str, float]:
        """Makes a step, if there is one; returns the scores before it."""
        if not self.ended:
            self._go.release()
            self._made.acquire()
        if self._error is not None:
            raise self._error
        return self._here if self.ended else self._before

    def end(self) -> None:
        """Makes no more steps; the last good numbers stay."""
        self._stopping = True
        self._go.release()
        self._thread.join()
        self._loop.set_flat(self._good)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._stopping:
                self._climb()
        except _Ended:
            pass
        except BaseException as error:
            self._error = error
        self.ended = True
        self._loop.set_flat(self._good)
        self._made.release()

    def _climb(self) -> None:
        def descend(values: np.ndarray) -> tuple[float, np.ndarray]:
            # SciPy may try what is too far, and comes back if it is NaN.
            self._loop.set_flat(values)
            total, gradient, parts = self._loop.evaluate()
            if not self._here:
                self._come(values, total, gradient, parts)
            return -total, -gradient

        def wait(values: np.ndarray) -> None:
            self._loop.set_flat(values)
            self._before = self._here
            self._come(values, *self._loop.evaluate())
            self._made.release()
            self._go.acquire()
            if self._stopping:
                raise _Ended

        scipy.optimize.minimize(
            descend,
            self._good,
            jac=True,
            method="L-BFGS-B",
            callback=wait,
            options={
                "maxiter": self._steps + 1,  # it is ended from outside
                "maxfun": 4 * self._steps + 20,
            },
        )

    def _come(
        self,
        values: np.ndarray,
        total: float,
        gradient: np.ndarray,
        parts: dict[str, float],
    ) -> None:
        """Is at these values, if they are good."""
        if not (np.isfinite(total) and np.isfinite(gradient).all()):
            self.failed = True
            raise _Ended
        self._good, self._here = values.copy(), dict(parts)


class _Ended(Exception):
    pass


def _check(problem: Problem) -> None:
    if problem.transforms:
        raise ValueError(
            message(
                "L-BFGS needs a score that does not change by chance.",
                "optimizer='lbfgs' with random transforms",
                "Pass `transforms=None`, or a Keras optimizer.",
            )
        )
    changing = [r.name for r in problem.regularizers if r.changes_steps]
    if changing:
        raise ValueError(
            message(
                "L-BFGS follows the gradient of the score and the penalties.",
                f"optimizer='lbfgs' with {', '.join(changing)}",
                "Leave them out, or pass a Keras optimizer.",
            )
        )
