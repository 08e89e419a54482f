"""Where maps point, against vectors worked out by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import keras_explain
from keras_explain.evaluation import (
    human_agreement,
    objects,
    pointing_game,
    weak_localization,
)
from keras_explain.evaluation.similarity import downsized
from tests import zoo
from tests.evaluation import nets


def square(low, high, size=8):
    mask = np.zeros((1, size, size), bool)
    mask[:, low:high, low:high] = True
    return mask


def point(maps, masks, size=32, **options):
    """The pointing game of maps that are known."""
    maps, masks = np.asarray(maps, "float32"), np.asarray(masks)
    x = np.zeros((*maps.shape, 1), "float32")
    options = {"tolerance": 0, "batch_size": size, **options}
    return pointing_game(nets.given(maps), (x, masks), **options)


def two_points():
    a = np.zeros((1, 8, 8))
    a[0, 1, 1], a[0, 6, 6] = 1, 0.5
    return a


@pytest.mark.parametrize(
    ("variant", "near", "far"),
    [
        ("hit", 1.0, 0.0),
        ("energy", 2 / 3, 1 / 3),
        ("rank", 0.5, 0.0625),
        (4, 0.75, 0.25),
        ("roc", 0.521484, 0.520182),
    ],
)
def test_vectors(variant, near, far):
    options = {"variant": variant, "ties": "index"}
    found = [
        point(two_points(), square(*corner), **options).mean
        for corner in ((0, 4), (4, 8))
    ]
    assert found == pytest.approx([near, far], abs=1e-6)


def test_vectors_of_a_large_square():
    a, same = square(50, 150, 224), square(50, 150, 224)
    wider, disjoint = square(0, 150, 224), square(150, 224, 224)
    for variant, inside in (("hit", 1), ("energy", 1), ("rank", 1)):
        assert point(a, same, variant=variant).mean == inside
        assert point(a, disjoint, variant=variant).mean == pytest.approx(
            0 if variant != "rank" else 0.0, abs=1e-12
        )
    assert point(a, wider).mean == point(a, wider, variant="energy").mean == 1


def test_an_empty_mask_is_no_hit():
    """A peer counts it as one."""
    masks = np.concatenate([square(0, 4), np.zeros((1, 8, 8), bool)])
    for variant in ("hit", "energy", "rank", "roc", 3):
        found = point(np.repeat(two_points(), 2, 0), masks, variant=variant)
        assert np.isnan(found.per_sample[1]) and found.n_valid == 1
        assert found.mean == found.per_sample[0]
    nothing = point(two_points(), np.zeros((1, 8, 8)))
    assert nothing.n_valid == 0
    assert np.isnan(nothing.mean) and np.isnan(nothing.sem)


def test_a_constant_map_scores_the_area():
    """At a peer it hits every time."""
    constant, mask = np.ones((1, 8, 8)), square(0, 4)
    for variant in ("hit", "energy", "rank", 10):
        assert point(constant, mask, variant=variant).mean == pytest.approx(
            0.25
        )
    assert point(constant, mask, variant="roc").mean == pytest.approx(0.5)
    assert point(constant, mask, ties="index").mean == 1
    assert point(constant, square(4, 8), ties="index").mean == 0


def test_ties_are_what_chance_gives_on_average():
    random = np.random.default_rng(0)
    a = random.integers(0, 3, (1, 8, 8)).astype(float)
    mask = random.uniform(size=(1, 8, 8)) < 0.3
    for size in (5, 20, 40):
        expected = []
        for _ in range(4000):
            order = np.lexsort((random.uniform(size=64), -a.ravel()))
            expected.append(mask.ravel()[order[:size]].mean())
        found = point(a, mask, variant=size).mean
        assert found == pytest.approx(np.mean(expected), abs=0.012)


def test_the_share_does_not_depend_on_the_batch():
    """At a peer the weighted share is 0.083 at a batch of 4, not 0.167."""
    random = np.random.default_rng(2)
    maps = random.uniform(size=(5, 8, 8))
    masks = random.uniform(size=(5, 8, 8)) < 0.2
    for variant in ("hit", "energy", "rank", "roc"):
        whole = point(maps, masks, variant=variant)
        parts = point(maps, masks, 2, variant=variant)
        np.testing.assert_array_equal(whole.per_sample, parts.per_sample)
    energy = point(maps, masks, variant="energy").per_sample
    maps = maps.astype("float32").astype(float)
    np.testing.assert_allclose(
        energy, [m[k].sum() / m.sum() for m, k in zip(maps, masks, strict=True)]
    )


def test_tolerance_is_a_circle_and_reached():
    a = np.zeros((1, 16, 16))
    a[0, 8, 8] = 1
    for row, column, distance in ((8, 11, 3), (11, 12, 5), (8, 7, 1)):
        mask = np.zeros((1, 16, 16), bool)
        mask[0, row, column] = True
        assert point(a, mask, tolerance=distance).mean == 1
        assert point(a, mask, tolerance=distance - 0.01).mean == 0


def test_nan_and_nothing_positive():
    maps = np.concatenate([two_points(), -two_points(), two_points()])
    maps[2, 0, 0] = np.nan
    masks = np.repeat(square(0, 4), 3, 0)
    found = point(maps, masks, variant="energy")
    np.testing.assert_array_equal(np.isnan(found.per_sample), [0, 1, 1])
    assert point(maps, masks).n_valid == 2


def test_mean_over_classes():
    maps = np.repeat(two_points(), 6, 0)
    masks = np.concatenate(
        [square(0, 4), square(4, 8), square(4, 8), square(4, 8),
         square(0, 4), np.zeros((1, 8, 8), bool)]
    )  # fmt: skip
    target = np.array([0, 1, 1, 1, 2, 3])
    found = point(maps, masks, target=target, average="class")
    assert found.mean == pytest.approx(2 / 3)  # class 3 has no valid sample
    assert found.sem == pytest.approx(np.std([1, 0, 1], ddof=1) / 3**0.5)
    assert point(maps, masks, target=target).mean == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="needs the class of each sample"):
        point(maps, masks, average="class")


def test_explainers_and_datasets():
    model, x = zoo.build("functional").model, zoo.images(5)
    masks = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)) < 0.4
    explainer = keras_explain.GradCAM(model)
    options = {"variant": "energy"}
    one = pointing_game(explainer, (x, masks), **options)
    assert one.n_valid == 5
    np.testing.assert_array_equal(
        one.details["class"], np.asarray(model(x)).argmax(-1)
    )
    dataset = tf.data.Dataset.from_tensor_slices((x, masks)).batch(3)
    other = pointing_game(explainer, dataset, batch_size=2, **options)
    np.testing.assert_allclose(one.per_sample, other.per_sample, rtol=1e-5)
    maps = np.asarray(explainer(x), "float64")
    np.testing.assert_allclose(
        one.per_sample,
        (maps * masks[..., 0]).sum((1, 2)) / maps.sum((1, 2)),
        rtol=1e-5,
    )


def test_bad_masks_and_options():
    a, mask = two_points(), square(0, 4)
    with pytest.raises(ValueError, match="mask for each sample, of the size"):
        point(a, np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="A mask holds 1 where"):
        point(a, 7 * mask.astype(int))
    with pytest.raises(ValueError, match="one mask, box or label for each"):
        point(a, np.ones((2, 8, 8)))
    for data in (np.zeros((1, 8, 8, 1)), (np.zeros((1, 8, 8, 1)),)):
        with pytest.raises(TypeError, match="data must be pairs"):
            pointing_game(nets.given(a), data)
    with pytest.raises(ValueError, match="`variant` is one of a few names"):
        point(a, mask, variant="mass")
    with pytest.raises(ValueError, match="`variant` is an integer"):
        point(a, mask, variant=0)
    with pytest.raises(ValueError, match="`tolerance` is a distance"):
        point(a, mask, tolerance=-1)
    with pytest.raises(TypeError, match="no such setting"):
        point(a, mask, of="logit")


def localize(maps, truth, pictures=None, **options):
    maps = np.asarray(maps, "float32")
    if pictures is None:
        pictures = np.zeros((*maps.shape, 1), "float32")
    return weak_localization(nets.given(maps), (pictures, truth), **options)


def test_boxes_by_hand():
    a = np.zeros((1, 8, 8))
    a[0, 2:6, 2:5], a[0, 7, 7], a[0, 6, 5] = 1, 1, 0.14
    found = localize(a, np.array([[2, 2, 6, 6]]))
    np.testing.assert_array_equal(found.details["box"], [[2, 2, 6, 5]])
    assert found.details["overlap"] == pytest.approx([12 / 16])
    assert found.mean == 1 and localize(a, [[2, 2, 6, 6]],
                                        min_overlap=0.76).mean == 0  # fmt: skip
    # The weak pixel touches the block at a corner, and joins it.
    lower = localize(a, [[2, 2, 6, 6]], threshold=0.14)
    np.testing.assert_array_equal(lower.details["box"], [[2, 2, 7, 6]])
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2:6, 2:6] = True
    assert localize(a, mask).details["overlap"] == pytest.approx([12 / 16])
    several = np.full((1, 3, 4), np.nan)
    several[0, 0], several[0, 1] = [0, 0, 2, 2], [2, 2, 6, 5]
    assert localize(a, several).details["overlap"] == [1.0]


def test_maps_without_a_box():
    a = np.stack([np.zeros((8, 8)), -np.ones((8, 8)), np.ones((8, 8))])
    truth = np.repeat([[0, 0, 8, 7]], 3, 0)
    found = localize(a, truth)
    np.testing.assert_array_equal(found.per_sample, [0, 0, 1])
    a[2, 0, 0] = np.nan
    assert localize(a, truth).n_valid == 2
    assert localize(a[:1], np.zeros((1, 8, 8))).n_valid == 0
    with pytest.raises(ValueError, match=r"A box is \(top, left"):
        localize(a, np.repeat([[4, 4, 4, 9]], 3, 0))
    with pytest.raises(ValueError, match="`threshold` is a share"):
        localize(a, truth, threshold=0)


def test_grabcut_finds_what_the_colors_say():
    pytest.importorskip("cv2")
    random = np.random.default_rng(0)
    pictures = random.normal(0, 0.03, (3, 32, 32, 3)).astype("float32")
    pictures[:, 8:24, 8:20] += np.array([1.0, 0.5, 0.0], "float32")
    rows, columns = np.mgrid[:32, :32]
    blob = np.exp(-((rows - 16) ** 2 + (columns - 14) ** 2) / 18)
    maps = np.stack([blob, np.maximum(blob - 0.5, 0), np.ones((32, 32))])
    truth = np.repeat([[8, 8, 24, 20]], 3, 0)
    options = {"method": "grabcut", "seed": 3}
    found = localize(maps, truth, pictures, **options)
    assert np.all(found.details["overlap"][:2] > 0.9)
    assert found.per_sample[2] == 0  # a constant map says nothing
    assert np.all(localize(maps, truth).details["overlap"][:2] < 0.9)
    alone = localize(maps[1:2], truth[1:2], pictures[1:2], **options)
    np.testing.assert_array_equal(
        alone.details["box"], found.details["box"][1:2]
    )
    with pytest.raises(ValueError, match="GrabCut takes pictures"):
        localize(maps, truth, np.zeros((3, 32, 32, 2)), **options)


def test_grabcut_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"toolkit\[evaluation\]"):
        localize(two_points(), square(0, 4), method="grabcut")


def test_the_largest_component():
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
    expected = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(objects.largest_component(mask), expected)
    assert objects.overlap(np.array([0, 0, 2, 2.0]),
                           np.array([5, 5, 6, 6.0])) == 0  # fmt: skip


def agree(maps, attention, **options):
    x = np.zeros((*np.shape(maps), 1), "float32")
    return human_agreement(nets.given(maps), (x, attention), **options)


def test_agreement_against_scipy():
    random = np.random.default_rng(0)
    maps = random.normal(size=(3, 8, 8)).astype("float32").astype(float)
    people = random.integers(0, 10, size=(3, 2, 12, 12))
    found = agree(maps, people, size=4, batch_size=2)
    for k in range(3):
        mine = maps[k].reshape(4, 2, 4, 2).mean((1, 3)).ravel()
        expected = [
            stats.spearmanr(
                mine, h.reshape(4, 3, 4, 3).mean((1, 3)).ravel()
            ).statistic
            for h in people[k]
        ]
        assert found.per_sample[k] == pytest.approx(np.mean(expected))
    assert agree(maps, maps, size=4).mean == pytest.approx(1)
    assert agree(maps, -maps[..., None], size=(4, 2)).mean == pytest.approx(-1)


def test_agreement_of_constant_maps_is_not_valid():
    maps = np.stack([np.ones((8, 8)), np.eye(8)])
    found = agree(maps, np.eye(8)[None].repeat(2, 0))
    assert np.isnan(found.per_sample[0]) and found.n_valid == 1
    assert agree(maps, np.ones((2, 8, 8))).n_valid == 0
    with pytest.raises(ValueError, match="grid of several cells"):
        agree(maps, maps, size=1)
    with pytest.raises(ValueError, match="grid of several cells"):
        agree(maps, maps, size=(1, 1))
    rows = np.random.default_rng(0).uniform(size=(2, 8, 8))
    assert agree(rows, rows, size=(1, 4)).n_valid == 2
    with pytest.raises(ValueError, match="attention map has the axes"):
        agree(maps, np.ones((2, 8)))


def test_downsizing_keeps_the_mean():
    maps = np.random.default_rng(0).uniform(size=(2, 7, 5))
    found = downsized(maps, (3, 4))
    np.testing.assert_allclose(found.mean((1, 2)), maps.mean((1, 2)))
    # A third of 7 pixels: two whole ones and a third of the next.
    column = maps[0, :2].sum(0) + maps[0, 2] / 3
    np.testing.assert_allclose(downsized(maps, (3, 5))[0, 0], column * 3 / 7)
