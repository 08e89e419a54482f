"""Pictures of a class, sampled in the space of a layer's codes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.class_target import as_target
from keras_explain.engine.each_target import Each
from keras_explain.engine.errors import message
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.synthesis.learned_inverter import LearnedInverter
from keras_explain.synthesis.looking import outputs_of
from keras_explain.synthesis.objective import ModelObjective
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.result import Synthesis


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

    Returns:
        A `Synthesis`.

    Raises:
        ValueError: If there are not as many pictures to start from as
            targets.

    Example:

    >>> from keras_explain.synthesis import LearnedInverter, sample_codes
    >>> inverter = LearnedInverter(model, "conv1", value_range=(-10, 10))
    >>> sample_codes(inverter, [3, 5], steps=2).images.shape
    (2, 8, 8, 3)

    References:
        Nguyen et al., 2017. Plug & Play Generative Networks.
        https://arxiv.org/abs/1612.00005
    """
    forces = forces or Forces()
    several = isinstance(target, (list, tuple, np.ndarray))
    targets = [_log(one) for one in (target if several else [target])]
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

    def climb(codes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return _climb(inverter, objective, codes, random, steps=steps,
                      step_size=step_size, forces=forces)  # fmt: skip

    with TRACE_LOCK, tf.init_scope():
        function = tf.function(climb, autograph=False)
        concrete = function.get_concrete_function(
            tf.TensorSpec(codes.shape, tf.float32)
        )
    found, images, score, history = concrete(codes)
    return Synthesis(
        images=np.asarray(inverter.value_range.values(images), np.float32),
        score=score.numpy(),
        history={"score": history.numpy()},
        frames={},
        steps=steps,
        stopped="finished",
        titles=[str(one) for one in (target if several else [target])],
        settings={"forces": repr(forces), "steps": steps, "seed": seed,
                  "step_size": step_size},
        value_range=(inverter.value_range.low, inverter.value_range.high),
        state={"codes": found.numpy()},
    )  # fmt: skip


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
    if len(pictures) != random.rows:
        raise ValueError(
            message(
                "Each row starts from a picture of its own.",
                f"{len(pictures)} pictures for {random.rows} targets",
                "Pass as many pictures as targets, or none.",
            )
        )
    return tf.constant(inverter.features(pictures))


def _climb(inverter, objective, codes, random, *, steps, step_size, forces):  # type: ignore[no-untyped-def]
    axes = list(range(1, codes.shape.rank))

    def made(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = inverter.decoder(codes, training=False)
        return images, objective.score(images)

    def body(step, codes, history):  # type: ignore[no-untyped-def]
        codes = tf.identity(codes)
        images, score = made(codes)
        (upward,) = tf.gradients(tf.reduce_sum(score), [codes])
        (usual,) = outputs_of(
            inverter.model, [inverter.call], inverter.value_range,
            inverter.value_range.values(images),
        )  # fmt: skip
        draws = random.at(step + 1)
        move = (
            forces.prior * (usual - codes)
            + forces.condition * upward
            + draws.normal(codes.shape[1:], forces.noise)
        )
        size = tf.reduce_mean(tf.abs(move), axes, keepdims=True)
        codes += step_size * tf.math.divide_no_nan(move, size)
        return step + 1, codes, history.write(step, score)

    history = tf.TensorArray(tf.float32, steps, element_shape=[random.rows])
    _, codes, history = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), codes, history),
        parallel_iterations=1,
    )
    images, score = made(codes)
    return codes, images, score, history.stack()
