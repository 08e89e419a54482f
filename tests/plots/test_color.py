import numpy as np
import pytest

from keras_explain.plots import collapse_channels, normalize, to_displayable
from keras_explain.plots.color import (
    color_table,
    colorize,
    colorize_on_white,
    gray,
    levels,
    scale,
    value_range,
)


@pytest.fixture
def signed_map():
    return np.random.default_rng(0).normal(size=(20, 30)) ** 3


def test_normalize_clips_at_one_percentile_of_magnitudes(signed_map):
    limit = np.percentile(np.abs(signed_map), 90)
    expected = np.clip(signed_map / limit, -1, 1)
    result = normalize(signed_map, percentile=90)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    clipped = np.abs(signed_map) >= limit
    assert np.mean(clipped) == pytest.approx(0.1, abs=0.002)
    assert np.array_equal(np.abs(result) == 1, clipped)


def test_normalize_with_100_clips_nothing(signed_map):
    result = normalize(signed_map, percentile=100)
    strongest = np.abs(signed_map).max()
    np.testing.assert_allclose(result * strongest, signed_map, rtol=1e-12)


def test_normalize_keeps_signs_and_zero(signed_map):
    signed_map[3:6] = 0
    result = normalize(signed_map)
    assert np.array_equal(np.sign(result), np.sign(signed_map))


def test_normalize_is_monotone(signed_map):
    order = np.argsort(signed_map, axis=None)
    steps = np.diff(normalize(signed_map, percentile=95).ravel()[order])
    assert steps.min() == 0
    assert steps.max() > 0


def test_normalize_is_one_scale_for_both_signs():
    result = normalize([-1.0, 4.0], percentile=100)
    assert result.tolist() == [-0.25, 1.0]


@pytest.mark.parametrize("factor", [1e-30, 7.0, 1e30])
def test_normalize_does_not_depend_on_the_unit(signed_map, factor):
    np.testing.assert_allclose(
        normalize(signed_map * factor), normalize(signed_map), rtol=1e-9
    )


def test_normalize_detects_signs_unless_told():
    assert normalize([-2.0, 1.0], percentile=100).tolist() == [-1.0, 0.5]
    assert normalize([-2.0, 1.0], percentile=100, signed=False).tolist() == [
        1.0,
        0.5,
    ]
    assert normalize([2.0, 1.0], percentile=100).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("value, expected", [(0, 0), (3, 1), (-3, -1)])
def test_normalize_of_a_constant_map(value, expected):
    result = normalize(np.full((4, 5), value))
    assert np.array_equal(result, np.full((4, 5), float(expected)))


def test_normalize_shows_few_values_among_zeros():
    values = np.zeros(10_000)
    values[7] = -2.0
    assert np.percentile(np.abs(values), 99.5) == 0
    result = normalize(values)
    assert result[7] == -1
    assert np.count_nonzero(result) == 1


def test_normalize_of_extreme_values_does_not_overflow():
    values = np.full(1000, 1e-300)
    values[0] = 1e300
    assert normalize(values).tolist() == [1.0] * 1000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_without_a_color_are_refused(bad):
    values = np.zeros((3, 3))
    values[1, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinite.*\n.*1 such.*of 9"):
        normalize(values)


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="must be one array of numbers"):
        normalize({"image": np.zeros(3)})
    with pytest.raises(ValueError, match=r"empty.*\n.*shape \(0, 4\)"):
        normalize(np.zeros((0, 4)))


@pytest.mark.parametrize("percentile", [0, -1, 100.5])
def test_percentile_out_of_range_is_refused(percentile):
    with pytest.raises(ValueError, match="above 0 and at most 100"):
        normalize([1.0], percentile=percentile)


def test_normalize_leaves_its_input_alone(signed_map):
    before = signed_map.copy()
    normalize(signed_map, signed=False)
    assert np.array_equal(signed_map, before)


def test_scale_is_in_the_unit_of_the_attribution():
    assert scale(np.array([0.0, -8.0]), 50) == 4.0


def test_collapse_adds_channels_up():
    values = np.arange(24.0).reshape(2, 4, 3) - 10
    expected = [[values[i, j].sum() for j in range(4)] for i in range(2)]
    assert collapse_channels(values).tolist() == expected


def test_collapse_to_the_strongest_channel_keeps_its_sign():
    values = [[[1.0, -3.0, 2.0], [0.5, 0.0, -0.25]]]
    result = collapse_channels(values, reduction="max_abs")
    assert result.tolist() == [[-3.0, 0.5]]


@pytest.mark.parametrize("spatial_ndim", [1, 2, 3])
def test_collapse_leaves_maps_without_channels(spatial_ndim):
    shape = (2, 3, 4)[:spatial_ndim]
    values = np.random.default_rng(1).normal(size=shape)
    assert np.array_equal(collapse_channels(values, spatial_ndim), values)
    assert collapse_channels(values[..., None], spatial_ndim).shape == shape


