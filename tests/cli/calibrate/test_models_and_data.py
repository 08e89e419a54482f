"""Which models and data `keras-explain calibrate` takes."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.cli.calibrate.conftest import (
    NUM_CLASSES,
    TOO_SURE,
    WEIGHTS,
    build,
    cells,
    samples,
)
from tests.cli.conftest import save


@pytest.mark.parametrize(
    "names", [("X", "Y"), ("inputs", "labels"), ("x_val", "y_val"),
              ("images", "labels")]
)  # fmt: skip
def test_names_of_arrays(run, model_file, write, target, names):
    x, y = samples(200)
    data = write(**dict(zip(names, (x, y[:, None]), strict=True)), other=x)
    code, _, news = run("calibrate", model_file, data, "--out", target)
    assert code == 0
    assert f"(arrays {names[0]} and {names[1]})" in news


def test_x_and_y_go_before_other_names(run, model_file, write, target):
    x, y = samples(200)
    data = write(x=x, y=y, x_test=x[:3], y_test=y[:3])
    news = run("calibrate", model_file, data, "--out", target)[2]
    assert "of the 200 samples" in news
    assert "(arrays x and y)" in news


def test_a_model_of_logits(run, data_file, tmp_path, target, model_file):
    linear = save(build(activation=None), tmp_path / "linear.keras")
    code, _, news = run("calibrate", linear, data_file, "--out", target)
    assert code == 0
    assert "The model ends in no softmax or sigmoid" in news
    other = target.with_name("other.keras")
    _, _, news = run("calibrate", model_file, data_file, "--out", other)
    assert "ends in no softmax" not in news
    pages = [p.with_suffix(".html").read_text() for p in (target, other)]
    assert cells(pages[0]) == cells(pages[1])


def test_one_sigmoid(run, tmp_path, write, target):
    model = save(build("sigmoid", units=1), tmp_path / "binary.keras")
    x, _ = samples()
    odds = x @ WEIGHTS[:, 0]
    rng = np.random.default_rng(0)
    y = rng.random(len(x)) < 1 / (1 + np.exp(-odds))
    data = write(x=x, y=y)
    code, _, news = run("calibrate", model, data, "--out", target)
    assert code == 0
    before, after = cells(target.with_suffix(".html").read_text())[
        "Expected calibration error"
    ]
    assert float(after) < float(before) / 2
    assert "ends in no softmax" not in news


def test_labels_of_positions(run, tmp_path, write, target):
    inputs = keras.Input((5, 4))
    dense = layers.Dense(NUM_CLASSES, activation="softmax", use_bias=False)
    model = keras.Model(inputs, dense(inputs))
    dense.set_weights([TOO_SURE * WEIGHTS])
    path = save(model, tmp_path / "steps.keras")
    x, y = samples()
    data = write(x=x.reshape(-1, 5, 4), y=y.reshape(-1, 5))
    code, _, news = run("calibrate", path, data, "--out", target)
    assert code == 0
    assert "of the 180 samples" in news


def several():
    first, second = keras.Input((2,), name="one"), keras.Input((2,), name="two")
    joined = layers.Concatenate()([first, second])
    dense = layers.Dense(NUM_CLASSES, activation="softmax", use_bias=False)
    model = keras.Model([first, second], dense(joined))
    dense.set_weights([TOO_SURE * WEIGHTS])
    return model


def test_several_inputs(run, tmp_path, write, target, model_file, data_file):
    path = save(several(), tmp_path / "several.keras")
    x, y = samples()
    # In another order than that of the model.
    data = write(y=y, two=x[:, 2:], one=x[:, :2])
    code, _, news = run("calibrate", path, data, "--out", target)
    assert code == 0, news
    assert "(arrays one, two and y)" in news
    other = target.with_name("other.keras")
    run("calibrate", model_file, data_file, "--out", other)
    pages = [p.with_suffix(".html").read_text() for p in (target, other)]
    assert cells(pages[0]) == cells(pages[1])
    code, _, news = run("calibrate", path, data_file, "--out", target)
    assert code == 2
    assert "val.npz, with 'x', 'y'" in news
    assert "'one', 'two', 'y'" in news


def test_a_model_with_code(run, tmp_path, data_file, target):
    code = layers.Lambda(lambda x: x, output_shape=(4,))
    path = save(build(before=[code]), tmp_path / "code.keras")
    command = ["calibrate", path, data_file, "--out", target]
    status, _, news = run(*command)
    assert status == 2
    assert "contains code" in news
    assert run(*command, "--unsafe")[0] == 0
    page = target.with_suffix(".html").read_text()
    assert 'load_model("calm.keras", safe_mode=False)' in page
    x, _ = samples(3)
    model = keras.saving.load_model(target, safe_mode=False)
    assert model.predict(x, verbose=0).shape == (3, NUM_CLASSES)
