"""ROAD and the erasure of log odds."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_explain
from keras_explain.evaluation import log_odds_erasure, road
from tests import zoo
from tests.engine.test_inpainting import slow_inpaint
from tests.evaluation import nets
from tests.marking import slow_but


def itself(inputs, target):
    return inputs


def road_by_hand(model, x, values, share, index):
    order = np.argsort(-values.ravel(), kind="stable")
    mask = np.ones(values.size, bool)
    mask[order[: round(share * values.size)]] = False
    mask = mask.reshape(values.shape)
    picture = np.stack(
        [slow_inpaint(x[..., c], mask) for c in range(x.shape[-1])], -1
    )
    return np.asarray(model(picture[None].astype("float32")))[0, index]


def test_road_against_numpy():
    """The gap, in which both orders are."""
    model, x = zoo.build("functional").model, zoo.images(3)
    maps = np.random.default_rng(1).normal(size=(3, 8, 8)).astype("float32")
    shares = [0.2, 0.5, 0.9]
    found = road(
        nets.given(maps), x, [2, 0, 7], order="gap", shares=shares,
        noise_stddev=0, model=model, of="probability", batch_size=2,
    )  # fmt: skip
    assert found.curve["x"].tolist() == [0, *shares]
    for k, index in enumerate([2, 0, 7]):
        slow = [
            road_by_hand(model, x[k], -maps[k], share, index)
            - road_by_hand(model, x[k], maps[k], share, index)
            for share in [0, *shares]
        ]
        each = found.curve["per_sample"][k]
        np.testing.assert_allclose(each, slow, atol=1e-5)
        assert np.abs(slow).max() > 1e-3
        assert found.per_sample[k] == pytest.approx(np.mean(slow[1:]), abs=1e-5)


def test_road_accuracy_does_not_depend_on_the_batch():
    """A peer's depends on the batch: only the first one is looked at."""
    model, x = zoo.build("functional").model, zoo.images(9)
    labels = np.asarray(model(x)).argmax(-1)
    labels[5:] = (labels[5:] + 1) % 10  # these are wrong from the beginning
    explainer = keras_explain.Gradient(model)
    runs = [
        road(explainer, x, labels, shares=[0.3, 0.6], batch_size=size)
        for size in (9, 4)
    ]
    for run in runs:
        np.testing.assert_array_equal(
            run.curve["per_sample"], runs[0].curve["per_sample"]
        )
    np.testing.assert_array_equal(
        runs[0].curve["per_sample"][:, 0], [1] * 5 + [0] * 4
    )
    assert set(np.unique(runs[0].curve["per_sample"])) <= {0, 1}


@pytest.mark.slow
def test_road_noise_and_seed():
    """Of a sum of all values, which a mean and noise change by little."""
    model, x = nets.total((4, 4, 1)), zoo.images(3, 4, 1)

    def run(data=x, **options):
        options = {"shares": [0.4], "of": "logit", "model": model, **options}
        return road(itself, data, order="lerf", **options).per_sample

    once = run()
    assert np.all(once != run(seed=2))
    np.testing.assert_allclose(once[2:], run(x[2:]), rtol=1e-4)
    # The noise is relative: of a picture scaled by 1000 it is 1000 times.
    np.testing.assert_allclose(1000 * once, run(1000 * x), rtol=1e-3)


@pytest.mark.parametrize(
    "name", slow_but(("inputs_dict",), ("inputs_dict", "series", "volume"))
)
def test_road_of_series_and_volumes(name):
    specimen = zoo.build(name)
    explainer = keras_explain.Gradient(specimen.model)
    assert road(explainer, specimen.inputs, shares=[0.5]).n_valid == 2


def test_road_refuses():
    tables, x = zoo.build("tabular"), zoo.images(2)
    explainer = keras_explain.Gradient(tables.model)
    with pytest.raises(ValueError, match="filled in from those around"):
        road(explainer, tables.inputs)
    single = keras_explain.Gradient(zoo.build("sigmoid").model)
    with pytest.raises(ValueError, match="always the predicted one"):
        road(single, x)
    many = keras_explain.Gradient(zoo.build("functional").model)
    target = keras_explain.Class(1) - keras_explain.Class(2)
    with pytest.raises(ValueError, match="accuracy is that of a class"):
        road(many, x, target)
    for shares in ([], [0.5, 0.2], [0.0, 0.5], [1.5]):
        with pytest.raises(ValueError, match="`shares` says how much"):
            road(many, x, shares=shares)
    with pytest.raises(ValueError, match="`noise_stddev` is a share"):
        road(many, x, noise_stddev=-1)
    with pytest.raises(ValueError, match="`of` is one of a few names"):
        road(many, x, of="score")


def test_erasure_of_a_linear_model():
    """delta = sum of w_c0 - w_ct over the erased, by hand."""
    noise = np.random.default_rng(0)
    x = noise.normal(size=(6, 10)).astype("float32")
    w = noise.normal(size=(10, 3)).astype("float32")
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(3)])
    model.set_weights([w, np.zeros(3, "float32")])
    other = np.array([0, 1, 2, 0, 1, 2])
    found = log_odds_erasure(
        keras_explain.InputXGradient(model), x, other=other, batch_size=4
    )
    classes = (x @ w).argmax(1)
    for k in range(6):
        s = x[k] * (w[:, classes[k]] - w[:, other[k]])
        gone = (s > max(np.sort(s)[::-1][2], 0)).nonzero()[0]
        if classes[k] == other[k]:
            assert np.isnan(found.per_sample[k])
            continue
        assert found.details["erased"][k] == len(gone) <= 2
        assert found.per_sample[k] == pytest.approx(s[gone].sum(), rel=1e-4)
        flipped = s.sum() - s[gone].sum() < 0
        assert found.details["flipped"][k] == flipped
    assert 0 < found.n_valid < 6


def test_erasure_takes_only_what_is_positive_and_above_ties():
    model = nets_two()
    x = np.array([[1.0, 1.0, 1.0, 1.0]], "float32")

    def explain(inputs, target):
        return np.array([[5.0, 2.0, 2.0, -1.0]]) * (np.asarray(target) == 0)

    options = {"model": model, "other": 1}
    # On place 0.5 * 4 + 1 is a 2: both of them stay.
    found = log_odds_erasure(explain, x, 0, share=0.5, **options)
    assert found.details["erased"].tolist() == [1]
    # Everything may go, but a negative value speaks for the other.
    found = log_odds_erasure(explain, x, 0, share=1, **options)
    assert found.details["erased"].tolist() == [3]
    assert found.per_sample == pytest.approx([3.0])


def nets_two():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    kernel = np.array([[1, 0]] * 4, "float32")
    model.set_weights([kernel, np.zeros(2, "float32")])
    return model


def test_erasure_refuses():
    model, x = zoo.build("functional").model, zoo.images(2)
    explainer = keras_explain.Gradient(model)
    with pytest.raises(ValueError, match="`share` is how much"):
        log_odds_erasure(explainer, x, other=1, share=0)
    with pytest.raises(ValueError, match="Log odds are those of two classes"):
        log_odds_erasure(
            explainer, x, keras_explain.Class(1) - keras_explain.Class(2),
            other=1,
        )  # fmt: skip
    with pytest.raises(ValueError, match="out of range"):
        log_odds_erasure(explainer, x, other=99)
    with pytest.raises(TypeError, match="no such setting"):
        log_odds_erasure(explainer, x, other=1, of="probability")
