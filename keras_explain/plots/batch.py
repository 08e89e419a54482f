"""A batch of attributions with its inputs, checked, and what shape it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.color import (
    collapse_channels,
    finite_array,
    is_signed,
    normalize,
)

# More channels than these make no readable lines: such an array is a picture.
_MOST_LINES = 8


@dataclass(frozen=True)
class Samples:
    """What is drawn, checked, with the batch cut to what is shown."""

    inputs: np.ndarray | None
    attributions: np.ndarray
    titles: list[str | None]
    signed: bool
    percentile: float

    def tokens(self) -> np.ndarray:
        """Returns the inputs, of which tokens cannot do without."""
        if self.inputs is None:
            raise ValueError("Tokens can only be drawn with inputs.")
        return self.inputs

    def normalized(self, index: int, spatial_ndim: int) -> np.ndarray:
        """Returns a sample's attribution without channels, ready to color."""
        values = collapse_channels(self.attributions[index], spatial_ndim)
        return normalize(values, percentile=self.percentile, signed=self.signed)


def check(
    inputs: Any,
    attributions: Any,
    *,
    titles: Sequence[str] | None,
    max_outputs: int,
    signed: bool | None,
    percentile: float,
) -> Samples:
    """Returns the samples to draw, or raises if they do not fit together."""
    scores = finite_array(attributions, "attributions")
    if isinstance(titles, str):
        raise TypeError(
            message(
                "`titles` must be a list of texts, one per sample.",
                f"the text {titles!r}",
                f"Pass [{titles!r}].",
            )
        )
    if max_outputs < 1:
        raise ValueError(
            message(
                "`max_outputs` must be at least 1.",
                f"max_outputs={max_outputs}",
            )
        )
    given = None if inputs is None else _as_array(inputs)
    counts = {"attributions": scores.shape[:1]}
    if given is not None:
        counts["inputs"] = given.shape[:1]
    if titles is not None:
        counts["titles"] = (len(titles),)
    _check_counts(counts, scores.shape)
    names: list[str | None] = [None] * len(scores)
    if titles is not None:
        names = list(titles)
    return Samples(
        inputs=None if given is None else given[:max_outputs],
        attributions=scores[:max_outputs],
        titles=names[:max_outputs],
        # For the whole batch, or colors would mean other things in samples
        # that happen to have no negative value.
        signed=is_signed(scores) if signed is None else signed,
        percentile=percentile,
    )


def _check_counts(
    counts: dict[str, tuple[int, ...]], shape: tuple[int, ...]
) -> None:
    if len(set(counts.values())) == 1 and len(shape) >= 2:
        return
    sizes = ", ".join(
        f"{name} for {size[0] if size else 'no batch'}"
        for name, size in counts.items()
    )
    raise ValueError(
        message(
            "Inputs, attributions and titles need one entry per sample.",
            f"{sizes} (attributions of shape {shape})",
            "A single sample needs a batch axis too: `image[None]`.",
        )
    )


def _as_array(inputs: Any) -> np.ndarray:
    """Returns numbers or texts as they came: types tell 0..255 from 0..1."""
    if _is_text(inputs):
        return np.asarray(inputs)
    # Of the rest, what is no array of numbers is refused here, for instance a
    # dictionary of inputs, or a list of arrays of different shapes.
    finite_array(inputs, "inputs")
    return np.asarray(inputs)


def _is_text(values: Any) -> bool:
    try:
        array = np.asarray(values)
    except ValueError:
        return False
    # Strings that went through TensorFlow come back as objects.
    return array.dtype.kind in "SU" or (
        array.dtype.kind == "O"
        and array.size > 0
        and isinstance(array.flat[0], (str, bytes))
    )


def kind(samples: Samples) -> str:
    """Returns which figure fits, as `plot_attributions` documents it."""
    inputs, scores = samples.inputs, samples.attributions
    shape = scores.shape if inputs is None else inputs.shape
    rank = len(shape)
    # A map may lack the channels of its inputs; tokens may gain features.
    if rank == 2 and inputs is not None and scores.shape[:2] == shape:
        if scores.ndim == 3 or (scores.ndim == 2 and _is_text(inputs)):
            return "tokens"
    if scores.ndim == rank == 2:
        return "table"
    if rank == 3 and scores.ndim in (2, 3) and scores.shape[1] == shape[1]:
        few = shape[-1] <= min(_MOST_LINES, shape[1] - 1)
        return "series" if few else "pictures"
    if rank == 4 and scores.ndim in (3, 4):
        return "pictures"
    if rank == 5 and scores.ndim in (4, 5):
        return "slices"
    received = f"attributions of shape {scores.shape}"
    if inputs is not None:
        received = f"inputs of shape {shape}, " + received
    raise ValueError(
        message(
            "No figure fits these shapes.",
            received,
            "Pass attributions of the shape of the inputs, or without their "
            "channels; or `inputs=None` to draw the attributions alone.",
        )
    )
