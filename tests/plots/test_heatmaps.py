import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_explain.plots import heatmap, plot_heatmap
from keras_explain.plots.color import color_table, gray


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype="uint8")


@pytest.fixture
def attribution():
    values = np.random.default_rng(1).normal(size=(8, 9))
    values[2:4] = 0
    return values


def test_zero_leaves_the_gray_picture_exactly(image, attribution):
    drawn = heatmap(attribution, image)
    expected = np.rint(gray(image))
    zero = attribution == 0
    assert np.array_equal(
        drawn[zero], np.broadcast_to(expected, drawn.shape)[zero]
    )
    assert (drawn[~zero] != expected[~zero]).any(axis=-1).all()


@pytest.mark.parametrize("signed", [True, False])
def test_a_map_of_zeros_is_the_gray_picture(image, signed):
    drawn = heatmap(np.zeros((8, 9)), image, signed=signed)
    assert np.array_equal(
        drawn, np.broadcast_to(np.rint(gray(image)), drawn.shape)
    )


def test_alone_zero_is_the_neutral_color(attribution):
    drawn = heatmap(attribution)
    table = color_table(signed=True)
    assert (drawn[attribution == 0] == table[len(table) // 2]).all()


@pytest.mark.parametrize("background", [0, 90, 255])
def test_signs_are_seen_on_every_background(background):
    image = np.full((1, 2), background, "uint8")
    against, support = heatmap([[-1.0, 1.0]], image)[0].astype(int)
    assert support[0] > support[2] + 50
    assert against[2] > against[0] + 50


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_stronger_values_are_more_opaque(low):
    values = np.linspace(0, 1, 50)
    values = np.stack([values, low * values])
    drawn = heatmap(values, np.full((2, 50), 128, "uint8"), percentile=100)
    shift = np.abs(drawn[0].astype(int) - 128).sum(axis=-1)
    assert shift[0] == 0
    assert shift[25] > shift[5] > 0
    assert shift[49] > shift[25]


def test_opacity_zero_shows_only_the_picture(image, attribution):
    drawn = heatmap(attribution, image, opacity=0)
    assert np.array_equal(
        drawn, np.broadcast_to(np.rint(gray(image)), drawn.shape)
    )


def test_opacity_one_hides_the_picture_where_strongest():
    drawn = heatmap([[1.0, 1.0]], np.array([[0, 255]], "uint8"), opacity=1)
    assert np.array_equal(drawn[0, 0], drawn[0, 1])


def test_the_object_stays_visible_below_the_strongest_color():
    drawn = heatmap([[1.0, 1.0]], np.array([[0, 255]], "uint8"))
    assert gray(drawn)[0, 1, 0] - gray(drawn)[0, 0, 0] > 20


def test_8_bit_and_float_images_give_the_same(image, attribution):
    expected = heatmap(attribution, image)
    assert np.array_equal(
        heatmap(attribution, image.astype("float32") / 255), expected
    )
    assert np.array_equal(
        heatmap(attribution, image.astype("float64")), expected
    )


def test_gray_images_with_and_without_a_channel(image, attribution):
    plain = heatmap(attribution, image[..., 0])
    assert plain.shape == (8, 9, 3)
    assert np.array_equal(heatmap(attribution, image[..., :1]), plain)


def test_channels_are_added_up(image):
    channels = np.random.default_rng(2).normal(size=(8, 9, 3))
    assert np.array_equal(
        heatmap(channels, image), heatmap(channels.sum(axis=-1), image)
    )


def test_signs_are_looked_for_before_channels_are_added_up():
    channels = np.full((2, 2, 2), 2.0)
    channels[0, 0] = [3, -1]
    assert (channels.sum(axis=-1) >= 0).all()
    assert np.array_equal(heatmap(channels), heatmap(channels, signed=True))


def test_the_percentile_decides_who_shares_the_strongest_color():
    values = np.arange(101.0)[np.newaxis]
    strongest = color_table(signed=False)[-1]
    share = (heatmap(values, percentile=50) == strongest).all(axis=-1)
    assert np.array_equal(share, values >= 50)


def test_inputs_are_left_alone(image, attribution):
    copies = image.copy(), attribution.copy()
    heatmap(attribution, image)
    assert np.array_equal(image, copies[0])
    assert np.array_equal(attribution, copies[1])


def test_different_sizes_are_refused(image):
    with pytest.raises(ValueError, match=r"4 x 4, image of 8 x 9.*\n.*Resize"):
        heatmap(np.ones((4, 4)), image)


@pytest.mark.parametrize("opacity", [-0.1, 1.1])
def test_opacity_out_of_range_is_refused(image, attribution, opacity):
    with pytest.raises(ValueError, match="from 0 to 1"):
        heatmap(attribution, image, opacity=opacity)


def test_nan_is_refused(image, attribution):
    attribution[0, 0] = np.nan
    with pytest.raises(ValueError, match="`attribution` has NaN"):
        heatmap(attribution, image)
    with pytest.raises(ValueError, match="`image` has NaN"):
        heatmap(np.ones((1, 1)), [[np.nan]])


def parts(figure):
    """Returns the axes of the picture and of the color bar."""
    (picture,) = figure.axes
    (bar,) = picture.child_axes
    return picture, bar


def test_the_figure_shows_the_heat_map_and_its_unit(image, attribution):
    figure = plot_heatmap(1e-3 * attribution, image, title="$cat_1")
    assert isinstance(figure, Figure)
    picture, bar = parts(figure)
    assert picture.get_title() == "$cat_1"
    shown = picture.images[0].get_array()
    assert np.array_equal(shown, heatmap(attribution, image))
    limit = 1e-3 * np.percentile(np.abs(attribution), 99.5)
    np.testing.assert_allclose(bar.get_ylim(), [-limit, limit])


def test_the_bar_of_unsigned_maps_starts_at_zero():
    figure = plot_heatmap(np.array([[0.0, 5.0]]), percentile=100)
    _, bar = parts(figure)
    assert bar.get_ylim() == (0, 5)


def test_the_bar_of_a_map_of_zeros_is_drawn():
    figure = plot_heatmap(np.zeros((3, 3)))
    figure.draw_without_rendering()
    assert parts(figure)[1].get_ylim() == (0, 1)


def test_the_figure_without_a_bar(image, attribution):
    figure = plot_heatmap(attribution, image, colorbar=False)
    assert not figure.axes[0].child_axes


@pytest.mark.parametrize("shape", [(40, 40), (100, 8), (8, 100)])
def test_nothing_of_the_figure_is_clipped(shape):
    values = 1e-4 * np.random.default_rng(3).normal(size=shape)
    figure = plot_heatmap(values, title="a/long_name $x^$ " * 6)
    figure.draw_without_rendering()
    axes, bar = parts(figure)
    for part in (axes, axes.title, bar):
        box = part.get_tightbbox()
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1
    picture = axes.get_window_extent()
    assert bar.get_window_extent().height == pytest.approx(picture.height)


def test_the_bar_shows_the_colors_of_the_map(attribution):
    attribution[0, 0] = 50
    picture, bar = parts(plot_heatmap(attribution, colormap="seismic"))
    mappable = bar._colorbar.mappable
    strongest = mappable.to_rgba([1e9], bytes=True)[0, :3]
    shown = heatmap(attribution, colormap="seismic")
    assert np.array_equal(shown[0, 0], strongest)
    assert np.array_equal(picture.images[0].get_array(), shown)
