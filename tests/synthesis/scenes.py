"""A scene to restore, how near it a picture is, and short runs."""

from __future__ import annotations

import numpy as np

from keras_explain.synthesis import Pixels
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.networks import Hourglass

SMALL = DeepImagePrior(Hourglass((8,), 0))
# For what has nothing to do with how a picture is made.
FAST = Pixels()


def scene(size=16, seed=0):
    """Smooth, with an edge; `(size, size, 3)` from 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = np.stack([x, y, (x + y) / 2], -1) + 0.1 * rng.normal(size=3)
    waves[(x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05] = rng.uniform(size=3)
    return waves.clip(0, 1).astype(np.float32)


def psnr(made, truth):
    return -10 * np.log10(np.mean(np.square(made - truth)))


def quiet(method, *args, steps=8, prior=FAST, **options):
    return method(*args, steps=steps, prior=prior, verbose=False, **options)
