"""What an attack returns: numbers, pieces, files and figures."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain import plots
from keras_explain.synthesis import pgd
from keras_explain.synthesis.adversarial.result import Adversarial
from tests import zoo
from tests.synthesis.adversarial.victims import digits, linear


@pytest.fixture
def found():
    model, images, labels = digits()
    return pgd(model, images[:9], labels[:9], epsilon=0.2, bounds=(0, 1))


def made(images, originals, **options):
    number = len(images)
    rows = {
        "labels": np.zeros(number, "int32"),
        "predictions": np.ones(number, "int32"),
        "original_predictions": np.zeros(number, "int32"),
        "confidence": np.full(number, 0.75, "float32"),
        "original_confidence": np.full(number, 0.5, "float32"),
        "initially_correct": np.ones(number, bool),
        "success": np.ones(number, bool),
        "steps": np.ones(number, "int32"),
    }
    settings = {"attack": "pgd", "bounds": (0.0, 1.0), "targeted": False}
    return Adversarial(images=np.float32(images),
                       originals=np.float32(originals),
                       **{**rows, "settings": settings, **options})  # fmt: skip


def test_norms_are_those_of_the_difference():
    result = made([[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 3.0]])
    np.testing.assert_allclose(result.norm_l2, [5, 2])
    np.testing.assert_allclose(result.norm_linf, [4, 2])
    np.testing.assert_allclose(result.relative_l2, [np.inf, 2 / np.sqrt(10)])
    np.testing.assert_allclose(result.difference, [[3, 4], [0, -2]])


def test_rates():
    zeros = np.zeros((4, 2))
    result = made(
        zeros,
        zeros,
        labels=np.array([0, 0, 2, 2]),
        predictions=np.array([0, 1, 1, 2]),
        original_predictions=np.array([0, 0, 2, 1]),
        initially_correct=np.array([True, True, True, False]),
        success=np.array([False, True, True, False]),
    )
    assert result.accuracy == 0.5 and result.original_accuracy == 0.75
    assert result.success_rate == 2 / 3
    targeted = made(
        zeros[:2],
        zeros[:2],
        labels=np.array([5, 5]),
        predictions=np.array([5, 0]),
        settings={"targeted": True, "bounds": (0.0, 1.0)},
    )
    assert targeted.accuracy == 0.5 and targeted.original_accuracy == 1


def test_pieces(found):
    assert len(found) == 9 and len(found[2]) == 1 and len(found[-1]) == 1
    np.testing.assert_array_equal(found[2].images[0], found.images[2])
    np.testing.assert_array_equal(found[-1].images[0], found.images[8])
    assert len(found[3:5]) == 2
    assert found[found.success].success.all()
    with pytest.raises(IndexError, match="9 of 9"):
        found[9]
    joined = Adversarial.concatenate([found[:4], found[4:]])
    np.testing.assert_array_equal(joined.images, found.images)


def test_repr_says_what_came_of_it(found):
    text = repr(found)
    tried = found.initially_correct.sum()
    assert "pgd" in text and f"{found.success.sum()} of {tried}" in text


def test_settings_say_what_was_done(found):
    assert found.settings == {
        "attack": "pgd",
        "epsilon": 0.2,
        "norm": "linf",
        "step_size": None,
        "steps": 40,
        "random_start": True,
        "seed": 0,
        "targeted": False,
        "bounds": (0.0, 1.0),
    }


def test_a_file_gives_it_back(found, tmp_path):
    path = tmp_path / "deep" / "found.npz"
    found.save(path)
    again = Adversarial.load(path)
    assert again.settings == found.settings
    for name in Adversarial._row_names():
        a, b = getattr(found, name), getattr(again, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["found.npz"]


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def test_a_figure_shows_original_difference_and_adversarial():
    before = np.full((2, 4, 4, 1), 0.5)
    after = before.copy()
    after[0, 0, 0] += 0.1
    after[0, 1, 1] -= 0.05
    figure = made(after, before).plot()
    assert [a.get_title() for a in figure.axes[:3]] == [
        "original", "difference", "adversarial"
    ]  # fmt: skip
    original, change, changed = map(shown, figure.axes[:3])
    assert original[0, 0, 0] == 128 and changed[0, 0, 0] == 153
    assert changed[1, 1, 0] == 115
    # Five times enlarged: 0.1 is all that is above gray.
    assert change[0, 0, 0] == 255 and change[1, 1, 0] == 64
    assert change[2, 2, 0] == 128
    label = figure.axes[0].get_ylabel()
    assert "class 0 50 %" in label and "class 1 75 %" in label
    assert "x 5" in label.replace("\n", " ")
    # Nothing was changed in the second one.
    assert np.all(shown(figure.axes[4]) == 128)
    assert "difference" not in figure.axes[3].get_ylabel()


def test_class_names_take_the_place_of_numbers():
    result = made(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1)))
    assert result.titles(["cat", "dog"]) == ["cat 50 % to dog 75 %"]
    with pytest.raises(ValueError, match="one name for each class"):
        result.plot(class_names=["cat"])


def test_figures_of_many_and_of_what_is_no_picture(found):
    assert len(found.plot(max_outputs=2).axes) == 6
    assert found._repr_png_()[1:4] == b"PNG"
    random = np.random.default_rng(0)
    table = pgd(linear(random.normal(size=(6, 3))), random.uniform(size=(2, 6)),
                epsilon=0.1, bounds=(0, 1))  # fmt: skip
    assert plots.to_png(table.plot())[1:4] == b"PNG"
    built = zoo.build("series")
    line = pgd(built.model, built.inputs, epsilon=0.1, bounds=(-9, 9))
    assert plots.to_png(line.plot())[1:4] == b"PNG"
    gray = made(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
    assert plots.to_png(gray.plot())[1:4] == b"PNG"
