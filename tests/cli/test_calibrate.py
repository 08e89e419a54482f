"""`keras-explain calibrate` from a model and held-out data to the report."""

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

from keras_explain import calibration
from keras_explain.cli.arguments import CALIBRATORS
from keras_explain.cli.calibrate import METHODS
from keras_explain.cli.measures import measure
from keras_explain.report.rendering import number, percent
from tests.cli.conftest import START, save, start
from tests.marking import slow_but

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


def test_the_methods_are_those_of_the_library():
    assert tuple(METHODS) == CALIBRATORS
    named = set(calibration.__all__)
    assert {cls.__name__ for cls in METHODS.values()} <= named


def test_help(run):
    code, printed, _ = run("calibrate", "--help")
    assert code == 0
    assert "an .npz file of samples the model was not trained on" in printed
    assert re.search(r"\n    calibrate\s+make a model", run("--help")[1])


def test_writes_a_model_and_a_report(run, model_file, data_file, target):
    code, printed, news = run(
        "calibrate", model_file, data_file, "--out", target
    )
    assert code == 0
    assert printed.strip() == str(target)
    assert files(target) == ["calm.html", "calm.keras"]
    assert f"Report: {target.with_suffix('.html')}" in news

    x, y = samples()
    fit, held = halves()
    model = build()
    scaling = calibration.TemperatureScaling(model)
    scaling.fit((x[fit], y[fit]), verbose=False)
    before = model.predict(x[held], verbose=0)
    after = scaling.predict(x[held], verbose=False)
    assert error_of(after, y[held]) < error_of(before, y[held]) / 3

    page = target.with_suffix(".html").read_text()
    found = cells(page)
    expected = {
        "Expected calibration error": error_of,
        "Maximum calibration error": metric_of("MaximumCalibrationError"),
        "Classwise calibration error": metric_of("ClasswiseCalibrationError"),
        "Negative log likelihood": metric_of("NegativeLogLikelihood"),
        "Brier score": metric_of("BrierScore"),
    }
    for name, measured in expected.items():
        texts = tuple(number(measured(p, y[held])) for p in (before, after))
        assert found[name] == texts
        assert re.search(rf"^{name} +{texts[0]} +{texts[1]}$", news, re.M)
    right = percent(float(np.mean(before.argmax(1) == y[held])))
    assert found["Accuracy"] == (right, right)
    assert page.count('<span class="hit">better</span>') == 5
    assert f"The temperature is {number(scaling.temperature)}," in page
    assert scaling.temperature == pytest.approx(TOO_SURE, rel=0.3)
    for text in (
        "Calibration of sure.keras", "TemperatureScaling",
        "450 samples of val.npz", "450 samples held out of val.npz",
        "fitted on 450 of the 900 samples of val.npz (arrays x and y)",
        "the other 450, which were drawn at random with seed 0",
        'load_model("calm.keras")',
    ):  # fmt: skip
        assert text in page, text
    assert "drawn at random with seed 0" in news


def metric_of(name):
    def measured(probabilities, labels):
        metric = getattr(calibration, name)()
        metric.update_state(labels, probabilities)
        return float(metric.result())

    return measured


def test_the_page_has_two_diagrams_inside(run, model_file, data_file, target):
    run("calibrate", model_file, data_file, "--out", target)
    page = target.with_suffix(".html").read_text()
    images = re.findall(r"<img [^>]*>", page)
    found = cells(page)["Expected calibration error"]
    for image, when, error in zip(
        images, ("before", "after"), found, strict=True
    ):
        assert 'src="data:image/png;base64,' in image
        assert f"Reliability diagram {when} calibration" in image
        assert f"expected calibration error {error}," in image
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


OPENS = """
import sys
import keras, numpy as np
import keras_explain.calibration
model = keras.saving.load_model(sys.argv[1])
x = np.load(sys.argv[2])["x"]
np.save(sys.argv[3], model.predict(x, verbose=0))
"""


@pytest.mark.parametrize("method", slow_but({"temperature"}, CALIBRATORS))
def test_the_file_opens_elsewhere(
    run, model_file, data_file, target, tmp_path, method
):
    code, _, _ = run(
        "calibrate", model_file, data_file, "--method", method,
        "--out", target,
    )  # fmt: skip
    assert code == 0
    result = tmp_path / "result.npy"
    subprocess.run(
        [sys.executable, "-c", OPENS, target, data_file, result], check=True
    )
    x, y = samples()
    fit, held = halves()
    fitted = METHODS[method](build()).fit((x[fit], y[fit]), verbose=False)
    opened = np.load(result)
    np.testing.assert_allclose(
        opened, fitted.predict(x, verbose=False), rtol=1e-5, atol=1e-6
    )
    before, after = cells(target.with_suffix(".html").read_text())[
        "Expected calibration error"
    ]
    assert after == number(error_of(opened[held], y[held]))
    assert float(after) < float(before) / 2


