import numpy as np
import pytest

from keras_explain.plots import heatmap, plot_attributions


def random(*shape):
    return np.random.default_rng(0).normal(size=shape)


def shown(axes):
    return axes.images[0].get_array()


def titles_of(figure):
    """Returns the titles of the parts of a stacked figure."""
    return [part.get_suptitle() for part in figure.subfigs]


@pytest.mark.parametrize("maps", [(3, 8, 9), (3, 8, 9, 1), (3, 8, 9, 3)])
def test_pictures_are_above_their_heat_maps(maps):
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 9, 3), "uint8")
    attributions = random(*maps)
    figure = plot_attributions(images, attributions, titles=["a", "b", "c"])
    *cells, left, key, right = figure.axes
    assert len(cells) == 6
    for index in range(3):
        above, below = cells[index], cells[index + 3]
        assert above.get_title() == "abc"[index]
        assert np.array_equal(shown(above), images[index])
        expected = heatmap(attributions[index], images[index])
        assert np.array_equal(shown(below), expected)
    assert [label.get_text() for label in key.get_xticklabels()] == [
        "against",
        "0",
        "for",
    ]
    assert not left.images and not right.images


def test_one_picture_is_beside_its_heat_map():
    figure = plot_attributions(np.ones((1, 8, 8, 3)), np.ones((1, 8, 8)))
    left, right = figure.axes[:2]
    figure.draw_without_rendering()
    assert left.get_window_extent().x1 < right.get_window_extent().x0


def test_one_title_above_the_pair():
    figure = plot_attributions(
        np.ones((1, 8, 8, 3)), np.ones((1, 8, 8)), titles=["$cat_1"]
    )
    assert titles_of(figure)[0] == "$cat_1"


def test_unsigned_maps_have_a_key_from_zero():
    figure = plot_attributions(np.ones((2, 8, 8, 3)), np.ones((2, 8, 8)))
    key = figure.axes[-2]
    labels = [label.get_text() for label in key.get_xticklabels()]
    assert labels == ["0", "strongest"]


def test_many_samples_continue_on_the_next_line():
    count = 7
    figure = plot_attributions(
        np.ones((count, 8, 8, 1)),
        random(count, 8, 8),
        titles=[str(i) for i in range(count)],
    )
    cells = figure.axes[:-3]
    assert len(cells) == 16
    assert sum(bool(axes.images) for axes in cells) == 14
    heads = [axes.get_title() for axes in cells if axes.get_title()]
    assert heads == [str(i) for i in range(count)]


def test_no_more_than_max_outputs_are_drawn():
    images, maps = np.ones((20, 8, 8, 1)), random(20, 8, 8)
    titles = [f"t{i}" for i in range(20)]
    figure = plot_attributions(images, maps, titles=titles, max_outputs=2)
    assert [a.get_title() for a in figure.axes[:2]] == ["t0", "t1"]
    assert len(figure.axes) == 4 + 3
    figure = plot_attributions(images, maps)
    assert sum(bool(a.images) for a in figure.axes) == 2 * 8 + 1


def test_signs_are_decided_for_the_whole_batch():
    images, maps = np.zeros((2, 4, 4, 1)), np.ones((2, 4, 4))
    maps[1] = -1
    figure = plot_attributions(images, maps)
    expected = heatmap(maps[0], images[0], signed=True)
    assert np.array_equal(shown(figure.axes[2]), expected)


def test_signs_of_samples_not_drawn_count_too():
    images, maps = np.zeros((2, 4, 4, 1)), np.ones((2, 4, 4))
    maps[1] = -1
    first = plot_attributions(images, maps, max_outputs=1)
    expected = heatmap(maps[0], images[0], signed=True)
    assert np.array_equal(shown(first.axes[1]), expected)


def test_pictures_of_a_batch_share_their_brightness():
    images = np.zeros((2, 4, 4, 1))
    images[0], images[1] = -3, 5
    images[1, 0] = 1
    figure = plot_attributions(images, np.ones((2, 4, 4)))
    assert shown(figure.axes[0]).max() == 0
    assert np.unique(shown(figure.axes[1])).tolist() == [128, 255]


def test_8_bit_inputs_keep_their_scale():
    images = np.ones((2, 4, 4, 1), "uint8")
    figure = plot_attributions(images, np.ones((2, 4, 4)))
    assert shown(figure.axes[0]).max() == 1


def test_options_reach_the_heat_maps():
    images, maps = np.zeros((1, 8, 8, 1)), random(1, 8, 8)
    figure = plot_attributions(images, maps, signed=False, percentile=60)
    expected = heatmap(maps[0], images[0], signed=False, percentile=60)
    assert np.array_equal(shown(figure.axes[1]), expected)


@pytest.mark.parametrize("shape", [(2, 7, 7), (2, 7, 7, 64)])
def test_maps_alone(shape):
    maps = random(*shape)
    figure = plot_attributions(None, maps)
    assert len(figure.axes) == 2 + 3
    assert np.array_equal(shown(figure.axes[1]), heatmap(maps[1]))


def test_gray_pictures_without_a_channel_are_pictures():
    figure = plot_attributions(random(2, 28, 28), random(2, 28, 28))
    assert len(figure.axes) == 4 + 3
    assert shown(figure.axes[0]).shape == (28, 28, 3)


