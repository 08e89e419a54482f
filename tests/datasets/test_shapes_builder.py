"""The TFDS builder: offline, and the same pictures as the arrays."""

import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_explain.datasets import shapes
from keras_explain.datasets.shapes_builder import (
    KerasExplainShapes,
    ShapesConfig,
)

FEW = {"train": 6, "test": 3}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("The builder tried to reach the network.")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("distractors", [0, 3])
def test_load_equals_the_arrays(tmp_path, distractors):
    config = ShapesConfig(
        name="few", size=64, distractors=distractors, num_examples=FEW
    )
    splits, info = tfds.load(
        "keras_explain_shapes",
        data_dir=tmp_path,
        builder_kwargs={"config": config},
        with_info=True,
    )
    assert info.features["label"].names == list(shapes.CLASS_NAMES)
    assert info.supervised_keys == ("image", "label")
    assert set(splits) == set(FEW)
    for split, num in FEW.items():
        images, labels, masks = shapes.load(
            num, split, 64, distractors=distractors, masks=True
        )
        examples = list(tfds.as_numpy(splits[split]))
        assert sorted(e["index"] for e in examples) == list(range(num))
        for example in examples:
            index = example["index"]
            np.testing.assert_array_equal(example["image"], images[index])
            assert example["label"] == labels[index]
            assert set(example["masks"]) == set(shapes.MASK_NAMES)
            for name, mask in example["masks"].items():
                np.testing.assert_array_equal(mask, masks[name][index])


def test_prepared_files_are_read_again(tmp_path):
    config = ShapesConfig(name="few", size=64, num_examples=FEW)
    first = KerasExplainShapes(data_dir=tmp_path, config=config)
    first.download_and_prepare()
    again = tfds.load(
        "keras_explain_shapes",
        split="train",
        data_dir=tmp_path,
        download=False,
        as_supervised=True,
        builder_kwargs={"config": config},
    )
    assert len(list(tfds.as_numpy(again))) == FEW["train"]


@pytest.mark.parametrize(
    ("name", "number"), [("single", 0), ("distractors", 3)]
)
def test_named_configurations(tmp_path, name, number):
    builder = tfds.builder(f"keras_explain_shapes/{name}", data_dir=tmp_path)
    assert builder.builder_config.distractors == number
    assert set(builder.builder_config.num_examples) == set(shapes.SPLITS)
    assert builder.info.features["image"].shape == (96, 96, 3)


def test_single_is_the_default(tmp_path):
    builder = tfds.builder("keras_explain_shapes", data_dir=tmp_path)
    assert builder.builder_config.name == "single"


def test_info_names_no_page_that_does_not_exist(tmp_path):
    builder = tfds.builder("keras_explain_shapes", data_dir=tmp_path)
    assert builder.info.homepage == "https://www.tensorflow.org/datasets"
    assert builder.info.citation == ""


def test_an_unknown_split_is_refused(tmp_path):
    config = ShapesConfig(name="odd", num_examples={"dev": 2})
    builder = KerasExplainShapes(data_dir=tmp_path, config=config)
    with pytest.raises(ValueError, match="split='dev'"):
        builder.download_and_prepare()


def test_the_package_does_not_import_tfds():
    program = (
        "import sys, keras_explain.datasets;"
        "print('tensorflow_datasets' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == "False"
