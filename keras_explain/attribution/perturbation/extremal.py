"""Masks of a given area that keep a score highest, or bring it lowest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_explain.attribution.perturbation.areas import (
    checked_areas,
    with_area,
)
from keras_explain.attribution.perturbation.ascent import ascend, masks_of
from keras_explain.attribution.perturbation.game import (
    Game,
    Masks,
    Perturb,
    can_turn,
    in_chunks,
)
from keras_explain.attribution.perturbation.mask_generator import (
    MaskGenerator,
    PlainMask,
)
from keras_explain.attribution.perturbation.pyramids import (
    between,
    blur_pyramid,
)
from keras_explain.attribution.perturbation.rewards import NAMES as REWARDS
from keras_explain.attribution.perturbation.rewards import rewarded
from keras_explain.attribution.perturbation.settings import (
    ExtremalSettings,
    settings_from,
)
from keras_explain.attribution.perturbation.sites import (
    LearnedMask,
    Site,
    findings,
    sites_of,
)
from keras_explain.engine.catalogue import register
from keras_explain.engine.checks import check_choice
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.score import ScoreFunction

VARIANTS = ("preserve", "delete", "dual")
PERTURBATIONS = ("blur", "fade")


@register(
    "extremal_perturbation",
    family="perturbation",
    title="Extremal Perturbation",
    paper="Fong et al., 2019",
    cost="num_steps gradients for each area",
)
class ExtremalPerturbation(LearnedMask):
    """The part of a given area that alone keeps the score highest.

    Use it to ask which tenth of a picture is enough for the class, or which
    tenth is needed for it: the area is fixed, so that no weight has to be
    found between a small mask and a high score. Costs `num_steps` gradients
    for each area, twice that for the dual game; all areas of a batch are
    optimized together.

        max_m  reward(m) - lambda_t ||sort(m) - r_a||^2 / N

    over masks `m` that are smooth maxima of a coarse grid of numbers in
    [0, 1]. `r_a` is a sorted mask of the area `a`: zeros, then ones. The
    reward is the score of the part to preserve; minus the score of the rest
    to delete; both for dual. `lambda_t` grows from step to step. What a mask
    hides is blurred, or fades to zero. Pictures are turned left to right at
    every other step if the target is a class without a place.

    Rows of a table have a number for each feature, and fade. With `layer`,
    the mask is over the channels of its output, which fade; all positions
    share it. For an embedding these are the dimensions of the vectors.
    Inputs of a model with several have a mask each, of the same area.

    Differs from the paper and the authors' code: the area is that of the
    picture, not of a frame around it. Around grids and blurred pictures the
    edges repeat, so that masks have no reason to lie at the borders. The
    reward is scaled to 10 between nothing and everything hidden, and
    `lambda_t` grows from 30 to 5,000 for any number of steps, so that the
    score and not the area decides where a mask begins (theirs: 300, 0.35 %
    a step, any score). Grids start where the model sees the input: ones to
    preserve, 0.1 to delete, 0.5 for dual (theirs: ones). The masks are those
    after the last step, and then brought to their area: `logit(m) + s`, with
    the `s` that gives the mean `a` within 1e-4 (the closest such mask in
    Kullback-Leibler divergence). That costs score where an optimized mask is
    larger than asked for; `details["history"]` has the scores before. Lengths
    are shares of each axis, and the published ones at 224 pixels.

    The score is that of the target: the logit by default, as in the paper.

    Args:
        model, layer: See `Explainer`. The inputs need a known size.
        areas: Shares of the positions (or features, or channels), between 0
            and 1.
        variant: `"preserve"`, `"delete"` or `"dual"`.
        perturbation: `"blur"` or `"fade"`, of pictures, series and volumes.
        reward: `"simple"` for the score, `"contrastive"` for how far it is
            above that of the best other class.
        settings: An `ExtremalSettings` or a dict of its values: the number
            of steps, and what is rarely changed.

    Output shape:
        As the inputs; with `layer`, as its output. The mean over the areas
        of what is kept (to preserve, dual) or hidden (to delete), in [0, 1]:
        large is important, the same for all channels of a position (for all
        positions of a channel with `layer`). The authors sum over areas.

        `explain(...).details` has `"masks"`, `(batch, areas, *positions)`,
        1 = kept: their mean is the area, or one minus the area to delete;
        `"reward"`, `(batch, areas)`, of the masks that are returned; and
        `"history"`, `(batch, areas, steps)`, the reward before each step.
        With `layer` the masks are `"channels"`, `(batch, areas, channels)`,
        and there are `"activation"`, the output of the layer, and
        `"before"`, `"after"` and `"diff"`, `(batch, *positions)`: its mean
        over channels as it is and under the mean mask, and the second minus the
        first. `explain(...).plot_change()` draws them.

    Raises:
        ValueError: If an area is not between 0 and 1, there is no such
            variant, perturbation or reward, a setting is out of its range,
            the inputs hold integers and no `layer` is given, or the size of
            the inputs is not known.

    Example:

    >>> explainer = keras_explain.ExtremalPerturbation(
    ...     model, areas=(0.1, 0.2), settings={"num_steps": 5})
    >>> found = explainer.explain(images)
    >>> found.attributions.shape, found.details["masks"].shape
    ((2, 8, 8, 3), (2, 2, 8, 8))

    References:
        Fong, Patrick, Vedaldi, 2019. Understanding Deep Networks via
        Extremal Perturbations and Smooth Masks.
        https://arxiv.org/abs/1910.08485
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        areas: Sequence[float] = (0.1,),
        variant: str = "preserve",
        perturbation: str = "blur",
        reward: str = "simple",
        layer: Any = None,
        settings: ExtremalSettings | Mapping[str, Any] | None = None,
    ):
        super().__init__(model, layer=layer)
        self.areas = checked_areas(areas)
        check_choice("variant", variant, VARIANTS)
        check_choice("perturbation", perturbation, PERTURBATIONS)
        check_choice("reward", reward, REWARDS)
        self.variant = variant
        self.perturbation = perturbation
        self.reward = reward
        self.settings = settings_from(ExtremalSettings, settings)
        self.batch_size = self.settings.batch_size

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        function = rewarded(function.settled(at.indices), self.reward)
        sites = sites_of(function, at)
        turn = self.settings.jitter and can_turn(function)
        perturb = self._perturb(sites)
        game = Game(function, at, self.variant, perturb, turn)
        makers = [None if s is None else self._maker(s) for s in sites]
        areas = tf.constant(self.areas, tf.float64)

        def climb(ids: tf.Tensor) -> list[tf.Tensor]:
            wanted = tf.gather(areas, ids)
            found = ascend(game, makers, wanted, self.settings)
            masks = [
                None if m is None else _calibrated(m, wanted)
                for m in masks_of(makers, found.numbers)
            ]
            kept = [m for m in masks if m is not None]
            return [*kept, found.history, game.rewards(masks)]

        sides = 2 if self.variant == "dual" else 1
        *masks, history, reward = in_chunks(
            climb,
            len(self.areas),
            self.batch_size // sides,
            function.batch,
            sum(site is not None for site in sites) + 2,
        )
        remaining = iter(masks)
        important = [None if s is None else next(remaining) for s in sites]
        rest = {"history": history, "reward": reward}
        return findings(game, sites, important, rest)

    def _maker(self, site: Site) -> MaskGenerator | PlainMask:
        if site.kind != "positions":
            return PlainMask(site.sizes)
        return MaskGenerator.of_shares(
            site.sizes, self.settings.step, self.settings.sigma
        )

    def _perturb(self, sites: Sequence[Site | None]) -> Perturb:
        """What masks do to the point, with pyramids made once."""
        settings = self.settings
        pyramids = []
        for site in sites:
            pyramid = None
            blurs = self.perturbation == "blur"
            if site is not None and site.kind == "positions" and blurs:
                pyramid = blur_pyramid(
                    site.values,
                    settings.num_levels,
                    [settings.max_blur * size for size in site.sizes],
                )
            pyramids.append(pyramid)

        def perturb(masks: Masks, step: Any) -> list[tf.Tensor | None]:
            seen: list[tf.Tensor | None] = []
            for site, pyramid, mask in zip(sites, pyramids, masks, strict=True):
                if site is None or mask is None:
                    seen.append(None)
                elif pyramid is None:
                    seen.append(site.laid(mask) * site.values)
                else:
                    seen.append(between(pyramid, mask))
            return seen

        return perturb


def _calibrated(masks: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(masks)
    flat = tf.reshape(masks, [shape[0], shape[1], -1])
    found = tf.reshape(with_area(flat, areas), shape)
    return tf.ensure_shape(found, masks.shape)
