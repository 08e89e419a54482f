"""From attributions and images of any range to values and colors to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

# Red speaks for the target and blue against it, as in most of the literature;
# the pair is also told apart by readers who cannot see red and green apart.
DIVERGING = "RdBu_r"
SEQUENTIAL = "inferno"

_LEVELS = 255
_LUMINANCE = np.array([0.299, 0.587, 0.114])


def finite_array(values: Any, name: str) -> np.ndarray:
    """Returns `values` as float64, refusing what no picture can show."""
    try:
        array = np.asarray(values, dtype="float64")
    except (TypeError, ValueError) as error:
        raise TypeError(
            message(
                f"`{name}` must be one array of numbers.",
                f"{name} of type {type(values).__name__}",
                "Pass one array; for a model with several inputs, draw each "
                "of them in its own call.",
            )
        ) from error
    if array.size == 0:
        raise ValueError(
            message(
                f"`{name}` is empty, there is nothing to draw.",
                f"{name} of shape {array.shape}",
            )
        )
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            message(
                f"`{name}` has NaN or infinite values, which have no color.",
                f"{bad} such values of {array.size}",
                "Look for the step that made them; do not replace them by "
                "zeros, which would read as 'no influence'.",
            )
        )
    return array


def is_signed(attribution: Any) -> bool:
    """Returns whether any value is negative."""
    return bool(np.any(finite_array(attribution, "attribution") < 0))


def scale(attribution: np.ndarray, percentile: float = 99.5) -> float:
    """Returns the magnitude that is drawn in the strongest color."""
    if not 0 < percentile <= 100:
        raise ValueError(
            message(
                "`percentile` must be above 0 and at most 100.",
                f"percentile={percentile}",
            )
        )
    magnitude = np.abs(attribution)
    limit = float(np.percentile(magnitude, percentile))
    # A map with a few values among zeros has a percentile of zero; it must
    # still show those few values.
    return limit if limit > 0 else float(magnitude.max())


def normalize(
    attribution: Any,
    *,
    percentile: float = 99.5,
    signed: bool | None = None,
) -> np.ndarray:
    """Scales an attribution so that its values can be drawn.

    All values are divided by one number, the given percentile of their
    magnitudes, and clipped. Zero stays zero and no value changes its sign, so
    that "no influence" always gets the same color. The order of the values is
    kept below the clip.

    Args:
        attribution: Array of any shape.
        percentile: Magnitudes above this percentile are clipped, so that a few
            outliers do not hide the rest. `100` clips nothing.
        signed: `True` keeps signs, `False` takes magnitudes. `None` is `True`
            if any value is negative.

    Returns:
        A float64 array of the same shape, in `[-1, 1]` if signed, else in
        `[0, 1]`. A map of zeros stays a map of zeros.

    Raises:
        ValueError: If a value is NaN or infinite, or `percentile` is not in
            `(0, 100]`.

    Example:

    >>> from keras_explain.plots import normalize
    >>> normalize([-1.0, 0.0, 4.0], percentile=100).tolist()
    [-0.25, 0.0, 1.0]
    """
    values = finite_array(attribution, "attribution")
    if signed is None:
        signed = is_signed(values)
    if not signed:
        values = np.abs(values)
    limit = scale(values, percentile)
    if limit == 0:
        return np.zeros_like(values)
    # Clipping first: dividing an outlier by a small limit could overflow.
    return np.clip(values, -limit, limit) / limit


def collapse_channels(
    attribution: Any, spatial_ndim: int = 2, *, reduction: str = "sum"
) -> np.ndarray:
    """Makes one value per position out of one value per channel.

    Attributions add up, so their sum over the channels is the attribution to
    the position. For saliency maps (magnitudes of gradients) the strongest
    channel is the usual choice: `reduction="max_abs"`.

    Args:
        attribution: Array with `spatial_ndim` axes, or with one more that
            holds the channels, last.
        spatial_ndim: Number of axes that are positions: 1 for series, 2 for
            images, 3 for volumes.
        reduction: `"sum"`, or `"max_abs"` for the value with the largest
            magnitude, its sign kept.

    Returns:
        A float64 array with `spatial_ndim` axes.

    Raises:
        ValueError: If the number of axes does not fit, a value is NaN or
            infinite, or `reduction` is unknown.

    Example:

    >>> from keras_explain.plots import collapse_channels
    >>> collapse_channels([[[1.0, -3.0]]]).tolist()
    [[-2.0]]
    """
    values = finite_array(attribution, "attribution")
    if reduction not in ("sum", "max_abs"):
        raise ValueError(
            message(
                "`reduction` must be 'sum' or 'max_abs'.",
                f"reduction={reduction!r}",
            )
        )
    if values.ndim == spatial_ndim:
        return values
    if values.ndim != spatial_ndim + 1:
        raise ValueError(
            message(
                f"An attribution with {spatial_ndim} axes, or one more for "
                "channels, was expected.",
                f"attribution of shape {values.shape}",
                "Pass one sample, without its batch axis.",
            )
        )
    if reduction == "sum":
        return values.sum(axis=-1)
    strongest = np.abs(values).argmax(axis=-1)[..., np.newaxis]
    return np.take_along_axis(values, strongest, axis=-1)[..., 0]


def value_range(image: Any) -> tuple[float, float]:
    """Returns the values that are shown as black and as white.

    Args:
        image: One image or a batch of them, on one scale.

    Returns:
        `(0, 255)` for integers and floats that fit in it, `(0, 1)` for
        booleans and for floats in `[0, 1]`, `(-1, 1)` for floats in
        `[-1, 1]`, and the smallest and largest value of anything else.
    """
    raw = np.asarray(image)
    values = finite_array(raw, "image")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and raw.dtype.kind not in "iu":
        return 0.0, 1.0
    if low >= 0 and high <= 255:
        return 0.0, 255.0
    if low >= -1 and high <= 1 and raw.dtype.kind != "i":
        return -1.0, 1.0
    return low, high


def to_displayable(
    image: Any, *, shown_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Turns an image on any scale into an 8-bit RGB picture.

    Integers in 0..255 and floats in `[0, 255]`, `[0, 1]` and `[-1, 1]` are
    scaled from that range; any other image (standardized, or shifted by the
    means of a data set) from its own smallest value to its largest.

    Args:
        image: Array of shape `(height, width)` or `(height, width,
            channels)`. One channel is gray, three are RGB; of any other number
            the mean is shown.
        shown_range: The values shown as black and as white, if the scale is
            known. Pictures of one batch look alike if they share it.

    Returns:
        A uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: If the image has another number of axes, or NaN or infinite
            values.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import to_displayable
    >>> to_displayable(np.array([[-1.0, 1.0]]))[0, :, 0].tolist()
    [0, 255]
    """
    values = finite_array(image, "image")
    if values.ndim not in (2, 3):
        raise ValueError(
            message(
                "An image of shape (height, width) or (height, width, "
                "channels) was expected.",
                f"image of shape {values.shape}",
                "Pass one image, without its batch axis.",
            )
        )
    low, high = shown_range or value_range(image)
    # An image of one value far from any known scale has no contrast to show.
    width = (high - low) or 1.0
    shown = np.clip((values - low) / width, 0, 1) * _LEVELS
    if shown.ndim == 2:
        shown = shown[..., np.newaxis]
    if shown.shape[-1] != 3:
        shown = np.repeat(shown.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.rint(shown).astype("uint8")


def gray(picture: np.ndarray) -> np.ndarray:
    """Returns the luminance of an 8-bit RGB picture, float64, one channel."""
    return (picture @ _LUMINANCE)[..., np.newaxis]


def colorize(
    normalized: np.ndarray,
    *,
    signed: bool,
    colormap: str | Colormap | None = None,
) -> np.ndarray:
    """Gives each normalized value its color.

    Args:
        normalized: What `normalize` returned, of any shape.
        signed: Whether the values run from -1 to 1, or from 0 to 1.
        colormap: A color map of Matplotlib or its name. `None` is a diverging
            one if signed, else a perceptually uniform one.

    Returns:
        A uint8 array of the same shape with an axis of 3 appended.
    """
    lowest = -_LEVELS if signed else 0
    table = color_table(signed, colormap)
    return table[np.rint(normalized * _LEVELS).astype("int64") - lowest]


def color_table(
    signed: bool, colormap: str | Colormap | None = None
) -> np.ndarray:
    """Returns the colors of the levels from the lowest to the highest."""
    import matplotlib

    if colormap is None:
        colormap = DIVERGING if signed else SEQUENTIAL
    if isinstance(colormap, str):
        if colormap not in matplotlib.colormaps:
            raise ValueError(
                message(
                    "Matplotlib has no such color map.",
                    f"colormap={colormap!r}",
                    f"Try {DIVERGING!r} for signed maps and {SEQUENTIAL!r} "
                    "for the others.",
                )
            )
        colormap = matplotlib.colormaps[colormap]
    # An odd number of levels, because with the usual 256 of them zero would
    # fall between two colors and be tinted.
    count = 2 * _LEVELS + 1 if signed else _LEVELS + 1
    table = colormap.resampled(count)(np.arange(count), bytes=True)
    return np.asarray(table)[:, :3]


def levels(signed: bool) -> np.ndarray:
    """Returns one normalized value per color, from the lowest up."""
    lowest = -_LEVELS if signed else 0
    return np.arange(lowest, _LEVELS + 1) / _LEVELS


def colorize_on_white(
    normalized: np.ndarray,
    *,
    signed: bool,
    colormap: str | Colormap | None = None,
) -> np.ndarray:
    """As `colorize`, for backgrounds of text and lines: zero is light.

    Without a color map of the caller's, unsigned values get the red half of
    the diverging map: black lettering could not be read on the dark end of a
    sequential one, where most values are.
    """
    return colorize(
        normalized, signed=signed or colormap is None, colormap=colormap
    )
