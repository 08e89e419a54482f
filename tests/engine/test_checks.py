"""Bad input: one clear error or warning each, and nothing lost."""

from __future__ import annotations

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.engine import checks
from tests import zoo


@pytest.fixture
def explainer(model):
    return ke.GradCAM(model)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_pixels(explainer, images, bad):
    images[1, 2, 3, 0] = bad
    with pytest.raises(
        ValueError, match=r"(?s)NaN or infinite.*1 in input 0, samples \[1\]"
    ):
        explainer(images)
    # The explainer is as good as before.
    images[1, 2, 3, 0] = 0
    assert np.isfinite(explainer(images)).all()


def test_a_single_image_needs_a_batch_axis(explainer, images):
    with pytest.raises(ValueError, match=r"inputs\[None\]"):
        explainer(images[0])


def test_wrong_channel_count(explainer):
    with pytest.raises(ValueError, match="must hold 3 channels"):
        explainer(zoo.images(2, channels=1))


def test_channels_first(explainer, images):
    with pytest.raises(ValueError, match="transpose them"):
        explainer(np.moveaxis(images, -1, 1))


def test_wrong_size(explainer):
    with pytest.raises(ValueError, match=r"(?s)\(None, 8, 8, 3\).*Resize"):
        explainer(zoo.images(2, size=9))


def test_too_many_inputs(explainer, images):
    with pytest.raises(ValueError, match="takes 1 input"):
        explainer([images, images])


def test_wrong_names_of_inputs():
    specimen = zoo.build("inputs_dict")
    inputs = {"picture": specimen.inputs["image"], "vector": None}
    inputs["vector"] = specimen.inputs["vector"]
    with pytest.raises(ValueError, match="'image', 'vector'"):
        ke.Gradient(specimen.model)(inputs)


def test_inputs_of_different_length():
    specimen = zoo.build("inputs_list")
    image, vector = specimen.inputs
    with pytest.raises(ValueError, match="same number of samples"):
        ke.Gradient(specimen.model)([image, vector[:1]])


def test_text_is_no_number(explainer):
    with pytest.raises(TypeError, match="must hold numbers"):
        explainer(np.array(["cat"]))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "float16"])
