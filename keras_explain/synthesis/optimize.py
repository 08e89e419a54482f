"""The one loop in which pictures are optimized, in the graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.synthesis.gradients import chained, gradient_of
from keras_explain.synthesis.optimizers import copied, make_step
from keras_explain.synthesis.problem import Problem

# How long a stretch of steps in the graph should take, in seconds: long
# enough that Python costs nothing, and short enough for a progress bar.
_STRETCH = 0.25


class Stretch(NamedTuple):
    """What came of some steps.

    Attributes:
        steps: How many steps were made.
        history: `{name: (steps, rows)}`, before each step.
        silent: `(rows,)`, whether the score had no gradient at the last.
        failed: Whether the next score, penalty or gradient is not finite.
        waiting: Whether the next step is to be made with open ReLUs.
    """

    steps: int
    history: dict[str, np.ndarray]
    silent: np.ndarray
    failed: bool
    waiting: bool


class Loop:
    """Makes steps of a problem.

    It holds the numbers that are optimized and the optimizer's state; the
    step is traced once, and once more if a row is silent at the start.

    Args:
        problem: What is optimized.
        optimizer: A Keras optimizer, of which a copy is used.
    """

    def __init__(self, problem: Problem, optimizer: Any):
        self.problem = problem
        self.optimizer = copied(optimizer, problem.rows)
        self.names = problem.penalties
        self._functions: dict[str, Callable] = {}
        with tf.init_scope():
            start = problem.parameterization.start(
                problem.shape, problem.random
            )
            self.values = [keras.Variable(v, trainable=True) for v in start]
            self.optimizer.build(self.values)
            self._before = [tf.Variable(v, trainable=False) for v in start]
            self._average = (
                tf.Variable(tf.zeros([problem.rows, *problem.shape]))
                if problem.averaging
                else None
            )
        self.step = 0
        self._broken = False  # whether the next score is not finite
        self._made_steps = False  # whether `_before` is one step ago
        self._initial = self.state()

    def state(self) -> dict[str, np.ndarray]:
        """Returns all that the next step depends on."""
        found = {"step": np.asarray(self.step)}
        for name, variables in self._variables():
            for k, variable in enumerate(variables):
                found[f"{name}_{k}"] = _array(variable)
        return found

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes on from what `state` returned."""
        for name, variables in self._variables():
            for k, variable in enumerate(variables):
                value = state.get(f"{name}_{k}")
                if value is None or value.shape != tuple(variable.shape):
                    raise ValueError(
                        message(
                            "A run goes on with the settings it had.",
                            f"a state whose {name} do not fit these settings",
                            "Pass the same image, batch and optimizer.",
                        )
                    )
                variable.assign(value)
        self.step = int(state["step"])
        self._broken = self._made_steps = False

    def reset(self) -> None:
        """Goes back to before the first step."""
        self.restore(self._initial)

    def sound(self) -> bool:
        """Whether the numbers as they are have a score and penalties.

        The next step would find out, but after the last there is none.
        """
        found = [self._scored(self._compiled("pictures", self._pictures)())]
        if self.names:
            found += self._compiled("penalties", self._penalties)()
        self._broken = not all(np.isfinite(part).all() for part in found)
        return not self._broken

    def undo(self) -> None:
        """Takes the last step back if it led to a score that is none."""
        # What came before the first step after `restore` is not known.
        if self._broken and self._made_steps:
            _assign(self.values, self._before)
            self.step -= 1
            self._made_steps = False
        self._broken = False

    def images(self) -> np.ndarray:
        """Returns the pictures as they are, or their running mean."""
        if self._average is not None and self.step:
            return _array(self._average)
        return self._compiled("pictures", self._pictures)().numpy()

    def scores(self) -> np.ndarray:
        """Returns the score of each picture as it is, untransformed."""
        return self._scored(self.images())

    def flat(self) -> np.ndarray:
        """Returns all numbers as one float64 vector."""
        return np.concatenate(
            [_array(v).astype(np.float64).ravel() for v in self.values]
        )

    def set_flat(self, vector: np.ndarray) -> None:
        """Sets all numbers from such a vector."""
        first = 0
        for variable in self.values:
            size = int(np.prod(variable.shape))
            part = vector[first : first + size]
            variable.assign(part.reshape(variable.shape).astype(np.float32))
            first += size

    def evaluate(self) -> tuple[float, np.ndarray, dict[str, float]]:
        """Returns the total score, its gradient, and the parts of it.

        For a problem of one row: what L-BFGS asks for.
        """
        gradients, found = self._compiled("rest", self._at_rest)()
        parts = [float(value[0]) for value in found]
        vector = [np.array(g, np.float64).ravel() for g in gradients]
        total = parts[0] - sum(parts[1:])
        names = ["score", *self.names]
        return (
            total,
            np.concatenate(vector),
            dict(zip(names, parts, strict=True)),
        )

    def stretches(self, until: int) -> Iterator[Stretch]:
        """Makes steps up to a number, and says what came of them."""
        count = 1
        while self.step < until:
            began = time.perf_counter()
            stretch = self._stretch(min(count, until - self.step), False)
            if stretch.waiting:
                stretch = self._opened(stretch, until)
            yield stretch
            if stretch.failed:
                return
            each = (time.perf_counter() - began) / max(stretch.steps, 1)
            count = max(1, min(2 * count, int(_STRETCH / each)))

    def _opened(self, before: Stretch, until: int) -> Stretch:
        count = min(self.problem.warmup, until) - self.step
        after = self._stretch(count, True)
        history = {
            name: np.concatenate([before.history[name], values])
            for name, values in after.history.items()
        }
        return after._replace(steps=before.steps + after.steps, history=history)

    def _stretch(self, count: int, opened: bool) -> Stretch:
        number = tf.TensorSpec([], tf.int32)
        steps = self._compiled(
            "opened" if opened else "steps",
            lambda first, end: self._steps(first, end, opened),
            number,
            number,
        )
        results = steps(tf.constant(self.step), tf.constant(self.step + count))
        made = int(results["step"]) - self.step
        self.step += made
        self._made_steps = self._made_steps or made > 0
        seen = {k: np.asarray(v) for k, v in results["history"].items()}
        failed = not bool(results["finite"])
        self._broken = failed and not all(
            np.isfinite(values[made:]).all() for values in seen.values()
        )
        return Stretch(
            made,
            {name: values[:made] for name, values in seen.items()},
            np.asarray(results["silent"]),
            failed,
            bool(results["waiting"]),
        )

    def _variables(self) -> list[tuple[str, list]]:
        average = [] if self._average is None else [self._average]
        return [
            ("values", self.values),
            ("optimizer", list(self.optimizer.variables)),
            ("average", average),
        ]

    def _compiled(
        self, name: str, function: Callable, *specs: tf.TensorSpec
    ) -> Callable:
        """Returns a function traced once."""
        if name not in self._functions:
            made = tf.function(function, autograph=False)
            with TRACE_LOCK, tf.init_scope():
                concrete = made.get_concrete_function(*specs)
                self._functions[name] = concrete
        return self._functions[name]

    def _pictures(self) -> tf.Tensor:
        values = [tf.convert_to_tensor(v) for v in self.values]
        return self.problem.parameterization.images(values, self.problem.shape)

    def _scored(self, images: Any) -> np.ndarray:
        score = self._compiled(
            "score",
            self.problem.objective.score,
            tf.TensorSpec(images.shape, tf.float32),
        )
        return score(tf.constant(images)).numpy()

    def _penalties(self) -> list[tf.Tensor]:
        images = self._pictures()
        found = [r.penalty(images) for r in self.problem.regularizers]
        return [penalty for penalty in found if penalty is not None]

    def _at_rest(self) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        gradients, found, *_ = self._gradients(tf.constant(0), False)
        return gradients, found

    def _steps(
        self, first: tf.Tensor, end: tf.Tensor, opened: bool
    ) -> dict[str, Any]:
        """Steps `first` to `end`, under trace; fewer if something is off."""
        names = ["score", *self.names]
        rows = self.problem.rows
        logs = [
            tf.TensorArray(tf.float32, end - first, element_shape=[rows])
            for _ in names
        ]

        def body(step, silent, finite, waiting, *logs):  # type: ignore[no-untyped-def]
            gradients, found, silent, images = self._gradients(step, opened)
            # A score may be NaN where its gradient is not.
            finite = _finite([*gradients, *found])
            waiting = tf.constant(False)
            if self.problem.objective.can_open and not opened:
                waiting = tf.reduce_any(silent) & (step < self.problem.warmup)
            logs = [
                log.write(step - first, value)
                for log, value in zip(logs, found, strict=True)
            ]
            step, stayed = tf.cond(
                finite & ~waiting,
                lambda: self._update(gradients, images, step),
                lambda: (step, finite),
            )
            return (step, silent, stayed, waiting, *logs)

        step, silent, finite, waiting, *logs = tf.while_loop(
            lambda step, silent, finite, waiting, *_: (
                (step < end) & finite & ~waiting
            ),
            body,
            (
                first,
                tf.zeros([rows], tf.bool),
                tf.constant(True),
                tf.constant(False),
                *logs,
            ),
            parallel_iterations=1,
        )
        history = {
            name: log.stack() for name, log in zip(names, logs, strict=True)
        }
        return {
            "step": step,
            "silent": silent,
            "finite": finite,
            "waiting": waiting,
            "history": history,
        }

    def _gradients(
        self, step: tf.Tensor, opened: bool
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """The gradient that is followed, what is logged, and who is silent.

        Last the pictures themselves.
        """
        problem = self.problem
        values = [tf.convert_to_tensor(v) for v in self.values]
        random = problem.random.at(step + 1, stream=1)
        images = problem.parameterization.sampled(values, problem.shape, random)
        images = tf.ensure_shape(images, [problem.rows, *problem.shape])
        score, upward = self._score(images, step, False)
        axes = list(range(1, images.shape.rank))
        silent = tf.reduce_all(tf.equal(upward, 0.0), axes)
        if opened:
            _, through = self._score(images, step, True)
            mask = tf.reshape(silent, [-1] + [1] * len(axes))
            upward = tf.where(mask, through, upward)
        found = [score]
        for regularizer in problem.regularizers:
            penalty = regularizer.penalty(images)
            if penalty is not None:
                found.append(penalty)
                upward -= gradient_of(penalty, images)
        gradients = chained(images, values, upward)
        for regularizer in problem.regularizers:
            gradients = [regularizer.gradient(g, step) for g in gradients]
        return gradients, found, silent, images

    def _score(
        self, images: tf.Tensor, step: tf.Tensor, opened: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        random = self.problem.random.at(step + 1)  # 0 is before the first
        seen = images
        for transform in self.problem.transforms:
            seen = transform(seen, random)
        score = self.problem.objective.score(seen, opened=opened)
        score = tf.ensure_shape(score, [self.problem.rows])
        scale = self.problem.objective.scale
        return score, gradient_of(score * scale, images) / scale

    def _average_in(self, images: tf.Tensor, step: tf.Tensor) -> None:
        past = self.problem.averaging
        mean = past * self._average + (1 - past) * images
        mean = tf.where(tf.equal(step, 0), images, mean)
        # A picture that is not finite ends the run, and must not spoil it.
        finite = tf.math.is_finite(images)
        self._average.assign(tf.where(finite, mean, self._average))

    def _update(
        self, gradients: list[tf.Tensor], images: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes a step; takes it back, and says so, if it leads nowhere."""
        problem = self.problem
        if self._average is not None:
            self._average_in(images, step)
        before = [tf.convert_to_tensor(v) for v in self.values]
        _assign(self._before, before)
        make_step(self.optimizer, [-g for g in gradients], self.values)
        values = [tf.convert_to_tensor(v) for v in self.values]
        if problem.parameterization.in_pixels:
            for regularizer in problem.regularizers:
                values = [
                    regularizer.project(v, g, step)
                    for v, g in zip(values, gradients, strict=True)
                ]
        values = problem.parameterization.project(values)
        finite = _finite(values)

        def go_back() -> tf.Tensor:
            _assign(self.values, before)
            return step

        def stay() -> tf.Tensor:
            _assign(self.values, values)
            return step + 1

        return tf.cond(finite, stay, go_back), finite


def _finite(tensors: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all(
        [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors]
    )


def _assign(variables: list, values: list[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _array(variable: Any) -> np.ndarray:
    return tf.convert_to_tensor(variable).numpy().copy()
