"""A learned inverter, and codes sampled through it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis import (
    Forces,
    Generator,
    LearnedInverter,
    LossWeights,
    maximize,
    sample_codes,
)
from tests.synthesis.adversarial.victims import digits


@pytest.fixture(scope="module")
def fitted():
    model, images, _ = digits()
    keras.utils.set_random_seed(0)
    layer = model.layers[2].name
    inverter = LearnedInverter(model, layer, value_range=(0, 1))
    before = [np.asarray(w).copy() for w in model.get_weights()]
    history = inverter.fit(images, epochs=20, batch_size=25, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)  # the model is not trained
    return inverter, images, history


def test_every_part_of_the_loss_is_trained(fitted):
    _, _, history = fitted
    logs = history.history
    assert logs["pixels"][-1] < 0.5 * logs["pixels"][0]
    assert logs["features"][-1] < 0.5 * logs["features"][0]
    assert {"adversarial", "discriminator", "loss"} <= set(logs)
    total = logs["pixels"][-1] + 0.1 * logs["features"][-1]
    total += 0.001 * logs["adversarial"][-1]
    np.testing.assert_allclose(logs["loss"][-1], total, rtol=1e-3)


def test_it_draws_what_the_layer_saw(fitted):
    inverter, images, _ = fitted
    made = inverter.invert(images[:20])
    own = np.mean((made.images - images[:20]) ** 2)
    others = np.mean((made.images - images[20:40]) ** 2)
    mean = np.mean((images.mean(0) - images[:20]) ** 2)
    assert own < 0.5 * others and own < 0.5 * mean
    features = inverter.features(images[:20])
    got = inverter.features(made.images)
    axes = (1, 2, 3)
    error = np.sum((got - features) ** 2, axes) / np.sum(features**2, axes)
    np.testing.assert_allclose(-made.score, error, rtol=1e-4)


def test_codes_of_a_class_are_sampled(fitted):
    inverter, images, _ = fitted
    made = sample_codes(
        inverter, [3, 3, 8], start=images[:3], steps=60, step_size=0.02
    )
    probabilities = np.asarray(inverter.model(made.images))
    assert probabilities[[0, 1, 2], [3, 3, 8]].min() > 0.9
    assert np.all(made.score > made.history["score"][0])
    # Two pictures of one class are two pictures.
    assert np.abs(made.images[0] - made.images[1]).mean() > 0.01
    again = sample_codes(
        inverter, [3, 3, 8], start=images[:3], steps=60, step_size=0.02
    )
    np.testing.assert_array_equal(made.images, again.images)


def test_one_step_by_hand(fitted):
    """`h + s d / mean|d|` with the prior's and the condition's force."""
    inverter, images, _ = fitted
    forces = Forces(prior=0.3, condition=2.0, noise=0.0)
    made = sample_codes(inverter, 3, start=images[:1], steps=1, step_size=0.1,
                        forces=forces)  # fmt: skip
    h = tf.constant(inverter.features(images[:1]))
    with tf.GradientTape() as tape:
        tape.watch(h)
        p = inverter.model(inverter.decoder(h, training=False), training=False)
        score = tf.math.log(p[:, 3])
    usual = inverter.features(np.asarray(inverter.decoder(h)))
    d = 0.3 * (usual - h) + 2.0 * tape.gradient(score, h)
    wanted = h + 0.1 * d / np.mean(np.abs(d))
    np.testing.assert_allclose(made.state["codes"], wanted, atol=1e-4)


def test_its_decoder_is_a_generator(fitted):
    inverter, _, _ = fitted
    made = maximize(
        inverter.model, 3, image=Generator(inverter.decoder), steps=5,
        value_range=(0, 1), transforms=None, verbose=False,
    )  # fmt: skip
    assert made.images.shape == (1, 8, 8, 1)


def test_datasets_and_plain_losses():
    model, images, labels = digits()
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(50)
    inverter = LearnedInverter(
        model, model.layers[-1].name, value_range=(0, 1),
        comparator=model.layers[0].name,
        weights=LossWeights(features=0.0, adversarial=0.0),
    )  # fmt: skip
    history = inverter.fit(data, epochs=1, verbose=0).history
    assert "discriminator" not in history
    np.testing.assert_allclose(history["loss"], history["pixels"], rtol=1e-5)
    assert inverter.invert(images[:2]).images.shape == (2, 8, 8, 1)


def test_mistakes_are_told(fitted):
    inverter, images, _ = fitted
    model = inverter.model
    for weights in ((-1, 1, 1), (0, 0, 0), (np.inf, 1, 1)):
        with pytest.raises(ValueError, match="not all zero"):
            LossWeights(*weights)
    with pytest.raises(ValueError, match="The decoder makes pictures"):
        LearnedInverter(model, model.layers[0].name, value_range=(0, 1),
                        decoder=inverter.decoder)  # fmt: skip
    with pytest.raises(ValueError, match="does not say which values"):
        LearnedInverter(model, model.layers[0].name)
    with pytest.raises(ValueError, match="The pictures must lie"):
        inverter.fit(images * 255, verbose=0)
    with pytest.raises(ValueError, match="a picture of its own"):
        sample_codes(inverter, [1, 2], start=images[:1])
    with pytest.raises(ValueError, match="no predicted class"):
        sample_codes(inverter, None)
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="makes pictures"):
        LearnedInverter(dense, dense.layers[0].name, value_range=(0, 1))
