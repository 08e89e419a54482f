"""What `keras-explain evaluate` compares, leaves out, ranks and shows."""

import importlib.util
import math
import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_explain.cli.evaluation_measures import MAPS, MEASURES
from keras_explain.engine import catalogue
from tests.cli.conftest import save, start, tiny
from tests.cli.evaluate.conftest import QUICK, by_name, numbers
from tests.docs.pages import ROOT


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


def test_one_sample(evaluate, model_file, data_file, out):
    code, _, news = evaluate(model_file, data_file, "--samples", 1, *QUICK)
    assert code == 0
    assert "With one sample there is no standard error" in news
    found = by_name(out)["gradient"]["measures"]["energy"]
    assert found["sem"] is None and found["n_valid"] == 1
    page = (out / "index.html").read_text()
    assert "±" not in page
    assert "≈ best" not in page


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


def test_measures_are_described():
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    for measure in MEASURES:
        assert measure.text.endswith(".") and measure.caveat.endswith(".")
        assert not measure.masks or measure.takes == MAPS
        curve = measure.name in ("deletion", "insertion", "road", "aopc")
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
