"""What `keras-explain evaluate` refuses, and what Ctrl-C leaves."""

import signal

import keras
import numpy as np
import pytest
from keras import layers

from keras_explain.cli import evaluation_job
from tests.cli.conftest import save, tiny
from tests.cli.evaluate.conftest import QUICK, by_name, numbers


def refused(evaluate, out, text, *arguments):
    """The command says what is wrong and writes nothing."""
    code, printed, news = evaluate(*arguments)
    assert code == 2
    assert text in news
    assert "not expected" not in news
    assert printed == ""
    assert not out.exists() or list(out.iterdir()) == []


def test_only_measures_that_need_masks(evaluate, model_file, write, out):
    refused(evaluate, out, "These measures need masks of the objects",
            model_file, write(masks=None), *QUICK)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"y": None}, "The file has no arrays x and y"),
        ({"x": None}, "The file has no arrays x and y"),
        ({"y": np.arange(5)}, "There is one label for each sample"),
        ({"y": np.arange(6) + 0.5}, "Labels are class numbers from 0 on"),
        ({"y": np.arange(6) - 1}, "Labels are class numbers from 0 on"),
        ({"y": np.arange(6)}, "the model tells 3 classes apart"),
        ({"y": np.array(list("abcdef"))}, "Labels are class numbers"),
        ({"y": np.ones((6, 3))}, "Labels are class numbers"),
        ({"x": np.full((6, 16, 16, 3), np.nan)}, "in 6 of 6 samples"),
        ({"x": np.zeros((6, 16, 16, 3), str)}, "The inputs must be numbers"),
        ({"x": np.zeros((6, 16, 16))}, "has shape (None, 16, 16, 3)"),
        ({"x": np.zeros((0, 16, 16, 3)), "y": np.zeros(0, int)},
         "the data hold no samples"),
        ({"masks": np.zeros((5, 16, 16))}, "There is one mask for each"),
        ({"masks": np.zeros((6, 8, 8))}, "of the size of its input"),
        ({"masks": np.full((6, 16, 16), 255)}, "A mask holds 1 where"),
    ],
)  # fmt: skip
def test_wrong_data(evaluate, model_file, write, out, changes, text):
    refused(evaluate, out, text, model_file, write(**changes), *QUICK)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--methods", "grad_cm"], "Near names: 'grad_cam'"),
        (["--methods", "gradient,no such"], "There is no such method"),
        (["--measures", "deleton"], "Near names: 'deletion'"),
        (["--measures", ""], "There is no such measure"),
        (["--methods", "", "--no-baselines"], "There is nothing to compare"),
        (["--samples", 0], "--samples must be at least 1"),
        (["--batch-size", 0], "--batch-size must be at least 1"),
        (["--seed", -1], "--seed must be at least 0"),
        (["--reduce", "max"], "invalid choice"),
    ],
)
def test_wrong_options(evaluate, model_file, data_file, out, options, text):
    refused(evaluate, out, text, model_file, data_file, *options)


def test_no_method_fits(evaluate, data_file, out):
    model = save(tiny(activation="tanh"), data_file.parent / "tanh.keras")
    refused(
        evaluate, out, "ReLU", model, data_file, "--methods",
        "guided_backprop", "--no-baselines", "--measures", "pointing",
    )  # fmt: skip


def test_wrong_files(evaluate, model_file, data_file, tmp_path, out):
    refused(evaluate, out, "There is no such data file", model_file,
            tmp_path / "no.npz")  # fmt: skip
    refused(evaluate, out, "There is no such model file",
            tmp_path / "no.keras", data_file)  # fmt: skip
    refused(evaluate, out, "The demo model has its own weights", "demo",
            data_file, "--weights", "none")  # fmt: skip


def test_models_that_do_not_fit(evaluate, data_file, tmp_path, out):
    inputs = keras.Input((16, 16, 3))
    flat = layers.Flatten()(inputs)
    two = keras.Model(inputs, [layers.Dense(3)(flat), layers.Dense(3)(flat)])
    text = "models with one output of classes"
    refused(evaluate, out, text, save(two, tmp_path / "two.keras"), data_file)
    dense = keras.Model(inputs, layers.Conv2D(3, 1)(inputs))
    refused(evaluate, out, text, save(dense, tmp_path / "d.keras"), data_file)
    broken = tiny()
    broken.layers[-1].kernel.assign(np.full((4, 3), np.nan))
    path = save(broken, tmp_path / "nan.keras")
    refused(evaluate, out, "NaN or infinite", path, data_file, *QUICK)


def test_a_folder_that_cannot_be_written(run, model_file, data_file, tmp_path):
    (tmp_path / "file").write_text("")
    code, printed, news = run(
        "evaluate", model_file, data_file, "--out", tmp_path / "file" / "in"
    )
    assert (code, printed) == (2, "")
    assert "cannot be written to" in news and "--out" in news


def press(monkeypatch, where, name, number):
    """Presses Ctrl-C when a function is called for the n-th time."""
    function, calls = getattr(where, name), []

    def pressed(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    monkeypatch.setattr(where, name, pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    return lambda: signal.signal(signal.SIGINT, before)


def test_interrupted_while_measuring(
    evaluate, model_file, data_file, out, monkeypatch
):
    # In the maps of the second of five: the first is done by then.
    from keras_explain.evaluation.judged import Judge

    command = [
        model_file, data_file, "--batch-size", 3, "--methods",
        "gradient,grad_cam", "--measures", "energy,deletion",
    ]  # fmt: skip
    evaluate(*command)
    whole = by_name(out)
    calls = 5 * 2 + 3  # the energy of all five, then three batches
    mend = press(monkeypatch, Judge, "explain", calls)
    try:
        code, printed, news = evaluate(*command)
    finally:
        mend()
    assert code == 130
    assert printed.strip() == str(out / "index.html")
    assert "Interrupted: the page shows what had been measured" in news
    found = by_name(out)
    assert numbers(out)["interrupted"]
    having = {name: set(m["measures"]) for name, m in found.items()}
    assert having.pop("gradient") == {"energy", "deletion"}
    assert set(map(frozenset, having.values())) == {frozenset({"energy"})}
    ranked = {m["name"]: m["ranked"] for m in numbers(out)["measures"]}
    assert ranked == {"energy": True, "deletion": False}
    for name in whole:
        for key, result in found[name]["measures"].items():
            expected = whole[name]["measures"][key]["per_sample"]
            assert result["per_sample"] == expected
        own = [found[name]["measures"]["energy"]["rank"]]
        assert found[name]["mean_rank"] == np.mean(own)


def test_interrupted_while_explaining(
    evaluate, model_file, data_file, out, monkeypatch
):
    mend = press(monkeypatch, evaluation_job.Job, "_maps", 2)
    try:
        code, printed, news = evaluate(model_file, data_file, *QUICK)
    finally:
        mend()
    assert code == 130
    assert set(by_name(out)) == {"gradient"}
    left = numbers(out)["left_out"]
    assert left["Grad-CAM"] == left["Random"] == "Its turn had not come."


def test_interrupted_before_there_is_anything(
    evaluate, model_file, data_file, out, monkeypatch
):
    mend = press(monkeypatch, evaluation_job.Job, "_maps", 1)
    try:
        code, printed, news = evaluate(model_file, data_file, *QUICK)
    finally:
        mend()
    assert (code, printed) == (130, "")
    assert "nothing was written" in news
    assert list(out.iterdir()) == []
