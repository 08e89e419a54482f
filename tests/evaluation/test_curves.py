"""Deletion, insertion and AOPC against the numbers of the papers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_explain
from keras_explain.evaluation import deletion, insertion, perturbation_curve
from tests import zoo
from tests.evaluation import nets
from tests.marking import slow_but

X = np.array([[4.0, 3.0, 2.0, 1.0]], "float32")


def itself(inputs, target):
    return inputs


def opposite(inputs, target):
    return -inputs


def test_the_vectors_of_a_sum():
    model = nets.linear([1, 1, 1, 1])
    found = deletion(itself, X, model=model)
    np.testing.assert_allclose(found.curve["y"], [10, 6, 3, 1, 0])
    np.testing.assert_allclose(found.curve["x"], [0, 0.25, 0.5, 0.75, 1])
    assert found.per_sample == pytest.approx([3.75])
    assert deletion(opposite, X, model=model).mean == pytest.approx(6.25)
    assert insertion(itself, X, model=model, fill="zero").mean == 6.25
    options = {"model": model, "fill": "zero"}
    aopc = perturbation_curve(itself, X, **options)
    assert aopc.mean == pytest.approx(6.0)
    np.testing.assert_allclose(aopc.curve["y"], [10, 6, 3, 1, 0])
    lerf = perturbation_curve(itself, X, order="lerf", **options)
    assert lerf.mean == pytest.approx(4.0)
    gap = perturbation_curve(itself, X, order="gap", **options)
    assert gap.mean == pytest.approx(2.0)
    np.testing.assert_allclose(gap.curve["y"], [0, 3, 4, 3, 0])
    # The curve begins before the first step, which two peers leave out.
    two = perturbation_curve(itself, X, steps=2, **options)
    assert two.mean == pytest.approx((0 + 4 + 7) / 3)


def test_the_vectors_of_another_library():
    """f = 1 - max(x == 0): one zero anywhere takes the score away."""
    x = np.random.default_rng(0).uniform(1, 2, (3, 8, 8, 1)).astype("float32")

    def score(inputs):
        zeros = ops.cast(ops.equal(inputs, 0), "float32")
        return 1 - ops.max(zeros, axis=(1, 2))

    found = deletion(itself, x, model=nets.of((8, 8, 1), score), steps=64)
    np.testing.assert_allclose(found.mean, 0.5 / 64, atol=1e-6)

    def first(inputs):
        there = ops.cast(ops.not_equal(inputs, 0), "float32")
        return ops.max(there, axis=(1, 2))

    model = nets.of((8, 8, 1), first)
    found = insertion(itself, x, model=model, steps=64, fill="zero")
    np.testing.assert_allclose(found.mean, 1 - 0.5 / 64, atol=1e-6)


def slow_curve(model, x, values, counts, fill, kept_first):
    """Pixel by pixel, in NumPy; a softmax model's predicted class."""
    probabilities = np.asarray(model(x[None]))[0]
    index = int(probabilities.argmax())
    order = np.argsort(-values.ravel(), kind="stable")
    scores = []
    for count in counts:
        mask = np.full(values.size, not kept_first)
        mask[order[:count]] = kept_first
        mask = mask.reshape(*values.shape, 1)
        altered = np.where(mask, x, fill)
        scores.append(np.asarray(model(altered[None]))[0, index])
    return np.array(scores, "float64")


def test_against_numpy():
    specimen = zoo.build("functional")
    model, x = specimen.model, zoo.images(3)
    maps = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype("float32")
    counts = np.rint(np.linspace(0, 64, 11)).astype(int)
    for measure, fill, kept in ((deletion, 0.25, False),
                                (insertion, 0.5, True)):  # fmt: skip
        found = measure(
            nets.given(maps), x, model=model, steps=10, fill=fill, batch_size=2
        )
        for k in range(3):
            slow = slow_curve(model, x[k], maps[k].sum(-1), counts, fill, kept)
            np.testing.assert_allclose(
                found.curve["per_sample"][k], slow, atol=1e-6
            )
            area = np.dot((slow[1:] + slow[:-1]) / 2, np.diff(counts / 64))
            assert found.per_sample[k] == pytest.approx(area, abs=1e-6)
    assert found.sem == pytest.approx(found.per_sample.std(ddof=1) / 3**0.5)
    magnitude = deletion(
        nets.given(maps), x, model=model, steps=10, reduce="magnitude"
    )
    slow = slow_curve(model, x[0], np.abs(maps[0]).sum(-1), counts, 0, False)
    np.testing.assert_allclose(
        magnitude.curve["per_sample"][0], slow, atol=1e-6
    )