def test_other_number_formats_are_converted(dtype):
    specimen = zoo.build("functional")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3))
    expected = ke.Gradient(specimen.model)(pixels.astype("float32"), 1)
    found = ke.Gradient(specimen.model)(pixels.astype(dtype), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("index", [10, -1, [3, 12]])
def test_class_index_out_of_range(explainer, images, index):
    with pytest.raises(ValueError, match="Pass 0 to 9"):
        explainer(images, index)


def test_class_index_of_a_single_output_says_what_to_do():
    specimen = zoo.build("sigmoid")
    with pytest.raises(ValueError, match=r"-Class\(0\)"):
        ke.Gradient(specimen.model)(specimen.inputs, 1)


def test_a_class_name_is_no_target(explainer, images):
    with pytest.raises(TypeError, match="Look names up first"):
        explainer(images, "cat")


def test_one_hot_and_float_targets(explainer, images):
    with pytest.raises(ValueError, match="argmax"):
        explainer(images, np.eye(10, dtype=int)[[1, 2]])
    with pytest.raises(TypeError, match="integer"):
        explainer(images, np.array([1.0, 2.0]))


def test_wrong_number_of_targets(explainer, images):
    with pytest.raises(ValueError, match="3 indices for 2 samples"):
        explainer(images, [1, 2, 3])


def test_unknown_layer_with_near_names(model, images):
    with pytest.raises(ValueError, match="Near names: 'conv2', 'conv1'"):
        ke.GradCAM(model, layer="conv_2")(images)


def test_a_layer_of_another_model(model, images):
    other = layers.Dense(3, name="conv1")
    with pytest.raises(ValueError, match="not called by this model"):
        ke.GradCAM(model, layer=other)(images)


def test_a_layer_without_spatial_output(model, images):
    with pytest.raises(
        ValueError,
        match=r"(?s)GradCAM needs a layer with output.*"
        r"layer='logits', whose output is \(None, 10\).*'conv1', 'conv2'",
    ):
        ke.GradCAM(model, layer="logits")(images)


def test_a_model_without_feature_map():
    specimen = zoo.build("tabular")
    with pytest.raises(ValueError, match="no layer of the model"):
        ke.GradCAM(specimen.model)(specimen.inputs)


def test_an_unbuilt_model(images):
    for model in (keras.Sequential([layers.Dense(3)]), zoo.Subclassed()):
        with pytest.raises(ValueError, match="not built"):
            ke.Gradient(model)(images)


def test_no_model_at_all():
    with pytest.raises(TypeError, match=r"takes a keras\.Model"):
        ke.Gradient(layers.Dense(3))


def test_a_tf_keras_model_is_named():
    """A class of that package's name; the package itself is not needed."""
    module = types.ModuleType("tf_keras.src.engine.training")
    cls = type("Functional", (), {"__module__": module.__name__})
    with pytest.raises(TypeError, match=r"(?s)Keras 2 model.*model\.save"):
        ke.Gradient(cls())


def test_another_backend_is_refused():
    checks.check_backend("tensorflow")
    with pytest.raises(
        RuntimeError, match="(?s)backend 'jax'.*KERAS_BACKEND=tensorflow"
    ):
        checks.check_backend("jax")


def test_tokens_have_no_gradient():
    specimen = zoo.build("lstm")
    with pytest.raises(ValueError, match="layer='embedding'"):
        ke.Gradient(specimen.model)(specimen.inputs)
    with pytest.raises(ValueError, match="AblationCAM"):
        ke.ScoreCAM(specimen.model)(specimen.inputs)


def test_a_layer_the_score_does_not_depend_on():
    model, x = zoo.two_outputs()
    explainer = ke.Gradient(model, layer="kind")
    with pytest.raises(ValueError, match="does not depend"):
        explainer(x, ke.Class(0, output="age"))


def test_several_outputs_need_a_name():
    model, x = zoo.two_outputs()
    with pytest.raises(ValueError, match=r"Class\(index, output='kind'\)"):
        ke.GradCAM(model)(x)
    with pytest.raises(ValueError, match="no such output"):
        ke.GradCAM(model)(x, ke.Class(0, output="kid"))


def test_saturated_softmax_is_told(images):
    specimen = zoo.build("functional")
    dense = specimen.model.get_layer("logits")
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel * 1000, bias])
    with pytest.warns(ke.ExplainWarning, match="saturated.*logit"):
        ke.Gradient(specimen.model)(images, ke.Class(of="probability"))


def test_all_zero_map_is_told():
    specimen = zoo.build("functional")
    dense = specimen.model.get_layer("logits")
    kernel, bias = dense.get_weights()
    dense.set_weights([-np.abs(kernel), bias])
    with pytest.warns(ke.ExplainWarning, match="zero everywhere.*layer"):
        ke.GradCAM(specimen.model)(specimen.inputs, 3)


def test_overflow_is_told():
    specimen = zoo.build("functional")
    with pytest.warns(ke.ExplainWarning, match="not finite"):
        ke.Sensitivity(specimen.model)(specimen.inputs, 1e38 * ke.Class(3))


@pytest.mark.parametrize("options", [(1 / 255,), (1 / 127.5, -1)])
def test_pixels_on_the_wrong_scale_are_told(options):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(*options),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    pixels = np.random.default_rng(0).random((2, 8, 8, 3)).astype("float32")
    with pytest.warns(ke.ExplainWarning, match="expects pixels up to 255"):
        ke.Gradient(model)(pixels)
    ke.Gradient(model)(pixels * 255)  # and none on the right one


def test_data_without_samples(explainer):
    with pytest.raises(ValueError, match="no samples"):
        explainer.explain(zoo.images(2)[:0])
    with pytest.raises(ValueError, match="no samples"):
        explainer(zoo.images(2)[:0])
    empty = tf.data.Dataset.from_tensor_slices(zoo.images(2)).batch(2).take(0)
    with pytest.raises(ValueError, match="no samples"):
        explainer.explain(empty)