def test_collapse_refuses_a_batch():
    with pytest.raises(ValueError, match="without its batch axis"):
        collapse_channels(np.zeros((2, 4, 4, 3)))


def test_collapse_refuses_an_unknown_reduction():
    with pytest.raises(ValueError, match="'sum' or 'max_abs'.*\n.*'mean'"):
        collapse_channels(np.zeros((4, 4)), reduction="mean")


@pytest.fixture
def picture():
    return np.random.default_rng(2).integers(0, 256, (5, 6, 3), dtype="uint8")


@pytest.mark.parametrize(
    "rescale",
    [
        lambda image: image,
        lambda image: image.astype("int64"),
        lambda image: image.astype("float32"),
        lambda image: image.astype("float32") / 255,
        lambda image: image.astype("float32") / 127.5 - 1,
    ],
)
def test_known_scales_show_the_same_picture(picture, rescale):
    picture[0, 0] = [0, 255, 128]
    assert np.array_equal(to_displayable(rescale(picture)), picture)


def test_other_scales_are_stretched(picture):
    picture[0, 0] = [0, 255, 128]
    shown = to_displayable((picture - 117.0) / 11.0)
    assert np.array_equal(shown, picture)


def test_dark_8_bit_pictures_stay_dark():
    assert to_displayable(np.ones((2, 2), "uint8")).max() == 1
    assert to_displayable(np.ones((2, 2), bool)).max() == 255


def test_constant_pictures_do_not_divide_by_zero():
    assert to_displayable(np.full((2, 2), -7.0)).tolist() == [[[0] * 3] * 2] * 2


@pytest.mark.parametrize("channels", [None, 1, 2, 4, 7])
def test_pictures_without_three_channels_are_gray(channels):
    image = np.random.default_rng(3).random((4, 5, channels or 1))
    shown = to_displayable(image[..., 0] if channels is None else image)
    expected = np.rint(image.mean(axis=-1) * 255)
    assert shown.shape == (4, 5, 3)
    assert shown.dtype == np.uint8
    for channel in range(3):
        assert np.array_equal(shown[..., channel], expected)


def test_a_shared_range_keeps_brightness_comparable():
    dim = np.full((2, 2), 50.0)
    assert to_displayable(dim, shown_range=(0, 100)).max() == 128


def test_value_range_of_a_standardized_batch():
    assert value_range(np.array([-2.5, 0.0, 1.5])) == (-2.5, 1.5)


def test_batches_are_no_pictures():
    with pytest.raises(ValueError, match=r"shape \(2, 4, 4, 3\)"):
        to_displayable(np.zeros((2, 4, 4, 3)))


def test_zero_is_the_middle_color_exactly():
    table = color_table(signed=True)
    assert len(table) % 2 == 1
    assert np.array_equal(
        colorize(np.zeros(1), signed=True)[0], table[len(table) // 2]
    )
    middle = table[len(table) // 2].astype(int)
    assert middle.max() - middle.min() <= 1, "zero must not be tinted"


def test_zero_of_unsigned_maps_is_the_first_color():
    first = color_table(signed=False)[0]
    assert np.array_equal(colorize(np.zeros(1), signed=False)[0], first)


def test_red_is_for_and_blue_is_against():
    against, support = colorize(np.array([-0.7, 0.7]), signed=True).astype(int)
    assert support[0] > support[2] + 50
    assert against[2] > against[0] + 50


def test_brightness_tells_unsigned_values_apart():
    brightness = gray(colorize(levels(False), signed=False))[:, 0]
    # The colors are rounded to 8 bits, so neighbors may be level.
    assert np.diff(brightness).min() > -1
    assert brightness[-1] - brightness[0] > 200


def test_levels_have_one_value_per_color():
    for signed in (True, False):
        assert np.array_equal(
            colorize(levels(signed), signed=signed), color_table(signed)
        )


def test_zero_is_light_behind_letters():
    for signed in (True, False):
        zero = colorize_on_white(np.zeros(1), signed=signed)
        assert zero.min() > 240
    assert np.array_equal(
        colorize_on_white(np.zeros(1), signed=False, colormap="viridis"),
        colorize(np.zeros(1), signed=False, colormap="viridis"),
    )


def test_colormaps_by_name_and_by_object():
    import matplotlib

    named = colorize(levels(False), signed=False, colormap="viridis")
    given = colorize(
        levels(False),
        signed=False,
        colormap=matplotlib.colormaps["viridis"],
    )
    assert np.array_equal(named, given)
    assert not np.array_equal(named, colorize(levels(False), signed=False))


def test_unknown_colormaps_are_refused():
    with pytest.raises(ValueError, match="no such color map.*\n.*'rainbou'"):
        colorize(np.zeros(1), signed=True, colormap="rainbou")
