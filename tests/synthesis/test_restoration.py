"""Restoration: what it does, its laws, and where it stops."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis import Pixels
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.downsampling import downsample
from keras_explain.synthesis.networks import Hourglass
from keras_explain.synthesis.regularizers import TotalVariation
from keras_explain.synthesis.restoration import (
    denoise,
    inpaint,
    restore,
    super_resolve,
)
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.watching import WindowedVariance
from tests.synthesis.finite_differences import check_gradient
from tests.synthesis.scenes import FAST, SMALL, psnr, quiet, scene

# What it does


def test_noise_is_removed():
    truth = scene(64)
    noise = np.random.default_rng(1).normal(0, 25 / 255, truth.shape)
    noisy = (truth + noise).clip(0, 1).astype(np.float32)
    made = quiet(denoise, noisy, steps=300,
                 prior=DeepImagePrior(Hourglass((16,) * 3)))  # fmt: skip
    assert psnr(made.images[0], truth) > psnr(noisy, truth) + 3
    assert made.history["loss"].shape == (300, 1)
    np.testing.assert_array_equal(made.history["loss"], -made.history["score"])
    assert made.history["loss"][-1] < made.history["loss"][0] / 3
    assert made.score[0] == pytest.approx(
        -np.mean(np.square(made.images[0] - noisy)), rel=1e-4
    )


def test_hidden_pixels_are_filled_in_and_never_looked_at():
    truth = scene(32)
    mask = np.ones((32, 32))
    mask[10:18, 12:22] = 0
    options = {"steps": 150, "averaging": 0.9, "prior": SMALL}
    made = quiet(inpaint, truth, mask, **options)
    hole = mask == 0
    gray = np.mean(np.square(truth[hole] - truth[~hole].mean(0)))
    assert np.mean(np.square(made.images[0][hole] - truth[hole])) < gray / 2
    other = truth.copy()
    other[hole] = np.nan
    again = quiet(inpaint, other, mask.astype(bool), **options)
    np.testing.assert_array_equal(made.images, again.images)
    np.testing.assert_array_equal(made.history["loss"], again.history["loss"])
    np.testing.assert_array_equal(made.images[0][~hole], truth[~hole])
    bare = quiet(inpaint, truth, mask, keep=False, **options)
    np.testing.assert_array_equal(bare.images[0][hole], made.images[0][hole])
    error = np.square(bare.images[0] - truth)[~hole]
    assert error.mean() > 0
    assert made.score[0] == pytest.approx(-error.mean(), rel=1e-4)
    half = quiet(inpaint, truth, mask * 0.5, **options)
    frames = quiet(inpaint, truth, mask, snapshots=(150,), **options).frames
    np.testing.assert_array_equal(frames[150], made.images)
    assert np.all(half.images[0][~hole] != truth[~hole])


def test_pictures_become_larger():
    truth = scene(32)
    small = downsample(truth[np.newaxis], 4, "average").numpy()
    made = quiet(super_resolve, small, 4, kernel="average", steps=200,
                 averaging=0.9, prior=SMALL)  # fmt: skip
    assert made.images.shape == (1, 32, 32, 3)
    blocks = np.repeat(np.repeat(small[0], 4, 0), 4, 1)
    assert psnr(made.images[0], truth) > psnr(blocks, truth)
    again = downsample(made.images, 4, "average").numpy()
    assert -np.mean((again - small) ** 2) == pytest.approx(
        made.score[0], rel=1e-4
    )
    assert made.titles == ["4 times as large"]


def test_an_operator_of_ones_own():
    """A lost channel: the gray picture is all that was seen."""
    truth = scene()
    gray = truth.mean(-1, keepdims=True)
    made = quiet(
        restore, gray, lambda x: tf.reduce_mean(x, -1, keepdims=True),
        shape=(16, 16, 3), steps=100, averaging=0.0,
    )  # fmt: skip
    assert made.images.shape == (1, 16, 16, 3)
    assert psnr(made.images[0].mean(-1, keepdims=True), gray) > 20


def test_8_bit_pictures_keep_their_range():
    """And the run is that of the same picture from 0 to 1."""
    truth = np.round(scene() * 255).astype(np.uint8)
    seen = []

    def operator(x):
        seen.append(x)
        return x

    made = quiet(restore, truth, operator)
    same = quiet(denoise, truth / np.float32(255))
    assert made.value_range == (0, 255) and same.value_range == (0, 1)
    np.testing.assert_allclose(made.images / 255, same.images, atol=1e-4)
    np.testing.assert_allclose(made.score, same.score, rtol=1e-3)


def test_other_ways_to_make_a_picture():
    """Total variation, as before there were networks."""
    truth = scene()
    noisy = (truth + np.random.default_rng(0).normal(0, 0.1, truth.shape)).clip(
        0, 1
    )
    made = quiet(
        denoise, noisy, prior=Pixels(bounds="clip"), averaging=0.0, steps=200,
        regularizers=[TotalVariation(2e-4)],
        optimizer=keras.optimizers.Adam(0.01),
    )  # fmt: skip
    assert psnr(made.images[0], truth) > psnr(noisy, truth) + 1
    assert "TotalVariation" in made.history


# Laws


def test_a_batch_is_what_single_runs_give():
    both = np.stack([scene(seed=1), scene(seed=2)])
    mask = np.ones((2, 16, 16))
    mask[1, :8] = 0
    for prior in (FAST, SMALL):
        together = quiet(inpaint, both, mask, prior=prior)
        alone = quiet(inpaint, both[1], mask[1], prior=prior)
        np.testing.assert_allclose(together.images[1], alone.images[0],
                                   atol=1e-5)  # fmt: skip


def test_same_seed_same_picture():
    first, second = (quiet(denoise, scene(), prior=SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.history["loss"], second.history["loss"])
    other = quiet(denoise, scene(), prior=SMALL, seed=1)
    assert not np.allclose(first.images, other.images, atol=1e-3)


def test_a_run_goes_on_where_it_was(tmp_path):
    whole = quiet(denoise, scene(), steps=12)
    half = quiet(denoise, scene(), steps=5, snapshots=(0, 5))
    np.testing.assert_array_equal(half.frames[5], half.images)
    half.save(tmp_path / "half.npz")
    rest = quiet(denoise, scene(), steps=12,
                 start=Synthesis.load(tmp_path / "half.npz"))  # fmt: skip
    np.testing.assert_array_equal(whole.images, rest.images)
    np.testing.assert_array_equal(whole.history["loss"], rest.history["loss"])


@pytest.mark.parametrize("kernel", ["lanczos2", "average"])
def test_downsampling_has_the_exact_gradient(kernel):
    x = np.random.default_rng(0).normal(size=(1, 12, 8, 2))
    check_gradient(lambda x: downsample(x, 4, kernel), x)
    ones = downsample(np.ones((1, 12, 8, 1)), 4, kernel)
    np.testing.assert_allclose(ones, 1, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_lanczos_is_as_published(factor):
    """As a convolution of a picture whose border pixels are repeated."""
    size = 4 * factor
    x = np.random.default_rng(0).normal(size=(3 * factor, 4 * factor))
    taps = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            a, b = (abs(k + 0.5 - size / 2) / factor for k in (i, j))
            taps[i, j] = (
                4 * np.sin(np.pi * a) * np.sin(np.pi * a / 2)
                * np.sin(np.pi * b) * np.sin(np.pi * b / 2)
                / (np.pi**4 * a**2 * b**2)
            )  # fmt: skip
    taps /= taps.sum()
    padded = np.pad(x, (size - factor) // 2, "edge")
    expected = [
        [
            np.sum(padded[i : i + size, j : j + size] * taps)
            for j in range(0, x.shape[1], factor)
        ]
        for i in range(0, x.shape[0], factor)
    ]
    made = downsample(x[np.newaxis, ..., np.newaxis], factor)[0, ..., 0]
    np.testing.assert_allclose(made, expected, atol=1e-10)


# How it ends


def bursting(rates):
    """Adam whose learning rate jumps after step 120, and comes back."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [120, 121], [0.01, rates, 0.01]
    )
    return keras.optimizers.Adam(schedule)


