"""Looks at a run every few steps: goes back where it broke, ends it in time.

At fixed steps, not at fixed times, so that the same seed gives the same
pictures on a slow machine as on a fast one. Each row is looked at by itself.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.synthesis.optimize import Loop, Stretch

# Steps from one state that is kept to the next, as published, and from one
# picture of the window to the next.
KEPT_EVERY = 100
SEEN_EVERY = 10

# Mean squared error of rounding to 8 bits: below it, worse is no worse.
_ROUNDING = 1 / (12 * 255**2)


class WindowedVariance:
    """Finds when pictures were most at rest.

    Networks first fit what repeats itself, and the picture comes to rest;
    then they fit the noise, and it moves again. So the variance of the last
    pictures, `1/W sum_w |x_w - mean x|^2`, has its least value near the best
    picture. Here the window holds every tenth picture.

    Args:
        window: Its length, in steps.
        patience: Steps without a lesser variance after which a row is done.

    References:
        Wang et al., 2021. Early Stopping for Deep Image Prior.
        https://arxiv.org/abs/2112.06074
    """

    def __init__(self, window: int, patience: int):
        self._patience = patience
        self._recent: collections.deque[np.ndarray] = collections.deque(
            maxlen=max(window // SEEN_EVERY, 2)
        )
        self.variance: np.ndarray | None = None
        self.images: np.ndarray | None = None
        self._least = self._steps = np.zeros(0)
        self.done = False

    def see(self, step: int, recent: np.ndarray, images: np.ndarray) -> None:
        """Takes in the pictures of a step.

        Args:
            step: Its number.
            recent: `(rows, ...)`, of which the variance is taken.
            images: `(rows, ...)`, which are kept at the least.
        """
        self._recent.append(recent)
        if len(self._recent) < self._recent.maxlen:  # type: ignore[operator]
            return
        each = np.var(np.stack(self._recent), axis=0)
        self.variance = each.reshape(len(each), -1).mean(axis=1)
        if self.images is None:
            self._least = np.full(len(each), np.inf)
            self._steps = np.full(len(each), step)
            self.images = images.copy()
        # A row that is done stays so, however long the others take.
        waits = step - self._steps < self._patience
        better = waits & (self.variance < self._least)
        self._least[better] = self.variance[better]
        self._steps[better] = step
        self.images[better] = images[better]
        self.done = bool(np.all(step - self._steps >= self._patience))


class Watched:
    """A `Loop` that goes back to an earlier state, and ends in time.

    Args:
        loop: Makes the steps.
        backtrack: By how many decibels the signal-to-noise ratio may fall
            from one state that is kept to the next. Rows that fall by more go
            back; `None` to let them.
        stopping: Says when it is enough; or `None`.
    """

    def __init__(
        self,
        loop: Loop,
        backtrack: float | None,
        stopping: WindowedVariance | None = None,
    ):
        self._loop = loop
        self._backtrack = backtrack
        self.stopping = stopping
        self.went_back: list[int] = []
        self._kept: dict[str, np.ndarray] = {}
        self._kept_loss: np.ndarray | None = None
        self._failed_at = -1
        seen = tf.function(self._seen, autograph=False)
        with TRACE_LOCK:
            self._look = seen.get_concrete_function()

    @property
    def step(self) -> int:
        """Number of steps made."""
        return self._loop.step

    @property
    def enough(self) -> bool:
        """Whether all rows are past their best."""
        return self.stopping is not None and self.stopping.done

    def images(self) -> np.ndarray:
        """Returns the pictures as they are, or their running mean."""
        return self._loop.images()

    def scores(self) -> np.ndarray:
        """Returns their scores."""
        return self._loop.scores()

    def state(self) -> dict[str, np.ndarray]:
        """Returns all that the next step depends on."""
        return self._loop.state()

    def sound(self) -> bool:
        """Whether the numbers as they are have a score."""
        return self._loop.sound()

    def undo(self) -> None:
        """Takes the last step back if it led to a score that is none."""
        self._loop.undo()

    def stretches(self, until: int) -> Iterator[Stretch]:
        """Makes steps up to a number, or until it is enough."""
        if self._kept_loss is None:
            self._keep(self._loss())
        every = KEPT_EVERY if self.stopping is None else SEEN_EVERY
        while self.step < until and not self.enough:
            end = min(until, (self.step // every + 1) * every)
            for stretch in self._loop.stretches(end):
                stretch = _of_loss(stretch)
                if stretch.failed and self._retried():
                    yield stretch._replace(failed=False)
                    break
                if self.step % every == 0 and not stretch.failed:
                    self._watch()
                yield stretch
                if stretch.failed:
                    return

    def _watch(self) -> None:
        if self.step % KEPT_EVERY == 0 and self._backtrack is not None:
            self._keep(self._loss())
        if self.stopping is not None:
            images = self._look()[0].numpy()
            self.stopping.see(self.step, images, self._loop.images())

    def _keep(self, loss: np.ndarray) -> None:
        """Keeps the state of the rows that are well; takes others back."""
        if self._backtrack is None:
            self._kept_loss = loss
            return
        state = self._loop.state()
        if self._kept_loss is not None:
            least = np.maximum(self._kept_loss, _ROUNDING)
            with np.errstate(divide="ignore", invalid="ignore"):
                fell = ~(10 * np.log10(loss / least) <= self._backtrack)
            if fell.any():
                state = self._gone_back(state, fell)
                loss = np.where(fell, self._kept_loss, loss)
        self._kept, self._kept_loss = state, loss

    def _retried(self) -> bool:
        """Goes back from a step that is not finite, unless it just did."""
        if self._backtrack is None or self._failed_at == self.step:
            return False
        rows = np.ones(self._loop.problem.rows, bool)
        self._gone_back(self._loop.state(), rows)
        self._failed_at = self.step
        return True

    def _gone_back(
        self, state: dict[str, np.ndarray], rows: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Puts some rows back to what was kept; the step stays."""
        mixed = {}
        for name, value in state.items():
            there = self._kept[name]
            if name.startswith(("values_", "average_")):
                mask = rows.reshape(-1, *[1] * (value.ndim - 1))
                mixed[name] = np.where(mask, there, value)
            else:
                # What the optimizer learned of too large gradients makes the
                # next steps smaller: it stays, as in the published code.
                mixed[name] = np.where(np.isfinite(value), value, there)
        self._loop.restore(mixed)
        self.went_back.append(self.step)
        return mixed

    def _loss(self) -> np.ndarray:
        return -self._look()[1].numpy()

    def _seen(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The pictures and their scores, without mean and chance."""
        problem = self._loop.problem
        values = [tf.convert_to_tensor(v) for v in self._loop.values]
        images = problem.parameterization.images(values, problem.shape)
        return images, problem.objective.score(images)


def _of_loss(stretch: Stretch) -> Stretch:
    """A score without gradient means here that nothing is left to explain."""
    history = {**stretch.history, "loss": -stretch.history["score"]}
    silent = np.zeros_like(stretch.silent)
    return stretch._replace(history=history, silent=silent)
