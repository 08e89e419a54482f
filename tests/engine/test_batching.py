"""Whatever the data come in, the results are the same and in order."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from tests import zoo


class Sequence(keras.utils.PyDataset):
    def __init__(self, data):
        super().__init__()
        self.data = data

    def __len__(self):
        return -(-len(self.data) // 2)

    def __getitem__(self, index):
        rows = self.data[2 * index : 2 * index + 2]
        return rows, np.zeros(len(rows))


@pytest.fixture
def data():
    return zoo.images(5)


def dataset(data):
    return tf.data.Dataset.from_tensor_slices(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data,
        lambda data: tf.constant(data),
        lambda data: [row.tolist() for row in data],
        lambda data: dataset(data).batch(2),
        lambda data: dataset((data, np.zeros(5))).batch(5),
        lambda data: dataset((data, np.zeros(5))).batch(3).prefetch(1),
        lambda data: Sequence(data),
        lambda data: iter([data[:3], data[3:]]),
    ],
    ids=["array", "tensor", "lists", "dataset", "pairs", "prefetched",
         "pydataset", "iterator"],
)  # fmt: skip
@pytest.mark.parametrize("batch_size", [2, 32])
def test_all_kinds_of_data(model, data, make, batch_size):
    explainer = ke.Gradient(model)
    expected = explainer(data, 3)
    found = explainer.explain(make(data), 3, batch_size=batch_size)
    np.testing.assert_allclose(found.attributions, expected, atol=1e-6)
    np.testing.assert_allclose(found.inputs, data)
    assert len(found) == 5 and found.scores.shape == (5,)


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
def test_several_inputs_in_datasets(name):
    specimen = zoo.build(name)
    explainer = ke.IntegratedGradients(specimen.model, num_steps=4)
    found = explainer.explain(specimen.inputs, 3)
    structure = specimen.inputs
    if isinstance(structure, list):
        structure = (tuple(structure), np.zeros(2))
    batched = tf.data.Dataset.from_tensor_slices(structure).batch(1)
    again = explainer.explain(batched, 3)
    for a, b in zip(
        tf.nest.flatten(found.attributions),
        tf.nest.flatten(again.attributions),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_baselines_of_every_kind(model, data):
    mean = data.mean((1, 2), keepdims=True)
    per_sample = np.broadcast_to(mean, data.shape)

    def explain(baseline, batch_size):
        explainer = ke.IntegratedGradients(
            model, baseline=baseline, num_steps=5
        )
        return explainer.explain(data, 3, batch_size=batch_size).attributions

    for batch_size in (2, 32):
        called = explain(
            lambda x: tf.reduce_mean(x, (1, 2), keepdims=True), batch_size
        )
        given = explain(per_sample, batch_size)
        np.testing.assert_allclose(called, given, atol=1e-5)
        number = explain(0.5, batch_size)
        array = explain(np.full((8, 8, 3), 0.5), batch_size)
        color = explain(np.full(3, 0.5), batch_size)
        row = explain(np.full((1, 8, 8, 3), 0.5), batch_size)
        for other in (array, color, row):
            np.testing.assert_allclose(number, other, atol=1e-6)
        assert np.abs(number - given).max() > 1e-3


def test_progress_bar_is_shown_on_request(model, data, capfd):
    ke.Gradient(model).explain(data, verbose=False, batch_size=2)
    assert capfd.readouterr().err == ""
    ke.Gradient(model).explain(data, verbose=True, batch_size=2)
    out, err = capfd.readouterr()
    assert out == ""


def test_stream_hands_out_batch_by_batch(model, data):
    explainer = ke.IntegratedGradients(model, num_steps=3)
    taken = []

    def source():
        for k in range(5):
            taken.append(k)
            yield data[k : k + 1]

    whole = explainer.explain(data, 3)
    for k, part in enumerate(explainer.stream(source(), 3, batch_size=1)):
        # Nothing is read ahead or kept.
        assert taken == list(range(k + 1)) and len(part) == 1
        np.testing.assert_allclose(
            part.attributions[0], whole.attributions[k], atol=1e-6
        )
        np.testing.assert_allclose(part.delta[0], whole.delta[k], atol=1e-6)