def test_what_breaks_is_put_back():
    truth = scene()
    options = {"steps": 250, "averaging": 0.0}
    options |= {"optimizer": bursting(1e4), "prior": SMALL}
    broken = quiet(denoise, truth, backtrack=None, **options)
    with pytest.warns(UserWarning, match=r"put back.*\(after step 200\)"):
        mended = quiet(denoise, truth, **options)
    assert psnr(mended.images, truth) > psnr(broken.images, truth) + 5
    assert mended.history["loss"].shape == (250, 1) and mended.steps == 250
    loss = mended.history["loss"][:, 0]
    assert loss[150] > 3 * loss[100] and loss[201] < loss[150] / 3


def test_rows_are_put_back_by_themselves():
    """A burst breaks a gray picture, and helps a black one: pixels there
    hardly move."""
    start = np.stack([np.full((8, 8, 1), v, np.float32) for v in (0.45, 0.02)])
    seen = np.stack([np.full((8, 8, 1), v, np.float32) for v in (0.5, 0.01)])
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [120, 121], [2.0, 5e4, 2.0]
    )
    options = {"steps": 205, "averaging": 0.0,
               "optimizer": keras.optimizers.SGD(schedule)}  # fmt: skip

    def run(rows):
        prior = Pixels(initial=start[rows])
        return quiet(denoise, seen[rows], prior=prior, **options)

    with pytest.warns(UserWarning, match="put back"):
        together = run([0, 1])
    with pytest.warns(UserWarning, match="put back"):
        gray = run([0])
    black = run([1])
    for row, alone in enumerate((gray, black)):
        np.testing.assert_allclose(together.images[row], alone.images[0],
                                   atol=1e-6)  # fmt: skip
    assert black.images.mean() < 0.0199


