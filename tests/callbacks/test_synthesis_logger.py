"""What units look for, while they learn: the pictures, and no disturbance."""

from __future__ import annotations

import functools
import signal

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.callbacks import PNGWriter, SynthesisLogger
from keras_explain.callbacks.pictures import captioned, enlarged
from keras_explain.engine.errors import ExplainWarning
from keras_explain.synthesis import Fourier, maximize
from tests.callbacks.test_explanation_logger import (
    data,
    fit,
    network,
    summaries,
)
from tests.callbacks.test_undisturbed import COMPILE, Counting, trained
from tests.marking import slow_but

# It begins where the ReLUs of a network without training are half open.
RANGE = (-1.0, 1.0)


def logger(target, writer, **options):
    options = {"steps": 3, "value_range": RANGE, **options}
    return SynthesisLogger(target, writers=writer, on_error="raise", **options)


@pytest.mark.slow
def test_pictures_follow_the_training():
    found, after = [], []

    class Now(keras.callbacks.Callback):
        """The same pictures, made from scratch."""

        def on_epoch_end(self, epoch, logs=None):
            after.append(
                maximize(self.model, [0, 2], steps=3, value_range=RANGE,
                         verbose=False)
            )  # fmt: skip

    fit(network(), logger([0, 2], found.extend), Now())
    assert [(p.tag, p.step) for p in found] == [
        ("synthesis/target/0", 0), ("synthesis/target/1", 0),
        ("synthesis/target/0", 1), ("synthesis/target/1", 1),
    ]  # fmt: skip
    for k, picture in enumerate(found):
        made = after[k // 2]
        text = f"class {(0, 2)[k % 2]}, score {made.score[k % 2]:.3g}"
        assert picture.caption == text
        shown = captioned(enlarged(made.pictures()[k % 2]), text)
        np.testing.assert_array_equal(picture.image, shown)
    assert (found[0].image != found[2].image).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "options", "tags", "captions"),
    [
        ("conv", {}, [f"conv/{k}" for k in range(4)],
         [f"conv channel {k}" for k in range(4)]),
        ("conv", {"units": 2, "name": "early"}, ["early/0", "early/1"],
         ["conv channel 0", "conv channel 1"]),
        ("conv", {"units": (3, 1)}, ["conv/0", "conv/1"],
         ["conv channel 3", "conv channel 1"]),
        (1, {"labels": ["cat", "dog", "hen"]}, ["target/0"], ["dog"]),
        (ke.Class(1) - ke.Class(0), {"labels": ["cat", "dog"]}, ["target/0"],
         ["dog -1 cat"]),
        (2, {"batch": 2, "labels": ["cat", "dog"]}, ["target/0", "target/1"],
         ["class 2, 1 of 2", "class 2, 2 of 2"]),
        (ke.Neuron("conv", (1, 2, 3)), {"name": "one"}, ["one/0"],
         ["conv neuron [1, 2, 3]"]),
    ],
)  # fmt: skip
def test_targets(target, options, tags, captions):
    found = []
    fit(network(), logger(target, found.extend, **options), epochs=1)
    assert [p.tag for p in found] == [f"synthesis/{tag}" for tag in tags]
    said = [p.caption.rpartition(", score ")[0] for p in found]
    assert said == captions


def test_a_layer_itself():
    model, found = network(), []
    fit(model, logger(model.get_layer("conv"), found.extend, units=1), epochs=1)
    assert found[0].tag == "synthesis/conv/0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "steps"), [(4, [4, 8, 12]), ("train_end", [1])]
)
def test_when(every, steps):
    found = []
    fit(network(), logger(0, found.extend, every=every))
    assert [p.step for p in found] == steps


def test_tensorboard_and_files(tmp_path):
    logged = SynthesisLogger(
        0, tmp_path / "logs", writers=PNGWriter(tmp_path / "png"), steps=3,
        value_range=RANGE, on_error="raise",
    )  # fmt: skip
    fit(network(), logged)
    assert summaries(tmp_path / "logs" / "explanations") == {
        "synthesis/target/0": [0, 1]
    }
    assert (tmp_path / "png" / "epoch_002" / "synthesis_target_0.png").exists()


