"""Every family of keras.applications, at the smallest size it takes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from tests.marking import slow_but

# The smallest member of each family: the size it takes, the feature map
# before its positions are pooled away, whether it has ReLUs, and whether it
# ends in global average pooling and one linear layer.
FAMILIES = {
    "convnext": ("ConvNeXtTiny", 32, None, False, False),
    "densenet": ("DenseNet121", 32, "relu", True, True),
    "efficientnet": ("EfficientNetB0", 32, "top_activation", False, True),
    "efficientnet_v2": ("EfficientNetV2B0", 32, "top_activation", False, True),
    "inception_resnet_v2": ("InceptionResNetV2", 75, "conv_7b_ac", True, True),
    "inception_v3": ("InceptionV3", 75, "mixed10", True, True),
    "mobilenet": ("MobileNet", 32, "conv_pw_13_relu", True, True),
    "mobilenet_v2": ("MobileNetV2", 32, "out_relu", True, True),
    "mobilenet_v3": ("MobileNetV3Small", 32, None, True, False),
    "nasnet": ("NASNetMobile", 32, None, True, True),
    "resnet": ("ResNet50", 32, "conv5_block3_out", True, True),
    "resnet_v2": ("ResNet50V2", 32, "post_relu", True, True),
    "vgg16": ("VGG16", 32, "block5_conv3", True, False),
    "vgg19": ("VGG19", 32, "block5_conv4", True, False),
    "xception": ("Xception", 71, "block14_sepconv2_act", True, True),
}


def test_no_family_is_missing():
    """A family that Keras adds shows up here."""
    found = set()
    for info in pkgutil.iter_modules(keras.applications.__path__):
        module = importlib.import_module(f"keras.applications.{info.name}")
        if any(inspect.isfunction(f) and name[0].isupper()
               for name, f in vars(module).items()):  # fmt: skip
            found.add(info.name)
    # Two modules of the same functions.
    found -= {"resnet50", "imagenet_utils", "mobilenet_v3"}
    assert found <= set(FAMILIES)


# The others are long to build and to trace, up to two minutes each.
QUICK = {"mobilenet"}


@pytest.mark.parametrize("family", slow_but(QUICK, FAMILIES))
def test_family(family):
    name, size, layer, has_relu, gap = FAMILIES[family]
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    noise = np.random.default_rng(0)
    x = noise.uniform(-1, 1, (2, size, size, 3)).astype("float32")
    with warnings.catch_warnings():
        # Random deep networks have tiny or dead maps.
        warnings.simplefilter("ignore", ke.ExplainWarning)
        found = ke.GradCAM(model).explain(x, 3)
        pair = ke.Class(3) - ke.Class(5)
        gradient = ke.Gradient(model)(x, pair)
        guided = ke.GuidedBackprop(model)
        if has_relu:
            assert np.abs(guided(x, pair) - gradient).max() > 0
        else:
            with pytest.raises(ValueError, match="the model has none"):
                guided(x, pair)
        if gap:
            cam = ke.CAM(model).explain(x, 3)
            assert cam.layer == found.layer
        else:
            with pytest.raises(ValueError, match="global average pooling"):
                ke.CAM(model)(x, 3)
    if layer is not None:
        assert found.layer == layer
    call = found.layer.split("/")[-1]
    assert not call.startswith(("avg_pool", "predictions", "dropout"))
    assert found.attributions.shape == (2, size, size)
    assert np.isfinite(found.attributions).all()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    _check_against_the_output(model, x, np.asarray(gradient))


def _check_against_the_output(model, x, found):
    """The logit difference is the log ratio of the probabilities."""
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        p = tf.cast(model(inputs, training=False), tf.float32)
        score = tf.math.log(p[:, 3]) - tf.math.log(p[:, 5])
    expected = tape.gradient(score, inputs).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 1e-2
