"""The demo model and its pictures."""

import json
import zipfile
from importlib import resources

import keras
import numpy as np
import pytest

from keras_explain import datasets
from keras_explain.datasets import demo_images, demo_model, shapes

FILE = resources.files("keras_explain.datasets") / "demo_model.keras"


@pytest.fixture(scope="module")
def model():
    return demo_model()


def accuracy(model, images, labels):
    scores = model.predict(images, batch_size=100, verbose=0)
    return (scores.argmax(-1) == labels).mean()


def test_file_is_small_and_holds_no_optimizer():
    with resources.as_file(FILE) as path:
        assert path.stat().st_size < 2_000_000
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            version = json.loads(archive.read("metadata.json"))
    # An older Keras cannot read the file of a newer one, so the oldest that
    # setup.cfg allows must have written it.
    assert version["keras_version"].startswith("3.12.")
    assert not config["compile_config"]
    kinds = {layer["class_name"] for layer in config["config"]["layers"]}
    assert "Add" in kinds and "BatchNormalization" in kinds
    assert "Lambda" not in kinds


@pytest.mark.parametrize("distractors", [0, 3])
def test_accuracy_on_fresh_pictures(model, distractors):
    images, labels = shapes.load(
        320, "validation", seed=77, distractors=distractors
    )
    assert accuracy(model, images, labels) >= 0.97


def test_the_object_without_its_background_is_enough(model):
    images, labels, masks = demo_images(num=160)
    alone = np.where(masks[..., None] == 1, images, 128).astype(np.uint8)
    assert accuracy(model, alone, labels) >= 0.9


def test_model_is_what_the_docs_say(model):
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, len(datasets.CLASS_NAMES))
    assert model.layers[-1].name == "predictions"
    assert model.layers[-1].activation is keras.activations.softmax
    last = keras.Model(model.input, model.get_layer("stage3_block2_out").output)
    assert last(np.zeros((1, 96, 96, 3), "uint8")).shape[1:3] == (12, 12)
    assert not model.compiled


def test_bytes_and_floats_give_the_same(model):
    images, _, _ = demo_images(num=4)
    from_bytes = keras.ops.convert_to_numpy(model(images))
    from_floats = keras.ops.convert_to_numpy(model(images.astype("float32")))
    np.testing.assert_array_equal(from_bytes, from_floats)
    np.testing.assert_allclose(from_bytes.sum(-1), 1, rtol=1e-5)


def test_each_call_loads_a_model_of_its_own(model):
    other = demo_model()
    assert other is not model
    for first, second in zip(
        model.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_demo_images_are_held_out_and_have_each_class():
    images, labels, masks = demo_images(num=16, seed=1)
    expected = shapes.load(16, "test", seed=1, masks=True)
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    np.testing.assert_array_equal(masks, expected[2]["object"])
    assert set(labels.tolist()) == set(range(len(datasets.CLASS_NAMES)))


def test_demo_images_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="`num` must lie between 1"):
        demo_images(num=0)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        demo_images(seed="0")


def test_public_names_exist():
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
