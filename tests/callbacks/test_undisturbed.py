"""A training with a callback is the training without it, to the last bit."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain.callbacks import (
    ActivationLogger,
    ExplanationLogger,
    FilterLogger,
    GradCAMLogger,
    PNGWriter,
    SaliencyLogger,
)
from keras_explain.engine.errors import ExplainWarning
from tests.callbacks.test_explanation_logger import (
    data,
    fit,
    network,
    summaries,
)
from tests.marking import slow_but

LOGGERS = {
    "grad_cam": lambda x, w: GradCAMLogger(x, writers=w, on_error="raise"),
    "every_batch": lambda x, w: SaliencyLogger(
        x, writers=w, every=1, on_error="raise"
    ),
    "noise": lambda x, w: ExplanationLogger(
        lambda m: ke.SmoothGrad(ke.Gradient(m), num_samples=3), x, writers=w,
        on_error="raise",
    ),
    "lrp": lambda x, w: ExplanationLogger(
        ke.LRP, x, writers=w, on_error="raise"
    ),
    "activations": lambda x, w: ActivationLogger(
        "conv", x, writers=w, on_error="raise"
    ),
    "filters": lambda x, w: FilterLogger(writers=w, on_error="raise"),
}  # fmt: skip
COMPILE = {
    "plain": {},
    "jit": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 2},
    "metrics": {"metrics": ["accuracy"]},
    "accumulation": {"gradient_accumulation_steps": 2},
}


def everything(model, history):
    """All that a training leaves behind."""
    return [
        *model.get_weights(),  # with the states of random streams
        *(np.asarray(v) for v in model.non_trainable_variables),
        *(np.asarray(v) for v in model.optimizer.variables),
        *(np.asarray(values) for values in history.history.values()),
        np.asarray(keras.random.uniform((3,))),
    ]


def trained(options, *callbacks):
    options = dict(options)
    steps = options.pop("gradient_accumulation_steps", None)
    model = network(**options)
    if steps:
        optimizer = keras.optimizers.Adam(gradient_accumulation_steps=steps)
        model.compile(optimizer, "sparse_categorical_crossentropy")
    history = fit(model, *callbacks)
    return everything(model, history)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, "plain") for name in LOGGERS),
     *(pytest.param("grad_cam", options, marks=pytest.mark.slow)
       for options in COMPILE if options != "plain")],
)  # fmt: skip
def test_bit_identical(name, options):
    shown = []
    logger = LOGGERS[name](data(2), shown.extend)
    with_it = trained(COMPILE[options], logger)
    without = trained(COMPILE[options])
    assert shown
    assert len(with_it) == len(without)
    for mine, theirs in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "policy", slow_but(["mixed_bfloat16"], ["mixed_bfloat16", "mixed_float16"])
)
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    shown = []
    with_it = trained({}, GradCAMLogger(data(2), writers=shown.extend,
                                        on_error="raise"))  # fmt: skip
    assert len(shown) == 4
    for mine, theirs in zip(with_it, trained({}), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("update_freq", ["epoch", "batch", 1])
def test_beside_the_callback_of_keras(tmp_path, update_freq):
    shown = []

    def logged(name, *more):
        folder = tmp_path / name
        beside = keras.callbacks.TensorBoard(folder, update_freq=update_freq)
        return trained({}, beside, *more), folder

    logger = GradCAMLogger(
        data(2), tmp_path / "with", writers=shown.extend, on_error="raise"
    )
    with_it, folder = logged("with", logger)
    without, plain = logged("without")
    assert len(shown) == 4
    for mine, theirs in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert summaries(folder / "train") == summaries(plain / "train")
    assert len(summaries(folder / "explanations")) == 2


class Counting(layers.Layer):
    """Counts how often the train step is traced."""

    traces = 0

    def call(self, x, training=False):
        if training:
            Counting.traces += 1
        return x


def test_the_train_step_is_traced_as_often():
    counts = []
    for callbacks in ([], [GradCAMLogger(data(2), writers=[].extend)]):
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


@pytest.mark.slow
def test_memory_does_not_grow():
    model, sizes = network(), []

    class Measure(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch in (9, 49):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])

    logger = GradCAMLogger(data(2), writers=lambda pictures: None,
                           on_error="raise")  # fmt: skip
    tracemalloc.start()
    try:
        fit(model, logger, Measure(), epochs=50)
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 150_000
    functions = logger.explainer()._functions
    assert len(functions) == 1


class Slow(PNGWriter):
    """Says in which thread it wrote, and how much at a time."""

    def __init__(self, folder):
        super().__init__(folder)
        self.threads, self.steps = [], []

    def __call__(self, pictures):
        self.threads.append(threading.current_thread())
        self.steps.append([picture.step for picture in pictures])
        super().__call__(pictures)


def test_files_are_drawn_and_written_beside_the_training(tmp_path):
    writer = Slow(tmp_path)
    fit(network(), SaliencyLogger(data(2), writers=writer), epochs=3)
    assert threading.main_thread() not in writer.threads
    assert len(set(writer.threads)) == 1
    assert writer.steps == [[0, 0], [1, 1], [2, 2]]
    assert len(list(tmp_path.rglob("*.png"))) == 6


def test_what_is_drawn_beside_the_training_does_not_disturb_it(tmp_path):
    logger = SaliencyLogger(data(2), writers=PNGWriter(tmp_path), every=1)
    plain, logged = trained({}), trained({}, logger)
    for one, other in zip(plain, logged, strict=True):
        np.testing.assert_array_equal(one, other)


def test_writers_of_others_are_called_where_the_training_is():
    seen = []

    def write(pictures):
        seen.append(threading.current_thread())

    fit(network(), SaliencyLogger(data(2), writers=write), epochs=2)
    assert seen == [threading.main_thread()] * 2


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_folder_that_is_lost_on_the_way(tmp_path, on_error):
    folder = tmp_path / "pictures"
    logger = SaliencyLogger(
        data(1), writers=PNGWriter(folder), on_error=on_error
    )
    folder.rmdir()
    folder.write_text("now a file")
    if on_error == "raise":
        with pytest.raises(OSError, match="cannot be written"):
            fit(network(), logger, epochs=3)
        return
    with pytest.warns(ExplainWarning, match="cannot be written") as told:
        history = fit(network(), logger, epochs=3)
    assert len(history.history["loss"]) == 3
    assert len([w for w in told if "cannot be" in str(w.message)]) == 1


def broken(model):
    raise RuntimeError("no explainer today")


def test_an_error_is_told_once_and_the_training_goes_on():
    logger = ExplanationLogger(broken, data(2), writers=[].extend)
    with pytest.warns(ExplainWarning, match="no explainer today") as told:
        history = fit(network(), logger, epochs=3)
    assert len(history.history["loss"]) == 3
    ours = [w for w in told if "no explainer" in str(w.message)]
    assert len(ours) == 1 and "epoch 1" in str(ours[0].message)


def test_an_error_may_stop_it():
    logger = ExplanationLogger(
        broken, data(2), writers=[].extend, on_error="raise"
    )
    with pytest.raises(RuntimeError, match="no explainer today"):
        fit(network(), logger)


@pytest.mark.slow
def test_two_devices(tmp_path):
    code = """
        import warnings
        import keras, numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        from keras_explain.callbacks import GradCAMLogger
        from tests.callbacks.test_explanation_logger import data, fit, network

        def trained(*callbacks):
            strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
            with strategy.scope():
                model = network()
            history = fit(model, *callbacks)
            return [*model.get_weights(), history.history["loss"]]

        shown = []
        logger = GradCAMLogger(data(2), writers=shown.extend, every=2,
                               on_error="raise")
        with_it, without = trained(logger), trained()
        assert len(shown) == 12, len(shown)
        assert shown[0].caption != shown[-1].caption
        for mine, theirs in zip(with_it, without, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        print("the same")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "the same" in done.stdout, done.stderr[-2000:]
