"""Pictures of a class, sampled in the space of a layer's codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.class_target import as_target
from keras_explain.engine.each_target import Each
from keras_explain.engine.errors import message
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.synthesis.driver import drive
from keras_explain.synthesis.learned_inverter import LearnedInverter
from keras_explain.synthesis.looking import outputs_of
from keras_explain.synthesis.maximize import title_of
from keras_explain.synthesis.objective import ModelObjective
from keras_explain.synthesis.optimize import Stretch
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.result import Synthesis

_MOST_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Forces:
    """What moves a code in each step.

    Attributes:
        prior: Of the reconstruction `E(G(h)) - h`, which points to where
            codes are usual.
        condition: Of the gradient of the log probability.
        noise: Standard deviation of what is added by chance.
    """

    prior: float = 1e-2
    condition: float = 1.0
    noise: float = 1e-3


def sample_codes(
    inverter: LearnedInverter,
    target: Any,
    *,
    steps: int = 200,
    step_size: float = 0.05,
    start: Any = None,
    forces: Forces | None = None,
    seed: int = 0,
    **running: Any,
) -> Synthesis:
    """Samples pictures of a class by plug and play.

    Use it for many different pictures of one class: `maximize` finds the
    best, and always nearly the same. Costs `steps` gradients of the model
    and the decoder together.

    `h <- h + s d / mean|d|`, with
    `d = e1 (E(G(h)) - h) + e2 dlog p(y | G(h)) / dh + N(0, e3^2)`, the
    decoder `G` of a learned inverter and the layer `E` it inverts: together
    they are the denoising auto-encoder whose reconstruction is the gradient
    of the prior.

    Args:
        inverter: A `LearnedInverter` that was fitted.
        target: A class index, or a list of them: one picture for each. Any
            other `Target` is maximized as it is.
        steps: Number of steps.
        step_size: Mean change of a code's values in a step.
        start: Pictures whose codes are started from, one for each row, in
            the model's range of values; `None` for codes of noise.
        forces: A `Forces`. The authors have 1e-5, 1 and 1e-17, for codes of
            4096 values.
        seed: Of the start and the noise.
        callback, verbose: As for `maximize`.

    Returns:
        A `Synthesis`.

    Raises:
        ValueError: If there are not as many pictures to start from as
            targets, or they do not fit the model.

    Example:

    >>> from keras_explain.synthesis import LearnedInverter, sample_codes
    >>> inverter = LearnedInverter(model, "conv1", value_range=(-10, 10))
    >>> sample_codes(inverter, [3, 5], steps=2, verbose=False).images.shape
    (2, 8, 8, 3)

    References:
        Nguyen et al., 2017. Plug & Play Generative Networks.
        https://arxiv.org/abs/1612.00005
    """
    forces = forces or Forces()
    _check_numbers(steps, step_size)
    for name in running:
        if name not in ("callback", "verbose"):
            raise TypeError(
                message("There is no such option.", f"{name}={running[name]!r}")
            )
    several = isinstance(target, (list, tuple, np.ndarray))
    given = list(target) if several else [target]
    targets = [_log(one) for one in given]
    rows = len(targets)
    # Pictures of one class are to differ: each row draws for itself.
    random = Randomness([seed + k for k in range(rows)], range(rows))
    codes = _start(inverter, start, random)
    objective = ModelObjective(
        inverter.model,
        Each(tuple(targets)),
        inverter.value_range,
        rows,
        inverter.shape,
    )

    walk = _Walk(inverter, objective, codes, random, step_size, forces)
    run = drive(walk, int(steps), **running)
    values = inverter.value_range.values
    return Synthesis(
        images=np.asarray(values(run.images), np.float32),
        score=run.score,
        history=run.history,
        frames={},
        steps=run.steps,
        stopped=run.stopped,
        titles=[title_of(as_target(one)) for one in given],
        settings={"forces": repr(forces), "steps": int(steps), "seed": seed,
                  "step_size": step_size},
        value_range=(inverter.value_range.low, inverter.value_range.high),
        state=run.state,
    )  # fmt: skip


def _check_numbers(steps: Any, step_size: Any) -> None:
    if not (isinstance(steps, (int, np.integer)) and steps >= 1):
        raise ValueError(
            message(
                "Codes are sampled in at least one step.", f"steps={steps!r}"
            )
        )
    real = isinstance(step_size, (int, float, np.number))
    if not (real and 0 < step_size < np.inf):
        raise ValueError(
            message(
                "`step_size` is a positive number.",
                f"step_size={step_size!r}",
                "Pass such as 0.05.",
            )
        )


def _log(one: Any) -> Any:
    """Of a class the log probability, of anything else what it is."""
    target = as_target(one)
    if type(target).__name__ != "Class" or isinstance(one, type(target)):
        return target
    if target.index is None:
        raise ValueError(
            message(
                "A picture that is yet to be made has no predicted class.",
                "target=None",
                "Pass a class index, or a list of them.",
            )
        )
    return dataclasses.replace(target, of="log_probability")


def _start(
    inverter: LearnedInverter, start: Any, random: Randomness
) -> tf.Tensor:
    shape = tuple((inverter.call.shape or ())[1:])
    if start is None:
        return tf.nn.relu(random.normal(shape))
    pictures = np.asarray(start, np.float32)
    if pictures.shape[1:] != inverter.shape:
        raise ValueError(
            message(
                f"Codes are started from pictures of shape {inverter.shape}.",
                f"an array of shape {pictures.shape}",
                "Pass a batch of pictures as the model takes them.",
            )
        )
    if len(pictures) != random.rows:
        raise ValueError(
            message(
                "Each row starts from a picture of its own.",
                f"{len(pictures)} pictures for {random.rows} targets",
                "Pass as many pictures as targets, or none.",
            )
        )
    return tf.constant(inverter.features(pictures))


class _Walk:
    """Makes the steps, in the graph; see `Runner`."""

    def __init__(
        self,
        inverter: LearnedInverter,
        objective: ModelObjective,
        codes: tf.Tensor,
        random: Randomness,
        step_size: float,
        forces: Forces,
    ):
        self._inverter, self._objective = inverter, objective
        self._random, self._step_size = random, step_size
        self._forces = forces
        self._codes = self._before = codes
        self.step = 0
        code = tf.TensorSpec(codes.shape, tf.float32)
        number = tf.TensorSpec([], tf.int32)
        with TRACE_LOCK, tf.init_scope():
            self._walk, self._look = (
                tf.function(f, autograph=False).get_concrete_function(*specs)
                for f, specs in (
                    (self._steps, (code, code, number, number)),
                    (self._made, (code,)),
                )
            )

    def images(self) -> np.ndarray:
        """Returns the pictures, in `[0, 1]`."""
        return self._look(self._codes)[0].numpy()

    def scores(self) -> np.ndarray:
        """Returns their scores."""
        return self._look(self._codes)[1].numpy()

    def state(self) -> dict[str, np.ndarray]:
        """Returns the codes."""
        return {"codes": self._codes.numpy()}

    def sound(self) -> bool:
        """Whether the codes as they are have a score."""
        return bool(np.isfinite(self.scores()).all())

    def undo(self) -> None:
        """Takes the last step back: its score is not finite."""
        if self.step:
            self._codes = self._before
            self.step -= 1

    def stretches(self, until: int) -> Iterator[Stretch]:
        """Makes steps up to a number, a few at once."""
        count = 1
        silent = np.zeros(self._random.rows, bool)
        while self.step < until:
            end = min(self.step + count, until)
            self._codes, self._before, score, step = self._walk(
                self._codes,
                self._before,
                tf.constant(self.step),
                tf.constant(end),
            )
            made = int(step) - self.step
            self.step = int(step)
            history = {"score": score.numpy()[:made]}
            failed = self.step < end
            yield Stretch(made, history, silent, failed, False)
            if failed:
                return
            count = min(2 * count, _MOST_AT_ONCE)

    def _made(self, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = self._inverter.decoder(codes, training=False)
        return images, self._objective.score(images)

    def _move(
        self, step: tf.Tensor, codes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inverter, forces = self._inverter, self._forces
        codes = tf.identity(codes)
        images, score = self._made(codes)
        (upward,) = tf.gradients(tf.reduce_sum(score), [codes])
        (usual,) = outputs_of(
            inverter.model, [inverter.call], inverter.value_range,
            inverter.value_range.values(images),
        )  # fmt: skip
        draws = self._random.at(step + 1)
        move = (
            forces.prior * (usual - codes)
            + forces.condition * upward
            + draws.normal(codes.shape[1:], forces.noise)
        )
        axes = list(range(1, codes.shape.rank))
        size = tf.reduce_mean(tf.abs(move), axes, keepdims=True)
        return self._step_size * tf.math.divide_no_nan(move, size), score

    def _steps(
        self,
        codes: tf.Tensor,
        before: tf.Tensor,
        first: tf.Tensor,
        end: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Steps `first` to `end`, under trace; fewer if one is not finite."""
        rows = [self._random.rows]
        history = tf.TensorArray(tf.float32, end - first, element_shape=rows)

        def body(step, fine, codes, before, history):  # type: ignore[no-untyped-def]
            move, score = self._move(step, codes)
            history = history.write(step - first, score)
            fine = tf.reduce_all(tf.math.is_finite(score)) & tf.reduce_all(
                tf.math.is_finite(move)
            )
            return (
                tf.where(fine, step + 1, step),
                fine,
                tf.where(fine, codes + move, codes),
                tf.where(fine, codes, before),
                history,
            )

        step, _, codes, before, history = tf.while_loop(
            lambda step, fine, *_: (step < end) & fine,
            body,
            (first, tf.constant(True), codes, before, history),
            parallel_iterations=1,
        )
        return codes, before, history.stack(), step
