"""Pictures come when they are due, say what they show, and go on coming."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

import keras_explain as ke
from keras_explain.callbacks import (
    ExplanationLogger,
    GradCAMLogger,
    PNGWriter,
    SaliencyLogger,
)
from tests.marking import slow_but


def data(number=24):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(number, 8, 8, 3)).astype("float32")
    return x, np.arange(number) % 3


def network(build=True, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ]
    )
    if build:
        model.build((None, 8, 8, 3))
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


def fit(model, *callbacks, epochs=2, **options):
    x, y = data()
    return model.fit(
        x, y, epochs=epochs, batch_size=4, verbose=0, shuffle=False,
        callbacks=list(callbacks), **options,
    )  # fmt: skip


def summaries(folder):
    """`{tag: steps}` and the last picture of what TensorBoard would show."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: [e.step for e in events.Tensors(tag)] for tag in tags}


def test_tensorboard_shows_every_epoch(tmp_path):
    fit(network(), GradCAMLogger(data(2), tmp_path, layer="conv"))
    assert summaries(tmp_path / "explanations") == {
        "explanations/grad_cam/0": [0, 1],
        "explanations/grad_cam/1": [0, 1],
    }


@pytest.mark.parametrize(
    "update_freq",
    slow_but([2], ["epoch", "batch", 1, 2]),
)
def test_callbacks_share_the_file_of_a_folder(tmp_path, update_freq):
    model, found = network(), data(1)
    fit(
        model,
        SaliencyLogger(found, tmp_path),
        ExplanationLogger("input_x_gradient", found, tmp_path),
        keras.callbacks.TensorBoard(tmp_path, update_freq=update_freq),
    )
    assert len(list((tmp_path / "explanations").iterdir())) == 1
    assert summaries(tmp_path / "explanations") == {
        "explanations/saliency/0": [0, 1],
        "explanations/input_x_gradient/0": [0, 1],
    }
    fit(model, SaliencyLogger(found, tmp_path), initial_epoch=2, epochs=3)
    steps = summaries(tmp_path / "explanations")
    assert steps["explanations/saliency/0"] == [0, 1, 2]


@pytest.mark.parametrize("is_same", [False, True])
def test_logs_that_were_deleted_after_an_interrupted_training(
    tmp_path, is_same
):
    """The file of the first training is still open, and is gone."""

    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    model, folder = network(), tmp_path / "logs"
    first = SaliencyLogger(data(1), folder)
    with pytest.raises(KeyboardInterrupt):
        fit(model, first, Breaks())
    first._wait()
    assert list((folder / "explanations").iterdir())
    shutil.rmtree(folder)
    fit(model, first if is_same else SaliencyLogger(data(1), folder))
    found = summaries(folder / "explanations")
    assert found == {"explanations/saliency/0": [0, 1]}


def test_a_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    class Moves(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            other = tmp_path / "other"
            other.mkdir(exist_ok=True)
            monkeypatch.chdir(other)

    monkeypatch.chdir(tmp_path)
    fit(network(), SaliencyLogger(data(1), "logs"), Moves())
    found = summaries(tmp_path / "logs" / "explanations")
    assert found == {"explanations/saliency/0": [0, 1]}


def test_png_files(tmp_path):
    logger = SaliencyLogger(data(2), writers=PNGWriter(tmp_path))
    fit(network(), logger, initial_epoch=1, epochs=3)
    found = sorted(
        str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")
    )
    assert found == [
        f"epoch_00{epoch}/explanations_saliency_{k}.png"
        for epoch in (2, 3)
        for k in (0, 1)
    ]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("every", "options", "expected"),
    [
        ("epoch", {}, [0, 1]),
        ("train_end", {}, [1]),
        (4, {}, [4, 8, 12]),
        (5, {}, [5, 10]),
        # Three steps in one: seen at the end of those in which it was due.
        (4, {"steps_per_execution": 3}, [6, 9, 12]),
    ],
)
def test_when(every, options, expected):
    found = []
    logger = SaliencyLogger(data(1), writers=found.extend, every=every)
    fit(network(**options), logger)
    assert [p.step for p in found] == expected


