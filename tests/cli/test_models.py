"""What MODEL may be, and what is said when it is something else."""

import json
import os
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_explain.cli import applications, preprocess
from tests.cli.conftest import save, start, tiny, write_picture


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "a.png")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_code_in_a_model_file_is_refused(run, picture, tmp_path, ending):
    code = layers.Lambda(lambda x: x / 255, output_shape=(16, 16, 3))
    path = save(tiny(code), tmp_path / f"model.{ending}")
    command = ["explain", path, picture, "--method", "grad_cam"]
    status, printed, news = run(*command)
    assert status == 2
    assert "contains code, such as a Lambda layer" in news
    assert "--unsafe" in news
    assert printed == ""
    assert run(*command, "--unsafe")[0] == 0


def test_legacy_h5(run, picture, tmp_path):
    path = save(tiny(), tmp_path / "model.h5")
    code, _, news = run("explain", path, picture, "--method", "grad_cam")
    assert code == 0
    assert "divided by 255" in news


def test_saved_model(run, picture, tmp_path, out):
    model = tiny(layers.Rescaling(1 / 255))
    model.export(tmp_path / "saved", verbose=False)
    code, _, _ = run(
        "explain", tmp_path / "saved", picture, "--method",
        "gradient,grad_cam", "--preprocess", "none",
    )  # fmt: skip
    assert code == 0
    (kept,) = out.glob("*/result.json")
    gradient, cam = json.loads(kept.read_text())["cells"]
    assert "needs a feature map" in cam["refused"]
    # It cannot be looked into, so the log probability is explained.
    with Image.open(kept.parent / "picture.png") as file:
        inputs = np.asarray(file, np.float32)[None]
    probabilities = np.asarray(model(inputs))[0]
    assert gradient["score"] == pytest.approx(
        np.log(probabilities.max()), abs=1e-5
    )


def test_saved_model_that_reads_files_is_refused(run, picture, tmp_path):
    class Reader(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)]
        )
        def __call__(self, x):
            text = tf.io.read_file(tf.constant(str(tmp_path / "secret")))
            return tf.reduce_mean(x, [1, 2]) + tf.cast(
                tf.strings.length(text), tf.float32
            )

    tf.saved_model.save(Reader(), str(tmp_path / "saved"))
    code, _, news = run("explain", tmp_path / "saved", picture)
    assert code == 2
    assert "ReadFile" in news
    assert "--unsafe" in news


