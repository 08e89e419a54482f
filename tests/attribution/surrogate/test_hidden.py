"""What takes the place of hidden features."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.surrogate import (
    LIME,
    KernelSHAP,
    ShapleyValues,
    hidden,
)
from keras_explain.engine import masking
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.inpainting import inpaint
from tests import zoo
from tests.attribution.surrogate.games import QUARTERS, shapley


def scores(model, x, index=1):
    """The logits of one class."""
    logits = model.get_layer("logits")
    body = keras.Model(model.inputs, logits.input)
    kernel, bias = logits.get_weights()
    return body.predict(x, verbose=0) @ kernel[:, index] + bias[index]


def exact_of(model, x, hide):
    """Shapley values of quarters by hand.

    `hide(sample, mask)` returns the rows over which a score is averaged.
    """
    shown = [np.arange(4)[k >> np.arange(4) & 1 == 1] for k in range(16)]
    masks = [np.isin(QUARTERS, s)[..., None].astype("float32") for s in shown]
    points = np.stack([hide(x, mask) for mask in masks])  # (16, rows, ...)
    found = scores(model, points.reshape(-1, *x.shape))
    mean = found.reshape(16, -1).mean(1)
    return shapley(lambda s: mean[sum(1 << j for j in s)], 4)


def quarters(maps):
    return [maps[np.nonzero(QUARTERS == j)][0, 0] for j in range(4)]


def put(values):
    return lambda x, mask: (mask * x + (1 - mask) * values).astype("float32")


def segment_mean(x, mask):
    out = x.copy()
    for j in range(4):
        out[QUARTERS == j] = x[QUARTERS == j].mean(0)
    return put(out)(x, mask)[None]


ROWS = zoo.images(5)[2:]


@pytest.mark.parametrize(("fill", "hide"), [
    pytest.param("zero", lambda x, m: put(0)(x, m)[None],
                 marks=pytest.mark.slow),
    (0.5, lambda x, m: put(0.5)(x, m)[None]),
    ("mean", lambda x, m: put(x.mean((0, 1)))(x, m)[None]),
    (ROWS[0], lambda x, m: put(ROWS[0])(x, m)[None]),
    (ROWS, lambda x, m: put(ROWS)(x[None], m)),
    ("segment_mean", segment_mean),
    ("inpaint", lambda x, m: inpaint(x[None], m[None]).numpy()),
], ids=["zero", "number", "mean", "values", "background", "segment mean",
        "inpaint"])  # fmt: skip
def test_fills(fill, hide):
    specimen = zoo.build("functional")
    explainer = ShapleyValues(
        specimen.model, fill=fill, segmenter=QUARTERS, batch_size=7
    )
    maps = explainer(specimen.inputs, 1).numpy()
    expected = exact_of(specimen.model, specimen.inputs[0], hide)
    np.testing.assert_allclose(quarters(maps[0]), expected, atol=2e-6)
    assert np.abs(expected).max() > 1e-3


def test_a_background_of_several_inputs_and_numbers():
    specimen = zoo.build("inputs_dict")
    rows = {"image": ROWS, "vector": np.arange(12).reshape(3, 4) / 10}
    segmenter = {"image": QUARTERS, "vector": np.array([4, 4, 5, 5])}
    options = {"segmenter": segmenter, "batch_size": 1024}
    found = ShapleyValues(specimen.model, fill=rows, **options).explain(
        specimen.inputs, 1
    )
    assert np.abs(found.delta).max() < 1e-6
    x = {k: v.astype("float32") for k, v in rows.items()}
    np.testing.assert_allclose(
        found.details["baseline_score"], scores(specimen.model, x).mean(),
        rtol=1e-5,
    )  # fmt: skip
    mixed = ShapleyValues(
        specimen.model, fill={"image": ROWS, "vector": 0.0}, **options
    ).explain(specimen.inputs, 1)
    x["vector"] = 0 * x["vector"]
    np.testing.assert_allclose(
        mixed.details["baseline_score"], scores(specimen.model, x).mean(),
        rtol=1e-5,
    )  # fmt: skip


def test_a_background_at_a_layer():
    """Rows of inputs, as the layer sees them."""
    specimen = zoo.build("functional")
    found = ShapleyValues(
        specimen.model, fill=ROWS, layer="conv2", segmenter=QUARTERS,
        batch_size=2,
    ).explain(specimen.inputs, 1)  # fmt: skip
    assert found.attributions.shape == (2, 8, 8, 6)
    np.testing.assert_allclose(
        found.details["baseline_score"],
        scores(specimen.model, ROWS).mean(), rtol=1e-5,
    )  # fmt: skip
    # The score is linear behind the layer.
    end = specimen.model.get_layer("logits").get_weights()[0][:, 1]
    first = keras.Model(
        specimen.model.inputs, specimen.model.get_layer("conv2").output
    )
    away = first.predict(specimen.inputs, verbose=0) - first.predict(
        ROWS, verbose=0
    ).mean(0)
    for j in range(4):
        expected = (away[:, QUARTERS == j] @ end).sum(1) / 64
        at = np.argwhere(QUARTERS == j)[0]
        np.testing.assert_allclose(
            found.attributions[:, at[0], at[1], 0], expected, atol=1e-6
        )


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_masked_rows_in_chunks(batch_size):
    """The engine: the mean over rows, whatever the chunks."""
    sizes = []

    class Rows(Explainer):
        def _attribute(self, function):
            at = function.evaluate()
            function = function.settled(at.indices)
            masked = masking.Masked(function, at, rows=tf.constant(ROWS))
            kept = tf.constant([0.0, 1.0, 0.25])[:, None, None, None, None]

            def masks(ids):
                sizes.append(ids.shape)
                return tf.gather(kept, ids % 3)

            found = masked.collect(masks, 5, batch_size)
            return Attribution(at.point, at, details={
                "scores": tf.transpose(found)})  # fmt: skip

    specimen = zoo.build("functional")
    found = Rows(specimen.model).explain(specimen.inputs, 1).details["scores"]
    kept = np.array([0.0, 1.0, 0.25, 0.0, 1.0])[:, None, None, None, None, None]
    points = kept * specimen.inputs[:, None] + (1 - kept) * ROWS
    expected = scores(specimen.model, points.reshape(-1, 8, 8, 3))
    expected = expected.reshape(5, 2, 3).mean(2)
    np.testing.assert_allclose(found.T, expected, rtol=1e-5)


def test_the_model_never_sees_more_rows_than_allowed():
    specimen = zoo.build("functional")
    seen = []

    class Watch(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda n: seen.append(int(n)), [tf.shape(x)[0]], [])
            return x

    x = keras.Input((8, 8, 3))
    model = keras.Model(x, specimen.model(Watch()(x)))
    KernelSHAP(
        model, fill=ROWS, segmenter=QUARTERS, batch_size=8
    )(specimen.inputs)  # fmt: skip
    assert max(seen) <= 8 and len(seen) > 10
    # 16 coalitions of 3 rows and 2 samples, and the inputs themselves.
    assert sum(seen) < 16 * 3 * 2 + 10


def test_segment_mean_of_channels_of_their_own():
    x = tf.constant(zoo.images(2))
    segments = tf.constant(np.arange(2 * 192).reshape(2, 8, 8, 3) % 3)
    found = hidden.segment_mean(x, tf.cast(segments, tf.int32), 3)
    mean = np.asarray(x).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(found, np.broadcast_to(mean, x.shape), rtol=1e-5)


def test_default_of_lime_per_kind():
    specimen = zoo.build("series")
    found = LIME(specimen.model, num_samples=20)(specimen.inputs, 1)
    mean = LIME(specimen.model, num_samples=20, fill="mean")
    np.testing.assert_array_equal(found, mean(specimen.inputs, 1))
    both = zoo.build("inputs_list")
    maps = LIME(both.model, num_samples=40)(both.inputs, 1)
    assert all(np.abs(m).max() > 0 for m in maps)


def test_refused_fills():
    specimen = zoo.build("functional")
    x = specimen.inputs
    with pytest.raises(ValueError, match="no such fill.*\n.*'men'.*\n.*'mean'"):
        KernelSHAP(specimen.model, fill="men")
    for wrong in (np.zeros((5, 8, 8, 1)), np.zeros((7, 8, 3)),
                  np.zeros((0, 8, 8, 3))):  # fmt: skip
        with pytest.raises(ValueError, match=r"(?s)does not fit inputs of "
                           r"shape \(2, 8, 8, 3\).*x_train"):  # fmt: skip
            KernelSHAP(specimen.model, fill=wrong)(x)
    both = zoo.build("inputs_dict")
    rows = {"image": ROWS, "vector": np.zeros((2, 4))}
    with pytest.raises(ValueError, match="same number of background.*\n.*3, 2"):
        KernelSHAP(both.model, fill=rows)(both.inputs)
    with pytest.raises(ValueError, match="equals the input.*\n.*samples \\[0"):
        KernelSHAP(specimen.model, fill=x[0], segmenter=QUARTERS)(x)
    table = zoo.build("tabular")
    with pytest.raises(ValueError, match="for images, series and vol.*\n.*5"):
        LIME(table.model, fill="inpaint")(table.inputs)


def test_in_painting_beside_a_table():
    specimen = zoo.build("inputs_dict")
    found = ShapleyValues(
        specimen.model, fill="inpaint",
        segmenter={"image": QUARTERS, "vector": np.arange(4, 8)},
    ).explain(specimen.inputs, 1)  # fmt: skip
    x = {"image": specimen.inputs["image"].copy(),
         "vector": 0 * specimen.inputs["vector"]}  # fmt: skip
    x["image"][:] = x["image"].mean((1, 2), keepdims=True)
    np.testing.assert_allclose(
        found.details["baseline_score"], scores(specimen.model, x), rtol=1e-4
    )
