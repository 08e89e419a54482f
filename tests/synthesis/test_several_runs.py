"""The mean of what several networks draw."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain.synthesis import denoise, inpaint
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.networks import Hourglass

NOISY = np.random.default_rng(0).random((2, 16, 16, 3), "float32")


def quiet(method, *args, **options):
    prior = DeepImagePrior(Hourglass((8, 8)))
    return method(*args, steps=6, prior=prior, verbose=False, **options)


def test_runs_are_those_of_the_seeds_that_follow():
    both = quiet(denoise, NOISY, runs=2, seed=3, snapshots=[4])
    each = [quiet(denoise, NOISY, seed=s, snapshots=[4]) for s in (3, 4)]
    assert np.abs(each[0].images - each[1].images).max() > 1e-3
    mean = np.mean([one.images for one in each], 0)
    np.testing.assert_allclose(both.images, mean, atol=1e-5)
    frame = np.mean([one.frames[4] for one in each], 0)
    np.testing.assert_allclose(both.frames[4], frame, atol=1e-5)
    error = np.square(mean - NOISY).mean((1, 2, 3))
    np.testing.assert_allclose(both.score, -error, rtol=1e-4)
    loss = np.concatenate([one.history["loss"] for one in each], 1)
    np.testing.assert_allclose(both.history["loss"], loss, rtol=1e-4)
    assert len(both.titles) == 2 and both.settings["runs"] == 2


@pytest.mark.slow
def test_runs_go_on_and_keep_what_was_given():
    mask = np.random.default_rng(1).random((16, 16)) < 0.5
    whole = quiet(inpaint, NOISY[0], mask, runs=3)
    first = inpaint(NOISY[0], mask, runs=3, steps=2, verbose=False,
                    prior=DeepImagePrior(Hourglass((8, 8))))  # fmt: skip
    rest = quiet(inpaint, NOISY[0], mask, runs=3, start=first)
    np.testing.assert_array_equal(whole.images, rest.images)
    np.testing.assert_array_equal(whole.images[0][mask], NOISY[0][mask])


def test_a_picture_found_at_rest_is_a_mean_as_well():
    found = quiet(denoise, NOISY[0], runs=2, stop="variance", window=20)
    assert found.images.shape == (1, 16, 16, 3) and found.score.shape == (1,)


def test_no_run_at_all():
    with pytest.raises(ValueError, match="`runs` is a number of at least 1"):
        quiet(denoise, NOISY, runs=0)


def test_frames_of_before_are_kept_in_the_range_of_the_pictures():
    bytes_ = (255 * NOISY[0]).astype("uint8")
    prior = DeepImagePrior(Hourglass((8, 8)))
    first = denoise(bytes_, steps=2, snapshots=[1], prior=prior, verbose=False)
    assert first.frames[1].max() > 2  # of 255
    rest = quiet(denoise, bytes_, snapshots=[4], start=first)
    assert sorted(rest.frames) == [1, 4]
    np.testing.assert_array_equal(rest.frames[1], first.frames[1])
