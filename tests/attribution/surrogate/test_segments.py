"""What a feature is: defaults, segmenters, and maps that do not fit."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import tensorflow as tf

from keras_explain.attribution.surrogate import (
    LIME,
    KernelSHAP,
    ShapleySampling,
    ShapleyValues,
    segments,
)
from tests import zoo
from tests.attribution.surrogate.games import QUARTERS
from tests.marking import slow_but


def features(cls, name, **options):
    specimen = zoo.build(name)
    explainer = cls(specimen.model, batch_size=512, **options)
    return explainer.explain(specimen.inputs, 1).details


@pytest.mark.parametrize(("name", "shape", "number"), [
    ("tabular", (5,), 5), ("series", (12,), 9), ("volume", (6, 8, 8), 8),
    ("functional", (8, 8), 9), ("lstm", (6,), 6),
])  # fmt: skip
def test_defaults_for_few_features(name, shape, number):
    found = features(ShapleyValues, name)
    assert found["segments"].shape == (2, *shape)
    assert found["segments"].dtype == np.int32
    for k in range(2):
        numbers = np.unique(found["segments"][k])
        np.testing.assert_array_equal(numbers, np.arange(number))
    assert found["num_features"].tolist() == [number] * 2
    sizes = np.bincount(found["segments"][0].ravel())
    assert sizes.max() <= 3 * sizes.min()


def test_default_of_steps_of_a_layer():
    found = features(ShapleyValues, "lstm", layer="embedding")
    np.testing.assert_array_equal(found["segments"], [np.arange(6)] * 2)


def test_default_superpixels_follow_the_picture():
    picture = np.zeros((2, 32, 32, 3), "float32")
    picture[0, :, 16:] = 100.0
    picture[1, 16:] = -3.0
    picture += np.random.default_rng(0).normal(size=picture.shape) * 1e-2
    for how in ("quickshift", "slic"):
        for k, sample in enumerate(picture):
            found = segments.cut(how, sample, (32, 32), 16)
            number = found.max() + 1
            assert 2 <= number <= 40
            halves = np.split(found, 2, axis=1 - k)
            # No superpixel reaches far over the edge.
            for j in range(number):
                left, right = (np.sum(h == j) for h in halves)
                assert min(left, right) <= 0.2 * max(left, right)


def test_a_picture_of_one_color_is_cut_into_blocks():
    found = segments.cut("quickshift", np.ones((8, 8, 1)), (8, 8), 4)
    np.testing.assert_array_equal(found, QUARTERS)


@pytest.mark.parametrize("segmenter", [
    QUARTERS, QUARTERS.tolist(), 7 * QUARTERS + 3,
    np.stack([QUARTERS, QUARTERS]), lambda image: QUARTERS.astype("uint8"),
    np.repeat(QUARTERS[..., None], 3, -1),
    np.repeat(np.stack([QUARTERS, QUARTERS])[..., None], 3, -1),
], ids=["map", "lists", "other numbers", "rows", "function", "values",
        "rows of values"])  # fmt: skip
def test_segmenters_that_mean_the_same(segmenter):
    expected = features(ShapleyValues, "functional", segmenter=QUARTERS)
    assert expected["num_features"].tolist() == [4, 4]
    found = features(ShapleyValues, "functional", segmenter=segmenter)
    assert found["num_features"].tolist() == [4, 4]
    maps = found["segments"]
    maps = maps[..., 0] if maps.ndim == 4 else maps
    np.testing.assert_array_equal(maps, [QUARTERS, QUARTERS])
    np.testing.assert_allclose(
        found["baseline_score"], expected["baseline_score"], rtol=1e-5
    )


def test_channels_may_be_features_of_their_own():
    specimen = zoo.build("functional")
    each = np.broadcast_to(np.arange(3), (8, 8, 3))
    explainer = ShapleyValues(specimen.model, segmenter=each)
    maps = explainer(specimen.inputs).numpy()
    assert np.ptp(maps, axis=(1, 2)).max() == 0
    assert len(np.unique(maps[0])) == 3


@pytest.mark.parametrize(("cls", "options"), [
    (KernelSHAP, {"num_samples": 60}),
    (ShapleySampling, {"num_permutations": 3}),
    pytest.param(ShapleyValues, {}, marks=pytest.mark.slow),
    pytest.param(LIME, {"num_samples": 40}, marks=pytest.mark.slow),
])  # fmt: skip
def test_samples_with_other_numbers_of_features(cls, options):
    """They share a batch, and do not know of each other."""
    model, x = zoo.build("functional").model, zoo.images(2)
    halves = np.arange(64).reshape(8, 8) // 32
    fine = np.arange(64).reshape(8, 8) // 6
    maps = np.stack([halves, fine])
    both = cls(model, segmenter=maps, fill="zero", **options).explain(x, 1)
    assert both.details["num_features"].tolist() == [2, 11]
    for k in range(2):
        one = cls(model, segmenter=maps[k], fill="zero", **options)
        alone = one.explain(x[k : k + 1], 1)
        scale = np.abs(alone.attributions).max()
        for a, b in (
            (both.attributions, alone.attributions),
            (both.details["standard_errors"],
             alone.details["standard_errors"]),
        ):  # fmt: skip
            np.testing.assert_allclose(a[k], b[0], atol=1e-4 * scale)


def test_rows_of_maps_follow_their_samples():
    specimen = zoo.build("functional")
    maps = np.stack([QUARTERS, QUARTERS.T, QUARTERS // 2])
    data = zoo.images(3)
    explainer = ShapleyValues(specimen.model, segmenter=maps)
    whole = explainer.explain(data, 1)
    parts = explainer.explain(data, 1, batch_size=1)
    np.testing.assert_array_equal(parts.details["segments"][1], QUARTERS.T)
    np.testing.assert_array_equal(parts.details["num_features"], [4, 4, 2])
    np.testing.assert_allclose(
        whole.attributions, parts.attributions, atol=1e-6
    )


def test_one_feature_over_several_inputs():
    specimen = zoo.build("inputs_dict")
    explainer = ShapleyValues(
        specimen.model,
        segmenter={"image": QUARTERS, "vector": np.array([0, 9, 9, 9])},
    )
    found = explainer.explain(specimen.inputs, 1)
    assert found.details["num_features"].tolist() == [5, 5]
    maps = found.attributions
    np.testing.assert_array_equal(
        maps["image"][:, 0, 0, 0], maps["vector"][:, 0]
    )
    # What is left out takes its default, with numbers of its own.
    half = {"image": QUARTERS}
    rest = ShapleyValues(specimen.model, segmenter=half)
    found = rest.explain(specimen.inputs, 1)
    assert found.details["num_features"].tolist() == [8, 8]
    np.testing.assert_array_equal(
        found.details["segments"]["vector"], [[4, 5, 6, 7]] * 2
    )
    # A function is for the pictures.
    both = zoo.build("inputs_list")
    lists = [QUARTERS.tolist(), [0, 9, 9, 9]]  # as a configuration holds them
    again = ShapleyValues(both.model, segmenter=lists)
    number = again.explain(both.inputs).details["num_features"]
    assert number.tolist() == [5, 5]
    function = KernelSHAP(specimen.model, segmenter=lambda image: QUARTERS)
    assert function.explain(specimen.inputs).details["num_features"][0] == 8


def test_maps_of_another_size():
    specimen = zoo.build("functional")
    x = specimen.inputs
    wanted = r"(?s)each position, \(8, 8\).*Received: .*\(6, 8\).*in the size"
    for segmenter in (QUARTERS[:6], lambda image: QUARTERS[:6]):
        explainer = KernelSHAP(specimen.model, segmenter=segmenter)
        with pytest.raises(ValueError, match=wanted):
            explainer(x)
        with pytest.raises(ValueError, match=wanted):  # and again
            explainer.explain(x)
    three = KernelSHAP(specimen.model, segmenter=np.stack([QUARTERS] * 3))
    with pytest.raises(ValueError, match="shape \\(3, 8, 8\\)"):
        three(x)
    with pytest.raises(ValueError, match="shape \\(3, 8, 8\\)"):
        three.explain(zoo.images(4), batch_size=2)
    for segmenter in (QUARTERS / 2, lambda image: QUARTERS / 2):
        with pytest.raises(ValueError, match="holds integers.*\n.*float64"):
            KernelSHAP(specimen.model, segmenter=segmenter)(x)


def test_an_error_of_the_user_is_handed_on():
    specimen = zoo.build("functional")

    def broken(image):
        raise KeyError("mine")

    explainer = LIME(specimen.model, segmenter=broken)
    with pytest.raises(KeyError, match="mine"):
        explainer(specimen.inputs)
    inside = tf.function(lambda x: explainer(x))
    with pytest.raises(tf.errors.OpError, match="mine"):
        inside(tf.constant(specimen.inputs))


def test_names_and_structures_that_do_not_fit():
    specimen = zoo.build("inputs_dict")
    with pytest.raises(ValueError, match="such seg.*.*\n.*'slick'.*\n.*slic'"):
        LIME(specimen.model, segmenter="slick")
    with pytest.raises(ValueError, match="one segment map for each input"):
        LIME(specimen.model, segmenter={"picture": None})(specimen.inputs)
    with pytest.raises(ValueError, match="one segment map for each input"):
        LIME(specimen.model, segmenter=QUARTERS)(specimen.inputs)
    table = zoo.build("tabular")
    with pytest.raises(ValueError, match="cut from pictures.*\n.*'slic' for"):
        LIME(table.model, segmenter="slic")(table.inputs)


def test_without_scikit_image(monkeypatch):
    real = importlib.import_module

    def missing(name, *args):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(segments.importlib, "import_module", missing)
    specimen = zoo.build("functional")
    with pytest.raises(ImportError, match="pip install scikit-image.*grid"):
        LIME(specimen.model)(specimen.inputs)
    found = LIME(specimen.model, segmenter="grid", num_samples=20)
    assert found(specimen.inputs).shape == (2, 8, 8, 3)


@pytest.mark.parametrize("cls", slow_but({KernelSHAP}, [LIME, KernelSHAP]))
def test_tokens_as_they_are(cls):
    specimen = zoo.build("lstm")
    explainer = cls(specimen.model, fill=19)
    found = explainer.explain(specimen.inputs, 1)
    assert found.attributions.shape == (2, 6)
    assert found.attributions.dtype == np.float32
    assert np.abs(found.attributions).max(1).min() > 0


def test_inside_tf_function_and_tf_data():
    specimen = zoo.build("functional")
    explainer = LIME(specimen.model, num_samples=30)
    eager = explainer(specimen.inputs, 3)
    inside = tf.function(lambda x: explainer(x, 3))(
        tf.constant(specimen.inputs)
    )
    data = tf.data.Dataset.from_tensor_slices(specimen.inputs).batch(2)
    mapped = next(iter(data.map(lambda x: explainer(x, 3))))
    scale = np.abs(eager).max()
    np.testing.assert_allclose(inside, eager, atol=1e-5 * scale)
    np.testing.assert_allclose(mapped, eager, atol=1e-5 * scale)
