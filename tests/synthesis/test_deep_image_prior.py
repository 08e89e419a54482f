"""Pictures drawn by an untrained network, beside the other ways."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis import Fourier, maximize
from keras_explain.synthesis.deep_image_prior import (
    PUBLISHED,
    DeepImagePrior,
)
from keras_explain.synthesis.networks import Hourglass, build, hourglass
from keras_explain.synthesis.randomness import Randomness
from tests import zoo

TINY = Hourglass((6, 4), skip_channels=2, input_channels=5)
SHAPE = (12, 16, 3)


def drawn(prior, seeds=(0,), facets=(0,), step=0):
    random = Randomness(seeds, facets)
    values = prior.start(SHAPE, random)
    images = prior.images(values, SHAPE)
    noisy = prior.sampled(values, SHAPE, random.at(step + 1, stream=1))
    return values, images.numpy(), noisy.numpy()


def vector(weights):
    return np.concatenate([np.ravel(weight) for weight in weights])


def quiet(target, **settings):
    settings.setdefault("image", DeepImagePrior(Hourglass((4,), 0)))
    return maximize(
        zoo.build("functional").model, target, steps=12, value_range=(0, 1),
        transforms=None, verbose=False, **settings,
    )  # fmt: skip


def test_it_is_the_network_at_a_fixed_input():
    prior = DeepImagePrior(TINY, seed=3)
    values, images, _ = drawn(prior, (7,))
    network = hourglass(SHAPE, TINY.channels, seed=7, skip_channels=2,
                        input_channels=5)  # fmt: skip
    np.testing.assert_array_equal(values[0][0], vector(network.weights))
    code = prior._code(SHAPE)
    assert code.shape == (1, 12, 16, 5)
    assert 0 <= np.min(code) and 0.095 < np.max(code) <= 0.1
    np.testing.assert_allclose(images, network(code), atol=1e-6)
    assert images.min() >= 0 and images.max() <= 1
    other = DeepImagePrior(TINY, seed=4)._code(SHAPE)
    assert not np.allclose(code, other)


def test_rows_have_networks_of_their_own():
    """And statistics: two rows are two single ones, to the bit."""
    prior = DeepImagePrior(TINY)
    _, both, noisy = drawn(prior, (1, 2), (0, 1))
    for row, seed in enumerate((1, 2)):
        _, alone, alone_noisy = drawn(prior, (seed,))
        np.testing.assert_array_equal(both[row], alone[0])
        np.testing.assert_array_equal(noisy[row], alone_noisy[0])
    assert not np.allclose(both[0], both[1])


def test_the_input_is_perturbed_anew_at_each_step():
    prior = DeepImagePrior(TINY, input_noise=0.05)
    _, still, first = drawn(prior)
    assert not np.allclose(still, first)
    assert not np.allclose(first, drawn(prior, step=1)[2])
    np.testing.assert_array_equal(first, drawn(prior)[2])
    calm = DeepImagePrior(TINY, input_noise=0.0)
    np.testing.assert_array_equal(*drawn(calm)[1:])


def test_the_noise_is_as_large_as_it_says():
    prior = DeepImagePrior(TINY, input_noise=0.05)
    seen = []

    class Spy(DeepImagePrior):
        def _drawn(self, values, shape, codes):
            seen.append(np.concatenate(codes))
            return super()._drawn(values, shape, codes)

    drawn(Spy(TINY, input_noise=0.05))
    np.testing.assert_array_equal(seen[0], prior._code(SHAPE))
    assert np.std(seen[1] - seen[0]) == pytest.approx(0.05, rel=0.1)


def test_all_weights_are_reached():
    """A constant before a normalization has no say; all others do."""
    prior = DeepImagePrior(TINY)
    (values,) = prior.start(SHAPE, Randomness([0], [0]))
    # A scale before a normalization has none either, while offsets are zero.
    values += 0.1 * np.random.default_rng(0).normal(size=values.shape)
    images = tf.function(lambda v: prior.images([v], SHAPE), autograph=False)
    before, first = images(values), 0
    for weight in build(TINY, SHAPE).trainable_variables:
        size = int(np.prod(weight.shape))
        changed = values.numpy()
        changed[0, first] += 1
        first += size
        after = images(tf.constant(changed))
        difference = np.abs(after - before).max()
        idle = weight.path.endswith(("conv/bias", "join_norm/beta"))
        assert (difference < 1e-5) == idle, (weight.path, difference)
    assert first == values.shape[1]


def test_other_inputs():
    grid = DeepImagePrior(
        dataclasses.replace(TINY, input_channels=2), network_input="grid"
    )._code(SHAPE)
    np.testing.assert_allclose(grid[0, 3, :, 0], np.linspace(0, 1, 16))
    np.testing.assert_allclose(grid[0, :, 3, 1], np.linspace(0, 1, 12))
    given = np.random.default_rng(0).uniform(size=(12, 16, 5))
    prior = DeepImagePrior(TINY, network_input=given)
    np.testing.assert_allclose(prior._code(SHAPE)[0], given, rtol=1e-6)
    with pytest.raises(ValueError, match=r"takes an input of shape \(12, 16"):
        DeepImagePrior(TINY, network_input=given[:8])._code(SHAPE)
    with pytest.raises(ValueError, match="two channels"):
        DeepImagePrior(TINY, network_input="grid")._code(SHAPE)


def test_it_maximizes_targets():
    made = quiet([3, 5])
    assert np.all(made.score > made.history["score"][0])
    alone = quiet(5)
    np.testing.assert_allclose(made.images[1], alone.images[0], atol=2e-5)
    other = quiet(5, seed=1)
    assert not np.allclose(alone.images, other.images, atol=0.01)
    with pytest.raises(ValueError, match="sides of at least 64"):
        quiet(3, image=DeepImagePrior())


def test_it_compares_and_is_saved_by_value():
    one = DeepImagePrior(TINY, network_input=np.ones((12, 16, 5)), seed=2)
    saved = keras.saving.serialize_keras_object(one)
    again = keras.saving.deserialize_keras_object(saved)
    assert again == one and hash(again) == hash(one)
    assert one != DeepImagePrior(TINY) != Fourier()
    assert DeepImagePrior().learning_rate == 0.01


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_settings(task):
    """They hang together: the input fits, and the network can be built."""
    prior, steps = PUBLISHED[task]
    shape = (192, 256, 3)
    made = build(prior.network, shape)
    assert made.output_shape[1:] == shape and steps > 500
    if task != "flash":  # whose input is another picture
        assert prior._code(shape).shape[1:] == made.input_shape[1:]


MISTAKES = [
    ({"network": hourglass((16, 16, 3), (4,))}, TypeError, "`Hourglass`"),
    ({"input_noise": -1}, ValueError, "from 0"),
    ({"network_input": "zeros"}, ValueError, "'noise', 'grid'"),
    ({"network_input": np.full((4, 4, 1), np.nan)}, ValueError, "finite"),
    ({"seed": 1.5}, TypeError, "integer"),
    ({"size": 0}, ValueError, "at least 1"),
    ({"learning_rate": None}, TypeError, "number"),
]


@pytest.mark.parametrize("options, kind, text", MISTAKES)
def test_mistakes(options, kind, text):
    with pytest.raises(kind, match=text):
        DeepImagePrior(**options)
