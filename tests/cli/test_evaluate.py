"""`keras-explain evaluate` from a model and data to the page of a ranking."""

import importlib.util
import json
import math
import re
import signal

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain
from keras_explain import evaluation
from keras_explain.cli import evaluation_job
from keras_explain.cli.evaluation_measures import MAPS, MEASURES
from keras_explain.engine import catalogue
from keras_explain.evaluation.baselines import center_map, edge_map, random_map
from tests.cli.conftest import save, start, tiny
from tests.docs.pages import ROOT

QUICK = ("--measures", "pointing,energy", "--methods", "gradient,grad_cam")


def samples(count=6, classes=3, size=16, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    masks = np.zeros((count, size, size), np.uint8)
    for k in range(count):
        masks[k, k : k + 8, 3:11] = 1
    return {"x": x, "y": np.arange(count) % classes, "masks": masks}


@pytest.fixture
def write(tmp_path):
    """Writes an `.npz` file of arrays; `None` leaves one out."""

    def write(name="data.npz", **changes):
        arrays = {**samples(), **changes}
        kept = {k: v for k, v in arrays.items() if v is not None}
        np.savez(tmp_path / name, **kept)
        return tmp_path / name

    return write


@pytest.fixture
def data_file(write):
    return write()


@pytest.fixture
def evaluate(run, out):
    """Runs the command into `out`: exit code, stdout, stderr."""

    def evaluate(*arguments):
        return run("evaluate", *arguments, "--out", out)

    return evaluate


def numbers(out):
    return json.loads((out / "evaluation.json").read_text())


def by_name(out):
    return {method["name"]: method for method in numbers(out)["methods"]}


def value(out, method, measure):
    return by_name(out)[method]["measures"][measure]["mean"]


def refused(evaluate, out, text, *arguments):
    """The command says what is wrong and writes nothing."""
    code, printed, news = evaluate(*arguments)
    assert code == 2
    assert text in news
    assert "not expected" not in news
    assert printed == ""
    assert not out.exists() or list(out.iterdir()) == []


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys\n"
        "from keras_explain.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    process = start("evaluate", "--help", code=code)
    printed, news = process.communicate(timeout=60)
    assert process.returncode == 0, news
    assert "--no-baselines" in printed


def test_the_numbers_are_those_of_the_library(
    evaluate, model_file, data_file, out
):
    code, printed, news = evaluate(
        model_file, data_file, "--measures", "energy,deletion",
        "--batch-size", 4, "--methods", "gradient,grad_cam", "--seed", 3,
    )  # fmt: skip
    assert code == 0, news
    assert printed.strip() == str(out / "index.html")
    assert {p.name for p in out.iterdir()} == {"index.html", "evaluation.json"}

    model = keras.saving.load_model(model_file)
    data = samples()
    judged = {
        "gradient": keras_explain.Gradient(model),
        "grad_cam": keras_explain.GradCAM(model),
        "random": random_map(3),
        "center": center_map,
        "edges": edge_map,
    }
    assert set(by_name(out)) == set(judged)
    for name, explainer in judged.items():
        result = evaluation.pointing_game(
            explainer, (data["x"], data["masks"]), data["y"],
            variant="energy", tolerance=0, model=model,
            reduce="magnitude" if name == "gradient" else "sum",
        )  # fmt: skip
        same(by_name(out)[name]["measures"]["energy"], result, name)
    # Each would trace the model anew: the last stands for all.
    result = evaluation.deletion(
        edge_map, data["x"], data["y"], steps=16, model=model, seed=3
    )
    same(by_name(out)["edges"]["measures"]["deletion"], result, "edges")
    page = (out / "index.html").read_text()
    assert page.count("knows nothing of the model</span>") == 3
    assert page.count("<figure") == 1
    assert "data:image/png;base64," in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def same(found, result, name):
    """What the file says is what the library says."""
    np.testing.assert_allclose(
        found["per_sample"], result.per_sample, rtol=1e-3, atol=1e-5
    )
    assert found["mean"] == pytest.approx(result.mean, rel=1e-3)
    assert found["sem"] == pytest.approx(result.sem, rel=1e-3)
    assert found["n_valid"] == result.n_valid
    assert found["settings"]["explainer"] == name
    assert (found["curve"] is None) is (result.curve is None)
    if result.curve is not None:
        for key in ("x", "y", "sem"):
            np.testing.assert_allclose(
                found["curve"][key], result.curve[key], atol=1e-5
            )


@pytest.mark.slow
def test_the_other_numbers_too(evaluate, model_file, data_file, out):
    evaluate(
        model_file, data_file, "--measures",
        "insertion,road,sensitivity_n,infidelity,completeness",
        "--methods", "grad_cam,gradient,input_x_gradient,integrated_gradients",
    )  # fmt: skip
    model = keras.saving.load_model(model_file)
    x, y = samples()["x"], samples()["y"]
    explainer = keras_explain.InputXGradient(model)
    found = by_name(out)["input_x_gradient"]["measures"]
    for name, function, options in (
        ("insertion", evaluation.insertion, {"steps": 16}),
        ("road", evaluation.road, {"shares": (0.1, 0.3)}),
        ("sensitivity_n", evaluation.sensitivity_n,
         {"sizes": 3, "subsets": 12}),
        ("infidelity", evaluation.infidelity,
         {"num_samples": 20, "normalize": True}),
    ):  # fmt: skip
        result = function(explainer, x, y, **options)
        same(found[name], result, "input_x_gradient")
    # Its order is that of magnitudes, and its sums have signs.
    found = by_name(out)["gradient"]["measures"]
    explainer = keras_explain.Gradient(model)
    result = evaluation.sensitivity_n(explainer, x, y, sizes=3, subsets=12)
    same(found["sensitivity_n"], result, "gradient")
    result = evaluation.insertion(explainer, x, y, steps=16, reduce="magnitude")
    same(found["insertion"], result, "gradient")
    # What gives no value for each input value has no infidelity.
    cam = by_name(out)["grad_cam"]
    assert "infidelity" not in cam["measures"]
    assert "no value for each input value" in cam["refused"]["infidelity"]
    assert "promises no sum" in cam["refused"]["completeness"]
    explanation = keras_explain.IntegratedGradients(
        model, num_steps=16
    ).explain(x, y, verbose=False)
    error = np.abs(explanation.delta / explanation.scores)
    found = by_name(out)["integrated_gradients"]["measures"]["completeness"]
    np.testing.assert_allclose(found["per_sample"], error, rtol=0.1, atol=1e-5)


def test_the_ranking(evaluate, model_file, data_file, out):
    code, _, news = evaluate(model_file, data_file, *QUICK)
    assert code == 0
    methods = numbers(out)["methods"]
    ranks = [method["mean_rank"] for method in methods]
    assert ranks == sorted(ranks)
    for method in methods:
        own = [m["rank"] for m in method["measures"].values()]
        assert method["mean_rank"] == pytest.approx(np.mean(own))
    for key in ("pointing", "energy"):
        means = {m["name"]: m["measures"][key]["mean"] for m in methods}
        best = {m["name"] for m in methods if m["measures"][key]["best"]}
        top = max(means.values())
        assert best == {name for name, mean in means.items() if mean == top}
    page = (out / "index.html").read_text()
    titles = re.findall(r'scope="row">([^<]+)<', page)[: len(methods)]
    assert titles == [method["title"] for method in methods]
    first, second = (f"{methods[k]['title']} " for k in (0, 1))
    assert news.index(first) < news.index(second)


def test_masks_are_seen(evaluate, model_file, write, out):
    everywhere = np.ones((6, 16, 16))
    code, _, _ = evaluate(model_file, write(masks=everywhere), *QUICK)
    assert code == 0
    assert value(out, "gradient", "pointing") == 1
    half = everywhere * np.r_[np.ones(8), np.zeros(8)]
    evaluate(model_file, write(mask=half, masks=None), *QUICK)
    assert value(out, "center", "energy") == pytest.approx(0.5, abs=1e-6)


def test_without_masks(evaluate, model_file, write, out):
    data = write(masks=None)
    code, _, news = evaluate(
        model_file, data, "--methods", "gradient", "--measures",
        "pointing,deletion",
    )  # fmt: skip
    assert code == 0
    assert [m["name"] for m in numbers(out)["measures"]] == ["deletion"]
    page = (out / "index.html").read_text()
    for text in (news, page):
        assert "The data have no masks" in text
    assert "Pointing game" not in page


def test_only_measures_that_need_masks(evaluate, model_file, write, out):
    refused(evaluate, out, "These measures need masks of the objects",
            model_file, write(masks=None), *QUICK)  # fmt: skip


def test_methods_that_do_not_fit_are_listed(evaluate, model_file, data_file,
                                            out):  # fmt: skip
    entry = next(e for e in catalogue.entries() if e.name == "guided_backprop")
    model = save(tiny(activation="tanh"), data_file.parent / "tanh.keras")
    code, _, news = evaluate(
        model, data_file, "--measures", "pointing", "--methods",
        "gradient,guided_backprop",
    )  # fmt: skip
    assert code == 0
    assert f"Left out {entry.title}: " in news
    assert set(by_name(out)) == {"gradient", "random", "center", "edges"}
    reason = numbers(out)["left_out"][entry.title]
    assert "ReLU" in reason
    assert "Left out</h2>" in (out / "index.html").read_text()


def test_no_layers_of_the_demo_model_elsewhere(
    evaluate, model_file, data_file, out
):
    evaluate(
        model_file, data_file, "--measures", "energy", "--methods",
        "linear_shap,gradient",
    )  # fmt: skip
    assert "stage3" not in (out / "index.html").read_text()


def test_methods_that_learn_are_fitted(evaluate, model_file, data_file, out):
    code, _, news = evaluate(
        model_file, data_file, "--methods", "pattern_net", "--measures",
        "energy",
    )  # fmt: skip
    assert code == 0
    model = keras.saving.load_model(model_file)
    data = samples()
    explainer = keras_explain.PatternNet(model)
    explainer.fit(data["x"], verbose=False)
    result = evaluation.pointing_game(
        explainer, (data["x"], data["masks"]), data["y"], variant="energy",
        reduce="magnitude",
    )  # fmt: skip
    found = value(out, "pattern_net", "energy")
    assert found == pytest.approx(result.mean, rel=1e-4)


def test_few_samples_unless_exact(evaluate, model_file, data_file, out):
    command = [model_file, data_file, "--methods", "smooth_grad",
               "--measures", "energy", "--no-baselines"]  # fmt: skip
    _, _, news = evaluate(*command)
    assert "fewer samples than by default: SmoothGrad" in news
    page = (out / "index.html").read_text()
    assert "num_samples=16" in page
    _, _, news = evaluate(*command, "--exact")
    assert "fewer samples" not in news
    assert set(by_name(out)) == {"smooth_grad"}
    assert "num_samples" not in (out / "index.html").read_text()


def test_some_of_the_samples(evaluate, model_file, data_file, out):
    code, _, news = evaluate(
        model_file, data_file, "--samples", 4, "--seed", 5, *QUICK
    )
    assert code == 0
    assert "4 of the 6 samples of data.npz, drawn at random with seed 5" in news
    rows = np.sort(np.random.default_rng(5).permutation(6)[:4])
    data = samples()
    result = evaluation.pointing_game(
        center_map, (data["x"][rows], data["masks"][rows]), variant="energy"
    )
    found = by_name(out)["center"]["measures"]["energy"]
    np.testing.assert_allclose(found["per_sample"], result.per_sample)


def test_one_sample(evaluate, model_file, data_file, out):
    code, _, news = evaluate(model_file, data_file, "--samples", 1, *QUICK)
    assert code == 0
    assert "With one sample there is no standard error" in news
    found = by_name(out)["gradient"]["measures"]["energy"]
    assert found["sem"] is None and found["n_valid"] == 1
    page = (out / "index.html").read_text()
    assert "±" not in page
    assert "≈ best" not in page


@pytest.mark.parametrize("how", ["sum", "magnitude"])
def test_how_channels_become_one(evaluate, model_file, data_file, out, how):
    code, _, _ = evaluate(
        model_file, data_file, "--reduce", how, "--measures", "energy",
        "--methods", "gradient,input_x_gradient",
    )  # fmt: skip
    assert code == 0
    model = keras.saving.load_model(model_file)
    data = samples()
    for explainer in (
        keras_explain.Gradient(model),
        keras_explain.InputXGradient(model),
    ):
        result = evaluation.pointing_game(
            explainer, (data["x"], data["masks"]), data["y"],
            variant="energy", reduce=how,
        )  # fmt: skip
        found = value(out, explainer.catalogue_name, "energy")
        assert found == pytest.approx(result.mean, rel=1e-4)
    found = by_name(out)["gradient"]
    assert found["measures"]["energy"]["settings"]["reduce"] == how
    assert ("magnitudes" in " ".join(found["notes"])) is (how == "magnitude")


def test_what_runs_the_explainer_again(evaluate, model_file, data_file, out):
    code, _, _ = evaluate(
        model_file, data_file, "--samples", 2, "--methods",
        "gradient,pattern_net", "--measures", "max_sensitivity,randomization",
    )  # fmt: skip
    assert code == 0
    assert value(out, "center", "max_sensitivity") == 0
    assert value(out, "random", "max_sensitivity") > 0.5
    assert value(out, "edges", "randomization") == pytest.approx(1)
    model = keras.saving.load_model(model_file)
    data = samples()
    rows = np.sort(np.random.default_rng(0).permutation(6)[:2])
    result = evaluation.model_randomization(
        keras_explain.Gradient(model), data["x"][rows], data["y"][rows],
        similarity="spearman_abs",
    )  # fmt: skip
    found = value(out, "gradient", "randomization")
    assert found == pytest.approx(result.mean, abs=1e-4)
    # Its patterns are not those of another model.
    said = by_name(out)["pattern_net"]
    assert "randomization" in {**said["refused"], **said["measures"]}


def test_in_groups_that_fit_into_memory(
    evaluate, model_file, data_file, out, monkeypatch
):
    command = [model_file, data_file, "--measures", "deletion", "--methods",
               "gradient,saliency"]  # fmt: skip
    evaluate(*command)
    whole = by_name(out)
    monkeypatch.setattr(evaluation_job, "MOST_BYTES", 8000)  # some two maps
    evaluate(*command)
    assert {name: method["measures"]["deletion"]["per_sample"]
            for name, method in by_name(out).items()} == {
        name: method["measures"]["deletion"]["per_sample"]
        for name, method in whole.items()
    }  # fmt: skip


def test_tables(evaluate, tmp_path, out):
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, activation="relu"),
         layers.Dense(3)]
    )  # fmt: skip
    path = save(model, tmp_path / "table.keras")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 5)).astype("float32")
    np.savez(tmp_path / "table.npz", x=x, y=np.eye(3)[rng.integers(0, 3, 8)])
    code, _, news = evaluate(
        path, tmp_path / "table.npz", "--methods", "gradient,grad_cam",
        "--measures", "deletion,road",
    )  # fmt: skip
    assert code == 0
    left = numbers(out)["left_out"]
    assert "Edges are between neighbors" in left["Edges"]
    assert "filled in from those around them" in left["Measure ROAD"]
    assert "Grad-CAM" in left
    assert {"gradient", "random", "center"} == set(by_name(out))


