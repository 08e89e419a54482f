"""What a benchmark compares with: the same work, written by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf


def device() -> str:
    """The device the benchmark runs on, for the heading of its table."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get(
            "device_name", "GPU"
        )
    return f"CPU, {len(tf.config.list_logical_devices('CPU'))} device"


def logits_model(model: keras.Model) -> keras.Model:
    """The model with a linear head, on the same weights."""
    last = model.layers[-1]
    linear = keras.layers.Dense(last.units, activation=None, name="linear")
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.input, outputs)


def forward(model: keras.Model) -> Callable:
    """A compiled forward pass to the class scores."""
    return tf.function(lambda x: model(x, training=False), autograph=False)


def gradient(model: keras.Model) -> Callable:
    """A compiled gradient of the best class with respect to the input."""

    def compute(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = tf.reduce_max(model(x, training=False), axis=-1)
        return tape.gradient(score, x)

    return tf.function(compute, autograph=False)


def grad_cam(model: keras.Model, layer: str) -> Callable:
    """A compiled Grad-CAM, as one would write it for one known model.

    The model is cut in two, so that only the part behind the layer is
    differentiated.
    """
    middle = model.get_layer(layer).output
    before = keras.Model(model.input, middle)
    behind = keras.Model(middle, model.output)
    size = model.input.shape[1:3]

    def compute(x: tf.Tensor) -> tf.Tensor:
        activation = before(x, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(activation)
            score = tf.reduce_max(behind(activation, training=False), axis=-1)
        g = tape.gradient(score, activation)
        weights = tf.reduce_mean(g, [1, 2], keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * activation, -1))
        return tf.image.resize(cam[..., None], size)[..., 0]

    return tf.function(compute, autograph=False)


def repeated(function: Callable, times: int) -> Callable:
    """The same work done `times` times, one after the other."""

    def compute(x: tf.Tensor) -> tf.Tensor:
        for _ in range(times):
            result = function(x)
        return result

    return compute


def ratio(
    work: Callable, bound: Callable, x: tf.Tensor, rounds: int
) -> tuple[float, float]:
    """Times two things in turn; returns the median ratio and its spread."""
    return summary(timed(work, bound, x, rounds))


def timed(
    work: Callable, bound: Callable, x: tf.Tensor, rounds: int
) -> list[tuple[float, float]]:
    """Times two things in turn; returns the seconds of both for each round.

    In turn, so that what else the machine does hits both alike.
    """
    for function in (work, bound):
        function(x)
    found = []
    for k in range(rounds):
        first, second = (work, bound) if k % 2 else (bound, work)
        times = {}
        for function in (first, second):
            start = time.perf_counter()
            _ready(function(x))
            times[function] = time.perf_counter() - start
        found.append((times[work], times[bound]))
    return found


def summary(times: list[tuple[float, float]]) -> tuple[float, float]:
    """The median ratio of two times, and its spread between quartiles."""
    ratios = [a / b for a, b in times]
    quartiles = statistics.quantiles(ratios, n=4) if len(times) > 3 else [0] * 3
    return statistics.median(ratios), quartiles[2] - quartiles[0]


def fastest(times: list[tuple[float, float]]) -> float:
    """The ratio of the shortest times: what a quiet machine would show.

    Other work on a machine only ever adds time, and more of it to what waits
    for memory than to what computes.
    """
    return min(a for a, _ in times) / min(b for _, b in times)


def _ready(result: object) -> None:
    """Waits until the device is done."""
    for tensor in tf.nest.flatten(result):
        if tf.is_tensor(tensor):
            tensor.numpy()
