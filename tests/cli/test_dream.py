"""`keras-explain dream` from a model and a picture to the dream."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_explain as ke
from keras_explain.synthesis import deep_dream
from tests.cli.conftest import START, save, tiny, write_picture

FEW = ("--octaves", 2, "--steps", 3)


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "cat.png", size=(40, 32))


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made" / "dream.png"


@pytest.fixture(scope="session")
def open_file(tmp_path_factory):
    """A model that takes pictures of any size."""
    model = tiny(layers.Rescaling(1 / 255), size=None)
    return save(model, tmp_path_factory.mktemp("open") / "open.keras")


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file)


def expected(file, picture, target="conv", **options):
    model = keras.saving.load_model(file)
    options = {"octaves": 2, "steps": 3, **options}
    dreamt = deep_dream(
        model, pixels(picture), target, verbose=False, **options
    )
    return np.rint(dreamt.images[0]).astype("uint8")


@pytest.mark.parametrize("which", ["model_file", "open_file"])
def test_writes_what_the_library_dreams(run, request, which, picture, made):
    file = request.getfixturevalue(which)
    code, printed, _ = run(
        "dream", file, picture, "--layer", "conv", "--out", made, *FEW
    )
    assert code == 0
    assert printed.strip() == str(made)
    assert [p.name for p in made.parent.iterdir()] == ["dream.png"]
    found = pixels(made)
    assert found.shape == (40, 32, 3)
    np.testing.assert_array_equal(found, expected(file, picture))
    assert (found != pixels(picture)).mean() > 0.5


def test_options_arrive(run, open_file, picture, made):
    run("dream", open_file, picture, "--layer", "conv", "--out", made,
        "--octaves", 3, "--octave-scale", 1.2, "--steps", 2, "--seed", 5,
        "--step-size", 6, "--tile", 24)  # fmt: skip
    wanted = expected(
        open_file, picture, octaves=3, octave_scale=1.2, steps=2, seed=5,
        step_size=6 / 255, tile=24,
    )  # fmt: skip
    np.testing.assert_array_equal(pixels(made), wanted)


def test_several_layers_with_weights(run, open_file, picture, made):
    run("dream", open_file, picture, "--layer", "conv:0.5, pool:2,scores",
        "--out", made, *FEW)  # fmt: skip
    target = (
        0.5 * ke.LayerActivation("conv")
        + 2 * ke.LayerActivation("pool")
        + ke.LayerActivation("scores")
    )
    wanted = expected(open_file, picture, target)
    np.testing.assert_array_equal(pixels(made), wanted)


@pytest.mark.slow
def test_the_number_of_a_call_is_no_weight(run, tmp_path, picture, made):
    inputs = keras.Input((None, None, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = shared(shared(layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    file = save(model, tmp_path / "shared.keras")
    for text, target in (
        ("shared:0", "shared:0"),
        ("shared:0:2", {"shared:0": 2.0}),
        ("shared:3.5", {"shared": 3.5}),
    ):
        run("dream", file, picture, "--layer", text, "--out", made, *FEW)
        wanted = expected(file, picture, target)
        np.testing.assert_array_equal(pixels(made), wanted)


def test_gray_pictures_and_other_ranges(run, tmp_path, picture, made):
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            layers.Conv2D(3, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    file = save(model, tmp_path / "gray.keras")
    code, _, _ = run("dream", file, picture, "--layer", "conv", "--out", made,
                     "--preprocess", "scale11", *FEW)  # fmt: skip
    assert code == 0
    with Image.open(picture) as opened:
        gray = np.asarray(opened.convert("L"), "float32")[..., np.newaxis]
    dreamt = deep_dream(
        model, gray / 127.5 - 1, "conv", octaves=2, steps=3,
        value_range=(-1, 1), verbose=False,
    )  # fmt: skip
    wanted = np.rint((dreamt.images[0, ..., 0] + 1) * 127.5)
    assert pixels(made).shape == (40, 32)
    assert np.abs(pixels(made) - wanted).max() <= 1


def test_large_pictures_are_shrunk(run, open_file, picture, made):
    run("dream", open_file, picture, "--layer", "conv", "--out", made,
        "--size", 20, *FEW)  # fmt: skip
    assert pixels(made).shape == (20, 16, 3)


def test_octaves_that_are_left_out_are_said(run, open_file, picture, made):
    _, _, news = run("dream", open_file, picture, "--layer", "conv", "--out",
                     made, "--octaves", 9, "--steps", 1)  # fmt: skip
    assert re.search(r"Note: Only \d of 9 octaves have 16 pixels", news)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layer", "cnov"], ["No layer of this name", "'conv'"]),
        (["--layer", "cnov:1.5"], ["No layer of this name", "'conv'"]),
        (["--layer", "conv:much"], ["No layer of this name"]),
        (["--layer", "conv:inf"], ["No layer of this name"]),
        (["--layer", "conv,"], ["No layer of this name"]),
        (["--layer", "conv", "--out", "dream.jpg"], ["one .png file"]),
        (["--layer", "conv", "--octaves", "0"], ["--octaves must be at"]),
        (["--layer", "conv", "--steps", "0"], ["--steps must be at least 1"]),
        (["--layer", "conv", "--size", "2"], ["--size must be at least 16"]),
        (["--layer", "conv", "--tile", "2"], ["--tile must be at least 16"]),
        (["--layer", "conv", "--seed=-1"], ["--seed must be at least 0"]),
        (["--layer", "conv", "--octave-scale", "1"], ["--octave-scale"]),
        (["--layer", "conv", "--step-size", "0"], ["--step-size"]),
        (["--layer", "conv", "--step-size", "nan"], ["--step-size"]),
    ],
)  # fmt: skip
def test_what_cannot_be_done(run, model_file, picture, made, options, words):
    code, printed, news = run(
        "dream", model_file, picture, "--out", made, *options
    )
    assert (code, printed) == (2, "")
    for word in words:
        assert word in news, news
    assert not made.exists()


def test_no_picture(run, model_file, tmp_path, made):
    options = ["--layer", "conv", "--out", made]
    code, _, news = run("dream", model_file, tmp_path / "no.png", *options)
    assert code == 2 and "There is no such image" in news and "no.png" in news
    code, _, news = run("dream", model_file, tmp_path, *options)
    assert code == 2 and "which is a folder" in news
    (tmp_path / "text.png").write_text("no picture")
    code, _, news = run("dream", model_file, tmp_path / "text.png", *options)
    assert code == 2 and "The image cannot be read" in news


def test_it_cannot_be_written_there(run, model_file, picture, tmp_path):
    code, printed, news = run(
        "dream", model_file, picture, "--layer", "conv",
        "--out", picture / "dream.png",
    )  # fmt: skip
    assert (code, printed) == (2, "")
    assert "cannot be written to" in news


def test_a_range_that_nobody_knows(run, picture, tmp_path, made):
    file = save(tiny(), tmp_path / "plain.keras")
    code, _, news = run(
        "dream", file, picture, "--layer", "conv", "--out", made
    )
    assert code == 2 and "--preprocess" in news


@pytest.mark.slow
def test_interrupted(open_file, picture, made):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "dream", open_file, picture, "--layer",
         "conv", "--octaves", "1", "--steps", str(10**6), "--out", made],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    news, pressed = b"", False
    with contextlib.suppress(OSError):  # the other end closes
        while part := os.read(ours, 4096):
            news += part
            if not pressed and news.count(b"Dreaming") > 30:
                pressed = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, news
    assert b"Traceback" not in news
    if made.exists():
        assert b"Interrupted after" in news
        assert printed.decode().strip() == str(made)
        assert pixels(made).shape == (40, 32, 3)
    else:  # pressed before the first step
        assert b"nothing was written" in news