@pytest.mark.parametrize("maps", [(2, 30, 3), (2, 30)])
def test_series_are_lines(maps):
    values = random(2, 30, 3)
    figure = plot_attributions(values, random(*maps), titles=["a", "b"])
    assert titles_of(figure)[:2] == ["a", "b"]
    lines = [axes.lines[0].get_ydata() for axes in figure.axes[:6]]
    assert np.array_equal(lines[4], values[1, :, 1])


def test_series_of_many_channels_are_pictures():
    values, maps = random(1, 40, 20), random(1, 40)
    figure = plot_attributions(values, maps)
    assert len(figure.axes) == 2 + 3
    drawn = shown(figure.axes[1])
    assert drawn.shape == (40, 20, 3)
    full = np.repeat(maps[0][:, None], 20, axis=1)
    alone = plot_attributions(values, full[None])
    assert np.array_equal(drawn, shown(alone.axes[1]))


def test_attributions_to_an_embedding_are_tokens():
    tokens = np.arange(12).reshape(2, 6)
    figure = plot_attributions(tokens, random(2, 6, 5), titles=["a", "b"])
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == [str(i) for i in range(6, 12)]
    assert titles_of(figure)[:2] == ["a", "b"]


@pytest.mark.parametrize("dtype", ["U", "S", "O"])
def test_strings_are_tokens(dtype):
    tokens = np.array([["not", "bad"]], dtype)
    figure = plot_attributions(tokens, random(1, 2))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["not", "bad"]


@pytest.mark.parametrize("maps", [(2, 10, 6, 7, 1), (2, 10, 6, 7)])
def test_volumes_are_slices(maps):
    figure = plot_attributions(
        random(2, 10, 6, 7, 1), random(*maps), titles=["a", "b"]
    )
    assert len(figure.axes) == 2 * 2 * 8 + 3
    assert figure.axes[0].get_title().startswith("slice ")
    assert titles_of(figure)[:2] == ["a", "b"]


def test_tables_are_bars():
    values = np.array([[3, 4], [5, 6]])
    figure = plot_attributions(values, [[1.0, -2.0], [0.0, 1.0]])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["feature 1 = 4", "feature 0 = 3"]
    assert len(figure.axes) == 2


def test_tables_alone():
    figure = plot_attributions(None, [[1.0, -2.0]])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["feature 1", "feature 0"]


LONG = "tench, Tinca tinca (class 0) resnet50/conv5_block3_out $a^$ " * 3


@pytest.mark.parametrize(
    "inputs, maps",
    [
        ((1, 8, 8, 3), (1, 8, 8)),
        ((5, 8, 8, 3), (5, 8, 8)),
        ((2, 30, 3), (2, 30)),
        ((2, 12), (2, 12, 3)),
        ((2, 6, 5, 5, 1), (2, 6, 5, 5)),
        ((2, 4), (2, 4)),
    ],
)
def test_long_titles_fit(inputs, maps):
    figure = plot_attributions(
        random(*inputs), random(*maps), titles=[LONG] * inputs[0]
    )
    figure.draw_without_rendering()
    # Slices have titles of their own.
    texts = [a.title for a in figure.axes if "slice" not in a.get_title()]
    texts += [part._suptitle for part in figure.subfigs]
    boxes = [t.get_window_extent() for t in texts if t and t.get_text()]
    assert len(boxes) == inputs[0]
    for box in boxes:
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1


def test_different_sizes_are_refused():
    with pytest.raises(ValueError, match="7 x 7, image of 8 x 8"):
        plot_attributions(random(1, 8, 8, 3), random(1, 7, 7))


@pytest.mark.parametrize(
    "inputs, maps", [((2, 8, 8, 3), (2, 8)), ((2, 9, 4), (2, 8))]
)
def test_shapes_no_figure_fits_are_refused(inputs, maps):
    with pytest.raises(ValueError, match=r"No figure fits.*\n.*inputs of"):
        plot_attributions(random(*inputs), random(*maps))


def test_different_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match="attributions for 3, inputs for 2"):
        plot_attributions(random(2, 8, 8, 3), random(3, 8, 8))
    with pytest.raises(ValueError, match="titles for 1"):
        plot_attributions(None, random(3, 8, 8), titles=["a"])
    with pytest.raises(ValueError, match="needs a batch axis"):
        plot_attributions(None, random(3))


def test_structures_of_inputs_are_refused():
    with pytest.raises(TypeError, match="`inputs`.*\n.*dict"):
        plot_attributions({"a": random(2, 3)}, random(2, 3))
    with pytest.raises(TypeError, match="`inputs`.*\n.*list.*\n.*own call"):
        plot_attributions([random(2, 3), random(2, 4)], random(2, 3))
    with pytest.raises(TypeError, match="`attributions`.*\n.*dict"):
        plot_attributions(None, {"a": random(2, 3)})


def test_other_options_are_refused():
    with pytest.raises(TypeError, match="list of texts"):
        plot_attributions(None, random(2, 3), titles="ab")
    with pytest.raises(ValueError, match="max_outputs=0"):
        plot_attributions(None, random(2, 3), max_outputs=0)


@pytest.mark.parametrize("inputs", [None, np.zeros((2, 4, 4, 1))])
def test_nan_is_refused(inputs):
    maps = np.zeros((2, 4, 4))
    maps[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="`attributions` has NaN"):
        plot_attributions(inputs, maps)
