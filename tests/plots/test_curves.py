import numpy as np
import pytest

from keras_explain.plots.curves import MOST_IN_PANEL, curves

X = np.linspace(0, 1, 5)


def test_each_panel_has_its_curves_and_those_behind():
    panels = {
        "one": {"a": (X, X), "$b^$": (X, X**2)},
        "two": {"_c": (X, 1 - X)},
    }
    figure = curves(panels, behind={"chance": (X, 0 * X)}, x_label="share",
                    y_label="score", title="Curves")  # fmt: skip
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    shown = [[line.get_ydata().tolist() for line in axes.lines]
             for axes in figure.axes]  # fmt: skip
    chance = (0 * X).tolist()
    assert shown == [
        [chance, X.tolist(), (X**2).tolist()],
        [chance, (1 - X).tolist()],
    ]
    texts = [
        [text.get_text() for text in axes.get_legend().get_texts()]
        for axes in figure.axes
    ]
    assert texts == [["a", "$b^$"], ["c"]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["chance"]
    assert figure.get_suptitle() == "Curves"
    assert (figure.get_supxlabel(), figure.get_supylabel()) == (
        "share", "score",
    )  # fmt: skip
    figure.draw_without_rendering()


def test_panels_share_their_axes():
    panels = {str(k): {"a": (X, k * X)} for k in range(4)}
    figure = curves(panels)
    assert len(figure.axes) == 4
    limits = {(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}
    assert len(limits) == 1
    assert limits.pop()[1][1] > 3
    assert figure.legends == []
    # The panel above the empty place has numbers below it too.
    labels = [axes.xaxis.get_tick_params()["labelbottom"]
              for axes in figure.axes]  # fmt: skip
    assert labels == [False, True, True, True]


def test_colors_are_told_apart():
    named = {str(k): (X, k * X) for k in range(MOST_IN_PANEL)}
    (axes,) = curves({"": named}).axes
    assert len({line.get_color() for line in axes.lines}) == MOST_IN_PANEL


def test_only_what_is_behind():
    (axes,) = curves({"": {}}, behind={"chance": (X, X)}).axes
    assert len(axes.lines) == 1


def test_too_many_or_none():
    named = {str(k): (X, X) for k in range(MOST_IN_PANEL + 1)}
    with pytest.raises(ValueError, match="A panel holds up to 6 curves"):
        curves({"a": named})
    with pytest.raises(ValueError, match="at least one panel"):
        curves({})


@pytest.mark.parametrize("x", [X[:4], X[None], 1.0])
def test_as_many_x_as_y(x):
    with pytest.raises(ValueError, match="A curve has as many x as y"):
        curves({"a": {"b": (x, X)}})
    with pytest.raises(ValueError, match="'c' with shapes"):
        curves({"a": {"b": (X, X)}}, behind={"c": (x, X)})
