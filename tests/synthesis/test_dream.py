"""DeepDream, in one piece and in tiles."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.synthesis import deep_dream, dream
from keras_explain.synthesis.conditioning import LaplacianNormalized
from keras_explain.synthesis.tiles import TiledObjective
from tests import zoo

RANGE = {"value_range": (0, 1), "verbose": False}


@pytest.fixture(scope="module")
def model():
    return zoo.build("open_size").model


@pytest.fixture(scope="module")
def layer(model):
    return model.layers[1].name


def picture(height=40, width=32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.8, (height, width, 3)).astype("float32")


def strength(model, layer, images):
    inner = keras.Model(model.input, model.get_layer(layer).output)
    return np.mean(np.square(inner(images)), (1, 2, 3))


def test_one_octave_by_hand():
    """`x + step * g / mean|g|`, on a linear layer whose gradient is known."""
    inputs = keras.Input((None, None, 1))
    x = layers.Conv2D(1, 1, use_bias=False, name="twice")(inputs)
    model = keras.Model(inputs, x)
    model.get_layer("twice").set_weights([np.full((1, 1, 1, 1), 2.0)])
    x = np.random.default_rng(0).uniform(0.3, 0.6, (1, 16, 16, 1))
    wanted = x.copy()
    for _ in range(3):
        gradient = 2 * 4 * wanted / wanted.size  # of mean (2 x)^2
        wanted = wanted + 0.01 * gradient / np.mean(np.abs(gradient))
        wanted = np.clip(wanted, 0, 1)
    made = deep_dream(model, x, "twice", octaves=1, steps=3, step_size=0.01,
                      jitter=0, **RANGE)  # fmt: skip
    np.testing.assert_allclose(made.images, wanted, atol=1e-5)
    assert made.history["score"].shape == (3, 1)


def test_it_strengthens_what_is_there_and_keeps_the_picture(model, layer):
    x = picture()
    made = deep_dream(model, x, layer, octaves=2, steps=6, **RANGE)
    before, after = (strength(model, layer, i) for i in (x[None], made.images))
    assert after > before * 1.05
    assert made.images.shape == (1, *x.shape)
    assert 0 <= made.images.min() and made.images.max() <= 1
    likeness = np.corrcoef(made.images.ravel(), x.ravel())[0, 1]
    assert likeness > 0.8
    assert made.steps == 12


def test_detail_of_the_picture_survives_small_octaves(model, layer):
    """Steps of length zero give back the picture, whatever the octaves."""
    x = picture()
    made = deep_dream(model, x, layer, octaves=2, steps=2, step_size=0.0,
                      **RANGE)  # fmt: skip
    np.testing.assert_allclose(made.images[0], x, atol=1e-5)


def test_several_layers_with_weights_and_other_gradients(model):
    names = [a.name for a in model.layers if "conv" in a.name][:2]
    made = deep_dream(
        model, picture(), {names[0]: 1.0, names[-1]: 0.5}, octaves=1, steps=2,
        gradient=LaplacianNormalized(levels=2), **RANGE,
    )  # fmt: skip
    assert np.isfinite(made.score).all()


def test_a_batch_is_what_single_pictures_give(model, layer):
    x = np.stack([picture(seed=1), picture(seed=2)])
    together = deep_dream(model, x, layer, octaves=2, steps=3, **RANGE)
    for k in range(2):
        alone = deep_dream(model, x[k], layer, octaves=2, steps=3, **RANGE)
        np.testing.assert_allclose(
            together.images[k], alone.images[0], atol=1e-4
        )


class _Squares:
    """The mean square of a tile: the same in tiles and as a whole."""

    scale, can_open = 1.0, False

    def score(self, images, *, opened=False):
        return tf.reduce_mean(tf.square(images), [1, 2, 3])


@pytest.mark.parametrize(("size", "tile"), [((8, 8), (4, 4)), ((6, 10), (4, 4)),
                                            ((3, 3), (4, 4))])  # fmt: skip
def test_tiles_add_up_to_the_picture(size, tile):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    down, across = -(-size[0] // tile[0]), -(-size[1] // tile[1])
    covered = x[:, np.arange(down * tile[0]) % size[0]]
    covered = covered[:, :, np.arange(across * tile[1]) % size[1]]
    gradient = np.zeros(x.shape)
    for i in range(covered.shape[1]):
        for j in range(covered.shape[2]):
            gradient[:, i % size[0], j % size[1]] += 2 * covered[:, i, j]
    gradient /= covered[0].size

    @tf.function
    def both(images):
        score = TiledObjective(_Squares(), tile).score(images)
        return score, tf.gradients(score, [images])[0]

    score, found = both(tf.constant(x))
    np.testing.assert_allclose(score, np.mean(covered**2, (1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-7)


def test_a_model_of_fixed_size_sees_tiles_of_its_size():
    model = zoo.build("functional").model
    made = deep_dream(model, picture(20, 28), "conv1", octaves=1, steps=2,
                      **RANGE)  # fmt: skip
    assert made.images.shape == (1, 20, 28, 3)
    assert not np.allclose(made.images[0], picture(20, 28))


def test_mistakes_are_told(model, layer):
    with pytest.raises(ValueError, match="The picture must lie from 0 to 1"):
        deep_dream(model, picture() * 255, layer, **RANGE)
    with pytest.raises(ValueError, match="Dreams are of pictures"):
        deep_dream(model, picture()[..., :2], layer, **RANGE)
    with pytest.raises(TypeError, match="a layer, several with weights"):
        deep_dream(model, picture(), 3, **RANGE)
    with pytest.raises(TypeError, match="no such option"):
        deep_dream(model, picture(), layer, octave=3, **RANGE)
    with pytest.raises(ValueError, match="`steps` is a number"):
        deep_dream(model, picture(), layer, steps=0, **RANGE)
    with pytest.raises(ValueError, match="nowhere"):
        deep_dream(model, picture(), "nowhere", octaves=1, **RANGE)
    with pytest.raises(ValueError, match="does not say which values"):
        deep_dream(model, picture(), layer, octaves=1)
    with pytest.warns(UserWarning, match="Only 1 of 4 octaves"):
        deep_dream(model, picture(18, 18), layer, steps=1, **RANGE)


def test_ctrl_c_keeps_the_octaves_that_were_made(model, layer, monkeypatch):
    """Pressed while the second octave is made ready, where nobody waits."""
    ready = dream.Loop

    def slow(problem, optimizer):
        if problem.shape[:2] == (40, 32):  # the last of three
            os.kill(os.getpid(), signal.SIGINT)
        return ready(problem, optimizer)

    monkeypatch.setattr(dream, "Loop", slow)
    made = deep_dream(model, picture(), layer, octaves=3, octave_scale=1.3,
                      steps=6, **RANGE)  # fmt: skip
    assert made.stopped == "interrupted"
    assert 13 <= made.steps < 18
    assert made.images.shape == (1, 40, 32, 3)


def test_a_dream_is_filmed_and_watched(model, layer, tmp_path):
    """Steps count through all octaves, and frames have the full size."""
    seen = []
    made = deep_dream(
        model, picture(), layer, octaves=2, octave_scale=1.3, steps=3,
        snapshots=(0, 2, 3, 6), callback=lambda at: seen.append(at.step),
        **RANGE,
    )  # fmt: skip
    assert sorted(made.frames) == [0, 2, 3, 6]
    assert {frame.shape for frame in made.frames.values()} == {(1, 40, 32, 3)}
    np.testing.assert_array_equal(made.frames[6], made.images)
    assert seen[0] == 1 and seen[-1] == 6 and seen == sorted(set(seen))
    made.save_gif(tmp_path / "dream.gif")
    ended = deep_dream(
        model, picture(), layer, octaves=2, octave_scale=1.3, steps=3,
        callback=lambda at: at.step >= 2, **RANGE,
    )  # fmt: skip
    assert ended.stopped == "callback" and ended.steps < 6
    with pytest.raises(ValueError, match="step from 0 to 6"):
        deep_dream(model, picture(), layer, octaves=2, octave_scale=1.3,
                   steps=3, snapshots=[7], **RANGE)  # fmt: skip