def test_regions_go_as_a_whole():
    x = np.arange(25.0, dtype="float32").reshape(1, 5, 5, 1)
    model = nets.total((5, 5, 1))
    found = perturbation_curve(itself, x, model=model, region=2, fill="zero")
    blocks = sorted(
        (
            x[0, i : i + 2, j : j + 2].sum()
            for i in (0, 2, 4)
            for j in (0, 2, 4)
        ),
        reverse=True,
    )
    expected = x.sum() - np.concatenate([[0], np.cumsum(blocks)])
    np.testing.assert_allclose(found.curve["y"], expected)


def test_ties_go_in_an_order_of_the_seed_alone():
    model = zoo.build("functional").model
    x = zoo.images(5)

    def constant(inputs, target):
        return np.ones(inputs.shape[:3])

    def run(size, seed=0, data=x):
        return deletion(
            constant, data, model=model, steps=9, batch_size=size, seed=seed
        )

    whole = run(5)
    np.testing.assert_allclose(whole.per_sample, run(2).per_sample, rtol=1e-6)
    np.testing.assert_array_equal(whole.per_sample, run(5).per_sample)
    alone = run(1, data=x[3:4]).per_sample
    np.testing.assert_allclose(whole.per_sample[3:4], alone, rtol=1e-6)
    assert np.any(whole.per_sample != run(5, seed=1).per_sample)
    # The order is no scan from the top left.
    rows = np.tile(np.arange(8.0, dtype="float32")[:, None, None], (1, 1, 8, 1))
    sums = nets.total((8, 8, 1))
    scan = deletion(
        lambda i, t: -np.arange(64.0).reshape(1, 8, 8), rows, model=sums
    )
    assert abs(deletion(constant, rows, model=sums).mean - scan.mean) > 1


def test_nan_maps_are_not_valid():
    maps = np.ones((3, 8, 8), "float32")
    maps[1, 2, 3] = np.nan
    model = zoo.build("functional").model
    found = deletion(nets.given(maps), zoo.images(3), model=model, steps=4)
    assert np.isnan(found.per_sample[1]) and found.n_valid == 2
    assert found.mean == pytest.approx(found.per_sample[[0, 2]].mean())


def test_maps_of_another_resolution():
    model, x = zoo.build("functional").model, zoo.images(2)
    small = np.random.default_rng(0).normal(size=(2, 4, 4)).astype("float32")
    large = tf.image.resize(small[..., None], (8, 8), "bilinear").numpy()
    one = deletion(nets.given(small), x, model=model, steps=16)
    other = deletion(nets.given(large), x, model=model, steps=16)
    np.testing.assert_allclose(one.per_sample, other.per_sample, rtol=1e-6)
    with pytest.raises(ValueError, match="A map must fit inputs"):
        deletion(nets.given(np.ones((2, 9, 9))), x, model=model)
    with pytest.raises(ValueError, match="channels of a map are its last"):
        deletion(nets.given(np.ones((2, 3, 8, 8))), x, model=model)
    with pytest.raises(ValueError, match="A map is there for each sample"):
        deletion(nets.given(np.ones((1, 8, 8))), x, model=model)
    with pytest.raises(ValueError, match="one map for each input"):
        deletion(lambda i, t: [i, i], x, model=model)


SOME = ("sequential", "inputs_dict", "lstm", "sigmoid", "subclassed")