def test_batches_are_counted_on_where_a_training_broke(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    found = []
    with pytest.raises(KeyboardInterrupt):
        fit(
            network(),
            SaliencyLogger(data(1), writers=found.extend, every=5),
            backup(), Breaks(), epochs=3,
        )  # fmt: skip
    assert [p.step for p in found] == [5, 10]
    found.clear()
    logger = SaliencyLogger(data(1), writers=found.extend, every=5)
    fit(network(), logger, backup(), epochs=3)
    # Twelve batches were trained, and the third epoch is left.
    assert [(p.step, p.epoch) for p in found] == [(15, 2)]


def test_accumulated_gradients_count_batches():
    model = network()
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=2)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    found = []
    for _ in range(2):
        logger = SaliencyLogger(data(1), writers=found.extend, every=4)
        fit(model, logger, epochs=1)
    assert [p.step for p in found] == [4, 8, 12]


def test_a_model_that_is_built_by_its_first_batch():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(4, 3, activation="relu")
            self.top = layers.Dense(3)

        def call(self, x):
            return self.top(keras.ops.mean(self.conv(x), (1, 2)))

    subclassed = Subclassed()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    subclassed.compile("sgd", loss)
    for model in (network(build=False), subclassed):
        found = []
        fit(model, GradCAMLogger(data(2), writers=found.extend, every=3,
                                 on_error="raise"))  # fmt: skip
        assert len(found) == 2 * 4


def test_captions():
    x, y = data(3)
    model = network()

    def captions(**options):
        found = []
        logger = SaliencyLogger(
            (x, y),
            writers=found.extend,
            every="train_end",
            on_error="raise",
            **options,
        )
        fit(model, logger, epochs=1)
        return [p.caption for p in found]

    found = captions()
    outputs = np.asarray(model(x))
    for k, text in enumerate(found):
        top = outputs[k].argmax()
        expected = f"predicted: {top}, {100 * outputs[k, top]:.1f} %"
        if top != y[k]:
            expected += f" (true: {y[k]})"
        assert text == expected
    assert any("true" in text for text in found)
    model.trainable = False  # what is trained further is another model
    names = ["ant", "bee", "cat"]
    for k, text in enumerate(captions(target="true", labels=names)):
        share = 100 * outputs[k, y[k]]
        assert text.startswith(f"true: {names[y[k]]}, ")
        assert abs(float(text.split(", ")[1][:-2]) - share) < 30
    assert [t.split(",")[0] for t in captions(target=1)] == [
        "class: 1", "true: 1", "class: 1",
    ]  # fmt: skip
    assert captions(target=ke.Class(0) - ke.Class(1))[0].startswith("score ")


def test_the_pictures_are_those_of_the_explainer():
    x, _ = data(2)
    model, found = network(), []
    fit(model, SaliencyLogger(x, writers=found.extend, every="train_end"))
    heat = ke.Saliency(model).explain(x).heatmap()
    for picture, expected in zip(found, heat, strict=True):
        times = 128 // 8
        shown = picture.image[:128:times, 128:256:times]
        np.testing.assert_array_equal(shown, expected)
        left = picture.image[:128:times, :128:times].astype(int)
        low, high = left.min(), left.max()
        assert 0 <= low < 10 and 245 < high <= 255
        assert picture.image.shape[0] > 128  # the caption below


@pytest.mark.parametrize("kind", ["dataset", "shuffled", "sequence", "pairs"])
def test_kinds_of_data(kind):
    x, y = data(6)

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, k):
            return x[2 * k : 2 * k + 2], y[2 * k : 2 * k + 2]

    given = {
        "dataset": lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(2),
        "shuffled": lambda: (
            tf.data.Dataset.from_tensor_slices((x, y)).shuffle(6).batch(2)
        ),
        "sequence": Sequence,
        "pairs": lambda: (x, keras.utils.to_categorical(y, 3)),
    }[kind]()
    logger = SaliencyLogger(given, writers=[].extend, max_outputs=3)
    samples = logger.samples
    assert len(samples) == 3 and samples.inputs.shape == (3, 8, 8, 3)
    for image, label in zip(samples.inputs, samples.classes, strict=True):
        (k,) = np.flatnonzero((x == image).all((1, 2, 3)))
        assert y[k] == label


def test_a_table_is_drawn_as_a_figure():
    x = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    found = []
    logger = SaliencyLogger(x[:2], writers=found.extend, on_error="raise")
    model.fit(x, x[:, :2], verbose=0, callbacks=[logger])
    assert found[0].image.dtype == np.uint8 and found[0].image.ndim == 3
    assert found[0].image.std() > 10
