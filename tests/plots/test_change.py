"""Channels of a layer before and after they are hidden."""

from __future__ import annotations

import numpy as np
import pytest

import keras_explain
from keras_explain.plots import change
from tests import zoo
from tests.marking import slow_but


def activations():
    before = np.ones((2, 4, 4, 8))
    after = before * np.array([1, 1, 0, 1, 1, 0.5, 1, 1])
    return before, after


def test_the_most_changed_channels_come_first():
    figure = change(*activations(), num_channels=2, titles=["cat", "dog"])
    assert len(figure.axes) == 2 * 3 * 3
    labels = [axes.get_ylabel() for axes in figure.axes[::3]]
    assert labels == ["cat: mean", "channel 2", "channel 5",
                      "dog: mean", "channel 2", "channel 5"]  # fmt: skip
    heads = [axes.get_title() for axes in figure.axes[:3]]
    assert heads == ["before", "after", "after - before"]
    few = change(*activations(), num_channels=1, max_outputs=1)
    assert len(few.axes) == 2 * 3


def test_the_pictures_of_a_row_have_one_scale():
    figure = change(*activations(), num_channels=2, max_outputs=1)
    pictures = [a.images[0].get_array()[0, 0].tolist() for a in figure.axes]
    before, after, gap = pictures[3:6]  # channel 2: 1, 0 and -1
    assert before != after and before != gap
    half, less = pictures[7:9]  # channel 5: 0.5 and -0.5
    assert half not in (before, after) and less not in (gap, after)


def test_shapes_that_are_no_pictures():
    before, after = activations()
    for one, other in ((before[0], after[0]), (before, after[:1])):
        with pytest.raises(ValueError, match="pictures of one shape"):
            change(one, other)


@pytest.mark.parametrize(
    "method",
    slow_but(
        {"ExtremalPerturbation"},
        ["ExtremalPerturbation", "MeaningfulPerturbation"],
    ),
)
def test_explanations_of_channels_draw_them(method, tmp_path):
    model, x = zoo.build("functional").model, zoo.images(2)
    explainer = getattr(keras_explain, method)(
        model, layer="conv2", settings={"num_steps": 2}
    )
    found = explainer.explain(x)
    details = found.details
    masks = details["channels"].reshape(2, -1, details["activation"].shape[-1])
    after = details["activation"] * masks.mean(1)[:, None, None]
    np.testing.assert_allclose(after.mean(-1), details["after"], atol=1e-5)
    assert len(found[:1].plot_change(num_channels=2).axes) == 3 * 3
    found.save(tmp_path / "a.npz")
    again = keras_explain.Explanation.load(tmp_path / "a.npz")
    assert len(again.plot_change(num_channels=1).axes) == 2 * 2 * 3


def test_other_explanations_have_no_channels():
    specimen = zoo.build("functional")
    found = keras_explain.Gradient(specimen.model).explain(specimen.inputs)
    with pytest.raises(ValueError, match="no layer whose channels"):
        found.plot_change()
