"""Short runs of maximization, without a progress bar."""

from __future__ import annotations

import numpy as np

from keras_explain.synthesis import maximize

UNBOUNDED = (-np.inf, np.inf)


def quiet(model, target, **settings):
    settings.setdefault("value_range", (0, 1))
    settings.setdefault("steps", 12)
    return maximize(model, target, verbose=False, **settings)
