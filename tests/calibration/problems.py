"""Labels and models that are worth calibrating."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def data_for(specimen, samples=40):
    """Inputs and labels that agree with the model in part."""
    noise = np.random.default_rng(0)

    def more(array):
        array = np.repeat(array, samples // 2, axis=0)
        if specimen.integers:
            return noise.integers(1, 20, array.shape).astype("int32")
        return (array + noise.normal(size=array.shape)).astype("float32")

    x = tf.nest.map_structure(more, specimen.inputs)
    scores = specimen.model.predict(x, verbose=0)
    if scores.shape[1] == 1:
        y = (scores[:, 0] > np.median(scores)).astype(int)
        y[:10] = 1 - y[:10]
        return x, y
    y = np.arange(samples) % 10
    half = slice(0, samples // 2)
    y[half] = scores.argmax(1)[half]
    y[:10] = range(10)
    return x, y


def scaled(model: keras.Model, factor: float = 8.0) -> keras.Model:
    """Makes the random model sure enough to be told from chance."""
    last = model.get_layer("logits")
    last.kernel.assign(last.kernel * factor)
    return model
