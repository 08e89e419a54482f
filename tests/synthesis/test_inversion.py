"""Inversion: its objective, its laws, and what it refuses."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.datasets import demo_images, demo_model
from keras_explain.synthesis import (
    invert,
    invert_layers,
    maximize,
    reconstruction_error,
)
from keras_explain.synthesis.inversion import published
from keras_explain.synthesis.match import Match
from keras_explain.synthesis.regularizers import TotalVariation
from tests import zoo
from tests.synthesis.adversarial.victims import digits

RANGE = {"value_range": (-4, 4), "verbose": False}


@pytest.fixture(scope="module")
def specimen():
    return zoo.build("functional")


def output(model, name, x):
    return np.asarray(keras.Model(model.input, model.get_layer(name).output)(x))


def test_an_invertible_linear_layer_is_inverted_exactly():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([layers.Input((6,)), layers.Dense(6, name="a")])
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    model.layers[0].set_weights([matrix, np.arange(6.0) / 10])
    x = np.random.default_rng(1).uniform(-1, 1, (3, 6)).astype("float32")
    made = invert(model, x, "a", prior=(), steps=300,
                  value_range=(-2, 2), verbose=False)  # fmt: skip
    np.testing.assert_allclose(made.images, x, atol=1e-4)


def test_features_take_the_place_of_a_picture(specimen):
    model, x = specimen.model, np.clip(specimen.inputs[:2], -3, 3)
    features = output(model, "conv2", x)
    for given in (features, features[0]):
        made = invert(model, given, "conv2", steps=3, **RANGE)
        picture = invert(model, x[: len(made)], "conv2", steps=3, **RANGE)
        np.testing.assert_allclose(made.images, picture.images, atol=1e-5)


def test_the_score_is_the_relative_error_by_hand(specimen):
    model, x = specimen.model, np.clip(specimen.inputs[:2], -3, 3)
    made = invert(model, x, "conv2", prior=(), steps=3, **RANGE)
    wanted, got = output(model, "conv2", x), output(model, "conv2", made.images)
    axes = (1, 2, 3)
    error = np.sum((got - wanted) ** 2, axes) / np.sum(wanted**2, axes)
    np.testing.assert_allclose(-made.score, error, rtol=1e-4)


def test_the_published_regularizers_by_hand():
    """In the authors' units: values of 0 to 255 over 68.9 sqrt(N).

    For their size of 224 pixels; others cost as much as if they were
    enlarged to it.
    """
    x = np.random.default_rng(0).uniform(0, 1, (1, 6, 5, 3)).astype("float32")
    norm, smooth = published((6, 5, 3), depth=0.5)
    x = tf.constant(x)
    u = 255 * (x.numpy().astype("float64") - 0.5) / (68.9 * np.sqrt(90))
    np.testing.assert_allclose(
        norm.penalty(x)[0],
        2.16e8 * (90 / (3 * 224**2)) ** 2 * np.sum(u**6),
        rtol=1e-4,
    )
    down, right = np.zeros_like(u), np.zeros_like(u)
    down[:, :-1], right[:, :, :-1] = np.diff(u, axis=1), np.diff(u, axis=2)
    np.testing.assert_allclose(
        smooth.penalty(x)[0],
        3.0 * 30 / 224**2 * np.sum(down**2 + right**2),
        rtol=1e-4,
    )
    theirs = published((224, 224, 3), depth=0.0)
    unit = 255 / (68.9 * np.sqrt(3 * 224**2))
    assert theirs[0].weight == pytest.approx(2.16e8 * unit**6)
    assert theirs[1].weight == pytest.approx(unit**2)
    assert published((6, 5, 3), 0.0)[1].weight < smooth.weight
    assert smooth.weight < published((6, 5, 3), 1.0)[1].weight
    assert len(published((7,), 0.5)) == 1


def test_a_convolution_is_inverted_and_regularizers_smooth():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(12, 3, name="conv")]
    )
    x = np.clip(zoo.images(1), -3, 3)
    plain = invert(model, x, "conv", prior=(), steps=300, **RANGE)
    assert -plain.score[0] < 1e-3
    smooth = invert(
        model, x, "conv", prior=TotalVariation(0.1), steps=300, **RANGE
    )

    def variation(made):
        return TotalVariation(1.0).penalty(tf.constant(made.images))[0]

    assert variation(smooth) < 0.8 * variation(plain)
    assert "TotalVariation" in smooth.history


def test_every_layer_in_one_call(specimen):
    model, x = specimen.model, np.clip(specimen.inputs[0], -3, 3)
    made = invert_layers(model, x, steps=2, **RANGE)
    assert list(made) == ["conv1", "conv2", "pool", "logits"] or set(made) >= {
        "conv1",
        "conv2",
    }
    for name, one in made.items():
        alone = invert(model, x, name, steps=2, **RANGE)
        np.testing.assert_array_equal(one.images, alone.images)


@pytest.mark.parametrize("how", ["callback", "interrupted"])
def test_layers_are_left_out_once_it_is_stopped(specimen, how):
    """What was made is kept: here the first layer."""

    def stop(progress):
        if how == "callback":
            return True
        os.kill(os.getpid(), signal.SIGINT)

    x = np.clip(specimen.inputs[0], -3, 3)
    made = invert_layers(specimen.model, x, ["conv1", "conv2"], steps=9,
                         callback=stop, **RANGE)  # fmt: skip
    assert list(made) == ["conv1"] and made["conv1"].stopped == how


def test_pictures_of_any_size_for_an_open_model():
    specimen = zoo.build("open_size")
    x = np.clip(zoo.images(1, 9)[:, :, :7], -3, 3)
    name = specimen.model.layers[1].name
    made = invert(specimen.model, x, name, steps=2, **RANGE)
    assert made.images.shape == x.shape


def test_mistakes_are_told(specimen):
    model, x = specimen.model, np.clip(specimen.inputs[:1], -3, 3)
    with pytest.raises(ValueError, match="takes pictures of shape"):
        invert(model, x[:, :4], "conv1", **RANGE)
    with pytest.raises(ValueError, match="The pictures to invert must lie"):
        invert(model, x * 9, "conv1", **RANGE)
    with pytest.raises(ValueError, match="nowhere"):
        invert(model, x, "nowhere", **RANGE)
    with pytest.raises(ValueError, match="finite and not zero"):
        invert(model, np.zeros((8, 8, 6)), "conv2", **RANGE)
    with pytest.raises(ValueError, match=r"layer gives \(8, 8, 6\)"):
        invert(model, np.ones((8, 8, 5)), "conv2", **RANGE)
    with pytest.raises(TypeError, match=r"known of pictures.*\n.*'tv'"):
        invert(model, x, "conv2", prior="tv", **RANGE)
    with pytest.raises(ValueError, match="from the same layer"):
        maximize(model, Match("conv2", np.ones((8, 8, 5))), **RANGE)


def test_a_picture_costs_the_same_at_any_size():
    """Up to what is lost at the border: the same waves in 32 and 64 pixels."""
    costs = []
    for size in (32, 64):
        cells = (np.arange(size) + 0.5) / size
        wave = 0.5 + 0.4 * np.sin(2 * np.pi * cells)
        x = tf.constant(np.outer(wave, wave)[None, :, :, None], tf.float32)
        parts = published((size, size, 1), 1.0)
        costs.append([float(part.penalty(x)[0]) for part in parts])
    np.testing.assert_allclose(costs[0], costs[1], rtol=0.05)


@pytest.fixture(scope="module")
def inverted():
    model, images, _ = digits()
    options = {"value_range": (0, 1), "verbose": False, "steps": 200}
    return model, images, {
        name: invert_layers(model, images[:4], prior=prior, **options)
        for name, prior in (("nothing", ()), ("published", None))
    }  # fmt: skip


@pytest.mark.slow
def test_errors_grow_with_depth(inverted):
    """Of the pictures: what a layer has lost stays lost."""
    _, images, made = inverted
    for by_layer in made.values():
        errors = [
            np.mean((found.images - images[:4]) ** 2)
            for found in by_layer.values()
        ]
        assert len(errors) == 4
        assert errors[0] < 0.5 * min(errors[1:])
        assert max(errors[:-1]) < 0.5 * errors[-1]


def test_the_published_regularizers_help_deep_layers(inverted):
    _, images, made = inverted
    first, *_, last = made["nothing"]

    def error(prior, layer):
        return np.mean((made[prior][layer].images - images[:4]) ** 2)

    assert error("published", last) < 0.8 * error("nothing", last)
    assert error("published", first) > error("nothing", first)


@pytest.mark.slow
def test_shapes_fade_with_depth_and_total_variation_helps_the_deep_layers():
    """On the demo network; in gray levels, as in the guide."""
    model, images = demo_model(), demo_images(num=2)[0]
    layers = ["stem_relu", "stage1_block2_out", "stage2_block2_out",
              "stage3_block2_out", "pool"]  # fmt: skip
    priors = {"nothing": (), "variation": TotalVariation(), "published": None}
    errors = {}
    for name, prior in priors.items():
        made = invert_layers(model, images, layers, prior=prior, steps=200,
                             verbose=False)  # fmt: skip
        errors[name] = np.array(
            [np.abs(one.images - images).mean() for one in made.values()]
        )
        # The pooled features have lost little that the last map still shows.
        assert np.all(np.diff(errors[name]) > -1), (name, errors[name])
        assert errors[name][0] < 0.5 * errors[name][-1]
    for name in ("variation", "published"):
        assert np.all(errors[name][2:] < 0.8 * errors["nothing"][2:])


def test_errors_in_the_distance_of_other_pictures(inverted):
    model, images, made = inverted
    name, found = list(made["published"].items())[0]
    options = {"value_range": (0, 1)}
    error = reconstruction_error(
        model, name, found, images[:4], images[:20], **options
    )
    layer = keras.Model(model.inputs[0], model.get_layer(name).output)
    a, b, r = (
        np.asarray(layer(x), np.float64).reshape(len(x), -1)
        for x in (found.images, images[:4], images[:20])
    )
    apart = [np.linalg.norm(r[i] - r[j]) for i in range(20) for j in range(i)]
    expected = np.linalg.norm(a - b, axis=1) / np.mean(apart)
    np.testing.assert_allclose(error, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="one original for each inversion"):
        reconstruction_error(model, name, found, images[:3], images[:9],
                             **options)  # fmt: skip
    with pytest.raises(ValueError, match="to be told apart"):
        reconstruction_error(model, name, found, images[:4], images[:1],
                             **options)  # fmt: skip
    with pytest.raises(ValueError, match="An error is that of pictures"):
        reconstruction_error(model, name, found, images[:4], np.zeros(3),
                             **options)  # fmt: skip
