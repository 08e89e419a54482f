"""`keras-explain visualize` from a model to pictures, a grid and a page."""

import contextlib
import html
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
from keras_explain.cli import selection
from keras_explain.cli.failures import CommandError
from keras_explain.report.rendering import number
from keras_explain.synthesis import Synthesis, maximize
from tests.cli.conftest import START, save, tiny

STEPS = 4


@pytest.fixture
def visualize(run, out):
    """Runs the command with few steps: exit code, stdout, stderr."""

    def visualize(model, *options, to=out):
        return run("visualize", model, "--steps", STEPS, "--out", to, *options)

    return visualize


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory):
    """A model that does not say which values its pixels have."""
    return save(tiny(), tmp_path_factory.mktemp("plain") / "plain.keras")


def opened(path):
    return keras.saving.load_model(path)


def quiet(model, target, **settings):
    return maximize(model, target, steps=STEPS, verbose=False, **settings)


def read(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def test_classes(visualize, model_file, out):
    code, printed, news = visualize(model_file)
    assert code == 0
    assert printed.strip() == str(out / "index.html")
    assert "Made 3 pictures" in news
    assert {p.name for p in out.iterdir()} == {
        "index.html", "grid.png", "synthesis.npz",
        "class_0.png", "class_1.png", "class_2.png",
    }  # fmt: skip
    expected = quiet(opened(model_file), [0, 1, 2])
    kept = Synthesis.load(out / "synthesis.npz")
    np.testing.assert_array_equal(kept.images, expected.images)
    assert kept.titles == ["class 0", "class 1", "class 2"]
    assert kept.value_range == (0, 255)
    for k, picture in enumerate(expected.pictures()):
        np.testing.assert_array_equal(read(out / f"class_{k}.png"), picture)


def test_the_page_says_what_was_made(visualize, model_file, out):
    visualize(model_file)
    page = (out / "index.html").read_text()
    kept = Synthesis.load(out / "synthesis.npz")
    text = html.unescape(page)
    assert "What the classes of tiny.keras look like to it" in text
    assert "0 to 255, read from the layer 'rescaling" in text
    assert "3 of 16 x 16 pixels" in text
    for title, score in zip(kept.titles, kept.score, strict=True):
        assert f"<h3>{title}</h3>" in page
        assert f"score {number(float(score))}<" in page
    assert page.count('src="data:image/png;base64,') == 3
    assert "gif" not in page and "<script" not in page


@pytest.mark.slow
def test_channels(visualize, model_file, out):
    code, _, _ = visualize(model_file, "--layer", "conv", "--units", "3,0-1")
    assert code == 0
    expected = quiet(
        opened(model_file), [ke.Channel("conv", k) for k in (3, 0, 1)]
    )
    kept = Synthesis.load(out / "synthesis.npz")
    np.testing.assert_array_equal(kept.images, expected.images)
    assert kept.titles == ["conv 3", "conv 0", "conv 1"]
    assert (out / "conv_3.png").exists() and not (out / "conv_2.png").exists()


@pytest.mark.slow
def test_several_of_each_and_a_few_at_once(visualize, model_file, out):
    options = ["--classes", "2,0", "--batch", 2, "--seed", 7]
    visualize(model_file, *options)
    kept = Synthesis.load(out / "synthesis.npz")
    expected = quiet(opened(model_file), [2, 0], batch=2, seed=7)
    np.testing.assert_array_equal(kept.images, expected.images)
    assert kept.titles[:2] == ["class 2, 1 of 2", "class 2, 2 of 2"]
    together = read(out / "class_0_2.png").astype(int)
    visualize(model_file, *options, "--at-once", 2)
    apart = read(out / "class_0_2.png").astype(int)
    assert np.abs(together - apart).max() <= 1
    assert len(Synthesis.load(out / "synthesis.npz")) == 4


def test_one_file(visualize, model_file, tmp_path):
    path = tmp_path / "made" / "grid.png"
    code, printed, _ = visualize(model_file, "--gif", to=path)
    assert code == 0
    assert printed.strip() == str(path)
    assert [p.name for p in sorted(path.parent.iterdir())] == [
        "grid.gif", "grid.png",
    ]  # fmt: skip
    assert read(path).std() > 10


def test_a_moving_picture(visualize, model_file, out):
    visualize(model_file, "--gif", "--classes", "1")
    with Image.open(out / "steps.gif") as file:
        assert file.n_frames == STEPS + 1
    assert "data:image/gif;base64," in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        ("none", {"value_range": (0, 255)}),
        ("scale01", {"value_range": (0, 1)}),
        ("tf", {"value_range": (-1, 1)}),
        (
            "caffe",
            {
                "value_range": (0, 255),
                "preprocess": lambda x: (
                    x[..., ::-1]
                    - np.array([103.939, 116.779, 123.68], "float32")
                ),
            },
        ),
    ],
)
def test_preprocessing(visualize, plain_file, out, how, settings):
    code, _, _ = visualize(plain_file, "--preprocess", how, "--classes", "1")
    assert code == 0
    expected = quiet(opened(plain_file), [1], **settings)
    kept = Synthesis.load(out / "synthesis.npz")
    assert kept.value_range == settings["value_range"]
    np.testing.assert_allclose(kept.images, expected.images, atol=1e-3)


