"""What every method keeps on every kind of model."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_explain import ExplainWarning, Explanation
from keras_explain.engine import catalogue
from tests import zoo
from tests.contract.conftest import applies, make, pairs
from tests.marking import slow_but
from tests.traces import assert_same, fingerprint


def maps_of(explainer, inputs, **options):
    with warnings.catch_warnings():
        # Random networks have dead maps; here shapes and numbers count.
        warnings.simplefilter("ignore", ExplainWarning)
        return explainer.explain(inputs, verbose=False, **options)


@pytest.mark.parametrize(("entry", "name"), pairs())
def test_every_method_on_every_model(entry, name):
    specimen = zoo.build(name)
    specimen.model(specimen.inputs)  # Keras keeps a dropout mask of a call
    before = fingerprint(specimen.model)
    explainer = make(entry, specimen)
    if not applies(entry, specimen):
        with pytest.raises(ValueError, match=r"(?s)Received: .*\n"):
            explainer(specimen.inputs)
        return
    found = maps_of(explainer, specimen.inputs)

    flat = tf.nest.flatten(found.attributions)
    assert all(a.dtype == np.float32 for a in flat)
    assert all(np.all(np.isfinite(a)) for a in flat)
    assert any(np.any(a != 0) for a in flat)
    if entry.family == "cam":
        like = tf.nest.flatten(specimen.inputs)[0]
        spatial = like.shape[1:-1] or like.shape[1:]
        assert flat[0].shape == (2, *spatial)
        assert found.layer == specimen.feature_map
    elif not specimen.integers and "affine" not in entry.needs:
        tf.nest.assert_same_structure(found.attributions, specimen.inputs)
        shapes = [a.shape for a in flat]
        assert shapes == [x.shape for x in tf.nest.flatten(specimen.inputs)]

    # Twice the same, and a batch of n is n batches of one.
    again = maps_of(explainer, specimen.inputs)
    singles = maps_of(explainer, specimen.inputs, batch_size=1)
    for a, b, c in zip(
        flat,
        tf.nest.flatten(again.attributions),
        tf.nest.flatten(singles.attributions),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=2e-3, atol=2e-4 * np.abs(a).max())
    np.testing.assert_array_equal(found.target, again.target)
    assert_same(before, fingerprint(specimen.model))


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_same_inside_tf_function_and_tf_data(entry):
    specimen = zoo.build("nested")
    explainer = make(entry, specimen)
    eager = explainer(specimen.inputs, 3)

    compiled = tf.function(lambda x, t: explainer(x, t))
    inside = compiled(tf.constant(specimen.inputs), tf.constant([3, 3]))
    dataset = tf.data.Dataset.from_tensor_slices(specimen.inputs).batch(2)
    mapped = next(iter(dataset.map(lambda x: explainer(x, 3))))

    scale = float(tf.reduce_max(tf.abs(eager)))
    np.testing.assert_allclose(inside, eager, atol=1e-5 * scale)
    np.testing.assert_allclose(mapped, eager, atol=1e-5 * scale)


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_config_round_trip(entry):
    specimen = zoo.build("functional")
    explainer = make(entry, specimen)
    config = json.loads(json.dumps(explainer.get_config()))
    again = entry.cls.from_config(specimen.model, config)
    assert again.get_config() == explainer.get_config()
    if hasattr(again, "fit"):
        again.fit(specimen.inputs, verbose=False)
    np.testing.assert_array_equal(
        again(specimen.inputs, 1), explainer(specimen.inputs, 1)
    )


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_explanation_survives_a_file(entry, tmp_path):
    specimen = zoo.build("functional")
    found = maps_of(make(entry, specimen), specimen.inputs)
    found.save(tmp_path / "it.npz")
    again = Explanation.load(tmp_path / "it.npz")
    np.testing.assert_array_equal(again.attributions, found.attributions)
    np.testing.assert_array_equal(again.target, found.target)
    assert (again.method, again.config, again.layer) == (
        entry.name,
        found.config,
        found.layer,
    )
    assert [p.name for p in tmp_path.iterdir()] == ["it.npz"]


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_the_target_matters_unless_the_paper_says_no(entry):
    specimen = zoo.build("functional")
    explainer = make(entry, specimen)
    first, second = explainer(specimen.inputs, 1), explainer(specimen.inputs, 2)
    differs = bool(np.any(np.asarray(first) != np.asarray(second)))
    assert differs == (entry.name != "eigen_cam")


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_unknown_layer_is_refused_with_near_names(entry):
    specimen = zoo.build("functional")
    options = {"layer": "conv_2"}
    if entry.wraps:
        explainer = entry.cls(catalogue.find("gradient").cls(
            specimen.model, **options))  # fmt: skip
    else:
        explainer = entry.cls(specimen.model, **options)
    with pytest.raises(ValueError, match="'conv2'"):
        explainer(specimen.inputs)


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
@pytest.mark.parametrize(
    "policy",
    slow_but({"mixed_float16"}, ["mixed_bfloat16", "mixed_float16"]),
)
def test_mixed_precision_agrees_with_float32(entry, policy):
    import keras

    reference = make(entry, zoo.build("nested"))(zoo.images(2), 3)
    keras.config.set_dtype_policy(policy)
    specimen = zoo.build("nested")
    mixed = make(entry, specimen)(specimen.inputs, 3)
    a, b = np.ravel(reference), np.ravel(mixed)
    assert b.dtype == np.float32
    assert np.corrcoef(a, b)[0, 1] > (0.99 if "float16" == policy[6:] else 0.9)


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda e: e.name)
def test_docstring_has_an_example_a_cost_and_a_source(entry):
    text = entry.cls.__doc__
    for part in ("Example:", ">>>", "References:", "Output shape:", "Costs"):
        assert part in text, f"{entry.name} says nothing under {part}"
    assert "http" in text
