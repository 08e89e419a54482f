"""What `keras-explain calibrate` writes: a calibrated model and a report."""

import re
import subprocess
import sys

import numpy as np
import pytest

from keras_explain import calibration
from keras_explain.cli.arguments import CALIBRATORS
from keras_explain.cli.calibrate import METHODS
from keras_explain.cli.measures import measure
from keras_explain.report.rendering import number, percent
from tests.cli.calibrate.conftest import (
    NUM_CLASSES,
    TOO_SURE,
    build,
    cells,
    error_of,
    files,
    halves,
    samples,
)
from tests.cli.conftest import start
from tests.marking import slow_but


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