def test_a_range_that_nobody_knows(visualize, plain_file, out):
    code, printed, news = visualize(plain_file)
    assert (code, printed) == (2, "")
    assert "does not say which values its pixels have" in news
    assert "--preprocess" in news and "scale01 for 0 to 1" in news
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_an_application_brings_its_preprocessing(visualize, out):
    code, _, _ = visualize(
        "MobileNetV3Small", "--weights", "none", "--size", 32,
        "--classes", "5",
    )  # fmt: skip
    assert code == 0
    kept = Synthesis.load(out / "synthesis.npz")
    assert kept.value_range == (0, 255)
    assert kept.images.shape == (1, 32, 32, 3)


@pytest.mark.slow
def test_open_sizes(visualize, tmp_path, out):
    path = save(
        tiny(layers.Rescaling(1 / 255), size=None), tmp_path / "open.keras"
    )
    visualize(path, "--size", 24)
    assert Synthesis.load(out / "synthesis.npz").images.shape[1:3] == (24, 24)
    visualize(path)
    assert Synthesis.load(out / "synthesis.npz").images.shape[1:3] == (128, 128)


def test_names_of_classes(visualize, model_file, tmp_path, out):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog <b>\nbird\n")
    visualize(model_file, "--labels", names, "--classes", "1")
    assert Synthesis.load(out / "synthesis.npz").titles == ["dog <b>"]
    assert "<h3>dog &lt;b&gt;</h3>" in (out / "index.html").read_text()
    assert (out / "class_1.png").exists()


def test_the_first_of_many(visualize, tmp_path, out):
    many = tiny(layers.Rescaling(1 / 255), classes=20)
    path = save(many, tmp_path / "many.keras")
    _, _, news = visualize(path)
    assert "the first 16 of 20 classes; --classes chooses others" in news
    assert len(Synthesis.load(out / "synthesis.npz")) == 16


