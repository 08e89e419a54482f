"""Attributions to the tokens of a text, as colors behind them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.plots.canvas import draw_title, new_figure, title_room
from keras_explain.plots.color import (
    collapse_channels,
    colorize_on_white,
    gray,
    is_signed,
    normalize,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, FigureBase

_FONT_SIZE = 10
# DejaVu Sans Mono, which Matplotlib brings along, is 0.602 of its size wide.
_CHARACTER = 0.602 * _FONT_SIZE / 72
_LINE_HEIGHT = 0.27
_LINE_WIDTH = 80
_MARGIN = 0.3
_VISIBLE = str.maketrans({"\n": "↵", "\r": "↵", "\t": "→"})

WIDTH = _LINE_WIDTH * _CHARACTER + _MARGIN


def sequence(
    tokens: Sequence[Any],
    attribution: Any,
    *,
    title: str | None = None,
    line_width: int = _LINE_WIDTH,
    signed: bool | None = None,
    percentile: float = 99.5,
    colormap: str | Colormap | None = None,
) -> Figure:
    """Writes tokens with a background as strong as their attribution.

    Args:
        tokens: The tokens in their order: texts, or anything `str` can write.
        attribution: Array of shape `(tokens,)`, or `(tokens, features)` (for
            instance to an embedding), whose features are added up.
        title: Text above the tokens.
        line_width: Number of characters after which a new line begins.
        signed: Whether to show signs: red for positive, blue for negative.
            `None` is `True` if any value is negative.
        percentile: Magnitudes above this percentile share the strongest color.
        colormap: A color map of Matplotlib or its name.

    Returns:
        A `matplotlib.figure.Figure`, with one axes.

    Raises:
        ValueError: If the numbers of tokens and attributions differ, or values
            are NaN or infinite.

    Example:

    >>> from keras_explain.plots import sequence
    >>> figure = sequence(["not", "bad"], [-1.0, 0.5], title="positive")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['not', 'bad']
    """
    if line_width < 10:
        raise ValueError(
            message(
                "`line_width` must be at least 10 characters.",
                f"line_width={line_width}",
            )
        )
    if signed is None:
        signed = is_signed(attribution)
    values = collapse_channels(attribution, 1)
    words = readable(tokens, line_width)
    check_length(len(words), values)
    width = line_width * _CHARACTER + _MARGIN
    figure = new_figure(
        width, block_height(words, line_width) + title_room(title, width)
    )
    normalized = normalize(values, percentile=percentile, signed=signed)
    colors = colorize_on_white(normalized, signed=signed, colormap=colormap)
    draw_tokens(figure, words, colors, title=title, line_width=line_width)
    return figure


def check_length(count: int, values: np.ndarray) -> None:
    """Raises unless there is one value per token."""
    if count != len(values):
        raise ValueError(
            message(
                "There must be one attribution per token.",
                f"{count} tokens and an attribution of shape {values.shape}",
                "Cut padding off both, or off neither.",
            )
        )


def block_height(words: Sequence[str], line_width: int = _LINE_WIDTH) -> float:
    """Returns the height in inches of the lines that `words` take."""
    return (place_words(words, line_width)[-1][0] + 1) * _LINE_HEIGHT + 0.1


def readable(tokens: Sequence[Any], line_width: int = _LINE_WIDTH) -> list[str]:
    """Returns tokens as they are written: one line each, not too long."""
    words = []
    for token in tokens:
        if isinstance(token, bytes):
            # So do strings come back that went through TensorFlow.
            token = token.decode("utf-8", "replace")
        word = str(token).translate(_VISIBLE) or "·"
        if columns(word) > line_width - 1:
            word = word[: line_width // 2 - 2] + "…"
        words.append(word)
    return words


def columns(word: str) -> int:
    """Returns the width of a word in characters; East Asian ones take two."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in word
    )


def place_words(
    words: Sequence[str], line_width: int
) -> list[tuple[int, int, int]]:
    """Returns `(line, first column, columns)` of each word, wrapped."""
    places = []
    line = column = 0
    for word in words:
        # Half a character of air on both sides of the letters.
        width = columns(word) + 1
        if column and column + width > line_width:
            line, column = line + 1, 0
        places.append((line, column, width))
        column += width
    return places


def draw_tokens(
    place: FigureBase,
    words: Sequence[str],
    colors: np.ndarray,
    *,
    title: str | None = None,
    line_width: int = _LINE_WIDTH,
) -> None:
    """Draws words with their colors into a figure or a part of one."""
    axes = place.subplots()
    places = place_words(words, line_width)
    for word, color, (line, column, width) in zip(
        words, colors, places, strict=True
    ):
        _draw_word(axes, word, color, (column, line, width))
    axes.set_xlim(0, line_width)
    axes.set_ylim(places[-1][0] + 1, 0)
    axes.set_axis_off()
    draw_title(place, title, line_width * _CHARACTER)


def _draw_word(
    axes: Axes, word: str, color: np.ndarray, box: tuple[int, int, int]
) -> None:
    from matplotlib.patches import Rectangle

    column, line, width = box
    axes.add_patch(
        Rectangle((column, line + 0.06), width, 0.88, color=tuple(color / 255))
    )
    axes.text(
        column + width / 2,
        line + 0.5,
        word,
        ha="center",
        va="center",
        family="monospace",
        fontsize=_FONT_SIZE,
        # Letters stay readable on the strongest colors of both signs.
        color="black" if gray(color)[0] > 110 else "white",
        parse_math=False,
    )
