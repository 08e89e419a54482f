"""What `keras-explain calibrate` refuses, and that it then leaves nothing."""

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

from tests.cli.calibrate.conftest import build, files, samples
from tests.cli.conftest import START, save, start

X, Y = samples(60)
DATA = [
    ({"a": X, "b": Y}, "The file has no arrays x and y"),
    ({"a": X, "b": Y}, "with 'a', 'b'"),
    ({"x_train": X, "y_train": Y}, "The file has no arrays x and y"),
    ({}, "with nothing"),
    (
        {"x_val": X, "y_val": Y, "x_test": X, "y_test": Y},
        "It is not clear which arrays",
    ),
    ({"x": X, "y": Y[:-1]}, "There is one label for each sample"),
    ({"x": X, "y": Y[:-1]}, "'x' of shape (60, 4), 'y' of shape (59,)"),
    ({"x": X, "y": np.int64(1)}, "have one row for each sample"),
    ({"x": X[:0], "y": Y[:0]}, "the data hold no samples"),
    ({"x": X[:1], "y": Y[:1]}, "too few samples to hold some out"),
    ({"x": X[:, :3], "y": Y}, "of the model has shape (None, 4)"),
    ({"x": X.astype(str), "y": Y}, "must hold numbers"),
    ({"x": X * np.nan, "y": Y}, "The logits hold NaN or infinite values"),
    ({"x": X, "y": Y + 1}, "A label is out of range: there are 3 classes"),
    ({"x": X, "y": Y + 0.5}, "these labels are no class numbers"),
    ({"x": X, "y": Y.astype(str)}, "Labels are class numbers"),
    ({"x": X, "y": np.eye(4)[Y]}, "Labels are class numbers of the shape"),
    ({"x": X, "y": Y.astype(object)}, "The array holds Python objects"),
]


@pytest.mark.parametrize(("contents", "text"), DATA)
def test_wrong_data(run, model_file, write, target, contents, text):
    refused(run, target, text, model_file, write(**contents))


def refused(run, target, text, *arguments):
    """A command says what is wrong and writes nothing."""
    code, printed, news = run("calibrate", *arguments, "--out", target)
    assert code == 2
    assert text in news
    assert "not expected" not in news
    assert printed == ""
    assert files(target) == []


def test_labels_of_the_test_are_checked(run, model_file, data_file, write,
                                        target):  # fmt: skip
    other = write("test.npz", x=X, y=Y + 7)
    text = "A label is out of range"
    refused(run, target, text, model_file, data_file, "--test", other)


def test_files_that_are_no_archives(run, model_file, data_file, tmp_path,
                                    target):  # fmt: skip
    def says(text, path):
        refused(run, target, text, model_file, path)

    says("There is no such data file", tmp_path / "no.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    says("The file is no .npz archive", tmp_path / "text.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    says("The file is no .npz archive", tmp_path / "empty.npz")
    np.save(tmp_path / "one.npy", X)
    says("The file is no .npz archive", tmp_path / "one.npy")
    says("Is a directory", tmp_path)
    whole = bytearray(data_file.read_bytes())
    whole[2000:2100] = bytes(100)
    (tmp_path / "damaged.npz").write_bytes(whole)
    says("the file is damaged", tmp_path / "damaged.npz")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--method", "vector"], "All samples have the same class"),
        (["--holdout", 0], "--holdout is a share of DATA"),
        (["--holdout", 1], "--holdout is a share of DATA"),
        (["--holdout", "nan"], "--holdout is a share of DATA"),
        (["--holdout", 0.001], "too few samples to hold some out"),
        (["--seed", -1], "--seed must be at least 0"),
        (["--batch-size", 0], "--batch-size must be at least 1"),
        (["--test", "no.npz"], "There is no such data file"),
        (["--test", "no.npz", "--holdout", 0.5], "leave --holdout out"),
        (["--method", "magic"], "invalid choice"),
        (["--weights", "none"], "--weights is for models of"),
    ],
)
def test_wrong_options(run, model_file, write, target, options, text):
    data = write(x=X, y=np.ones(60, int))
    refused(run, target, text, model_file, data, *options)


def test_fitted_and_measured_on_the_same(run, model_file, data_file, target):
    text = "The samples to measure on are those it is fitted on"
    refused(run, target, text, model_file, data_file, "--test", data_file)


def test_models_that_do_not_fit(run, data_file, tmp_path, target):
    def says(text, model):
        path = save(model, tmp_path / "model.keras")
        refused(run, target, text, path, data_file)

    says("A sigmoid over several units", build("sigmoid"))
    says("there are 2 classes", build(None, units=1))
    inputs = keras.Input((4,))
    heads = [layers.Dense(3)(inputs), layers.Dense(3)(inputs)]
    says("Calibration is for models with one output",
         keras.Model(inputs, heads))  # fmt: skip
    refused(
        run, target, "There is no such model file", tmp_path / "no.keras",
        data_file,
    )  # fmt: skip
    build().export(tmp_path / "saved", verbose=False)
    refused(
        run, target, "a SavedModel cannot be put into one",
        tmp_path / "saved", data_file,
    )  # fmt: skip


def test_places_that_cannot_be_written(run, model_file, data_file, tmp_path):
    def says(text, out):
        before = sorted(tmp_path.rglob("*"))
        code, printed, news = run(
            "calibrate", model_file, data_file, "--out", out
        )
        assert (code, printed) == (2, "")
        assert text in news
        assert sorted(tmp_path.rglob("*")) == before

    says("which ends in .keras", tmp_path / "model.h5")
    says("which ends in .keras", tmp_path / "model")
    says("would take the place of the model", model_file)
    (tmp_path / "taken.keras").mkdir()
    says("There is a folder of the name", tmp_path / "taken.keras")
    (tmp_path / "page.html").mkdir()
    says("There is a folder of the name", tmp_path / "page.keras")
    (tmp_path / "file").write_text("")
    says("cannot be written to", tmp_path / "file" / "model.keras")


FULL = (
    "import resource, sys\n"
    "from keras_explain.cli.main import main\n"
    "limit = int(sys.argv.pop(1))\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
    "sys.exit(main())\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"), [(2_000, "calm.keras"), (30_000, "calm.html")]
)
def test_a_full_disk_leaves_nothing(model_file, data_file, target, limit, file):
    # The smaller limit stops the model, and the larger one its page.
    process = start(
        limit, "calibrate", model_file, data_file, "--out", target, code=FULL
    )
    printed, news = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "The file cannot be written there" in news
    assert re.search(rf"{file}'? \(File too large\)", news), news
    assert "Traceback" not in news
    assert printed == ""
    assert files(target) == []


def test_interrupted(model_file, write, target):
    x, y = samples(100_000)
    data = write(x=x, y=y)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "calibrate", model_file, data,
         "--batch-size", "1", "--out", target],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while not re.search(rb"Batches.* [1-9]\d*/100000", seen):
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the other end closes
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == b""
    assert b"Stopping after this batch" in seen
    assert b"nothing was written" in seen
    # The fit alone has 50,000 batches.
    assert max(map(int, re.findall(rb"(\d+)/100000", seen))) < 40_000
    assert files(target) == []
