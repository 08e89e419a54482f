"""A model that is too sure, samples for it, and its report read back."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_explain import calibration
from tests.cli.conftest import save

NUM_CLASSES, NUM_SAMPLES, TOO_SURE = 3, 900, 4.0
WEIGHTS = np.random.default_rng(3).normal(size=(4, NUM_CLASSES))


def samples(count=NUM_SAMPLES, seed=0):
    """Inputs, and labels drawn as likely as the true model says."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype("float32")
    noise = rng.gumbel(size=(count, NUM_CLASSES))
    return x, (x @ WEIGHTS + noise).argmax(1)


def build(activation="softmax", units=NUM_CLASSES, before=()):
    """A model four times as sure as it should be."""
    dense = layers.Dense(units, activation=activation, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), *before, dense])
    dense.set_weights([TOO_SURE * WEIGHTS[:, :units]])
    return model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the model, and samples to fit and to test on."""
    folder = tmp_path_factory.mktemp("home")
    save(build(), folder / "sure.keras")
    x, y = samples()
    np.savez(folder / "val.npz", x=x, y=y)
    x, y = samples(700, seed=1)
    np.savez(folder / "test.npz", x=x, y=np.eye(NUM_CLASSES)[y])
    return folder


@pytest.fixture
def model_file(home):
    return home / "sure.keras"


@pytest.fixture
def data_file(home):
    return home / "val.npz"


@pytest.fixture
def target(tmp_path):
    """Where the calibrated model goes, into a folder that is not there."""
    return tmp_path / "out" / "calm.keras"


@pytest.fixture
def write(tmp_path):
    """Writes an `.npz` file of arrays."""

    def write(name="data.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def halves(seed=0, count=NUM_SAMPLES, share=0.5):
    """The rows to fit on and those held out."""
    order = np.random.default_rng(seed).permutation(count)
    held = round(count * share)
    return np.sort(order[held:]), np.sort(order[:held])


def error_of(probabilities, labels):
    metric = calibration.ExpectedCalibrationError()
    metric.update_state(labels, probabilities)
    return float(metric.result())


def cells(page):
    """The numbers before and after, by their names."""
    rows = re.findall(r'<tr role="row">(.*?)</tr>', page, re.DOTALL)
    found = {}
    for row in rows:
        name = re.search(r'scope="row">([^<]*)<', row)
        values = re.findall(r'class="num" data-name="\w+">([^<]*)<', row)
        if name:
            found[name[1]] = tuple(values)
    return found


def files(target):
    return sorted(p.name for p in target.parent.glob("*"))
