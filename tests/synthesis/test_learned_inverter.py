"""A learned inverter, and codes sampled through it."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
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


@pytest.mark.slow
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
        inverter,
        [3, 3, 8],
        start=images[:3],
        steps=60,
        step_size=0.02,
        verbose=False,
    )
    probabilities = np.asarray(inverter.model(made.images))
    assert probabilities[[0, 1, 2], [3, 3, 8]].min() > 0.9
    assert np.all(made.score > made.history["score"][0])
    # Two pictures of one class are two pictures.
    assert np.abs(made.images[0] - made.images[1]).mean() > 0.01
    again = sample_codes(
        inverter,
        [3, 3, 8],
        start=images[:3],
        steps=60,
        step_size=0.02,
        verbose=False,
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
    with pytest.raises(ValueError, match="started from pictures of shape"):
        sample_codes(inverter, [1], start=images[:1, :4])
    for steps in (0, -1, 1.5):
        with pytest.raises(ValueError, match="at least one step"):
            sample_codes(inverter, 1, steps=steps)
    for step_size in (0, np.nan, np.inf, "0.1"):
        with pytest.raises(ValueError, match="`step_size` is a positive"):
            sample_codes(inverter, 1, step_size=step_size)
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="makes pictures"):
        LearnedInverter(dense, dense.layers[0].name, value_range=(0, 1))


def test_nothing_is_decoded_from_nothing(fitted):
    inverter, images, _ = fitted
    weights = inverter.model.get_weights()
    try:
        for weight in inverter.call.operation.trainable_variables:
            weight.assign(-np.ones(weight.shape))
        with pytest.raises(ValueError, match="finite and not zero"):
            inverter.invert(images[:2])
    finally:
        inverter.model.set_weights(weights)


def test_sampling_can_be_watched_and_stopped(fitted):
    inverter, _, _ = fitted
    seen = []

    def enough(progress):
        seen.append(progress.step)
        assert progress.images().shape == (2, 8, 8, 1)
        return progress.step >= 5

    options = {"steps": 40, "verbose": False}
    target = [3, ke.Class(8)]
    made = sample_codes(inverter, target, callback=enough, **options)
    assert made.stopped == "callback" and 5 <= made.steps < 40
    assert made.titles == ["class 3", "class 8"]
    assert len(made.history["score"]) == made.steps == seen[-1]
    options["steps"] = made.steps
    again = sample_codes(inverter, target, **options)
    np.testing.assert_array_equal(made.images, again.images)

    def press(progress):
        os.kill(os.getpid(), signal.SIGINT)

    made = sample_codes(inverter, 3, steps=40, verbose=False, callback=press)
    assert made.stopped == "interrupted" and 1 <= made.steps < 40


def test_sampling_ends_where_the_score_is_nan(fitted):
    inverter, _, _ = fitted

    def limit(outputs):
        return tf.math.log(0.9 - tf.reduce_max(outputs, -1))

    target = ke.Class(3) + 1e-6 * ke.Output(limit)
    with pytest.warns(UserWarning, match="diverged"):
        made = sample_codes(inverter, target, steps=200, step_size=0.2,
                            verbose=False)  # fmt: skip
    assert made.stopped == "diverged" and np.isfinite(made.score).all()
    assert np.isfinite(made.history["score"]).all()
    with pytest.warns(UserWarning, match="diverged"):
        again = sample_codes(inverter, target, steps=made.steps + 1,
                             step_size=0.2, verbose=False)  # fmt: skip
    assert again.steps == made.steps and again.stopped == "diverged"
    np.testing.assert_array_equal(again.images, made.images)
