"""Maximization: its laws, its ways to stop, and what it refuses."""

from __future__ import annotations

import os
import signal
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain as ke
from keras_explain.synthesis import (
    Diversity,
    Fourier,
    Maximization,
    Pixels,
    Synthesis,
    maximize,
)
from keras_explain.synthesis.conditioning import NormalizedGradient
from keras_explain.synthesis.pixel_operators import Blur
from keras_explain.synthesis.regularizers import L2, TotalVariation
from tests import zoo

UNBOUNDED = (-np.inf, np.inf)


def quiet(model, target, **settings):
    settings.setdefault("value_range", (0, 1))
    settings.setdefault("steps", 12)
    return maximize(model, target, verbose=False, **settings)


@pytest.fixture(scope="module")
def model():
    return zoo.build("functional").model


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


TARGETS = [
    3,
    ke.Channel("conv2", 1),
    ke.Neuron("conv2", (4, 4, 2)),
    ke.LayerActivation("conv1"),
    ke.Direction("conv2", np.arange(6.0), 1.0),
    ke.Class(3) - ke.Class(5),
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_the_score_rises(model, target):
    made = quiet(model, target, steps=60, transforms=None)
    assert made.score[0] > made.history["score"][0, 0]
    assert made.stopped == "finished"
    assert made.images.min() >= 0 and made.images.max() <= 1


def test_a_batch_is_what_single_runs_give(model):
    together = quiet(model, TARGETS, steps=8)
    for k, target in enumerate(TARGETS):
        alone = quiet(model, target, steps=8)
        np.testing.assert_allclose(
            together.images[k], alone.images[0], atol=2e-5
        )
    facets = quiet(model, [3, 5], batch=2, seed=7, steps=8)
    for row, (target, seed) in enumerate([(3, 7), (3, 8), (5, 7), (5, 8)]):
        alone = quiet(model, target, seed=seed, steps=8)
        np.testing.assert_allclose(
            facets.images[row], alone.images[0], atol=2e-5
        )


def test_same_seed_same_picture_to_the_bit(model):
    first, second = (quiet(model, [1, 2], batch=2) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(
        first.history["score"], second.history["score"]
    )
    other = quiet(model, [1, 2], batch=2, seed=1)
    assert not np.allclose(first.images, other.images)


def test_stretches_do_not_show(model):
    """However the steps are cut up, with frames or a callback."""
    whole = quiet(model, 3, steps=20)
    frames = quiet(model, 3, steps=20, snapshots=(0, 3, 4, 20))
    np.testing.assert_array_equal(whole.images, frames.images)
    assert sorted(frames.frames) == [0, 3, 4, 20]
    np.testing.assert_array_equal(frames.frames[20], frames.images)
    assert whole.history["score"].shape == (20, 1)


def test_a_run_goes_on_where_it_was(model, tmp_path):
    options = {"regularizers": [TotalVariation(0.1)], "averaging": 0.9}
    whole = quiet(model, [1, 2], steps=20, **options)
    half = quiet(model, [1, 2], steps=9, **options)
    half.save(tmp_path / "half.npz")
    rest = quiet(
        model, [1, 2], steps=20, start=Synthesis.load(tmp_path / "half.npz"),
        **options,
    )  # fmt: skip
    np.testing.assert_array_equal(whole.images, rest.images)
    np.testing.assert_array_equal(whole.history["score"], rest.history["score"])
    with pytest.raises(ValueError, match="settings it had"):
        quiet(model, [1, 2, 3], steps=20, start=half, **options)


def test_the_running_mean_is_a_mean(model):
    options = {"image": Pixels(bounds="clip"), "transforms": None}
    made = quiet(
        model, 3, steps=3, averaging=0.5, snapshots=(1, 2, 3), **options
    )
    plain = quiet(model, 3, steps=3, snapshots=(0, 1, 2), **options)
    mean = plain.frames[0]
    np.testing.assert_allclose(made.frames[1], mean, atol=1e-6)
    for step in (1, 2):
        mean = 0.5 * mean + 0.5 * plain.frames[step]
        np.testing.assert_allclose(made.frames[step + 1], mean, atol=1e-6)


def test_the_score_is_that_of_the_picture(model):
    made = quiet(model, [3, 5])
    logits = ke.Gradient(model).explain(made.images, [3, 5]).scores
    np.testing.assert_allclose(made.score, logits, rtol=1e-4)


def test_units_are_read_before_their_nonlinearity(model):
    """So that a unit that is silent everywhere still has a gradient."""
    found = keras.models.clone_model(model)
    found.set_weights(model.get_weights())
    found.get_layer("conv2").bias.assign([-2.0] * 6)
    made = quiet(found, ke.Channel("conv2", 1), steps=60, transforms=None)
    assert made.history["score"][0, 0] < 0
    assert made.score[0] > made.history["score"][0, 0] + 0.02


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


def test_diversity_makes_facets_differ(model):
    def likeness(made):
        activations = keras.Model(model.input, model.get_layer("conv2").output)
        a = np.asarray(activations(made.images)).reshape(3, -1, 6)
        gram = np.einsum("bpc,bpd->bcd", a, a).reshape(3, -1)
        gram /= np.linalg.norm(gram, axis=1, keepdims=True)
        return (gram @ gram.T)[np.triu_indices(3, 1)].mean()

    options = {"batch": 3, "steps": 40, "transforms": None}
    plain = quiet(model, 3, **options)
    apart = quiet(model, 3, regularizers=[Diversity(5.0, "conv2")], **options)
    assert likeness(apart) < likeness(plain) - 0.05
    with pytest.raises(ValueError, match="several pictures of one target"):
        quiet(model, 3, regularizers=[Diversity(1.0, "conv2")])


def test_the_step_is_traced_once(model):
    made = Maximization(model, [1, 2], value_range=(0, 1))
    for seed_of_run in range(3):
        made.run(5 + seed_of_run, verbose=False)
    assert sorted(made._runner._functions) == ["pictures", "score", "steps"]
    first = made.run(5, verbose=False)
    np.testing.assert_array_equal(
        first.images, quiet(model, [1, 2], steps=5).images
    )


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


def test_the_model_is_left_alone(model):
    weights = model.get_weights()
    calls = [layer.call for layer in model.layers]
    quiet(model, [1, ke.Channel("conv2", 2)])
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert calls == [layer.call for layer in model.layers]


def test_a_callback_watches_and_stops(model):
    seen = []

    def enough(progress):
        seen.append(progress.step)
        assert progress.images().shape == (1, 8, 8, 3)
        return progress.step >= 5

    made = quiet(model, 3, steps=500, callback=enough)
    assert made.stopped == "callback" and 5 <= made.steps < 500
    assert seen[-1] == made.steps == len(made.history["score"])


def test_ctrl_c_keeps_what_was_made(model, capfd):
    def press(progress):
        assert threading.current_thread() is threading.main_thread()
        os.kill(os.getpid(), signal.SIGINT)

    made = quiet(model, 3, steps=500, callback=press)
    assert made.stopped == "interrupted" and 1 <= made.steps < 500
    assert "Stopping" in capfd.readouterr().err
    whole = quiet(model, 3, steps=made.steps)
    np.testing.assert_array_equal(whole.images, made.images)


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


def test_files(model, tmp_path):
    made = quiet(model, [1, 2], snapshots=(0, 6))
    for name in ("a.npz", "a.png"):
        made.save(tmp_path / name)
    made.save_gif(tmp_path / "a.gif")
    again = Synthesis.load(tmp_path / "a.npz")
    for name in ("images", "score"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.settings == made.settings and again.titles == made.titles
    assert sorted(again.frames) == [0, 6]
    from PIL import Image

    with Image.open(tmp_path / "a.gif") as moving:
        assert moving.n_frames == 3
    with pytest.raises(ValueError, match=r"saved as \.npz"):
        made.save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="made of snapshots"):
        quiet(model, 1).save_gif(tmp_path / "b.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        made.save(tmp_path / "file" / "a.npz")


MISTAKES = [
    ({"target": ke.Channel("conv2", 6)}, ValueError, "has 6 channels"),
    ({"target": 99}, ValueError, "out of range"),
    ({"target": None}, ValueError, "no predicted class"),
    ({"target": []}, ValueError, "nothing to maximize"),
    ({"target": ke.Channel("nowhere", 0)}, ValueError, "nowhere"),
    ({"value_range": None}, ValueError, "does not say which values"),
    ({"value_range": (1, 0)}, ValueError, "smaller one first"),
    ({"value_range": UNBOUNDED, "image": Fourier()}, ValueError, "two values"),
    ({"image": Fourier(16)}, ValueError, "takes inputs of shape"),
    ({"image": "fourier"}, TypeError, "how a picture is made"),
    ({"transforms": "robus"}, TypeError, "is a list"),
    ({"transforms": [np.fliplr]}, TypeError, "holds parts"),
    ({"regularizers": [L2]}, TypeError, "holds parts"),
    ({"regularizers": [Blur(1.0)]}, ValueError, "changes pixels"),
    ({"batch": 0}, ValueError, "number of pictures"),
    ({"averaging": 1.0}, ValueError, "weight of the past"),
    ({"steps": -1}, ValueError, "not negative"),
    ({"snapshots": [13]}, ValueError, r"0 to 12.*\n.*\[13\]"),
    ({"optimizer": "adam"}, TypeError, "one of Keras"),
    (
        {"optimizer": keras.optimizers.Adam(clipnorm=1.0), "batch": 2},
        ValueError,
        "must not influence",
    ),
    ({"sped": 1}, TypeError, "no such setting"),
]


@pytest.mark.parametrize(("options", "kind", "text"), MISTAKES)
def test_mistakes_are_told(model, options, kind, text):
    options = dict(options)
    with pytest.raises(kind, match=text):
        quiet(model, options.pop("target", 3), **options)
