"""Explanations: pictures, files, structures."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_explain as ke
from tests import zoo


@pytest.mark.parametrize(
    "name",
    ["functional", "grey", "series", "volume", "tabular", "inputs_list",
     "inputs_dict", "vision_transformer"],
)  # fmt: skip
def test_every_kind_of_input_has_a_picture(name):
    specimen = zoo.build(name)
    found = ke.InputXGradient(specimen.model).explain(specimen.inputs, 3)
    with Image.open(io.BytesIO(found._repr_png_())) as picture:
        assert picture.format == "PNG" and min(picture.size) > 50


def test_tokens_have_a_picture():
    specimen = zoo.build("lstm")
    explainer = ke.InputXGradient(specimen.model, layer="embedding")
    found = explainer.explain(specimen.inputs, 3)
    assert found.attributions.shape == (2, 6, 4)
    with Image.open(io.BytesIO(found._repr_png_())) as picture:
        assert picture.format == "PNG"


def test_heatmaps_are_pictures_of_the_input_size():
    specimen = zoo.build("functional")
    for cls in (ke.GradCAM, ke.Gradient, ke.Saliency):
        found = cls(specimen.model).explain(specimen.inputs, 3)
        pictures = found.heatmap()
        assert pictures.shape == (2, 8, 8, 3) and pictures.dtype == np.uint8


def test_sign_is_the_methods():
    specimen = zoo.build("functional")
    expected = {ke.Gradient: True, ke.Saliency: False, ke.GradCAM: False,
                ke.CAM: True, ke.VarGrad: False}  # fmt: skip
    for cls, signed in expected.items():
        assert cls(specimen.model).explain(specimen.inputs, 3).signed is signed
    smooth = ke.SmoothGrad(ke.GradCAM(specimen.model), num_samples=2)
    assert smooth.explain(specimen.inputs, 3).signed is False


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict", "functional"])
def test_files_keep_structures(name, tmp_path):
    specimen = zoo.build(name)
    explainer = ke.IntegratedGradients(specimen.model, num_steps=3)
    found = explainer.explain(specimen.inputs, 3)
    found.save(tmp_path / "it.npz")
    again = ke.Explanation.load(tmp_path / "it.npz")
    for field in ("inputs", "attributions"):
        a, b = getattr(found, field), getattr(again, field)
        tf.nest.assert_same_structure(a, b)
        for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(again.delta, found.delta)
    assert again.signed == found.signed and again.config == found.config


def test_repr_and_titles():
    specimen = zoo.build("functional")
    found = ke.GradCAM(specimen.model).explain(specimen.inputs, [3, 4])
    assert repr(found) == (
        "<Explanation by grad_cam, shape=(2, 8, 8), layer='conv2'>"
    )
    assert found.titles()[1].startswith("class 4, score")
    units = ke.Gradient(specimen.model).explain(
        specimen.inputs, ke.Channel("conv2", 1)
    )
    assert units.target is None and units.titles()[0].startswith("score")


@pytest.mark.parametrize("name", ["inputs_dict", "functional"])
def test_samples_and_slices(name):
    specimen = zoo.build(name)
    explainer = ke.IntegratedGradients(specimen.model, num_steps=3)
    found = explainer.explain(specimen.inputs, [3, 4])
    last = found[-1]
    assert len(last) == 1 and last.target.tolist() == [4]
    assert last.delta.shape == (1,) and len(found[:]) == 2
    flat = tf.nest.flatten(found.attributions)
    for a, b in zip(tf.nest.flatten(last.attributions), flat, strict=True):
        np.testing.assert_array_equal(a, b[1:])
    with pytest.raises(IndexError, match="2 of 2 samples"):
        found[2]


def test_a_file_has_the_usual_permissions(tmp_path):
    specimen = zoo.build("functional")
    found = ke.Gradient(specimen.model).explain(specimen.inputs, 3)
    found.save(tmp_path / "it.npz")
    (tmp_path / "plain").write_bytes(b"")
    modes = [(tmp_path / n).stat().st_mode for n in ("it.npz", "plain")]
    assert modes[0] == modes[1]