def test_values_that_overflow_are_put_back():
    options = {"steps": 220, "optimizer": bursting(1e38), "prior": SMALL}
    with pytest.warns(UserWarning, match="put back"):
        made = quiet(denoise, scene(), **options)
    assert made.stopped == "finished" and made.steps == 220
    assert np.isfinite(made.history["loss"]).all()
    with pytest.warns(UserWarning, match=r"diverged: after step 12\d"):
        made = quiet(denoise, scene(), backtrack=None, **options)
    assert made.stopped == "diverged" and made.steps in (121, 122)
    assert np.isfinite(made.images).all()


def test_the_variance_finds_when_pictures_are_at_rest():
    rng = np.random.default_rng(0)
    found = WindowedVariance(window=100, patience=200)
    for step in range(10, 2000, 10):
        # The second row is at rest later than the first.
        unrest = np.abs(step - np.array([400, 700])) / 400 + 0.1
        unrest[0] *= step < 700  # too late: it is done by then
        recent = rng.normal(size=(2, 8, 8, 1)) * unrest[:, None, None, None]
        found.see(step, recent, np.full((2, 1), step))
        if step == 90:
            assert found.images is None  # the window is not full
        if found.done:
            break
    first, second = found.images[:, 0]
    assert abs(first - 450) <= 30 and abs(second - 750) <= 30
    assert step == second + 200


def test_a_run_ends_in_time():
    rng = np.random.default_rng(0)
    noisy = (0.5 + rng.normal(0, 0.2, (16, 16, 3))).clip(0, 1)
    made = quiet(
        denoise, noisy, stop="variance", window=50, patience=40, steps=2000,
        snapshots=range(0, 2001, 10), prior=DeepImagePrior(Hourglass((16,))),
    )  # fmt: skip
    assert made.stopped == "variance" and made.steps < 2000
    best = made.frames[made.steps - 40]
    np.testing.assert_array_equal(made.images, best)
    assert made.score[0] == pytest.approx(-np.mean((best - noisy) ** 2),
                                          rel=1e-4)  # fmt: skip


def test_ctrl_c_and_callbacks(capfd):
    def press(progress):
        os.kill(os.getpid(), signal.SIGINT)

    made = quiet(denoise, scene(), steps=500, callback=press)
    assert made.stopped == "interrupted" and 1 <= made.steps < 500
    assert "Stopping" in capfd.readouterr().err
    made = quiet(denoise, scene(), steps=500,
                 callback=lambda progress: progress.step >= 3)  # fmt: skip
    assert made.stopped == "callback" and made.images.shape == (1, 16, 16, 3)