def test_one_output(evaluate, tmp_path, write, out):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(2, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    path = save(model, tmp_path / "one.keras")
    code, _, news = evaluate(path, write(y=np.arange(6) % 2), *QUICK)
    assert code == 0
    assert "The model has one output: its score is explained." in news
    assert numbers(out)["accuracy"] is None


def test_same_twice(evaluate, model_file, data_file, out):
    def once():
        evaluate(model_file, data_file, *QUICK)
        found = numbers(out)
        for method in found["methods"]:
            assert method.pop("seconds") >= 0
        return found

    assert once() == once()


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


def test_measures_are_described():
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    for measure in MEASURES:
        assert measure.text.endswith(".") and measure.caveat.endswith(".")
        assert not measure.masks or measure.takes == MAPS
        curve = measure.name in ("deletion", "insertion", "road")
        assert bool(measure.drawn) is curve


def test_the_table_of_the_docs(evaluate, model_file, data_file, out):
    evaluate(model_file, data_file, *QUICK)
    path = ROOT / "docs" / "evaluation_table.py"
    spec = importlib.util.spec_from_file_location("evaluation_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.tables(numbers(out))
    assert made.count("\n| ") == 2 + 5
    first = numbers(out)["methods"][0]
    assert f"| {first['title'].strip('*')}" in made.replace("*", "")
    assert "Pointing game (high)" in made and "*Center*" in made
    measures = {measure.name for measure in MEASURES}
    assert set(module.MEASURES) <= measures


@pytest.mark.slow
def test_every_method_on_the_demo(run, tmp_path):
    out = tmp_path / "out"
    code, _, news = run(
        "evaluate", "demo", "demo", "--samples", 8, "--measures",
        "pointing,energy,boxes,deletion,completeness", "--out", out,
    )  # fmt: skip
    assert code == 0, news
    found = by_name(out)
    named = {entry.name for entry in catalogue.entries()}
    left = len(numbers(out)["left_out"])
    assert len(named & set(found)) + left == len(named)
    for name in ("lrp", "grad_cam", "integrated_gradients"):
        assert found[name]["mean_rank"] < found["random"]["mean_rank"]
    for name in ("lrp", "deep_lift"):
        delta = found[name]["measures"]["completeness"]["mean"]
        assert delta < 1e-3 and not math.isnan(delta)
