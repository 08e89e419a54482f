"""The shapes: what is promised of pictures, masks, splits and streams."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from keras_explain.datasets import shapes

NUM_CLASSES = len(shapes.CLASS_NAMES)


def same(first, second):
    return (
        first.label == second.label
        and np.array_equal(first.image, second.image)
        and all(
            np.array_equal(first.masks[name], second.masks[name])
            for name in shapes.MASK_NAMES
        )
    )


@pytest.fixture(scope="module")
def crowded():
    return shapes.load(120, distractors=3, masks=True)


@pytest.mark.parametrize("size", [64, 96, 224])
@pytest.mark.parametrize("distractors", [0, 4])
def test_shapes_and_dtypes(size, distractors):
    scene = shapes.make_scene(1, 2, size, distractors)
    assert scene.image.shape == (size, size, 3)
    assert scene.image.dtype == np.uint8
    assert isinstance(scene.label, int)
    assert tuple(scene.masks) == shapes.MASK_NAMES
    for mask in scene.masks.values():
        assert mask.shape == (size, size)
        assert mask.dtype == np.uint8


def test_load_returns_what_make_scene_draws():
    images, labels, masks = shapes.load(
        5, "validation", 64, seed=9, distractors=2, masks=True
    )
    for index in (4, 0, 2):
        scene = shapes.make_scene(9, index, 64, 2, "validation")
        drawn = {name: mask[index] for name, mask in masks.items()}
        loaded = shapes.Scene(images[index], labels[index], drawn)
        assert same(scene, loaded)


def test_a_larger_load_only_adds_pictures():
    few, few_labels = shapes.load(3, size=64)
    many, many_labels = shapes.load(9, size=64)
    np.testing.assert_array_equal(many[:3], few)
    np.testing.assert_array_equal(many_labels[:3], few_labels)


def test_another_process_draws_the_same():
    program = (
        "import hashlib; from keras_explain.datasets import shapes;"
        "images, _ = shapes.load(4, size=64, distractors=1);"
        "print(hashlib.sha256(images.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", program]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    images, _ = shapes.load(4, size=64, distractors=1)
    here = hashlib.sha256(images.tobytes()).hexdigest()
    assert there.stdout.strip() == here


def test_seeds_and_splits_share_no_picture():
    pictures = set()
    for seed in (0, 1):
        for split in shapes.SPLITS:
            images, _ = shapes.load(20, split, 64, seed)
            pictures |= {image.tobytes() for image in images}
    assert len(pictures) == 2 * len(shapes.SPLITS) * 20


def test_every_run_of_pictures_has_each_class_once():
    labels = shapes.load(5 * NUM_CLASSES, "test", 64)[1]
    runs = labels.reshape(5, NUM_CLASSES)
    np.testing.assert_array_equal(
        np.sort(runs, axis=1), np.tile(np.arange(NUM_CLASSES), (5, 1))
    )
    assert len({tuple(run) for run in runs.tolist()}) == 5


def test_color_and_texture_do_not_tell_the_class(crowded):
    _, labels, masks = crowded
    for name, names in (
        ("color", shapes.COLOR_NAMES),
        ("texture", shapes.TEXTURE_NAMES),
    ):
        pairs = set()
        for index, label in enumerate(labels):
            values = masks[name][index][masks["object"][index] == 1]
            assert len(set(values.tolist())) == 1
            pairs.add((int(label), int(values[0]) - 1))
        # 15 pictures of each class: most of the pairs must have been met.
        assert {value for _, value in pairs} == set(range(len(names)))
        assert len(pairs) > 0.6 * NUM_CLASSES * len(names)


def test_masks_agree_with_each_other(crowded):
    _, labels, masks = crowded
    anything = masks["shape"] > 0
    for name in ("color", "texture", "part"):
        np.testing.assert_array_equal(masks[name] > 0, anything)
    assert masks["object"].max() == 1
    assert np.all(anything[masks["object"] == 1])
    for index, label in enumerate(labels):
        on_object = masks["object"][index] == 1
        assert set(masks["shape"][index][on_object]) == {label + 1}
        assert on_object.sum() > 150
        assert set(masks["part"][index][on_object]) >= {1, 2}
    assert masks["shape"].max() == NUM_CLASSES
    assert masks["color"].max() == len(shapes.COLOR_NAMES)
    assert masks["texture"].max() == len(shapes.TEXTURE_NAMES)
    assert masks["part"].max() == len(shapes.PART_NAMES)


def test_round_shapes_have_no_corners_and_angular_ones_do():
    _, labels, masks = shapes.load(3 * NUM_CLASSES, masks=True)
    has_corner = (masks["part"] == 3).any((1, 2))
    round_ones = {shapes.CLASS_NAMES.index(name) for name in ("circle", "ring")}
    for label, found in zip(labels.tolist(), has_corner, strict=True):
        assert found == (label not in round_ones)


def test_edge_surrounds_the_interior(crowded):
    _, _, masks = crowded
    part = np.pad(masks["part"], ((0, 0), (1, 1), (1, 1)))
    for shift in (-1, 1):
        for axis in (1, 2):
            beside = np.roll(part, shift, axis)
            assert not np.any((part == 1) & (beside == 0))


def test_the_object_is_what_stands_out_from_the_background():
    """The mask must lie where the pixels differ, not a pixel beside it."""
    images, _, masks = shapes.load(24, masks=True)
    for image, mask in zip(images.astype(float), masks["object"], strict=True):
        chroma = image.max(-1) - image.min(-1)
        inside = mask == 1
        best = chroma[inside].mean() - chroma[~inside].mean()
        assert best > 25
    part = masks["part"] == 2
    darkness = 255 - images.mean(-1)
    # An edge is darker than its interior; over all pictures the sharpest
    # contrast is where the mask says, not two pixels away.
    shifted = [darkness[np.roll(part, shift, 2)].mean() for shift in (-2, 0, 2)]
    assert shifted[1] > max(shifted[0], shifted[2]) + 10


def test_distractors_are_of_other_classes(crowded):
    _, labels, masks = crowded
    beside = masks["shape"] * (1 - masks["object"])
    for label, shown in zip(labels, beside, strict=True):
        assert shown.max() > 0
        assert label + 1 not in shown


def test_a_distractor_is_smaller_than_the_object():
    _, _, masks = shapes.load(64, distractors=1, masks=True)
    object_area = masks["object"].sum((1, 2))
    beside_area = (masks["shape"] > masks["object"] * 255).sum((1, 2))
    assert np.all(beside_area > 20)
    assert np.all(beside_area < object_area)


def test_distractors_leave_the_rest_of_the_picture_alone():
    alone = shapes.make_scene(3, 5, 96, 0)
    crowded = shapes.make_scene(3, 5, 96, 3)
    np.testing.assert_array_equal(
        alone.masks["object"], crowded.masks["object"]
    )
    changed = (alone.image != crowded.image).any(-1)
    assert changed.any()
    np.testing.assert_array_equal(alone.masks["shape"][changed], 0)
    # Beyond an anti-aliased pixel, only distractors changed the picture.
    other = crowded.masks["shape"] * (1 - crowded.masks["object"]) > 0
    grown = other.copy()
    for axis in (0, 1):
        grown |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    assert not np.any(changed & ~grown)


def test_number_of_distractors():
    for distractors in range(shapes.MAX_DISTRACTORS + 1):
        things = shapes._things((0, 0), 7, 2, distractors)
        assert len(things) == distractors + 1


def test_objects_do_not_overlap():
    for index in range(1000):
        things = shapes._things((0, 0), index, index % 8, 4)
        assert min(thing.radius for thing in things) > 0.05
        for first in range(5):
            for second in range(first):
                a, b = things[first], things[second]
                distance = np.linalg.norm(a.center - b.center)
                assert distance > a.radius + b.radius


def test_the_same_scene_at_another_size():
    small = shapes.make_scene(0, 4, 64, 2).masks["object"]
    large = shapes.make_scene(0, 4, 192, 2).masks["object"]
    coarse = large.reshape(64, 3, 64, 3).mean((1, 3)) >= 0.5
    assert (coarse == (small == 1)).mean() > 0.99


def test_stream_equals_the_loaded_arrays():
    options = {"split": "test", "size": 64, "seed": 2, "distractors": 2}
    images, labels, masks = shapes.load(6, masks=True, **options)
    dataset = shapes.as_dataset(6, masks=True, **options)
    assert int(dataset.cardinality()) == 6
    for _ in range(2):
        elements = list(dataset.as_numpy_iterator())
        assert len(elements) == 6
        for index, (image, label, drawn) in enumerate(elements):
            loaded = {name: mask[index] for name, mask in masks.items()}
            assert same(
                shapes.Scene(image, label, drawn),
                shapes.Scene(images[index], labels[index], loaded),
            )


def test_stream_shards_and_never_ends():
    images, labels = shapes.load(7, size=64)
    odd = shapes.as_dataset(size=64).shard(2, 1).take(3)
    for index, (image, label) in enumerate(odd.as_numpy_iterator()):
        np.testing.assert_array_equal(image, images[2 * index + 1])
        assert label == labels[2 * index + 1]
    image, label = shapes.as_dataset(size=64).batch(4).element_spec
    assert image.shape.as_list() == [None, 64, 64, 3]
    assert label.shape.as_list() == [None]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"size": 63},
            ValueError,
            r"`size` must lie between 64 and 224.*\n.*63",
        ),
        ({"size": 225}, ValueError, "`size` must lie between 64 and 224"),
        ({"size": 96.0}, TypeError, r"`size` must be an integer.*\n.*96\.0"),
        ({"num": 0}, ValueError, "`num` must lie between 1"),
        ({"seed": -1}, ValueError, "`seed` must lie between 0"),
        ({"seed": None}, TypeError, "`seed` must be an integer"),
        (
            {"distractors": 5},
            ValueError,
            "`distractors` must lie between 0 and 4",
        ),
        (
            {"split": "dev"},
            ValueError,
            "split='dev'.*\n.*'train', 'validation'",
        ),
        ({"split": ["test"]}, ValueError, "There is no such split"),
    ],
)
@pytest.mark.parametrize("function", [shapes.load, shapes.as_dataset])
def test_bad_arguments(function, options, error, text):
    with pytest.raises(error, match=text):
        function(**{"num": 1, **options})


def test_bad_index():
    with pytest.raises(ValueError, match="`index` must lie between 0"):
        shapes.make_scene(0, -1)
