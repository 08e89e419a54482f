import numpy as np
import pytest

from keras_explain.plots import heatmap, volume
from keras_explain.plots.slices import choose_depths


@pytest.fixture
def attribution():
    return np.random.default_rng(0).normal(size=(20, 6, 7))


def shown(axes):
    return axes.images[0].get_array()


def test_slices_of_an_attribution_alone(attribution):
    figure = volume(attribution, num_slices=5, title="brain")
    assert len(figure.axes) == 5
    depths = [int(a.get_title().removeprefix("slice ")) for a in figure.axes]
    assert depths == choose_depths(attribution, 5)
    assert figure.get_suptitle() == "brain"


def test_all_slices_share_one_scale(attribution):
    attribution[10:] *= 1e-6
    figure = volume(attribution, num_slices=20)
    flat = heatmap(attribution.reshape(20, -1)).reshape(20, 6, 7, 3)
    for depth, axes in enumerate(figure.axes):
        assert np.array_equal(shown(axes), flat[depth])


def test_slices_of_the_image_are_above(attribution):
    image = np.random.default_rng(1).integers(0, 256, (20, 6, 7), "uint8")
    figure = volume(attribution, image, num_slices=4)
    assert len(figure.axes) == 8
    depths = choose_depths(attribution, 4)
    for axes, depth in zip(figure.axes[:4], depths, strict=True):
        assert np.array_equal(shown(axes)[..., 0], image[depth])
    zeros = volume(np.zeros((20, 6, 7)), image, num_slices=4)
    for axes, other in zip(zeros.axes[:4], zeros.axes[4:], strict=True):
        assert np.array_equal(shown(axes), shown(other))


def test_channels_are_added_up(attribution):
    split = np.stack([attribution + 2, np.full_like(attribution, -2)], axis=-1)
    first, second = volume(attribution), volume(split)
    assert np.array_equal(shown(first.axes[3]), shown(second.axes[3]))


def test_depths_are_spread_evenly():
    even = np.ones((16, 2, 2))
    even[3] = 2
    assert choose_depths(even, 4) == [3, 6, 10, 14]


@pytest.mark.parametrize("strongest", range(16))
def test_the_strongest_slice_is_always_shown(strongest):
    values = np.zeros((16, 2, 2))
    values[strongest] = -1
    depths = choose_depths(values, 3)
    assert strongest in depths
    assert len(set(depths)) == 3
    assert depths == sorted(depths)


def test_shallow_volumes_show_every_slice_once():
    assert choose_depths(np.ones((3, 2, 2)), 8) == [0, 1, 2]


def test_different_sizes_are_refused(attribution):
    with pytest.raises(ValueError, match="differ in size.*\n.*\\(20, 6, 7\\)"):
        volume(attribution, np.ones((20, 6, 8)))


def test_other_options_are_refused(attribution):
    with pytest.raises(ValueError, match="num_slices=0"):
        volume(attribution, num_slices=0)
    with pytest.raises(ValueError, match="with 3 axes"):
        volume(attribution[0])