def as_keras_2(path, write):
    """Rewrites a model file as the package tf_keras writes it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["module"] = "keras.src.engine.functional"
    config["registered_name"] = "Functional"
    parts["config.json"] = json.dumps(config)
    parts["metadata.json"] = json.dumps({"keras_version": "2.15.0"})
    with zipfile.ZipFile(write, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_file_of_keras_2(run, picture, tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    path = tmp_path / "old.keras"
    as_keras_2(save(model, tmp_path / "new.keras"), path)
    code, _, news = run("explain", path, picture)
    assert code == 2
    assert "written by Keras 2.15.0" in news
    assert "tf_keras" in news


@keras.saving.register_keras_serializable("here")
class Strange(layers.Layer):
    def call(self, x):
        return x


def test_layer_that_only_python_knows(run, picture, tmp_path):
    path = save(tiny(Strange()), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = parts["config.json"].decode()
    parts["config.json"] = config.replace("here>Strange", "there>Strange")
    parts["config.json"] = parts["config.json"].replace(
        '"Strange"', '"Unheard"'
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    code, _, news = run("explain", path, picture)
    assert code == 2
    assert "Layers of your own" in news


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.txt"])
def test_file_that_is_no_model(run, picture, tmp_path, name):
    path = tmp_path / name
    path.write_text("hello")
    code, _, news = run("explain", path, picture)
    assert code == 2
    assert "holds no Keras model" in news


def test_file_of_weights_alone(run, picture, tmp_path):
    path = tmp_path / "model.weights.h5"
    model = save(tiny(), tmp_path / "model.keras")
    with zipfile.ZipFile(model) as archive:
        path.write_bytes(archive.read("model.weights.h5"))
    code, _, news = run("explain", path, picture)
    assert code == 2
    assert "a file of weights alone is not enough" in news


def test_file_that_does_not_exist(run, picture, tmp_path):
    code, _, news = run("explain", tmp_path / "no.keras", picture)
    assert code == 2
    assert "no such model file" in news


def test_folder_that_is_no_saved_model(run, picture, tmp_path):
    (tmp_path / "folder").mkdir()
    code, _, news = run("explain", tmp_path / "folder", picture)
    assert code == 2
    assert "saved_model.pb" in news


def test_model_of_something_else_than_images(run, picture, tmp_path):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    path = save(model, tmp_path / "model.keras")
    code, _, news = run("explain", path, picture)
    assert code == 2
    assert "(None, 5)" in news


def test_gray_models(run, picture, tmp_path, out):
    model = keras.Sequential(
        [
            keras.Input((12, 10, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    path = save(model, tmp_path / "gray.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog")
    code, _, _ = run(
        "explain", path, picture, "--labels", labels, "--method", "grad_cam"
    )
    assert code == 0
    (kept,) = out.glob("*/result.json")
    (cell,) = json.loads(kept.read_text())["cells"]
    assert cell["target"] == "dog"


def test_unknown_application(run, picture):
    code, _, news = run("explain", "ResNet5", picture)
    assert code == 2
    assert "'ResNet50'" in news


def test_application_with_random_weights(run, picture, out):
    code, _, _ = run(
        "explain", "mobilenetv2", picture, "--weights", "none",
        "--method", "grad_cam",
    )  # fmt: skip
    assert code == 0
    page = (out / "index.html").read_text()
    assert "MobileNetV2" in page
    assert "that of MobileNetV2" in page
    assert "224 x 224" in page


def test_every_application_knows_its_preprocessing():
    known = applications.found()
    built = {
        name
        for name, value in vars(keras.applications).items()
        if callable(value)
    }
    assert set(known) == built
    pixels = np.full((1, 2, 2, 3), 255, np.float32)
    values = {
        name: float(np.max(known[name].preprocess(pixels)))
        for name in (
            "ResNet50",
            "ResNet50V2",
            "EfficientNetB0",
            "DenseNet121",
            "MobileNetV3Small",
        )
    }
    assert values["ResNet50"] == pytest.approx(255 - 103.939)  # caffe
    assert values["ResNet50V2"] == 1
    assert values["EfficientNetB0"] == 255  # it rescales inside
    assert values["MobileNetV3Small"] == 255
    assert values["DenseNet121"] == pytest.approx((1 - 0.406) / 0.225)
    assert pixels.min() == 255


def test_weights_that_do_not_exist(run, picture, tmp_path):
    code, _, news = run(
        "explain", "VGG16", picture, "--weights", tmp_path / "w.h5"
    )
    assert code == 2
    assert "no such file of weights" in news


def offline(home):
    """The environment of a machine without a network and an empty cache."""
    closed = "http://127.0.0.1:9"
    return {
        **os.environ, "KERAS_HOME": str(home), "http_proxy": closed,
        "https_proxy": closed, "no_proxy": "",
    }  # fmt: skip


@pytest.mark.slow
def test_weights_of_a_file_and_no_names_of_classes(picture, tmp_path):
    model = keras.applications.MobileNetV3Small(weights=None)
    # So that the class tells whether these weights were used.
    bias = np.zeros(1000, np.float32)
    bias[7] = 50
    model.get_layer("logits").bias.assign(bias)
    whole = save(model, tmp_path / "model.keras")
    weights = tmp_path / "mine.weights.h5"
    with zipfile.ZipFile(whole) as archive:
        weights.write_bytes(archive.read("model.weights.h5"))
    other = write_picture(tmp_path / "b.png", seed=1)
    process = start(
        "explain", "MobileNetV3Small", picture, other, "--weights", weights,
        "--method", "grad_cam", "--out", tmp_path / "out",
        env=offline(tmp_path / "home"),
    )  # fmt: skip
    _, news = process.communicate(timeout=200)
    assert process.returncode == 0, news
    assert news.count("names of the ImageNet classes could not be") == 1
    assert f"into {tmp_path / 'home' / 'models'}" in news
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<strong>class 7</strong>") == 2


@pytest.mark.slow
def test_no_network(picture, tmp_path):
    # Of this model, the name in the cache is not the one of the address.
    name, file = "nasnetmobile", "nasnet_mobile.h5"
    home = tmp_path / "home"
    process = start(
        "explain", name, picture, "--out", tmp_path / "out", env=offline(home)
    )
    printed, news = process.communicate(timeout=120)
    assert process.returncode == 2
    assert printed == ""
    said = [line for line in news.splitlines() if "keras-explain" in line]
    assert len(said) == 1
    assert f"put {file} into {home / 'models'}" in said[0]
    assert "Traceback" not in news
    assert "Downloading data" not in news


def test_preprocessing_by_name(model_file):
    pixels = np.full((1, 1, 1, 3), 255, np.float32)
    values = {
        how: preprocess.choose(how, None, None).function(pixels)[0, 0, 0, 0]
        for how in ("none", "scale01", "scale11", "tf", "torch", "caffe")
    }
    assert values == {
        "none": 255,
        "scale01": 1,
        "scale11": 1,
        "tf": 1,
        "torch": pytest.approx((1 - 0.485) / 0.229),
        "caffe": pytest.approx(255 - 103.939),
    }


def rescaled(x):
    return layers.Rescaling(1 / 255)(x)


def divided(x):
    return x / 255.0


def normalized(x):
    return layers.Normalization(mean=127.0, variance=4000.0)(x)


def nested(x):
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(0.1)])
    return inner(x)


def flipped(x):
    return layers.Rescaling(1 / 255)(layers.RandomFlip()(x))


def padded(x):
    return layers.ZeroPadding2D()(x)


@pytest.mark.parametrize(
    ("begin", "rescales"),
    [
        (rescaled, True),
        (divided, True),
        (normalized, True),
        (nested, True),
        (flipped, True),
        (padded, False),
    ],
)
def test_models_that_rescale_are_given_pixels(
    run, picture, tmp_path, begin, rescales
):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, activation="relu")(begin(inputs))
    # What comes after the first weights is none of the preprocessing.
    x = layers.Rescaling(2.0)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    path = save(model, tmp_path / "model.keras")
    code, _, news = run("explain", path, picture, "--method", "gradient")
    assert code == 0, news
    assert ("divided by 255" in news) is not rescales
