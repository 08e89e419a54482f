"""Heat maps: attributions as colors, alone or over their picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import (
    TITLE_SIZE,
    characters,
    draw_picture,
    new_figure,
    title_room,
    wrap,
)
from keras_explain.plots.color import (
    collapse_channels,
    color_table,
    colorize,
    gray,
    is_signed,
    levels,
    normalize,
    scale,
    to_displayable,
)

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


# How fast opacity fades towards zero: slower than in proportion, or a second,
# weaker cause in the picture would be missed.
_FADE = 0.8

# Longer side of a single picture in inches.
_SIZE = 4.5


def blend(
    normalized: np.ndarray,
    background: np.ndarray | float,
    *,
    signed: bool,
    opacity: float = 0.9,
    colormap: str | Colormap | None = None,
) -> np.ndarray:
    """Colors values over a gray background, more opaque where they are strong.

    Zero is fully transparent: what had no influence looks as it was.
    """
    # Transparency takes the part of the pale or black end of the color map,
    # which would lay a fog or a shadow over the picture. The darkest end of a
    # diverging map is left out too: there red and blue are hard to tell.
    start, stop = (0.5, 0.88) if signed else (0.25, 1.0)
    magnitude = np.abs(normalized)
    position = np.sign(normalized) * (start + (stop - start) * magnitude)
    if not signed:
        position = start + (stop - start) * magnitude
    colors = colorize(position, signed=signed, colormap=colormap)
    alpha = opacity * (magnitude**_FADE)[..., np.newaxis]
    return np.rint((1 - alpha) * background + alpha * colors).astype("uint8")


def heatmap(
    attribution: Any,
    image: Any = None,
    *,
    signed: bool | None = None,
    percentile: float = 99.5,
    opacity: float = 0.9,
    colormap: str | Colormap | None = None,
) -> np.ndarray:
    """Draws an attribution as a picture, alone or over its image.

    Over an image, the image is shown in gray and each color is as opaque as
    the attribution is strong: a zero leaves the gray picture as it is. Alone,
    zero is the middle color of a signed map and the first color of another.

    Args:
        attribution: Array of shape `(height, width)`, or `(height, width,
            channels)`, whose channels are added up.
        image: Image of the same height and width, on any scale that
            `to_displayable` knows, or `None`.
        signed: Whether to show signs: red for positive, blue for negative.
            `None` is `True` if any value is negative.
        percentile: Magnitudes above this percentile share the strongest color.
        opacity: Opacity of the strongest color, from 0 to 1. Only used with
            an image.
        colormap: A color map of Matplotlib or its name. `None` is a diverging
            one if signed, else a perceptually uniform one.

    Returns:
        A uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: If shapes do not fit, values are NaN or infinite, or an
            option is out of its range.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import heatmap
    >>> heatmap(np.ones((4, 6, 3)), np.zeros((4, 6, 3), "uint8")).shape
    (4, 6, 3)
    """
    if not 0 <= opacity <= 1:
        raise ValueError(
            message("`opacity` must be from 0 to 1.", f"opacity={opacity}")
        )
    if signed is None:
        # Decided before channels are added up: adding can hide a sign.
        signed = is_signed(attribution)
    values = collapse_channels(attribution)
    normalized = normalize(values, percentile=percentile, signed=signed)
    if image is None:
        return colorize(normalized, signed=signed, colormap=colormap)
    picture = to_displayable(image)
    check_same_size(values, picture)
    return blend(
        normalized,
        gray(picture),
        signed=signed,
        opacity=opacity,
        colormap=colormap,
    )


def check_same_size(values: np.ndarray, picture: np.ndarray) -> None:
    """Raises if a map and its picture differ in height or width."""
    if values.shape == picture.shape[:2]:
        return
    raise ValueError(
        message(
            "The attribution and the image differ in height or width.",
            f"attribution of {values.shape[0]} x {values.shape[1]}, image of "
            f"{picture.shape[0]} x {picture.shape[1]}",
            "Resize the attribution to the image first, or pass `image=None` "
            "to draw it alone.",
        )
    )


def plot_heatmap(
    attribution: Any,
    image: Any = None,
    *,
    title: str | None = None,
    signed: bool | None = None,
    percentile: float = 99.5,
    colormap: str | Colormap | None = None,
    colorbar: bool = True,
) -> Figure:
    """Draws one heat map as a figure with a color bar.

    The color bar shows the values as they were before scaling; over an image,
    it shows the colors as they look on a middle gray.

    Args:
        attribution: Array of shape `(height, width)` or `(height, width,
            channels)`.
        image: Image of the same height and width, or `None`.
        title: Text above the picture.
        signed: Whether to show signs. `None` is `True` if any value is
            negative.
        percentile: Magnitudes above this percentile share the strongest color.
        colormap: A color map of Matplotlib or its name.
        colorbar: Whether to draw the color bar.

    Returns:
        A `matplotlib.figure.Figure`, not known to `pyplot`. Its one axes holds
        the picture, and the color bar as a child.

    Raises:
        ValueError: As for `heatmap`.

    Example:

    >>> import numpy as np
    >>> from keras_explain.plots import plot_heatmap
    >>> figure = plot_heatmap(np.eye(5), title="cat")
    >>> picture = figure.axes[0]
    >>> picture.child_axes[0].get_ylabel()  # the color bar
    'attribution'
    """
    if signed is None:
        signed = is_signed(attribution)
    picture = heatmap(
        attribution,
        image,
        signed=signed,
        percentile=percentile,
        colormap=colormap,
    )
    # In a square, but with a short side that still shows something.
    height, width = picture.shape[:2]
    shrink = _SIZE / max(height, width)
    width, height = max(width * shrink, 1.5), max(height * shrink, 1.0)
    room = max(width, 3.0)
    figure = new_figure(
        room + (1.1 if colorbar else 0.1),
        height + title_room(title, room) + 0.1,
    )
    axes = figure.add_subplot()
    draw_picture(axes, picture)
    if title:
        axes.set_title(
            wrap(title, characters(room, TITLE_SIZE)),
            fontsize=TITLE_SIZE,
            parse_math=False,
        )
    if colorbar:
        limit = scale(collapse_channels(attribution), percentile)
        mappable = _color_scale(limit, signed, colormap, image is not None)
        # An axes of its own would be as high as the figure; this one is as
        # high as the picture turns out to be.
        bar = axes.inset_axes((1 + 0.15 / width, 0, 0.2 / width, 1))
        figure.colorbar(mappable, cax=bar, label="attribution")
    return figure


def _color_scale(
    limit: float, signed: bool, colormap: Any, blended: bool
) -> Any:
    """Returns what `Figure.colorbar` needs to show values with their colors."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    table = color_table(signed, colormap)
    if blended:
        table = blend(levels(signed), 127.5, signed=signed, colormap=colormap)
    limit = limit or 1.0
    norm = Normalize(-limit if signed else 0.0, limit)
    return ScalarMappable(norm, ListedColormap(table / 255))
