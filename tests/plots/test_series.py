import numpy as np
import pytest

from keras_explain.plots import signal
from keras_explain.plots.color import colorize_on_white


@pytest.fixture
def series():
    steps = np.linspace(0, 9, 40)
    values = np.stack([np.sin(steps), steps, 0 * steps], axis=1)
    attribution = np.stack([-steps, steps / 3, 0 * steps], axis=1)
    return values, attribution


def test_each_channel_has_its_line_and_its_colors(series):
    values, attribution = series
    figure = signal(*series, percentile=100)
    assert len(figure.axes) == 3
    colors = colorize_on_white(attribution / 9, signed=True)
    for channel, axes in enumerate(figure.axes):
        for line in axes.lines:
            assert np.array_equal(line.get_ydata(), values[:, channel])
        shown = axes.images[0].get_array()
        assert np.array_equal(shown[0], colors[:, channel])


def test_colors_are_behind_their_steps(series):
    values, attribution = series
    axes = signal(values[:, 0], attribution[:, 0]).axes[0]
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right) == (-0.5, 39.5) == axes.get_xlim()
    assert bottom < values[:, 0].min() < values[:, 0].max() < top
    assert axes.get_ylim() == (bottom, top)


def test_one_attribution_per_step_is_behind_every_channel(series):
    values, attribution = series
    figure = signal(values, attribution[:, 0])
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])


def test_labels(series):
    figure = signal(*series, channel_labels=["a", "$b^$", "c"], title="ECG")
    assert [a.get_ylabel() for a in figure.axes] == ["a", "$b^$", "c"]
    assert figure.axes[-1].get_xlabel() == "step"
    assert figure.get_suptitle() == "ECG"
    figure.draw_without_rendering()


def test_a_wrong_number_of_labels_is_refused(series):
    with pytest.raises(ValueError, match="needs 3 texts"):
        signal(*series, channel_labels=["a"])


@pytest.mark.parametrize("shape", [(39, 3), (40, 2), (40, 3, 1)])
def test_other_shapes_are_refused(series, shape):
    with pytest.raises(ValueError, match="must have the shape of the values"):
        signal(series[0], np.ones(shape))


def test_nan_is_refused(series):
    values, attribution = series
    values[0, 0] = np.nan
    with pytest.raises(ValueError, match="`values` has NaN"):
        signal(values, attribution)
