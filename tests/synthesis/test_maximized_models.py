"""Maximization of many models: linear, shut, broken, of every rank."""

from __future__ import annotations

import os
import signal
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_explain.synthesis import (
    Fourier,
    Maximization,
    Pixels,
    Synthesis,
    maximize,
)
from keras_explain.synthesis.conditioning import NormalizedGradient
from keras_explain.synthesis.regularizers import L2, ExpertDensity, Lp
from tests import zoo
from tests.synthesis.short_runs import UNBOUNDED, quiet


@pytest.fixture
def linear():
    """Scores `w x + b` of five numbers, for three classes."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((5,)), layers.Dense(3)])


def test_the_prototype_of_a_linear_model_is_known(linear):
    """`argmax w x - lambda x^2` is `w / (2 lambda)` (Simonyan et al.)."""
    made = quiet(
        linear, [0, 2], image=Pixels(bounds=None), transforms=None,
        regularizers=[L2(0.25)], steps=400,
        optimizer=keras.optimizers.SGD(0.5), value_range=UNBOUNDED,
    )  # fmt: skip
    weights = np.asarray(linear.layers[-1].kernel)
    np.testing.assert_allclose(
        made.images, weights[:, [0, 2]].T / (2 * 0.25), atol=1e-5
    )
    assert made.history["L2"].shape == (400, 2)


def test_lbfgs_finds_it_in_few_steps(linear):
    made = quiet(
        linear, [0, 2], image=Pixels(bounds=None), transforms=None,
        regularizers=[L2(0.25)], steps=20, optimizer="lbfgs",
        value_range=UNBOUNDED,
    )  # fmt: skip
    weights = np.asarray(linear.layers[-1].kernel)
    np.testing.assert_allclose(
        made.images, weights[:, [0, 2]].T / 0.5, atol=1e-4
    )
    assert np.all(np.diff(made.history["score"][:, 0]) >= -1e-6)
    with pytest.raises(ValueError, match="does not change by chance"):
        quiet(linear, 0, optimizer="lbfgs", transforms="robust")
    with pytest.raises(ValueError, match="with NormalizedGradient"):
        quiet(linear, 0, optimizer="lbfgs", transforms=None,
              regularizers=[NormalizedGradient()])  # fmt: skip
    with pytest.raises(ValueError, match="cannot go on"):
        quiet(linear, 0, optimizer="lbfgs", transforms=None, start=made)


LBFGS = {"image": Pixels(bounds=None, stddev=0.1), "transforms": None,
         "optimizer": "lbfgs", "value_range": UNBOUNDED}  # fmt: skip


def test_lbfgs_says_how_many_steps_it_made(linear):
    options = {"regularizers": [L2(0.25)], **LBFGS}
    made = quiet(linear, [0, 2], steps=200, **options)
    assert made.stopped == "finished" and 0 < made.steps < 50
    assert made.history["score"].shape == (made.steps, 2)
    alone = quiet(linear, 2, steps=200, **options)
    np.testing.assert_allclose(made.images[1], alone.images[0], atol=1e-6)
    few = quiet(linear, 2, steps=1, snapshots=(0, 1), **options)
    assert few.steps == 1 and sorted(few.frames) == [0, 1]
    far = quiet(linear, 2, steps=200, snapshots=(0, 200), **options)
    assert sorted(far.frames) == [0]  # it never came there


def test_lbfgs_can_be_stopped(linear):
    """By a callback and by Ctrl-C, after any step."""
    model, options = linear, {"regularizers": [Lp(0.25, p=4)], **LBFGS}
    whole = quiet(model, 0, steps=3, snapshots=(3,), **options)

    def enough(progress):
        return progress.step == 3

    made = quiet(model, 0, steps=100, callback=enough, **options)
    assert made.stopped == "callback" and made.steps == 3
    np.testing.assert_array_equal(made.images, whole.images)
    np.testing.assert_array_equal(made.images, whole.frames[3])

    def press(progress):
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    made = quiet(model, 0, steps=100, callback=press, **options)
    assert made.stopped == "interrupted" and made.steps == 2
    assert not any("_run" in t.name for t in threading.enumerate())


def test_lbfgs_comes_back_from_where_the_score_is_nan():
    made = quiet(_logarithm(), 0, steps=40, **LBFGS)
    assert np.isfinite(made.score).all() and 0.5 < made.images[0, 0] < 1
    beyond = Pixels(bounds=None, initial=np.array([2.0]))
    with pytest.raises(ValueError, match="not finite at the start"):
        quiet(_logarithm(), 0, **{**LBFGS, "image": beyond})


def test_lbfgs_keeps_the_last_good_picture():
    """Where the score is infinite, which SciPy takes for the best there is."""
    inputs = keras.Input((1,))
    beyond = ops.where(inputs > 3, np.inf, 0.0)
    model = keras.Model(inputs, 4 * inputs - 0.5 * inputs**2 + beyond)
    with pytest.warns(UserWarning, match="diverged"):
        made = quiet(model, 0, steps=40, **LBFGS)
    assert made.stopped == "diverged" and made.steps >= 1
    assert np.isfinite(made.score).all() and made.images[0, 0] <= 3
    assert len(made.history["score"]) == made.steps


def _shut(bias):
    """A unit behind a ReLU that is shut on gray and opens for white."""
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(1, 1, activation="relu", name="gate")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(1, name="unit")(x))
    model.get_layer("gate").set_weights(
        [np.ones((1, 1, 1, 1)), np.array([bias])]
    )
    model.get_layer("unit").set_weights([np.ones((1, 1)), np.zeros(1)])
    return model


def test_shut_gates_are_opened_at_first():
    options = {"transforms": None, "steps": 40,
               "image": Pixels(bounds="clip", stddev=0.0)}  # fmt: skip
    made = quiet(_shut(-0.6), 0, **options)
    assert made.history["score"][0, 0] == 0 and made.score[0] > 0.3
    with pytest.warns(UserWarning, match=r"no gradient.*rows \[0\]"):
        made = quiet(_shut(-0.6), 0, warmup=0, **options)
    assert made.score[0] == 0
    with pytest.warns(UserWarning, match="silent on all"):
        quiet(_shut(-5.0), 0, **options)


def test_the_running_mean_counts_an_opened_step_once():
    options = {"transforms": None, "steps": 40, "batch": 1,
               "image": Pixels(bounds="clip", stddev=0.0)}  # fmt: skip
    plain = quiet(_shut(-0.6), 0, snapshots=range(40), **options)
    made = quiet(_shut(-0.6), 0, averaging=0.9, **options)
    mean = plain.frames[0]
    for step in range(1, 40):
        mean = 0.9 * mean + 0.1 * plain.frames[step]
    assert np.ptp(mean - plain.frames[39]) + np.max(np.abs(mean)) > 0.1
    np.testing.assert_allclose(made.images, mean, atol=1e-5)


def test_only_silent_rows_pass_shut_gates():
    """A row that is alive has the picture it has without warm-up."""
    start = np.stack([np.full((4, 4, 1), 0.5), np.full((4, 4, 1), 0.62)])
    start[1, 0, 0] = 0.2
    image = Pixels(bounds="clip", initial=start)
    options = {"image": image, "transforms": None, "batch": 2, "steps": 6}
    with_warmup = quiet(_shut(-0.6), 0, **options)
    with pytest.warns(UserWarning, match=r"rows \[0\]"):
        without = quiet(_shut(-0.6), 0, warmup=0, **options)
    np.testing.assert_array_equal(with_warmup.images[1], without.images[1])
    assert not np.array_equal(with_warmup.images[0], without.images[0])


def test_a_maximization_follows_the_model_as_it_learns():
    model = zoo.build("functional").model
    made = Maximization(model, 3, value_range=(0, 1), transforms=None)
    before = made.run(5, verbose=False)
    kernel = model.layers[-1].kernel
    kernel.assign(-np.asarray(kernel))
    after = made.run(5, verbose=False)
    assert not np.allclose(before.images, after.images)


@pytest.mark.parametrize("name", ["series", "volume", "tabular", "grey"])
def test_every_rank_and_number_of_channels(name):
    specimen = zoo.build(name)
    made = quiet(specimen.model, 1)
    assert made.images.shape[1:] == specimen.inputs.shape[1:]
    assert made.show().axes


def test_a_long_signal_is_made_and_shown(tmp_path):
    """A second of sound, whose square would fill the memory."""
    inputs = keras.Input((16000, 1))
    x = layers.Conv1D(2, 9, strides=8, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(ops.mean(x, 1)))
    made = quiet(model, 1, steps=1, snapshots=[0], value_range=(-1, 1))
    assert all(p.shape == (64, 1000, 3) for p in made.pictures())
    assert made.show().axes
    made.save_gif(tmp_path / "sound.gif")
    size = (tmp_path / "sound.gif").stat().st_size
    assert 0 < size < 1e6


@pytest.mark.parametrize(("shape", "shown"), [
    ((8, 8, 1), (64, 64)), ((100, 80, 3), (100, 80)), ((20, 30, 3), (80, 120)),
    ((128, 2), (64, 512)), ((6,), (64, 384)), ((5001, 1), (64, 834)),
    ((2000, 10, 3), (1000, 80)), ((1200, 70, 3), (1200, 70)),
])  # fmt: skip
def test_pictures_have_a_size_to_look_at(shape, shown):
    values = np.full((1, *shape), 0.5, np.float32)
    values[0].flat[-1] = 1.0
    made = Synthesis(values, np.zeros(1), {}, {}, 0, "finished", [""], {},
                     (0.0, 1.0), {})  # fmt: skip
    (picture,) = made.pictures()
    assert picture.shape == (*shown, 3)
    assert picture.max() == 255  # no value is averaged away


@pytest.mark.parametrize("name", ["sequential", "nested", "subclassed",
                                  "open_size"])  # fmt: skip
def test_every_kind_of_model(name):
    model = zoo.build(name).model
    image = Fourier(16) if name == "open_size" else None
    assert np.isfinite(quiet(model, 1, image=image).score).all()


def test_a_model_that_does_not_say_what_it_takes():
    class Scaled(keras.Model):
        """Built by hand, so that no shape is known."""

        def build(self, input_shape=None):
            self.built = True

        def call(self, x):
            return ops.mean(x, (1, 2))

    model = Scaled()
    model.build()
    with pytest.raises(ValueError, match="does not say which inputs"):
        quiet(model, 1)


def test_tokens_are_made_in_their_embedding():
    specimen = zoo.build("lstm")
    embedding = next(
        layer.name
        for layer in specimen.model.layers
        if isinstance(layer, layers.Embedding)
    )
    made = maximize(specimen.model, 1, layer=embedding, steps=30,
                    verbose=False)  # fmt: skip
    assert made.score[0] > made.history["score"][0, 0]
    assert (
        made.images.shape[2] == specimen.model.get_layer(embedding).output_dim
    )
    with pytest.raises(ValueError, match=f"(?s)Tokens.*layer='{embedding}'"):
        maximize(specimen.model, 1, value_range=(0, 10), verbose=False)
    with pytest.raises(ValueError, match="layer has no bounds"):
        maximize(specimen.model, 1, layer=embedding, image=Fourier(8))


def test_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = zoo.build("functional").model
    finally:
        keras.config.set_dtype_policy(before)
    made = quiet(model, 3, steps=30, transforms=None)
    assert made.images.dtype == np.float32
    assert made.score[0] > made.history["score"][0, 0]


def test_a_run_that_diverges_keeps_the_last_good_pictures(linear):
    options = {"image": Pixels(bounds=None), "transforms": None,
               "regularizers": [L2(1.0)], "value_range": UNBOUNDED,
               "optimizer": keras.optimizers.SGD(1e9)}  # fmt: skip
    with pytest.warns(UserWarning, match=r"diverged: after step \d+"):
        made = quiet(linear, 0, steps=50, **options)
    assert made.stopped == "diverged" and 0 < made.steps < 50
    assert np.isfinite(made.images).all()


def test_nothing_is_made_of_broken_weights(linear):
    linear.layers[-1].kernel.assign(np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="not finite at the start"):
        quiet(linear, 0)


def _logarithm():
    """Scores `log(1 - x) + 50 x`: above 1 NaN, but the gradient is not."""
    inputs = keras.Input((1,))
    return keras.Model(inputs, ops.log(1 - inputs) + 50 * inputs)


def test_a_score_that_is_nan_ends_the_run():
    """Also where its gradient is finite, and the pictures go on."""
    options = {"image": Pixels(bounds=None, stddev=0.1), "transforms": None,
               "value_range": UNBOUNDED, "steps": 60,
               "optimizer": keras.optimizers.SGD(0.01)}  # fmt: skip
    with pytest.warns(UserWarning, match=r"diverged: after step \d+"):
        made = quiet(_logarithm(), 0, **options)
    assert made.stopped == "diverged" and 0 < made.steps < 10
    assert made.images[0, 0] < 1 and np.isfinite(made.score).all()
    assert len(made.history["score"]) == made.steps
    assert np.isfinite(made.history["score"]).all()
    again = quiet(_logarithm(), 0, **{**options, "steps": made.steps})
    np.testing.assert_array_equal(again.images, made.images)
    beyond = Pixels(bounds=None, initial=np.array([2.0]))
    with pytest.raises(ValueError, match="not finite at the start"):
        quiet(_logarithm(), 0, **{**options, "image": beyond})


def test_a_last_step_to_where_the_score_is_nan_is_taken_back():
    """No further step finds it out."""
    options = {"image": Pixels(bounds=None, stddev=0.1), "transforms": None,
               "value_range": UNBOUNDED, "snapshots": range(9),
               "optimizer": keras.optimizers.SGD(0.01)}  # fmt: skip
    with pytest.warns(UserWarning, match="diverged"):
        ended = quiet(_logarithm(), 0, steps=60, **options)
    last = ended.steps + 1
    assert 1 < last < 9
    options["snapshots"] = range(last + 1)
    with pytest.warns(UserWarning, match=f"diverged: after step {last} "):
        made = quiet(_logarithm(), 0, steps=last, **options)
    with pytest.warns(UserWarning, match=f"diverged: after step {last} "):
        told = quiet(_logarithm(), 0, steps=60, **options,
                     callback=lambda at: at.step == last)  # fmt: skip
    assert made.stopped == "diverged" and told.stopped == "callback"
    for one in (made, told):
        assert one.steps == ended.steps and np.isfinite(one.score).all()
        assert max(one.frames) == ended.steps
        np.testing.assert_array_equal(one.images, ended.images)
        for name, value in ended.history.items():
            np.testing.assert_array_equal(one.history[name], value)


def test_a_start_without_a_score_is_handed_back():
    """What came before it is not known, and is not what came first."""
    options = {"image": Pixels(bounds=None), "transforms": None,
               "value_range": UNBOUNDED}  # fmt: skip
    start = quiet(_logarithm(), 0, steps=2, **options)
    beyond = np.array([[2.0]], np.float32)
    start.state["values_0"] = beyond
    with pytest.warns(UserWarning, match="diverged: after step 2 "):
        made = quiet(_logarithm(), 0, steps=4, start=start, **options)
    assert made.steps == 2 and made.stopped == "diverged"
    np.testing.assert_array_equal(made.images, beyond)


def test_a_penalty_that_is_nan_ends_the_run(linear):
    """Such as a density that knows nothing of what is far away."""
    inputs = keras.Input((5,))
    far = keras.Model(inputs, ops.sum(ops.log(1 - inputs**2), -1))
    options = {"image": Pixels(bounds=None, stddev=0.1), "transforms": None,
               "regularizers": [ExpertDensity(1e-3, far)],
               "optimizer": keras.optimizers.SGD(1.0)}  # fmt: skip
    with pytest.warns(UserWarning, match=r"diverged: after step \d+"):
        made = quiet(linear, 0, steps=60, value_range=UNBOUNDED, **options)
    assert made.stopped == "diverged"
    assert np.isfinite(made.history["ExpertDensity"]).all()
    with pytest.warns(UserWarning, match=r"diverged: after step \d+"):
        again = quiet(linear, 0, steps=made.steps + 1, value_range=UNBOUNDED,
                      **options)  # fmt: skip
    assert again.steps == made.steps
    np.testing.assert_array_equal(again.images, made.images)
