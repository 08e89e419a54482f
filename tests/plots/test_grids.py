import numpy as np
import pytest

from keras_explain.plots import grid, heatmap

LONG = "resnet50/conv5_block3_out after the residual addition, $relu^$"


@pytest.fixture
def rows():
    image = np.random.default_rng(0).random((10, 12, 3))
    maps = [
        heatmap(np.random.default_rng(i).normal(size=(10, 12)), image)
        for i in range(2)
    ]
    return [[image, *maps], [image, *maps]]


def texts_inside(figure):
    """Asserts that no text reaches over the edge of the figure."""
    figure.draw_without_rendering()
    edge = figure.bbox
    for axes in figure.axes:
        for text in (axes.title, axes.yaxis.label, axes.xaxis.label):
            if text.get_text():
                box = text.get_window_extent()
                assert box.x0 >= edge.x0 - 1, text
                assert box.x1 <= edge.x1 + 1, text
                assert box.y0 >= edge.y0 - 1, text
                assert box.y1 <= edge.y1 + 1, text


def test_cells_are_drawn_row_by_row(rows):
    figure = grid(rows)
    assert len(figure.axes) == 6
    for axes, picture in zip(figure.axes[1:3], rows[0][1:], strict=True):
        assert np.array_equal(axes.images[0].get_array(), picture)


def test_labels_are_at_their_rows_and_columns(rows):
    figure = grid(
        rows,
        row_labels=["cat", "dog"],
        column_labels=["image", "LRP", "RISE"],
        title="$two samples_1",
    )
    axes = np.reshape(figure.axes, (2, 3))
    assert [a.get_title() for a in axes[0]] == ["image", "LRP", "RISE"]
    assert [a.get_title() for a in axes[1]] == ["", "", ""]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["cat", "dog"]
    assert figure.get_suptitle() == "$two samples_1"


def test_long_labels_are_not_clipped(rows):
    figure = grid(
        rows, row_labels=[LONG] * 2, column_labels=[LONG] * 3, title=LONG
    )
    texts_inside(figure)
    # Nor do those of neighbors touch.
    figure.draw_without_rendering()
    boxes = [a.title.get_window_extent() for a in figure.axes[:3]]
    assert boxes[0].x1 < boxes[1].x0
    assert boxes[1].x1 < boxes[2].x0
    # And the pictures keep their room.
    height = figure.axes[0].get_window_extent().height / figure.dpi
    assert height > 1.3


def test_labels_may_be_arrays(rows):
    figure = grid(rows, row_labels=np.array(["a", "b"]))
    assert figure.axes[3].get_ylabel() == "b"


def test_empty_cells_keep_their_room_and_label(rows):
    figure = grid(
        [[None, rows[0][0]], [rows[0][0]]], row_labels=["first", "second"]
    )
    counts = [len(axes.images) for axes in figure.axes]
    assert counts == [0, 1, 1, 0]
    assert figure.axes[0].get_ylabel() == "first"
    assert figure.axes[0].axison


def test_gray_pictures_are_shown_as_they_are():
    figure = grid([[np.array([[0, 128], [255, 3]], "uint8")]])
    shown = figure.axes[0].images[0].get_array()
    assert shown[..., 1].tolist() == [[0, 128], [255, 3]]


@pytest.mark.parametrize("rows", [[], [[]], [[None], [None]]])
def test_nothing_to_draw_is_refused(rows):
    with pytest.raises(ValueError, match="no picture to draw"):
        grid(rows)


def test_a_wrong_number_of_labels_is_refused(rows):
    with pytest.raises(ValueError, match=r"`row_labels` needs 2.*\n.*1: "):
        grid(rows, row_labels=["a"])
    with pytest.raises(ValueError, match="`column_labels` needs 3"):
        grid(rows, column_labels=["a"])


def test_a_text_for_a_list_of_labels_is_refused(rows):
    with pytest.raises(TypeError, match=r"list of texts.*\n.*\n.*\['ab'\]"):
        grid(rows, row_labels="ab")


def test_each_cell_may_have_a_text(rows):
    labels = [["a", LONG, "c"], ["d", "e", "f"]]
    figure = grid(rows, cell_labels=labels)
    axes = np.reshape(figure.axes, (2, 3))
    assert [a.get_title() for a in axes[1]] == ["d", "e", "f"]
    texts_inside(figure)
    figure.draw_without_rendering()
    below = axes[0, 1].get_window_extent().y0
    assert axes[1, 1].title.get_window_extent().y1 < below
    with pytest.raises(ValueError, match="above the columns or above each"):
        grid(rows, cell_labels=labels, column_labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="`cell_labels` needs 3"):
        grid(rows, cell_labels=[["a"], ["b"]])
