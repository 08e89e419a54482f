"""Fooling images: sure of nothing, from any start."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_explain.synthesis import fooling_image
from tests import zoo
from tests.synthesis.adversarial.victims import digits, linear


def test_every_class_has_a_fooling_image():
    model, _, _ = digits()
    found = fooling_image(model, range(10), bounds=(0, 1))
    assert found.success.all() and found.images.shape == (10, 8, 8, 1)
    np.testing.assert_array_equal(found.predictions, range(10))
    p = model.predict(found.images, verbose=0)[np.arange(10), np.arange(10)]
    assert p.min() >= 0.99 - 1e-6
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert (found.steps < 200).all()


def test_it_ends_where_the_confidence_is_reached():
    model, _, _ = digits()
    low = fooling_image(model, 7, confidence=0.6, bounds=(0, 1))
    high = fooling_image(model, 7, confidence=0.999, bounds=(0, 1))
    assert 0 < low.steps[0] < high.steps[0]
    assert low.success[0] and low.confidence[0] >= 0.6
    assert low.steps[0] > 1
    before = fooling_image(model, 7, confidence=0.6, steps=low.steps[0] - 1,
                           bounds=(0, 1))  # fmt: skip
    assert not before.success[0]
    few = fooling_image(model, 7, confidence=0.999, steps=low.steps[0],
                        bounds=(0, 1))  # fmt: skip
    assert not few.success[0] and few.steps[0] == low.steps[0]


def test_a_step_has_its_length():
    weights = np.array([[1.0, -1.0], [2.0, -2.0]])
    found = fooling_image(linear(weights), 0, start="gray", steps=3,
                          bounds=(-10, 10))  # fmt: skip
    # 1 % of the range in root mean square, along the difference.
    way = np.array([1, 2]) / np.sqrt(5) * 0.01 * 20 * np.sqrt(2)
    np.testing.assert_allclose(found.originals, [[0, 0]])
    np.testing.assert_allclose(found.images, [3 * way], rtol=1e-5)


def test_starts():
    model, images, _ = digits()
    gray = fooling_image(model, 5, start="gray", bounds=(0, 1))
    np.testing.assert_array_equal(gray.originals, np.full((1, 8, 8, 1), 0.5))
    own = fooling_image(model, [5, 6], start=images[:2], bounds=(0, 1))
    np.testing.assert_array_equal(own.originals, images[:2])
    assert own.success.all() and gray.success.all()
    noise = fooling_image(model, 5, bounds=(0, 1)).originals
    assert noise.std() > 0.2 and 0 <= noise.min() and noise.max() <= 1


def test_an_image_depends_on_its_seed_and_number_only():
    model, _, _ = digits()
    options = {"bounds": (0, 1), "confidence": 0.9}
    some = fooling_image(model, [2, 7], num_images=3, **options)
    np.testing.assert_array_equal(some.labels, [2, 2, 2, 7, 7, 7])
    one = fooling_image(model, 7, **options)
    np.testing.assert_allclose(one.images[0], some.images[3], atol=1e-5)
    np.testing.assert_array_equal(some.originals[0], some.originals[3])
    assert np.any(some.originals[0] != some.originals[1])
    again = fooling_image(model, 7, **options)
    np.testing.assert_array_equal(one.images, again.images)
    other = fooling_image(model, 7, seed=1, **options)
    assert np.any(other.originals != one.originals)


def test_what_is_fooling_already_is_left_as_it_is():
    model, _, _ = digits()
    first = fooling_image(model, 1, confidence=0.99, bounds=(0, 1))
    again = fooling_image(model, 1, start=first.images, confidence=0.9,
                          bounds=(0, 1))  # fmt: skip
    np.testing.assert_array_equal(again.images, first.images)
    assert again.success.all() and again.steps[0] == 0


def test_a_sigmoid_is_fooled_both_ways():
    model = zoo.build("sigmoid").model
    found = fooling_image(model, [0, 1], confidence=0.9, bounds=(-9, 9),
                          steps=500)  # fmt: skip
    p = np.asarray(model(found.images))[:, 0]
    assert p[0] < 0.101 and p[1] > 0.899
    assert found.success.all()


def test_a_model_of_any_size_needs_a_shape():
    model = zoo.build("open_size").model
    with pytest.raises(ValueError, match="what shape") as error:
        fooling_image(model, 3, bounds=(-9, 9))
    assert "shape=(height" in str(error.value)
    found = fooling_image(model, 3, shape=(8, 8, 3), confidence=0.5,
                          bounds=(-9, 9))  # fmt: skip
    assert found.images.shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"start": "stars"}, ValueError, "no such start"),
        ({"confidence": 1.0}, ValueError, "never reaches"),
        ({"confidence": 0}, ValueError, "above zero"),
        ({"confidence": float("nan")}, ValueError, "above zero"),
        ({"steps": 0}, ValueError, "whole number from 1"),
        ({"steps": 2.5}, TypeError, "whole number"),
        ({"seed": -1}, ValueError, "whole number from 0"),
        ({"num_images": 0}, ValueError, "whole number from 1"),
        ({"number": 3}, TypeError, "num_images"),
        ({"class_index": 10}, ValueError, "Pass 0 to 9"),
        ({"class_index": -1}, ValueError, "Pass 0 to 9"),
        ({"class_index": "cat"}, TypeError, "class index or a list"),
        ({"class_index": None}, TypeError, "class index or a list"),
        ({"class_index": []}, TypeError, "class index or a list"),
        ({"bounds": None}, ValueError, "bounds="),
        ({"start": np.zeros((1, 8, 8, 3)) - 9}, ValueError, "outside"),
    ],
)
def test_bad_options(options, kind, text):
    model = zoo.build("functional").model
    given = {"class_index": 3, "bounds": (-1, 1), **options}
    with pytest.raises(kind, match=text):
        fooling_image(model, **given)


def test_a_regression_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="regression"):
        fooling_image(model, 0, bounds=(0, 1))
