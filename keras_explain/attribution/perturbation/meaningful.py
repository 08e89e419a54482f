"""Masks that are small and smooth, and take a score away or keep it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.perturbation.coarse_masks import (
    DISCS,
    Upsampled,
    adam,
    total_variation,
)
from keras_explain.attribution.perturbation.game import (
    Game,
    Masks,
    Perturb,
    in_chunks,
)
from keras_explain.attribution.perturbation.pyramids import (
    blurred,
)
from keras_explain.attribution.perturbation.settings import (
    MeaningfulSettings,
    settings_from,
)
from keras_explain.attribution.perturbation.sites import (
    LearnedMask,
    Site,
    findings,
    sites_of,
)
from keras_explain.engine import sampling
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_choice
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.score import ScoreFunction

VARIANTS = ("delete", "preserve")
PERTURBATIONS = ("blur", "constant", "noise")
# Of the effect of hiding everything, what the first disc has to have.
_ENOUGH = 0.99


@register(
    "meaningful_perturbation",
    family="perturbation",
    title="Meaningful Perturbation",
    paper="Fong & Vedaldi, 2017",
    cost="num_steps gradients",
)
class MeaningfulPerturbation(LearnedMask):
    """The smallest smooth part without which the score is lost.

    Use it to see what a class depends on where the size of that part is not
    known; `ExtremalPerturbation` asks for a size. Costs `num_steps`
    gradients. To delete, with the mask `m`, 1 = kept,

        min_m  l1 sum(1 - m) + tv sum |grad m|^3 + f(Phi(x; m)) / |f_0|
        Phi(x; m) = m x + (1 - m) null

    and to preserve, `l1 sum(m)` and minus the score. The null is the blurred
    input, the mean of each channel, or noise of this mean, drawn anew at each
    step. The mask is 28 numbers an axis, upsampled and smoothed; Adam moves
    them. The input is shifted a little at each step, under the mask.

    Follows the authors' code, not later ports: its weights and its start, the
    smallest disc in the middle that has 99 % of the effect of hiding (or
    keeping) all. Lengths are shares of each axis, and the published ones at
    224 pixels. Rows of a table have a number for each feature and no
    total variation, start at one half, and hide zeros (or noise around
    them). With `layer`, the same holds for the channels of its output, which
    all positions share. Inputs of a model with several have a mask each.

    Differs from the paper: the score is divided by `|f_0|`, what hiding all
    changes it by, so that the weights suit any score. The paper takes the
    probability, `target=Class(index, of="probability")`.

    Args:
        model, layer: See `Explainer`. The inputs need a known size.
        variant: `"delete"` or `"preserve"`.
        perturbation: `"blur"`, `"constant"` or `"noise"`.
        seed: Integer, of the shifts and the noise.
        settings: A `MeaningfulSettings` or a dict of its values: the number
            of steps, and what is rarely changed.

    Output shape:
        As the inputs; with `layer`, as its output. What is hidden to delete,
        `1 - m`, or kept to preserve, `m`, in [0, 1]: large is important,
        the same for all channels of a position (for all positions of a
        channel with `layer`).

        `explain(...).details` has `"masks"`, `(batch, *positions)`, 1 = kept;
        `"reward"`, `(batch,)`, the score (to delete, minus the score) under
        the mask; and `"history"`, `(batch, steps)`, the reward before each
        step. With `layer` the masks are `"channels"`, `(batch, channels)`,
        and there are `"activation"`, the output of the layer, and
        `"before"`, `"after"` and `"diff"`, `(batch, *positions)`: its mean
        over channels as it is and under the mask, and the second minus the
        first. `explain(...).plot_change()` draws them.

    Raises:
        ValueError: If there is no such variant or perturbation, a setting is
            out of its range, the inputs hold integers and no `layer` is given,
            or the size of the inputs is not known.

    Example:

    >>> explainer = keras_explain.MeaningfulPerturbation(
    ...     model, settings={"num_steps": 5})
    >>> found = explainer.explain(images)
    >>> found.attributions.shape, found.details["masks"].shape
    ((2, 8, 8, 3), (2, 8, 8))

    References:
        Fong, Vedaldi, 2017. Interpretable Explanations of Black Boxes by
        Meaningful Perturbation. https://arxiv.org/abs/1704.03296
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        variant: str = "delete",
        perturbation: str = "blur",
        seed: int = 0,
        layer: Any = None,
        settings: MeaningfulSettings | Mapping[str, Any] | None = None,
    ):
        super().__init__(model, layer=layer)
        check_choice("variant", variant, VARIANTS)
        check_choice("perturbation", perturbation, PERTURBATIONS)
        self.variant = variant
        self.perturbation = perturbation
        self.seed = seed
        self.settings = settings_from(MeaningfulSettings, settings)
        self.batch_size = self.settings.batch_size

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        function = function.settled(at.indices)
        sites = sites_of(function, at)
        steady = self._perturb(sites, shifts=False)
        game = Game(function, at, self.variant, steady)
        makers = [None if s is None else Upsampled(s, self.settings)
                  for s in sites]  # fmt: skip
        start, effect = self._start(game, makers)
        moving = dataclasses.replace(game, perturb=self._perturb(sites))
        numbers, history = self._descend(moving, makers, start, effect)
        important = _masks(makers, numbers)
        reward = game.rewards(important, self.settings.num_steps)
        rest = {"reward": reward, "history": history[tf.newaxis]}
        return findings(game, sites, important, rest, single=True)

    def _start(
        self, game: Game, makers: Sequence[Upsampled | None]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the first grids, and the effect of hiding everything.

        Grids are `(1, batch, *cells)`, the effect is `(batch,)`.
        """
        discs = [None if make is None else make.discs() for make in makers]

        def rewards(ids: tf.Tensor) -> list[tf.Tensor]:
            masks = []
            for make, disc in zip(makers, discs, strict=True):
                if make is None or disc is None:
                    masks.append(None)
                    continue
                grids = tf.gather(disc, ids)[:, tf.newaxis]
                masks.append(make(_for_all(grids, game.function.batch)))
            return [game.rewards(masks, -1)]

        (found,) = in_chunks(
            rewards, DISCS, self.batch_size, game.function.batch, 1
        )
        effect = found[-1] - found[0]
        share = tf.math.divide_no_nan(found - found[0], effect)
        enough = tf.concat([share[:-1] >= _ENOUGH, share[-1:] == share[-1:]], 0)
        first = tf.argmax(tf.cast(enough, tf.int32), 0)
        start = [
            tf.gather(disc, first)[tf.newaxis]
            if make.site.kind == "positions"
            else tf.fill(tf.shape(tf.gather(disc, first)[tf.newaxis]), 0.5)
            for make, disc in zip(makers, discs, strict=True)
            if make is not None and disc is not None
        ]
        return start, tf.abs(effect)

    def _descend(
        self,
        game: Game,
        makers: Sequence[Upsampled | None],
        start: list[tf.Tensor],
        effect: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the grids after all steps, and the rewards before each."""
        per_effect = tf.math.divide_no_nan(1.0, effect)

        def body(step: tf.Tensor, state: tuple, log: tf.TensorArray) -> tuple:
            numbers, moments = state
            masks = _masks(makers, numbers)
            reward, upstream = game.play(masks, step)
            own = [mask for mask in masks if mask is not None]
            falls = [
                -g * sampling.expand(per_effect[tf.newaxis], g)
                for g in upstream
                if g is not None
            ]
            penalty = self._penalty(makers, numbers)
            gradients = tf.gradients(
                [*own, penalty], list(numbers), grad_ys=[*falls, 1.0]
            )
            numbers, moments = adam(
                numbers, gradients, moments, step, self.settings.learning_rate
            )
            numbers = tuple(tf.clip_by_value(n, 0, 1) for n in numbers)
            return step + 1, (numbers, moments), log.write(step, reward[0])

        zeros = tuple((tf.zeros_like(n), tf.zeros_like(n)) for n in start)
        _, (numbers, _), log = tf.while_loop(
            lambda step, *_: step < self.settings.num_steps,
            body,
            (
                tf.constant(0),
                (tuple(start), zeros),
                tf.TensorArray(tf.float32, self.settings.num_steps),
            ),
            parallel_iterations=1,
        )
        return list(numbers), tf.transpose(log.stack())

    def _penalty(
        self, makers: Sequence[Upsampled | None], numbers: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """Of the sizes and the total variations, summed over samples."""
        total = tf.zeros([])
        made = [make for make in makers if make is not None]
        for make, grid in zip(made, numbers, strict=True):
            total += self.settings.l1_weight * tf.reduce_sum(grid)
            if make.site.kind == "positions":
                variation = total_variation(grid, self.settings.tv_power)
                total += self.settings.tv_weight * tf.reduce_sum(variation)
        return total

    def _perturb(
        self, sites: Sequence[Site | None], shifts: bool = True
    ) -> Perturb:
        """What masks do to the point, with what hides made once."""
        nulls = [None if site is None else self._null(site) for site in sites]

        def perturb(masks: Masks, step: Any) -> list[tf.Tensor | None]:
            seen: list[tf.Tensor | None] = []
            for stream, (site, null, mask) in enumerate(
                zip(sites, nulls, masks, strict=True)
            ):
                if site is None or null is None or mask is None:
                    seen.append(None)
                    continue
                key = (self.seed, step, stream)
                x, hidden = site.values, null[0]
                if shifts and site.kind == "positions":
                    x, hidden = self._shifted(site, (x, hidden), key)
                if self.perturbation == "noise":
                    noise = _normal(x, key)
                    hidden += self.settings.noise_stddev * null[1] * noise
                kept = site.laid(mask)
                seen.append(hidden + kept * (x - hidden))
            return seen

        return perturb

    def _null(self, site: Site) -> tuple[tf.Tensor, tf.Tensor]:
        """What takes the place of hidden parts, and its deviation."""
        x = site.values
        if site.kind != "positions":
            axes = list(range(1, x.shape.rank))
            square = tf.reduce_mean(tf.square(x), axes, keepdims=True)
            return tf.zeros_like(x), tf.sqrt(square)
        if self.perturbation == "blur":
            blur = [self.settings.blur * size for size in site.sizes]
            return blurred(x, blur), tf.zeros_like(x)
        axes = list(range(1, x.shape.rank - 1))
        mean = tf.reduce_mean(x, axes, keepdims=True)
        spread = tf.math.reduce_std(x, axes, keepdims=True)
        return tf.broadcast_to(mean, tf.shape(x)), spread

    def _shifted(
        self,
        site: Site,
        tensors: Sequence[tf.Tensor],
        key: tuple[int, Any, int],
    ) -> Sequence[tf.Tensor]:
        """Shifts tensors together by a few positions; edges repeat."""
        for axis, size in enumerate(site.sizes, start=1):
            most = round(self.settings.jitter * size)
            if not most:
                continue
            by = tf.random.stateless_uniform(
                [], _seed(key, axis), -most, most + 1, tf.int32
            )
            places = tf.clip_by_value(tf.range(size) - by, 0, size - 1)
            tensors = [tf.gather(t, places, axis=axis) for t in tensors]
        return tensors


def _masks(
    makers: Sequence[Upsampled | None], numbers: Sequence[tf.Tensor]
) -> list[tf.Tensor | None]:
    remaining = iter(numbers)
    return [None if make is None else make(next(remaining)) for make in makers]


def _for_all(grids: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    return tf.repeat(grids, batch, axis=1)


def _seed(key: tuple[int, Any, int], axis: int) -> tf.Tensor:
    """The seed of a step, an input and an axis (0 for its noise)."""
    seed, step, stream = key
    first = (seed * 1000003 + stream * 101 + axis) % (2**31 - 1)
    return tf.stack([tf.constant(first), tf.cast(step, tf.int32)])


def _normal(x: tf.Tensor, key: tuple[int, Any, int]) -> tf.Tensor:
    """Noise that all samples share, of the shape of one."""
    return tf.random.stateless_normal(x.shape[1:].as_list(), _seed(key, 0))
