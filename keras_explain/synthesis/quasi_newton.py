"""Pictures by L-BFGS, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import scipy.optimize

from keras_explain.engine.errors import message
from keras_explain.synthesis.optimize import Loop, Stretch
from keras_explain.synthesis.problem import Problem


class QuasiNewton:
    """Makes all steps of problems of one row each by L-BFGS of SciPy.

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

    def undo(self) -> None:
        """There is nothing to undo: pictures are kept once they are good."""

    def stretches(self, until: int) -> Iterator[Stretch]:
        """Makes all steps up to a number, or until none raises the score."""
        count = until - self.step
        if count <= 0:
            return
        logs = [_climb(loop, count) for loop in self._loops]
        steps = max(len(log) for log in logs)
        history = {}
        for name in ["score", *self._loops[0].names]:
            columns = [
                [entry[name] for entry in log]
                + [log[-1][name]] * (steps - len(log))
                for log in logs
            ]
            history[name] = np.asarray(columns, np.float32).T
        self.step = until
        rows = len(self._loops)
        failed = not np.all(np.isfinite(history["score"]))
        yield Stretch(steps, history, np.zeros(rows, bool), failed, False)


def _climb(loop: Loop, count: int) -> list[dict[str, float]]:
    """Maximizes the score of one picture; returns what each step gave."""
    start = loop.flat()
    seen: dict[str, float] = {}
    log: list[dict[str, float]] = []

    def descend(values: np.ndarray) -> tuple[float, np.ndarray]:
        loop.set_flat(values)
        total, gradient, found = loop.evaluate()
        seen.update(found)
        return -total, -gradient

    def note(values: np.ndarray) -> None:
        log.append(dict(seen))

    result = scipy.optimize.minimize(
        descend,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=note,
        options={"maxiter": count, "maxfun": 4 * count + 20},
    )
    loop.set_flat(result.x)
    return log or [dict(seen)]


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