def test_a_dataset_that_is_not_batched(explainer):
    single = tf.data.Dataset.from_tensor_slices(zoo.images(2))
    with pytest.raises(ValueError, match=r"dataset\.batch\(32\)"):
        explainer.explain(single)


def test_batch_size_zero(explainer, images):
    with pytest.raises(ValueError, match="at least one sample"):
        explainer.explain(images, batch_size=0)


def test_guided_rules_refuse_what_they_cannot_reach():
    class Raw(keras.layers.Layer):
        def call(self, x):
            return tf.nn.relu(x)

    inputs = keras.Input((8, 8, 3))
    x = Raw(name="raw_relu")(layers.Conv2D(4, 3)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(
        ValueError, match=r"(?s)raw op.*'raw_relu'.*keras\.layers\.ReLU"
    ):
        ke.GuidedBackprop(model)(zoo.images(2))
    ke.Gradient(model)(zoo.images(2))  # no rule, no matter


def test_guided_rules_need_a_relu():
    specimen = zoo.build("vision_transformer")
    with pytest.raises(ValueError, match="the model has none"):
        ke.GuidedBackprop(specimen.model)(specimen.inputs)


def test_guided_rules_name_what_they_pass_by():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(4, 3, activation="gelu", name="smooth"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    with pytest.warns(ke.ExplainWarning, match="gelu of smooth") as told:
        ke.GuidedBackprop(model)(zoo.images(2))
    assert "sigmoid" not in str(told[0].message)


def test_cam_says_why_it_refuses():
    specimen = zoo.build("sequential")
    with pytest.raises(
        ValueError, match=r"(?s)global average pooling.*'flatten', 'logits'"
    ):
        ke.CAM(specimen.model)(specimen.inputs)


def test_cam_reads_one_layer_only(model, images):
    with pytest.raises(ValueError, match="'conv2'"):
        ke.CAM(model, layer="conv1")(images)
    with pytest.raises(ValueError, match="logit of a class"):
        ke.CAM(model)(images, ke.Class(1) - ke.Class(2))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "simpson"}, "gauss_legendre"),
        ({"num_steps": 0}, "at least 1 step"),
        ({"num_steps": 1, "method": "trapezoid"}, "at least 2 steps"),
    ],
)
def test_integrated_gradients_options(model, options, text):
    with pytest.raises(ValueError, match=text):
        ke.IntegratedGradients(model, **options)


def test_baselines_of_the_wrong_shape(model, images):
    for baseline in (np.zeros((7, 8, 3)), np.zeros((5, 8, 8, 3))):
        explainer = ke.IntegratedGradients(model, baseline=baseline)
        with pytest.raises(ValueError, match="does not fit"):
            explainer(images)


def test_a_baseline_equal_to_the_input(model, images):
    explainer = ke.IntegratedGradients(model, baseline=images[1])
    with pytest.raises(ValueError, match=r"equals the input.*\n.*\[1\]"):
        explainer(images)


def test_noise_options(model):
    with pytest.raises(ValueError, match="num_samples >= 1"):
        ke.SmoothGrad(model, num_samples=0)
    with pytest.raises(ValueError, match="num_samples >= 1"):
        ke.SmoothGrad(model, noise_stddev=-1)


def test_masked_channels_options(model):
    with pytest.raises(ValueError, match="At least one channel"):
        ke.ScoreCAM(model, max_channels=0)


def test_unwritable_folder(explainer, images, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    explanation = explainer.explain(images)
    with pytest.raises(OSError, match="cannot be written there"):
        explanation.save(tmp_path / "file" / "it.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_tokens_that_form_no_grid():
    inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((12, 16), name="tokens")(inputs)
    x = layers.Dense(4, activation="relu", name="wide")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match="do not form a grid"):
        ke.GradCAM(model)(zoo.images(2))
