"""Data of all kinds are read once, batch by batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.calibration.scaling import TemperatureScaling
from tests import zoo
from tests.calibration.problems import data_for, scaled


class Counted(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 7)

    def __getitem__(self, index):
        rows = slice(7 * index, 7 * index + 7)
        return self.x[rows], self.y[rows]


def test_all_kinds_of_data_are_the_same():
    specimen = zoo.build("inputs_dict")
    scaled(specimen.model)
    x, y = data_for(specimen)
    one_hot = np.eye(10)[y]
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(9)
    whole = TemperatureScaling(specimen.model).fit((x, y)).temperature
    others = [
        ((x, y[:, None]), 7),
        ((x, one_hot), 64),
        ((x, tf.constant(y)), 3),
        (dataset, 4),
        (dataset.shuffle(50, seed=1), 32),
    ]
    for data, batch_size in others:
        found = TemperatureScaling(specimen.model).fit(data, batch_size)
        assert found.temperature == pytest.approx(whole, rel=1e-6)
    single = zoo.build("functional")
    scaled(single.model)
    x, y = data_for(single)
    whole = TemperatureScaling(single.model).fit((x, y)).temperature
    counted = TemperatureScaling(single.model).fit(Counted(x, y))
    assert counted.temperature == pytest.approx(whole, rel=1e-6)
    p = counted.predict(Counted(x, y))
    np.testing.assert_allclose(p, counted.predict(x), atol=1e-6)
    listed = TemperatureScaling(single.model).fit((x.tolist(), list(y)))
    assert listed.temperature == pytest.approx(whole, rel=1e-6)


def test_batches_are_read_one_at_a_time():
    specimen = zoo.build("functional")
    x, y = data_for(specimen)
    sizes = []

    def generate():
        for k in range(0, 40, 5):
            sizes.append(k)
            yield x[k : k + 5], y[k : k + 5]

    signature = (
        tf.TensorSpec((None, 8, 8, 3), tf.float32),
        tf.TensorSpec((None,), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=signature
    )
    found = TemperatureScaling(specimen.model).fit(dataset)
    assert len(sizes) == 8  # once through
    whole = TemperatureScaling(specimen.model).fit((x, y))
    assert found.temperature == pytest.approx(whole.temperature, rel=1e-6)


def test_progress_is_shown_on_request(capfd):
    specimen = zoo.build("functional")
    x, y = data_for(specimen)
    TemperatureScaling(specimen.model).fit((x, y), batch_size=8, verbose=False)
    assert capfd.readouterr().err == ""
    TemperatureScaling(specimen.model).fit((x, y), batch_size=8, verbose=True)
    out, err = capfd.readouterr()
    assert out == "" and err != ""
