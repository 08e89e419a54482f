import numpy as np
import pytest

from keras_explain.plots import bars
from keras_explain.plots.table import ranked


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_bars_are_ranked_by_magnitude():
    figure = bars([0.5, -2.0, 1.0], feature_names=["a", "b", "c"], title="$t_1")
    (axes,) = figure.axes
    assert names(figure) == ["b", "c", "a"]
    assert [bar.get_width() for bar in axes.patches] == [-2.0, 1.0, 0.5]
    low, high = axes.get_ylim()
    assert low > high, "the strongest is above"
    assert figure.get_suptitle() == "$t_1"


def test_colors_tell_signs():
    against, support = bars([-2.0, 1.0]).axes[0].patches
    assert against.get_facecolor()[2] > against.get_facecolor()[0]
    assert support.get_facecolor()[0] > support.get_facecolor()[2]


def test_bars_sum_to_the_whole():
    values = np.random.default_rng(0).normal(size=40)
    scores, labels = ranked(values, max_features=10)
    assert len(scores) == len(labels) == 11
    assert labels[-1] == "sum of 30 others"
    assert scores.sum() == pytest.approx(values.sum())


def test_no_rest_is_drawn_if_there_is_none():
    scores, labels = ranked([1.0, 2.0], max_features=2)
    assert labels == ["feature 1", "feature 0"]
    assert scores.tolist() == [2.0, 1.0]


def test_values_are_written_next_to_names():
    assert ranked([2.0, 1.0], [1234.5678, -0.5])[1] == [
        "feature 0 = 1235",
        "feature 1 = -0.5",
    ]
    assert ranked([2.0, 1.0], np.array([3, 40000]))[1] == [
        "feature 0 = 3",
        "feature 1 = 40000",
    ]


def test_equal_features_keep_their_order():
    assert ranked([1.0, -1.0, 1.0])[0].tolist() == [1.0, -1.0, 1.0]


def test_names_may_be_an_array():
    assert names(bars([1.0], feature_names=np.array(["$a_1"]))) == ["$a_1"]


def test_long_names_are_not_clipped():
    long = "capital_gain_of_the_year/after tax deductions and $more^$ " * 2
    figure = bars([1.0, -2.0], feature_names=[long, long])
    figure.draw_without_rendering()
    for label in figure.axes[0].get_yticklabels():
        assert label.get_window_extent().x0 >= 0
    width = figure.axes[0].get_window_extent().width
    assert width > 0.4 * figure.bbox.width


@pytest.mark.parametrize("option", ["values", "feature_names"])
def test_other_numbers_of_entries_are_refused(option):
    with pytest.raises(ValueError, match=f"`{option}`.*feature, 2"):
        bars([1.0, 2.0], **{option: [1.0, 2.0, 3.0]})


def test_other_shapes_and_options_are_refused():
    with pytest.raises(ValueError, match="one axis"):
        bars([[1.0, 2.0]])
    with pytest.raises(ValueError, match="max_features=0"):
        bars([1.0], max_features=0)
