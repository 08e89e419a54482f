"""The numbers of `keras-explain evaluate` are those of the library."""

import keras
import numpy as np
import pytest

import keras_explain
from keras_explain import evaluation
from keras_explain.cli import evaluation_job
from keras_explain.cli.evaluation_data import Data, Subject
from keras_explain.evaluation.baselines import center_map, edge_map, random_map
from tests.cli.evaluate.conftest import QUICK, by_name, numbers, samples, value


@pytest.mark.slow
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


def test_masks_are_seen(evaluate, model_file, write, out):
    everywhere = np.ones((6, 16, 16))
    code, _, _ = evaluate(model_file, write(masks=everywhere), *QUICK)
    assert code == 0
    assert value(out, "gradient", "pointing") == 1
    half = everywhere * np.r_[np.ones(8), np.zeros(8)]
    evaluate(model_file, write(mask=half, masks=None), *QUICK)
    assert value(out, "center", "energy") == pytest.approx(0.5, abs=1e-6)


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


def test_same_twice(evaluate, model_file, data_file, out):
    def once():
        evaluate(model_file, data_file, *QUICK)
        found = numbers(out)
        for method in found["methods"]:
            assert method.pop("seconds") >= 0
        return found

    assert once() == once()


def test_the_class_that_comes_next():
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), head])
    head.set_weights([np.eye(3, dtype="float32")])
    x = np.array([[3, 2, 1], [1, 2, 3], [2, 1, 3]], "float32")
    data = Data("data", x, np.array([0, 0, 2]), None, x)

    def rivals(target):
        subject = Subject("model", model, target, 1.0)
        return evaluation_job.Job(subject, data, [], [], 2, 0)._rivals()

    assert rivals(data.labels).tolist() == [1, 2, 0]
    assert rivals(None).tolist() == [1, 1, 0]  # of the predicted classes
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="no other class"):
        rivals(None)


@pytest.mark.slow
def test_measures_of_other_classes_and_inputs(
    evaluate, model_file, data_file, out
):
    code, _, news = evaluate(
        model_file, data_file, "--methods", "input_x_gradient", "--measures",
        "aopc,log_odds,neuron_sensitivity,shift_invariance",
    )  # fmt: skip
    assert code == 0, news
    model = keras.saving.load_model(model_file)
    x, y = samples()["x"], samples()["y"]
    scores = model.predict(x, verbose=0)
    scores[np.arange(6), y] = -1
    explainer = keras_explain.InputXGradient(model)
    found = by_name(out)["input_x_gradient"]["measures"]
    for name, function, options in (
        ("aopc", evaluation.perturbation_curve, {"region": 8, "steps": 16}),
        ("log_odds", evaluation.log_odds_erasure,
         {"other": scores.argmax(1)}),
        ("neuron_sensitivity", evaluation.neuron_sensitivity, {}),
        ("shift_invariance", evaluation.shift_invariance, {}),
    ):  # fmt: skip
        result = function(explainer, x, y, **options)
        same(found[name], result, "input_x_gradient")
    # A map that knows nothing is the same for each class and erases nothing.
    assert value(out, "center", "log_odds") == 0
    assert value(out, "center", "neuron_sensitivity") == pytest.approx(1)
    assert value(out, "center", "shift_invariance") == 0