@pytest.mark.parametrize("name", slow_but(SOME, zoo.names()))
def test_every_model(name):
    specimen = zoo.build(name)
    integers = specimen.integers
    layer = specimen.feature_map if integers else None
    explainer = keras_explain.Gradient(specimen.model, layer=layer)
    before = [w.copy() for w in specimen.model.get_weights()]
    found = deletion(explainer, specimen.inputs, steps=4, batch_size=1)
    assert found.n_valid == 2 and np.all(np.isfinite(found.curve["y"]))
    together = deletion(explainer, specimen.inputs, steps=4)
    np.testing.assert_allclose(found.per_sample, together.per_sample, atol=2e-5)
    for a, b in zip(before, specimen.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model, x = zoo.build("functional").model, zoo.images(2)
    explainer = keras_explain.Gradient(model)
    for measure in (deletion, insertion):
        found = measure(explainer, x, steps=4)
        assert found.n_valid == 2 and found.curve["y"].dtype == np.float64
    np.testing.assert_allclose(
        found.curve["per_sample"][:, -1], np.max(model(x), 1), atol=1e-3
    )


def test_targets_and_datasets():
    model, x = zoo.build("functional").model, zoo.images(5)
    explainer = keras_explain.Gradient(model)
    labels = np.array([3, 1, 4, 1, 5])
    one = deletion(explainer, x, labels, steps=5, batch_size=2)
    np.testing.assert_array_equal(one.details["class"], labels)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(2)
    other = deletion(explainer, dataset, labels, steps=5)
    np.testing.assert_allclose(one.per_sample, other.per_sample, rtol=1e-5)
    pair = deletion(explainer, (x, labels), labels, steps=5)
    np.testing.assert_allclose(one.per_sample, pair.per_sample, rtol=1e-5)
    seen = []

    def spy(inputs, target):
        seen.append(target)
        return np.asarray(explainer(inputs, target))

    called = deletion(spy, x, labels, model=model, steps=5, batch_size=2)
    np.testing.assert_array_equal(np.concatenate(seen), labels)
    np.testing.assert_allclose(one.per_sample, called.per_sample, rtol=1e-5)
    predicted = deletion(spy, x, model=model, steps=5)
    np.testing.assert_array_equal(seen[-1], np.asarray(model(x)).argmax(-1))
    assert predicted.settings["target"] is None
    difference = keras_explain.Class(1) - keras_explain.Class(2)
    found = deletion(explainer, x, difference, steps=5)
    p = np.asarray(model(x))
    np.testing.assert_allclose(
        found.curve["per_sample"][:, 0], p[:, 1] - p[:, 2], atol=1e-6
    )
    logit = deletion(explainer, x, 1, steps=5, of="log_probability")
    np.testing.assert_allclose(
        logit.curve["per_sample"][:, 0], np.log(p[:, 1]), atol=1e-5
    )


def test_fills():
    model, x = nets.total((6, 6, 2)), zoo.images(2, 6, 2)
    for fill in ("mean", "blur", np.full((6, 6, 2), 0.5)):
        assert deletion(itself, x, model=model, fill=fill, steps=6).n_valid == 2
    runs = [
        deletion(itself, x, model=model, fill="uniform", steps=6, batch_size=k)
        for k in (2, 1)
    ]
    np.testing.assert_allclose(
        runs[0].per_sample, runs[1].per_sample, rtol=1e-5
    )
    last = runs[0].curve
    assert x.min() * 72 < last["y"][-1] < x.max() * 72
    with pytest.raises(ValueError, match="no such fill"):
        deletion(itself, x, model=model, fill="black")
    tokens = zoo.build("lstm")
    with pytest.raises(ValueError, match="no range to draw"):
        deletion(itself, tokens.inputs, model=tokens.model, fill="uniform")


def test_bad_options():
    x = X
    model = nets.linear([1, 1, 1, 1])
    with pytest.raises(ValueError, match="`steps` is an integer of at least 1"):
        deletion(itself, x, model=model, steps=0)
    with pytest.raises(ValueError, match="`order` is one of a few names"):
        perturbation_curve(itself, x, model=model, order="best")
    with pytest.raises(ValueError, match="scores of a model are needed"):
        deletion(itself, x)
    with pytest.raises(TypeError, match="no such setting"):
        deletion(itself, x, model=model, batchsize=3)
    with pytest.raises(TypeError, match="an explainer or a callable"):
        deletion(3, x, model=model)
    with pytest.raises(TypeError, match="not the model itself"):
        deletion(model, x)
    with pytest.raises(ValueError, match="A seed is a non-negative integer"):
        deletion(itself, x, model=model, seed=-1)
    with pytest.raises(ValueError, match="A batch holds at least one"):
        deletion(itself, x, model=model, batch_size=0)
    with pytest.raises(ValueError, match="NaN or infinite values"):
        deletion(itself, x * np.nan, model=model)


def test_curves_of_several_sizes():
    specimen = zoo.build("open_size")
    explainer = keras_explain.Gradient(specimen.model)
    data = [zoo.images(1, 4), zoo.images(1, 6)]
    spec = tf.TensorSpec([None, None, None, 3])
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(data), output_signature=spec
    )
    assert deletion(explainer, dataset, steps=10).n_valid == 2
    with pytest.raises(ValueError, match="a curve of the same length"):
        deletion(explainer, dataset, steps=20)


def test_memory_is_bounded_by_the_batch():
    """No run of the model sees more rows than a batch holds."""
    rows = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            number = tf.shape(x)[0]
            tf.py_function(lambda n: rows.append(int(n)), [number], [])
            return x

    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(Spy()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    deletion(itself, zoo.images(7, 4, 1), model=model, batch_size=4, steps=16)
    assert rows and max(rows) <= 4
