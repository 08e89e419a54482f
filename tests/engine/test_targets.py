"""Targets: values, algebra, and what they score."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.engine.targets import one_of_each
from tests import zoo


def score(model, x, target):
    return ke.Gradient(model).explain(x, target).scores


def layer_output(model, name, x):
    layer = model.get_layer(name)
    return np.asarray(keras.Model(model.input, layer.output)(x))


TARGETS = [
    ke.Class(),
    ke.Class(3),
    ke.Class([1, 2], of="probability"),
    ke.Class(3) - ke.Class(5),
    0.5 * ke.Class(3) + ke.Channel("conv2", 1) / 2,
    -ke.Neuron("conv2", (1, 2, 3)),
    ke.LayerActivation("conv1"),
    ke.Direction("conv2", [1.0, 0.0, 2.0, 0.0, 0.0, -1.0], 2.0),
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_serialize_compare_and_hash(target):
    config = keras.saving.serialize_keras_object(target)
    again = keras.saving.deserialize_keras_object(config)
    assert again == target
    assert hash(again) == hash(target)
    assert sum(other == target for other in TARGETS) == 1
    with pytest.raises(AttributeError):
        target.anything = 1


def test_scores_by_hand():
    specimen = zoo.build("functional")
    model, x = specimen.model, specimen.inputs
    a = layer_output(model, "conv2", x)
    p = np.asarray(model(x))
    np.testing.assert_allclose(
        score(model, x, ke.Class(4, of="probability")), p[:, 4], rtol=1e-5
    )
    np.testing.assert_allclose(
        score(model, x, ke.Class(4, of="log_probability")),
        np.log(p[:, 4]),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        score(model, x, ke.Class(4) - ke.Class(1)),
        np.log(p[:, 4] / p[:, 1]),
        rtol=1e-3,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        score(model, x, ke.Neuron("conv2", (1, 2, 3))), a[:, 1, 2, 3], rtol=1e-5
    )
    np.testing.assert_allclose(
        score(model, x, ke.Channel("conv2", 3)),
        a[..., 3].mean((1, 2)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        score(model, x, ke.LayerActivation("conv2")),
        (a**2).mean((1, 2, 3)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        score(model, x, ke.Output(lambda p: p[:, 0] * p[:, 1])),
        p[:, 0] * p[:, 1],
        rtol=1e-5,
    )


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_direction_by_hand(power):
    specimen = zoo.build("functional")
    model, x = specimen.model, specimen.inputs
    v = np.array([1.0, 0, 2, 0, 0, -1])
    a = layer_output(model, "conv2", x).astype("float64")
    dot = a @ v
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(v)
    cosine = np.divide(dot, length, out=np.zeros_like(dot), where=length > 0)
    expected = (dot * np.maximum(cosine, 0.1) ** power).mean((1, 2))
    found = score(model, x, ke.Direction("conv2", v, power))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_predicted_class_of_each_sample_is_reported():
    specimen = zoo.build("functional")
    data = np.concatenate([zoo.images(4), 20 * zoo.images(8)[4:]])
    found = ke.Gradient(specimen.model).explain(data, batch_size=3)
    expected = np.asarray(specimen.model(data)).argmax(-1)
    np.testing.assert_array_equal(found.target, expected)


def test_indices_for_each_sample_follow_the_batches():
    specimen = zoo.build("functional")
    data, wanted = zoo.images(5), np.array([1, 9, 3, 3, 0])
    explainer = ke.Gradient(specimen.model)
    together = explainer.explain(data, wanted)
    split = explainer.explain(data, wanted, batch_size=2)
    np.testing.assert_array_equal(split.target, wanted)
    np.testing.assert_allclose(
        split.attributions, together.attributions, atol=1e-6
    )
    for k in range(5):
        one = explainer(data[k : k + 1], int(wanted[k]))
        np.testing.assert_allclose(together.attributions[k], one[0], atol=1e-6)


def test_class_changes_do_not_trace_again():
    specimen = zoo.build("functional")
    explainer = ke.Gradient(specimen.model)
    for target in (1, 2, [3, 4], np.array([5, 6])):
        explainer(specimen.inputs, target)
    assert len(explainer._functions) == 1


def test_several_outputs_by_name_and_number():
    model, x = zoo.two_outputs()
    explainer = ke.Gradient(model)
    kind = explainer(x, ke.Class(3, output="kind"))
    np.testing.assert_array_equal(kind, explainer(x, ke.Class(3, output=0)))
    age = explainer.explain(x, ke.Class(output="age"))
    np.testing.assert_allclose(age.scores, np.asarray(model(x)[1])[:, 0])
    assert np.abs(kind - age.attributions).max() > 1e-4
    both = ke.Class(3, output="kind") + 2 * ke.Class(0, output="age")
    np.testing.assert_allclose(
        explainer(x, both), kind + 2 * age.attributions, atol=1e-6
    )


def test_dict_outputs():
    x = inputs = keras.Input((4,))
    model = keras.Model(
        inputs,
        {
            "b": keras.layers.Dense(3, name="b_out")(x),
            "a": keras.layers.Dense(2, name="a_out")(x),
        },
    )
    data = np.ones((1, 4), "float32")
    found = ke.Gradient(model)(data, ke.Class(1, output="b"))
    kernel = model.get_layer("b_out").kernel
    np.testing.assert_allclose(found[0], kernel[:, 1])


@pytest.mark.filterwarnings("ignore:The map of")  # of a random network
def test_pixels_of_a_segmentation():
    model, x = zoo.segmenter()
    explainer = ke.Gradient(model)
    p = np.asarray(model(x))
    # All pixels, one pixel, a region, a region for each sample.
    log_ratio = np.log(p[..., 2] / p[..., 4])

    def both(**where):
        target = ke.Class(2, **where) - ke.Class(4, **where)
        return explainer.explain(x, target).scores

    np.testing.assert_allclose(both(), log_ratio.mean((1, 2)), atol=1e-4)
    np.testing.assert_allclose(
        both(position=(3, 5)), log_ratio[:, 3, 5], atol=1e-4
    )
    region = np.zeros((8, 8))
    region[2:4, 1:6] = 1
    np.testing.assert_allclose(
        both(region=region), log_ratio[:, 2:4, 1:6].mean((1, 2)), atol=1e-4
    )
    each = np.zeros((2, 8, 8))
    each[0, 3, 5] = each[1, 7, 7] = 1
    np.testing.assert_allclose(
        both(region=each), [log_ratio[0, 3, 5], log_ratio[1, 7, 7]], atol=1e-4
    )
    # The gradient at one pixel reaches as far as the kernel.
    found = np.asarray(explainer(x, ke.Class(2, position=(3, 5))))
    reached = np.abs(found).sum((0, -1)) > 0
    assert reached[2:5, 4:7].any() and not reached[6:].any()


def test_mistakes_are_told(model, images):
    with pytest.raises(ValueError, match="probability"):
        ke.Class(3, of="odds")
    with pytest.raises(ValueError, match="not both"):
        ke.Class(3, region=np.ones((2, 2)), position=(1, 1))
    with pytest.raises(TypeError, match=r"Output\(fn\)"):
        ke.Class(3) + 1
    explainer = ke.Gradient(model)
    with pytest.raises(ValueError, match="has 6 channels"):
        explainer(images, ke.Channel("conv2", 6))
    with pytest.raises(ValueError, match="one number in range"):
        explainer(images, ke.Neuron("conv2", (1, 2)))
    with pytest.raises(ValueError, match="one number in range"):
        explainer(images, ke.Neuron("conv2", (1, 2, 77)))
    with pytest.raises(ValueError, match=r"shape \(6,\)"):
        explainer(images, ke.Direction("conv2", [1.0, 2.0]))
    with pytest.raises(ValueError, match=r"shape \(batch,\)"):
        explainer(images, ke.Output(lambda p: p))


def test_sum_of_a_list_of_targets(model, images):
    many = sum([ke.Class(1), ke.Class(2)])
    found = ke.Gradient(model)(images, many)
    expected = ke.Gradient(model)(images, ke.Class(1) + ke.Class(2))
    np.testing.assert_array_equal(found, expected)


def test_symbolic_targets_inside_a_function(model, images):
    explainer = ke.Gradient(model)
    compiled = tf.function(lambda x, t: explainer(x, t))
    found = compiled(tf.constant(images), tf.constant([3, 4]))
    np.testing.assert_allclose(found, explainer(images, [3, 4]), atol=1e-6)


def test_one_of_each_row_is_a_gather():
    values = tf.constant([[1.0, np.inf, 3.0], [4.0, 5.0, np.nan]])
    index, given = tf.constant([2, 1]), tf.constant([0.5, np.inf])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        ours = one_of_each(values, index)
        theirs = tf.gather(values, index, axis=1, batch_dims=1)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        tape.gradient(ours, values, given),
        tf.convert_to_tensor(tape.gradient(theirs, values, given)),
    )
