"""The optimization of masks of given areas, in one loop of the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from keras_explain.attribution.perturbation.areas import area_loss
from keras_explain.attribution.perturbation.game import Game
from keras_explain.attribution.perturbation.mask_generator import (
    MaskGenerator,
    PlainMask,
)
from keras_explain.attribution.perturbation.settings import ExtremalSettings
from keras_explain.engine import sampling

# What grids begin with: nothing is hidden, or for the dual game one half. Where
# the model sees nothing of the input, gradients are blind.
_START = {"preserve": 1.0, "delete": 0.1, "dual": 0.5}

# Numbers of a grid that the learning rate is for. Slopes are shared by all
# numbers of a grid: with fewer of them, they are steeper.
_CELLS = 32 * 32

Makers = Sequence[MaskGenerator | PlainMask | None]


class Ascent(NamedTuple):
    """What an optimization came to.

    Attributes:
        numbers: The grids after the last step, `(k, batch, *cells)` each.
        before: The grids before it.
        history: The reward before each step, `(k, batch, steps)`.
        losses: The weighted area loss before each step, likewise.
    """

    numbers: list[tf.Tensor]
    before: list[tf.Tensor]
    history: tf.Tensor
    losses: tf.Tensor


def masks_of(
    makers: Makers, numbers: Sequence[tf.Tensor]
) -> list[tf.Tensor | None]:
    """Returns the masks of grids; `None` where there is no maker."""
    remaining = iter(numbers)
    return [None if make is None else make(next(remaining)) for make in makers]


def ascend(
    game: Game,
    makers: Makers,
    areas: tf.Tensor,
    settings: ExtremalSettings,
    framed: bool = False,
) -> Ascent:
    """Optimizes a mask for each area and sample, each by itself.

    Gradient ascent with momentum; after each step the numbers of the grids
    are cut off at 0 and 1.

    Args:
        game: Says what masks are worth.
        makers: What makes a mask of a grid, for each flat tensor of the
            point.
        areas: `(k,)`.
        settings: Of the ascent.
        framed: Whether areas are measured with a frame around the picture,
            as the authors' code does.
    """
    lead = [tf.shape(areas)[0], game.function.batch]
    first = _START[game.variant]
    sizes = [make.cells for make in makers if make is not None]
    start = [tf.fill(tf.concat([lead, size], 0), first) for size in sizes]
    rates = [
        settings.learning_rate * math.prod(size) / _CELLS for size in sizes
    ]
    scale = _scale(game, makers, settings.score_span)
    ratio = settings.last_weight / settings.first_weight
    growth = ratio ** (1 / max(settings.num_steps - 1, 1))
    logs = tf.TensorArray(tf.float32, settings.num_steps)

    def body(step: tf.Tensor, state: tuple, logs: tuple) -> tuple:
        numbers, _, velocities = state
        weight = settings.first_weight * growth ** tf.cast(step, tf.float32)
        gradients, reward, loss = _descent(
            game, makers, numbers, areas, (step, weight, scale, framed)
        )
        velocities = tuple(
            tf.where(
                step == 0,
                g,
                settings.momentum * v + (1 - settings.dampening) * g,
            )
            for v, g in zip(velocities, gradients, strict=True)
        )
        new = tuple(
            tf.clip_by_value(n - rate * v, 0, 1)
            for n, v, rate in zip(numbers, velocities, rates, strict=True)
        )
        written = (logs[0].write(step, reward), logs[1].write(step, loss))
        return step + 1, (new, numbers, velocities), written

    state = (tuple(start), tuple(start), tuple(map(tf.zeros_like, start)))
    _, (numbers, before, _), logs = tf.while_loop(
        lambda step, *_: step < settings.num_steps,
        body,
        (
            tf.constant(0),
            state,
            (logs, tf.TensorArray(tf.float32, settings.num_steps)),
        ),
        parallel_iterations=1,
    )
    history, losses = (tf.transpose(log.stack(), [1, 2, 0]) for log in logs)
    return Ascent(list(numbers), list(before), history, losses)


def _scale(game: Game, makers: Makers, span: float | None) -> tf.Tensor:
    """What the reward of each sample is multiplied by, `(batch,)`."""
    if span is None:
        return tf.ones([game.function.batch])
    ends = [
        None
        if make is None
        else tf.stack(
            [
                value(tf.concat([[game.function.batch], make.sizes], 0))
                for value in (tf.ones, tf.zeros)
            ]
        )
        for make in makers
    ]
    rewards = game.rewards(ends)
    effect = tf.abs(rewards[0] - rewards[1])
    return tf.math.divide_no_nan(span, effect)


def _descent(
    game: Game,
    makers: Makers,
    numbers: Sequence[tf.Tensor],
    areas: tf.Tensor,
    now: tuple[tf.Tensor, tf.Tensor, tf.Tensor, bool],
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """The gradient of the weighted area loss minus the reward, and both.

    Args:
        game, makers, numbers, areas: As for `ascend`.
        now: The step, the weight of the area, the factor of the reward of
            each sample, and whether areas are measured with a frame.
    """
    step, weight, scale, framed = now
    masks = masks_of(makers, numbers)
    reward, upstream = game.play(masks, step)
    counted = masks
    if framed:
        remaining = iter(numbers)
        counted = [
            None if make is None else make.framed(next(remaining))
            for make in makers
        ]
    lead = tf.shape(reward)
    losses = [
        area_loss(tf.reshape(mask, tf.concat([lead, [-1]], 0)), areas)
        for mask in counted
        if mask is not None
    ]
    loss = weight * tf.add_n(losses)
    own = [mask for mask in masks if mask is not None]
    rises = [
        -g * sampling.expand(scale[tf.newaxis], g)
        for g in upstream
        if g is not None
    ]
    gradients = tf.gradients(
        [*own, loss], list(numbers), grad_ys=[*rises, tf.ones_like(loss)]
    )
    return gradients, reward, loss