def test_what_the_library_warns_of_is_said(visualize, tmp_path, out):
    # One channel that nothing moves: its weights are zero.
    model = tiny(layers.Rescaling(1 / 255))
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 2] = 0
    model.get_layer("conv").set_weights([kernel, bias])
    path = save(model, tmp_path / "dead.keras")
    code, _, news = visualize(path, "--layer", "conv")
    assert code == 0
    assert "1 of 4 pictures has no gradient (rows [2])" in news
    page = html.unescape((out / "index.html").read_text())
    assert "1 of 4 pictures has no gradient" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layer", "cnov"], ["No layer of this name", "'conv'"]),
        (["--layer", "conv", "--units", "2-9"],
         ["There are 4 channels in 'conv', 0 to 3", "4, 5, 6, 7, 8, 9"]),
        (["--classes", "3"], ["There are 3 classes, 0 to 2", "with 3"]),
        (["--classes", "a"], ["These are no numbers", "'a'", "1,4,7-9"]),
        (["--classes", "0-5000"], ["more than anyone", "0-5000"]),
        (["--units", "1"], ["--layer"]),
        (["--layer", "conv", "--classes", "1"], ["--classes", "leave one"]),
        (["--steps", "0"], ["--steps must be at least 1"]),
        (["--at-once", "0"], ["--at-once must be at least 1"]),
        (["--batch", "0"], ["--batch must be at least 1"]),
        (["--seed=-1"], ["--seed must be at least 0"]),
        (["--size", "24"], ["16 x 16", "--size 24"]),
        (["--out", "grid.jpg"], ["one .png", "grid.jpg"]),
    ],
)  # fmt: skip
def test_what_cannot_be_done(run, model_file, out, options, words):
    code, printed, news = run("visualize", model_file, "--out", out, *options)
    assert (code, printed) == (2, "")
    for word in words:
        assert word in news, news
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]),
        ("0-3", [0, 1, 2, 3]),
        ("1,4,7-9", [1, 4, 7, 8, 9]),
        (" 4 , 2-3,3,4", [4, 2, 3]),
    ],
)
def test_numbers(text, numbers):
    assert selection.chosen(text, "--units") == numbers


@pytest.mark.parametrize(
    "text", ["", ",", "1,", "-1", "3-1", "1-", "1.5", "1 2", "\u0663", "0x1"]
)
def test_no_numbers(text):
    with pytest.raises(CommandError, match="These are no numbers"):
        selection.chosen(text, "--units")


def test_it_cannot_be_written_there(run, model_file, tmp_path):
    (tmp_path / "file").write_text("")
    code, printed, news = run(
        "visualize", model_file, "--out", tmp_path / "file" / "in_it"
    )
    assert (code, printed) == (2, "")
    assert "cannot be written to" in news and "--out" in news


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys\n"
        "from keras_explain.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    for command in ("visualize", "dream"):
        done = subprocess.run(
            [sys.executable, "-c", code, command, "--help"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "--layer" in done.stdout


def interrupted(arguments, seen):
    """Presses Ctrl-C once something was shown: exit code, stdout, the rest."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    news, pressed = b"", False
    with contextlib.suppress(OSError):  # the other end closes
        while part := os.read(ours, 4096):
            news += part
            if not pressed and re.search(seen, news):
                pressed = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert pressed and b"Traceback" not in news, news
    return process.returncode, printed.decode(), news.decode()


# How much time is left is known once some steps are made.
STEPS_ARE_MADE = rb"\d+:\d\d:\d\d"


@pytest.mark.slow
def test_interrupted(model_file, out):
    code, printed, news = interrupted(
        ["visualize", model_file, "--steps", 10**5, "--at-once", 2, "--out",
         out],
        STEPS_ARE_MADE,
    )  # fmt: skip
    assert code == 130, news
    assert printed.strip() == str(out / "index.html")
    said = re.search(r"Interrupted after (\d+) of 100000 steps", news)
    assert said and int(said[1]) > 0
    assert "2 of 3 pictures" in news
    kept = Synthesis.load(out / "synthesis.npz")
    assert (len(kept), kept.steps) == (2, int(said[1]))
    assert {p.name for p in out.glob("class*")} == {
        "class_0.png",
        "class_1.png",
    }
    assert not [p for p in out.rglob("*") if ".part" in p.name]


@pytest.mark.slow
def test_interrupted_before_there_is_anything(model_file, out):
    code, printed, news = interrupted(
        ["visualize", model_file, "--steps", 10**5, "--out", out],
        rb"Making pictures",
    )
    assert code == 130, news
    if (out / "synthesis.npz").exists():  # it was waited for the first steps
        assert Synthesis.load(out / "synthesis.npz").steps < 100
    else:
        assert printed == "" and "nothing was written" in news
        assert list(out.iterdir()) == []