@pytest.mark.slow
def test_the_other_commands_open_it(run, model_file, data_file, target):
    run("calibrate", model_file, data_file, "--out", target)
    # In a process that has not calibrated anything.
    process = start("layers", target)
    printed, news = process.communicate(timeout=120)
    assert process.returncode == 0, news
    assert "TemperatureLayer" in printed
    again = target.with_name("again.keras")
    assert run("calibrate", target, data_file, "--out", again)[0] == 0
    page = again.with_suffix(".html").read_text()
    assert "as sure as it should be" in page


def test_measures_on_other_samples(run, home, model_file, data_file, target):
    code, _, news = run(
        "calibrate", model_file, data_file, "--test", home / "test.npz",
        "--out", target,
    )  # fmt: skip
    assert code == 0
    assert "fitted on 900 samples of val.npz (arrays x and y). All" in news
    assert "are of 700 samples of test.npz" in news
    scaling = calibration.TemperatureScaling(build())
    scaling.fit(samples(), verbose=False)
    x, y = samples(700, seed=1)
    page = target.with_suffix(".html").read_text()
    assert f"The temperature is {number(scaling.temperature)}," in page
    assert cells(page)["Expected calibration error"] == (
        number(error_of(build().predict(x, verbose=0), y)),
        number(error_of(scaling.predict(x, verbose=False), y)),
    )


def test_share_and_seed_of_what_is_held_out(run, model_file, data_file, target):
    run(
        "calibrate", model_file, data_file, "--holdout", 0.2, "--seed", 7,
        "--out", target,
    )  # fmt: skip
    x, y = samples()
    fit, held = halves(7, share=0.2)
    scaling = calibration.TemperatureScaling(build())
    scaling.fit((x[fit], y[fit]), verbose=False)
    page = target.with_suffix(".html").read_text()
    assert f"The temperature is {number(scaling.temperature)}," in page
    assert "720 of the 900 samples" in page
    assert "the other 180, which were drawn at random with seed 7" in page
    after = scaling.predict(x[held], verbose=False)
    assert cells(page)["Expected calibration error"][1] == number(
        error_of(after, y[held])
    )


def test_the_default_name(run, model_file, data_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run("calibrate", model_file, data_file)
    assert code == 0
    assert printed.strip() == str(tmp_path / "sure_calibrated.keras")
    assert (tmp_path / "sure_calibrated.html").exists()


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


def test_constants_of_the_classes(run, model_file, data_file, target):
    for method, headings in (
        ("vector", ("Factor", "Offset")),
        ("platt", ("Slope", "Intercept")),
    ):
        run("calibrate", model_file, data_file, "--method", method,
            "--out", target)  # fmt: skip
        x, y = samples()
        fit, _ = halves()
        made = METHODS[method](build()).fit((x[fit], y[fit]), verbose=False)
        page = target.with_suffix(".html").read_text()
        first, second = (
            (made.weights, made.bias)
            if method == "vector"
            else (made.slope, made.intercept)
        )
        for k in range(NUM_CLASSES):
            assert f'data-name="{headings[0]}">{number(first[k])}<' in page
            assert f'data-name="{headings[1]}">{number(second[k])}<' in page
            assert f">Class {k}</th>" in page


def test_probabilities_of_zero_are_counted(run, model_file, write, target):
    x, y = samples(120)
    code, _, news = run(
        "calibrate", model_file, write(x=x, y=y), "--method", "histogram",
        "--out", target,
    )  # fmt: skip
    assert code == 0
    fit, held = halves(count=120)
    made = calibration.HistogramBinning(build())
    made.fit((x[fit], y[fit]), verbose=False)
    after = made.predict(x[held], verbose=False)
    zeros = int((after[np.arange(len(held)), y[held]] == 0).sum())
    assert zeros > 0
    text = f"gives {zeros} of the labels measured the probability zero"
    assert text in news
    assert text in target.with_suffix(".html").read_text()


def test_warnings_of_the_fit_are_shown(run, model_file, write, target):
    x, _ = samples(40)
    data = write(x=x, y=np.zeros(40, int))
    code, _, news = run("calibrate", model_file, data, "--out", target)
    assert code == 0
    text = "All samples have the same class (0)"
    assert text in news
    assert text in target.with_suffix(".html").read_text()


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


def test_same_twice(run, model_file, data_file, target):
    pages = []
    for _ in range(2):
        run("calibrate", model_file, data_file, "--out", target)
        pages.append(target.with_suffix(".html").read_text())
    assert pages[0] == pages[1]
    assert files(target) == ["calm.html", "calm.keras"]


def test_what_a_perfect_model_shows_by_chance():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 200).astype("float32")

    def draw():
        """Labels as the probabilities say."""
        below = probabilities.cumsum(1) < rng.random((200, 1))
        return below.sum(1).clip(0, 2)

    errors = [error_of(probabilities, draw()) for _ in range(300)]
    by_chance = measure(probabilities, draw()).by_chance()
    assert by_chance == pytest.approx(np.quantile(errors, 0.95), rel=0.1)
