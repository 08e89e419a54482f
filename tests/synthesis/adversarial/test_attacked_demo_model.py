"""FGSM, PGD and DeepFool on the demo network, in values of 0 to 255."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain.datasets import demo_model, load
from keras_explain.synthesis import deepfool, fgsm, pgd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shapes():
    return demo_model(), *load(16, "test")


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_budgets_are_kept_and_pgd_is_the_stronger(shapes, share):
    """The bounds are read from the model, which begins with a rescaling."""
    epsilon = 255 * share
    one = fgsm(*shapes, epsilon=epsilon)
    many = pgd(*shapes, epsilon=epsilon, steps=10)
    for found in (one, many):
        assert found.original_accuracy > 0.95
        assert found.norm_linf.max() <= epsilon + 1e-3
        assert found.images.min() >= 0 and found.images.max() <= 255
        predictions = np.asarray(shapes[0](found.images)).argmax(-1)
        np.testing.assert_array_equal(found.predictions, predictions)
    assert many.accuracy <= one.accuracy < one.original_accuracy
    assert share < 0.1 or many.accuracy == 0


def test_deepfool_fools_it_on_every_picture_it_knows(shapes):
    found = deepfool(*shapes)
    tried = found.initially_correct
    assert found.success[tried].all() and found.success_rate == 1
    assert found.images.min() >= 0 and found.images.max() <= 255
    predictions = np.asarray(shapes[0](found.images)).argmax(-1)
    assert (predictions != shapes[2])[tried].all()
    # So near that nobody would see it.
    assert found.relative_l2[tried].mean() < 0.03
