"""A tiny model in a file, and pictures to explain with it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_explain.cli.main import main

START = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from keras_explain.cli.main import main\n"
    "sys.exit(main())\n"
)


def tiny(*first, size=16, classes=3, activation="relu"):
    """A model of one convolution, after other layers."""
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            *first,
            layers.Conv2D(
                4,
                3,
                activation=activation,
                kernel_initializer=keras.initializers.GlorotUniform(seed=1),
                bias_initializer=keras.initializers.Constant(0.1),
                name="conv",
            ),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(
                classes,
                activation="softmax",
                kernel_initializer=keras.initializers.GlorotUniform(seed=2),
                name="scores",
            ),
        ]
    )


def save(model: keras.Model, path: Path) -> Path:
    """Saves a model in spite of what Keras does that NumPy warns about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        model.save(path)
    return path


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A model that rescales its pixels itself."""
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    return save(tiny(layers.Rescaling(1 / 255)), path)


def write_picture(path: Path, seed: int = 0, size=(24, 20)) -> Path:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder of three pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k, name in enumerate(("a.png", "b.png", "c.jpg")):
        write_picture(folder / name, seed=k)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(capsys, out):
    """Runs a command in this process: exit code, stdout, stderr."""

    def run(*arguments, to_out=True):
        arguments = [str(argument) for argument in arguments]
        if to_out and arguments[0] in ("explain", "demo"):
            arguments += ["--out", str(out)]
        code = main(arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return run


def start(*arguments, code=START, **options) -> subprocess.Popen:
    """Starts a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
