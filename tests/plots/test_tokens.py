import numpy as np
import pytest

from keras_explain.plots import sequence
from keras_explain.plots.color import colorize_on_white, gray
from keras_explain.plots.tokens import columns, place_words, readable


def boxes(figure):
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes.texts, axes.patches


def test_tokens_keep_their_order_and_get_their_colors():
    values = np.array([-1.0, 0.0, 0.5])
    figure = sequence(["not", "so", "bad"], values, percentile=100)
    texts, patches = boxes(figure)
    assert [text.get_text() for text in texts] == ["not", "so", "bad"]
    expected = colorize_on_white(values, signed=True) / 255
    drawn = [patch.get_facecolor()[:3] for patch in patches]
    np.testing.assert_allclose(drawn, expected)


def test_letters_contrast_with_their_background():
    values = np.linspace(-1, 1, 41)
    texts, patches = boxes(sequence(["w"] * 41, values))
    for text, patch in zip(texts, patches, strict=True):
        luminance = gray(255 * np.array(patch.get_facecolor()[:3]))[0]
        letter = {"black": 0, "white": 255}[text.get_color()]
        assert abs(luminance - letter) > 100


def test_features_are_added_up():
    values = np.random.default_rng(0).normal(size=(4, 6))
    words = list("abcd")
    _, first = boxes(sequence(words, values))
    _, second = boxes(sequence(words, values.sum(axis=-1), signed=True))
    assert [p.get_facecolor() for p in first] == [
        p.get_facecolor() for p in second
    ]


def test_words_stay_inside_their_boxes_and_the_figure():
    words = ["Wordpiece", "##ing", "$", "$x^$", "WWWWWWWWWW"] * 12
    figure = sequence(words, np.ones(60), title="a long title " * 20)
    texts, patches = boxes(figure)
    for text, patch in zip(texts, patches, strict=True):
        letters, box = text.get_window_extent(), patch.get_window_extent()
        assert letters.x0 >= box.x0
        assert letters.x1 <= box.x1
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_lines_are_wrapped():
    places = place_words(["aaa", "bb", "cccc", "d"], line_width=8)
    assert places == [(0, 0, 4), (0, 4, 3), (1, 0, 5), (1, 5, 2)]


def test_figures_grow_with_their_lines():
    short = sequence(["word"] * 10, np.ones(10))
    long = sequence(["word"] * 200, np.ones(200))
    assert long.get_figheight() > 5 * short.get_figheight()
    assert long.get_figwidth() == short.get_figwidth()


def test_tokens_without_a_shape_of_their_own_are_made_visible():
    assert readable(["\n", "\ta", "", 17, b"caf\xc3\xa9"], 80) == [
        "↵",
        "→a",
        "·",
        "17",
        "café",
    ]


def test_very_long_tokens_are_cut():
    (word,) = readable(["x" * 500], 40)
    assert word.endswith("x…")
    assert columns(word) < 40


def test_wide_letters_take_two_columns():
    assert columns("ab") == 2
    assert columns("日本") == 4
    assert columns("e\u0301") == 1


@pytest.mark.parametrize("signed", [None, True])
def test_a_wrong_number_of_tokens_is_refused(signed):
    with pytest.raises(ValueError, match=r"2 tokens .* shape \(3,\)"):
        sequence(["a", "b"], [1.0, 2.0, 3.0], signed=signed)
    with pytest.raises(ValueError, match="0 tokens"):
        sequence([], [1.0], signed=signed)


def test_narrow_lines_are_refused():
    with pytest.raises(ValueError, match="at least 10.*\n.*line_width=3"):
        sequence(["a"], [1.0], line_width=3)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        sequence(["a"], [np.nan])
