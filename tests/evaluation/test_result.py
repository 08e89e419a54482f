"""What an evaluation holds, how it is kept, and how data become batches."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import keras_explain
from keras_explain.evaluation import Evaluation, completeness, deletion
from keras_explain.evaluation.positions import regions
from keras_explain.evaluation.result import evaluated
from tests import zoo
from tests.evaluation import nets


def example(labels=None):
    return evaluated(
        "deletion", [0.5, np.nan, 0.25, np.inf], {"seed": 0, "fill": "zero"},
        curve=([0, 0.5, 1],
               [[1, 0.5, 0], [np.nan] * 3, [1, 0.25, 0.25], [9, 9, 9]]),
        labels=labels, details={"class": np.array([3, 1, 2, 0])},
    )  # fmt: skip


def test_only_finite_samples_count():
    found = example()
    assert len(found) == 4 and found.n_valid == 2
    assert found.per_sample.dtype == np.float64
    assert np.isnan(found.per_sample[3])
    assert found.mean == 0.375
    assert found.sem == pytest.approx(np.std([0.5, 0.25], ddof=1) / 2**0.5)
    np.testing.assert_allclose(found.curve["y"], [1, 0.375, 0.125])
    np.testing.assert_allclose(found.curve["sem"], [0, 0.125, 0.125])
    assert repr(found) == "<Evaluation deletion: 0.375 +- 0.12, 2 of 4 samples>"


def test_one_sample_and_none():
    one = evaluated("a", [2.0], {})
    assert one.mean == 2 and np.isnan(one.sem) and one.n_valid == 1
    assert repr(one) == "<Evaluation a: 2, 1 of 1 samples>"
    none = evaluated("a", [np.nan], {}, curve=([0, 1], [[1, 2]]))
    assert np.isnan(none.mean) and np.isnan(none.curve["y"]).all()
    assert none.n_valid == 0


def test_a_point_that_is_missing_leaves_the_others():
    found = evaluated("a", [1, 2], {}, curve=([0, 1], [[1, np.nan], [3, 4]]))
    np.testing.assert_array_equal(found.curve["y"], [2, 4])
    np.testing.assert_array_equal(found.curve["sem"], [1, np.nan])


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize("labels", [None, ["a", "b", "c"]])
def test_save_and_load(tmp_path, ending, labels):
    found, path = example(labels), tmp_path / f"result.{ending}"
    found.save(path)
    again = Evaluation.load(path)
    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.per_sample, found.per_sample)
    np.testing.assert_array_equal(
        again.curve["per_sample"], found.curve["per_sample"]
    )
    assert again.details["class"].tolist() == [3, 1, 2, 0]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    bare = evaluated("bare", [np.nan, 1.0], {"a": [1, 2]})
    bare.save(path)
    assert Evaluation.load(path).to_dict() == bare.to_dict()
    assert Evaluation.load(path).curve is None


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.npz or \.json"):
        example().save(tmp_path / "result.csv")


def test_a_dict_that_json_can_hold():
    found = example().to_dict()
    json.dumps(found, allow_nan=False)
    assert found["per_sample"] == [0.5, None, 0.25, None]


def test_plot():
    figure = example(["none", "conv2", "conv1"]).plot()
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 0.375, 0.125])
    assert [t.get_text() for t in axes.get_xticklabels()][-1] == "conv1"
    assert example()._repr_png_()[:4] == b"\x89PNG"
    bare = evaluated("bare", [1.0], {})
    assert bare._repr_png_() is None
    with pytest.raises(ValueError, match="with a curve can be drawn"):
        bare.plot()


def test_settings_are_kept(tmp_path):
    model, x = zoo.build("functional").model, zoo.images(2)
    explainer = keras_explain.GradCAM(model, layer="conv1")
    found = deletion(explainer, x, 3, steps=2, seed=5, of="logit")
    assert found.settings["explainer"] == "grad_cam"
    assert found.settings["config"]["layer"] == "conv1"
    assert found.settings["seed"] == 5 and found.settings["of"] == "logit"
    assert found.settings["steps"] == 2 and "3" in found.settings["target"]
    found.save(tmp_path / "a.json")


class Pairs(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return zoo.images(4)[2 * index : 2 * index + 2], np.zeros(2)


def test_data_of_all_kinds():
    model = nets.total((8, 8, 3))
    explainer = keras_explain.InputXGradient(model)
    expected = completeness(explainer, zoo.images(4)).per_sample
    for data in (Pairs(), (zoo.images(4), np.zeros(4)),
                 iter([zoo.images(4)[:1], zoo.images(4)[1:]])):  # fmt: skip
        found = completeness(explainer, data, batch_size=3)
        np.testing.assert_allclose(found.per_sample, expected, atol=1e-4)
    with pytest.raises(ValueError, match="data hold no samples"):
        completeness(explainer, zoo.images(4)[:0])


def test_regions_of_two_inputs():
    model = zoo.build("inputs_dict")
    values = {"0": np.zeros((1, 4, 4)), "1": np.zeros((1, 3))}
    inputs = [np.zeros((1, 4, 4, 2)), np.zeros((1, 3))]
    found = regions(values, inputs, 2)
    square = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert found.tolist() == [*np.ravel(square), 4, 5, 6]
    assert model.inputs.keys() == {"image", "vector"}
