"""What a run leaves in memory and on the screen, and kinds of targets."""

from __future__ import annotations

import gc
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.synthesis import (
    DeepImagePrior,
    Generator,
    Hourglass,
    Maximization,
    Pixels,
    invert,
    maximize,
)
from tests import zoo
from tests.synthesis.short_runs import UNBOUNDED, quiet


@pytest.fixture(scope="module")
def model():
    return zoo.build("functional").model


def test_momentum_by_hand():
    """`v <- m v + r w`, `x <- x + v` on a linear score."""
    keras.utils.set_random_seed(0)
    linear = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    start = np.arange(4.0)
    made = quiet(
        linear, 1, image=Pixels(bounds=None, initial=start), transforms=None,
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9), steps=5,
        value_range=UNBOUNDED,
    )  # fmt: skip
    w, v, x = np.asarray(linear.layers[-1].kernel)[:, 1], 0.0, start
    for _ in range(5):
        v = 0.9 * v + 0.1 * w
        x = x + v
    np.testing.assert_allclose(made.images[0], x, rtol=1e-5)


def margin(outputs):
    return outputs[:, 1] - outputs[:, 2]


def test_any_function_of_the_outputs(model):
    made = quiet(model, ke.Output(margin), steps=30, transforms=None)
    assert made.score[0] > made.history["score"][0, 0]
    outputs = np.asarray(model(made.images))
    np.testing.assert_allclose(made.score, margin(outputs), rtol=1e-3)


def test_a_direction_among_words():
    """Words are pulled along a vector of the embedding they live in."""
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 4, name="words")(inputs)
    text = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    vector = np.array([1.0, 0.0, -1.0, 0.0])
    made = maximize(text, ke.Direction("words", vector), layer="words",
                    steps=20, verbose=False)  # fmt: skip
    assert made.images.shape == (1, 6, 4)
    assert made.score[0] == pytest.approx(
        (made.images[0] @ vector).mean(), rel=1e-4
    )
    assert made.score[0] > made.history["score"][0, 0] + 0.5


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps():
    """Only by the history: a number for each step."""
    linear = keras.Sequential([keras.Input((64,)), layers.Dense(2)])
    made = Maximization(linear, 1, value_range=(0, 1), transforms=None)

    def kept(steps):
        run = made.run(steps, verbose=False)
        gc.collect()
        objects = len(gc.get_objects())
        memory = tracemalloc.get_traced_memory()[0]
        assert run.steps == steps
        return memory, objects

    tracemalloc.start()
    try:
        kept(20)
        few, many = kept(20), kept(600)
    finally:
        tracemalloc.stop()
    assert many[0] - few[0] < 600 * 4 + 50_000  # pictures: 256 each
    assert many[1] - few[1] < 200


def test_a_bar_says_how_far_it_is(model, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    options = {"steps": 2, "transforms": None, "value_range": (0, 1)}
    maximize(model, 1, verbose=True, **options)
    shown = capsys.readouterr().err
    assert "Making pictures" in shown and "100%" in shown
    maximize(model, 1, verbose=False, **options)
    assert not capsys.readouterr().err


def test_networks_and_decoders_are_priors(model):
    """The picture is one that they draw, and it comes nearer."""
    picture = np.random.default_rng(0).random((8, 8, 3)).astype("float32")
    decoder = keras.Sequential([
        keras.Input((5,)), layers.Dense(192, "sigmoid"),
        layers.Reshape((8, 8, 3)),
    ])  # fmt: skip
    for prior in (Generator(decoder), DeepImagePrior(Hourglass((4,), 0))):
        made = invert(model, picture, "conv1", prior=prior, steps=40,
                      value_range=(0, 1), verbose=False)  # fmt: skip
        assert made.images.shape == (1, 8, 8, 3)
        assert made.score[0] > made.history["score"][0, 0] + 0.01
        assert list(made.history) == ["score"]