def test_a_model_that_its_first_batch_builds():
    found = []
    fit(network(build=False), logger([0, 1], found.extend))
    assert len(found) == 4


def test_a_model_that_says_its_range_and_leaves_its_size_open():
    x, y = data(8)
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    found = []
    loggers = [
        SynthesisLogger(0, writers=found.extend, steps=2, on_error="raise",
                        **options)
        for options in ({"size": 20}, {"image": Fourier(24)})
    ]  # fmt: skip
    model.fit(255 * x, y, verbose=0, callbacks=loggers)
    shapes = [logged.maximization().shape for logged in loggers]
    assert shapes == [(20, 20, 3), (24, 24, 3)]
    assert len(found) == 2


def test_it_is_traced_once():
    model, found = network(), []
    logged = logger([0, 1], found.extend)
    fit(model, logged, epochs=1)
    made = logged.maximization()
    traced = dict(made._runner._functions)
    fit(model, logged, epochs=4)
    assert len(found) == 10
    assert logged.maximization() is made
    assert made._runner._functions == traced


@pytest.mark.parametrize("options", slow_but({"plain"}, COMPILE))
def test_bit_identical(options):
    found = []
    with_it = trained(COMPILE[options], logger([0, 1], found.extend))
    without = trained(COMPILE[options])
    assert len(found) == 4
    assert len(with_it) == len(without)
    for mine, theirs in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = []
    with_it = trained({}, logger([0, 1], found.extend, every=3))
    assert len(found) == 8
    for mine, theirs in zip(with_it, trained({}), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_train_step_is_traced_as_often():
    counts = []
    for callbacks in ([], [logger(0, [].extend)]):
        Counting.traces = 0
        inputs = keras.Input((8, 8, 3))
        x = Counting()(layers.Conv2D(4, 3, activation="relu")(inputs))
        x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
        model = keras.Model(inputs, x)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        before = Counting.traces
        fit(model, *callbacks, epochs=4)
        counts.append(Counting.traces - before)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("cnov", {}, "No layer of this name"),
        ("conv", {"units": [99]}, "The layer has 4 channels"),
        (7, {}, "Class index out of range"),
        (0, {"value_range": None}, "value_range"),
    ],
)
def test_an_error_is_told_once_and_the_training_goes_on(target, options, words):
    options = {"steps": 3, "value_range": RANGE, **options}
    broken = SynthesisLogger(target, writers=[].extend, **options)
    with pytest.warns(ExplainWarning, match=words) as told:
        history = fit(network(), broken, epochs=3)
    assert len(history.history["loss"]) == 3
    assert len([w for w in told if words in str(w.message)]) == 1


def press(*_):
    signal.raise_signal(signal.SIGINT)


class Pressed(SynthesisLogger):
    """Ctrl-C right before the pictures are made."""

    def shown(self):
        press()
        return super().shown()


class PressedWithin(SynthesisLogger):
    """Ctrl-C while they are made."""

    def maximization(self):
        made = super().maximization()
        made.run = functools.partial(type(made).run, made, callback=press)
        return made


@pytest.mark.parametrize("kind", [Pressed, PressedWithin])
def test_ctrl_c_is_for_the_training(kind):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    found = []
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(
                network(),
                kind(0, writers=found.extend, steps=50, value_range=RANGE),
            )
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not found


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"stepps": 3}, TypeError, "There is no such option"),
        ({"steps": 0}, ValueError, "at least one step"),
        ({"batch": 0}, ValueError, "batch=0"),
        ({"regularizers": 3}, TypeError, "`regularizers` is a list"),
        ({"every": "day"}, ValueError, "`every` says when"),
        ({"writers": None}, ValueError, "somewhere"),
    ],
)
def test_what_is_wrong_is_said_before_the_training(options, error, words):
    with pytest.raises(error, match=words):
        SynthesisLogger(0, **{"writers": [].extend, **options})
