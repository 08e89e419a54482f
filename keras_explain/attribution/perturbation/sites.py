"""Where masks are laid: the inputs, or the channels of an activation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_explain.attribution.perturbation.game import Game, Masks
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.score import Evaluation, ScoreFunction


@dataclasses.dataclass(frozen=True)
class Site:
    """A tensor with a mask of its own.

    Attributes:
        values: `(batch, ...)`.
        kind: `"positions"`, where all channels of a position share a value
            of the mask; `"features"` of a table, each with its own; or
            `"channels"`, where all positions share one.
    """

    values: tf.Tensor
    kind: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the mask of one sample."""
        shape = tuple(self.values.shape[1:].as_list())
        if self.kind == "channels":
            shape = shape[-1:]
        elif self.kind == "positions":
            shape = shape[:-1]
        if None in shape:
            raise ValueError(
                message(
                    "The form of a mask depends on the size of the inputs.",
                    f"inputs of shape {self.values.shape}",
                    "Set it: `tf.ensure_shape(inputs, (None, 224, 224, 3))`.",
                )
            )
        return shape

    def laid(self, masks: tf.Tensor) -> tf.Tensor:
        """Returns masks `(..., *sizes)` with axes for all of the values."""
        if self.kind == "positions":
            return masks[..., tf.newaxis]
        if self.kind == "channels":
            rank = masks.shape.rank
            shape = tf.shape(masks)
            ones = [1] * (self.values.shape.rank - 2)
            spread = tf.concat([shape[:-1], ones, shape[-1:]], 0)
            found = tf.reshape(masks, spread)
            found.set_shape([None] * (rank - 1 + len(ones)) + [masks.shape[-1]])
            return found
        return masks

    def whole(self, masks: tf.Tensor) -> tf.Tensor:
        """Returns masks `(batch, *sizes)` in the shape of the values."""
        spread = tf.broadcast_to(self.laid(masks), tf.shape(self.values))
        return tf.ensure_shape(spread, self.values.shape)


def sites_of(function: ScoreFunction, at: Evaluation) -> list[Site | None]:
    """Returns the sites of the flat point; `None` for what holds integers."""
    found: list[Site | None] = []
    for x in tf.nest.flatten(at.point):
        if not x.dtype.is_floating:
            found.append(None)
            continue
        if function.call is not None:
            kind = "channels"
        else:
            kind = "positions" if x.shape.rank > 2 else "features"
        found.append(Site(tf.cast(x, tf.float32), kind))
    if all(site is None for site in found):
        # Says which layer to take.
        function.differentiate()
    return found


def findings(
    game: Game,
    sites: Sequence[Site | None],
    important: Masks,
    rest: dict[str, tf.Tensor],
    single: bool = False,
) -> Attribution:
    """Puts what was found into the form of an attribution.

    Args:
        game: That was played.
        sites: Of the flat point.
        important: Masks `(k, batch, *sizes)`, 1 = important.
        rest: Further details, `(k, batch, ...)`.
        single: Whether details are without the axis of `k`, which is 1.
    """
    at, in_layer = game.at, game.function.call is not None
    point = tf.nest.flatten(at.point)
    shown = game.kept(important)[0]

    def form(tensor: tf.Tensor) -> tf.Tensor:
        if single:
            return tensor[0]
        order = [1, 0, *range(2, tensor.shape.rank)]
        return tf.transpose(tensor, order)

    values, masks = [], []
    for x, site, mine, mask in zip(point, sites, important, shown,
                                   strict=True):  # fmt: skip
        if site is None or mine is None or mask is None:
            values.append(tf.zeros(tf.shape(x)))
            masks.append(tf.ones(tf.shape(x)))
        else:
            values.append(site.whole(tf.reduce_mean(mine, 0)))
            masks.append(form(mask))
    found = {name: form(value) for name, value in rest.items()}
    name = "channels" if in_layer else "masks"
    found[name] = tf.nest.pack_sequence_as(at.point, masks)
    if in_layer:
        found.update(_before_and_after(at.point, sites, shown))
    packed = tf.nest.pack_sequence_as(at.point, values)
    return Attribution(packed, at, details=found)


def _before_and_after(
    point: Any, sites: Sequence[Site | None], shown: Masks
) -> dict[str, Any]:
    """An activation, and its means over channels without and with masks."""
    before, after = [], []
    for x, site, mask in zip(tf.nest.flatten(point), sites, shown,
                             strict=True):  # fmt: skip
        x = tf.cast(x, tf.float32)
        before.append(tf.reduce_mean(x, -1))
        if site is not None and mask is not None:
            x = x * site.laid(tf.reduce_mean(mask, 0))
        after.append(tf.reduce_mean(x, -1))
    maps = {
        "activation": tf.nest.flatten(point),
        "before": before,
        "after": after,
        "diff": [b - a for a, b in zip(before, after, strict=True)],
    }
    return {
        name: tf.nest.pack_sequence_as(point, flat)
        for name, flat in maps.items()
    }


class LearnedMask(Explainer):
    """A mask that is optimized for each sample."""

    signed = False
    each_size = True  # the form of a mask depends on it
    # A dataclass of what is rarely changed.
    settings: Any

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "settings": dataclasses.asdict(self.settings),
        }
