"""Maximization: its laws, its ways to stop, and what it refuses."""

from __future__ import annotations

import os
import signal
import threading

import keras
import numpy as np
import pytest

import keras_explain as ke
from keras_explain.synthesis import (
    Diversity,
    Fourier,
    Maximization,
    Pixels,
    Synthesis,
)
from keras_explain.synthesis.pixel_operators import Blur
from keras_explain.synthesis.regularizers import L2, TotalVariation
from tests import zoo
from tests.synthesis.short_runs import UNBOUNDED, quiet


@pytest.fixture(scope="module")
def model():
    return zoo.build("functional").model


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


@pytest.mark.slow
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


def test_other_files_are_told(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(ValueError, match=r"holds no synthesis.*\n.*weights"):
        Synthesis.load(tmp_path / "other.npz")


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
    ({"seed": 1.5}, ValueError, "`seed` is a whole number"),
    ({"seed": 2**40}, ValueError, "`seed` is a whole number"),
    ({"warmup": -1}, ValueError, "`warmup` is a whole number from 0"),
    (
        {"target": ke.Direction("conv2", np.zeros(6))},
        ValueError,
        "finite and not zero",
    ),
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
