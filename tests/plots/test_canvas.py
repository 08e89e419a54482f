import ast
from pathlib import Path

import numpy as np
import pytest

import keras_explain.plots
from keras_explain.plots.canvas import new_figure, title_room, wrap


@pytest.mark.parametrize(
    "label, width, expected",
    [
        ("", 9, ""),
        ("short", 9, "short"),
        ("two words", 9, "two words"),
        ("two words", 8, "two\nwords"),
        ("resnet50/conv5_block3_out", 12, "resnet50/\nconv5_\nblock3_out"),
        ("see a/bc", 5, "see\na/bc"),
        (
            "IntegratedGradients(SmoothGrad)",
            20,
            "IntegratedGradients\n(SmoothGrad)",
        ),
        ("IntegratedGradients", 12, "Integrated\nGradients"),
        ("xxxxxxxx", 3, "xxx\nxxx\nxx"),
        ("line\nline", 9, "line\nline"),
        (17, 9, "17"),
    ],
)
def test_wrap(label, width, expected):
    assert wrap(label, width) == expected


@pytest.mark.parametrize("width", [1, 4, 7, 30])
def test_wrap_loses_nothing_and_keeps_the_width(width):
    label = "a/long_name.with-joints and(words) inCamelCase 123456789"
    wrapped = wrap(label, width)
    assert max(len(line) for line in wrapped.split("\n")) <= width
    assert "".join(wrapped.split()) == "".join(label.split())


def test_room_for_titles_grows_with_their_lines():
    assert title_room(None, 5) == 0
    assert title_room("a", 5) < title_room("a " * 100, 5)


def test_figures_are_not_known_to_pyplot():
    from matplotlib import pyplot

    figure = new_figure(3, 2)
    assert pyplot.get_fignums() == []
    assert figure.get_size_inches().tolist() == [3, 2]


def _imports(body):
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_importing_plots_does_not_import_matplotlib():
    files = list(Path(keras_explain.plots.__file__).parent.glob("*.py"))
    at_the_top = {
        name
        for file in files
        for name in _imports(ast.parse(file.read_text("utf-8")).body)
    }
    # What is imported for type checkers, or in functions, is not in `body`.
    assert "numpy" in at_the_top
    heavy = ("matplotlib", "PIL", "tensorflow", "keras.")
    assert not [n for n in at_the_top if (n + ".").startswith(heavy)]


def test_all_names_are_there():
    for name in keras_explain.plots.__all__:
        assert callable(getattr(keras_explain.plots, name))


def test_figures_can_be_drawn_in_threads():
    from concurrent.futures import ThreadPoolExecutor

    from keras_explain.plots import heatmap, plot_heatmap

    maps = [np.eye(4) * (index + 1) for index in range(4)]
    with ThreadPoolExecutor(4) as pool:
        figures = list(pool.map(plot_heatmap, maps))
    for figure, values in zip(figures, maps, strict=True):
        shown = figure.axes[0].images[0].get_array()
        assert np.array_equal(shown, heatmap(values))
