"""Both directions of a sequence, however they are merged."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from tests.laws.test_relevance_laws import randomized

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU}


def both(merge, bias=False, sequences=False, cell="lstm"):
    """A little net around the layer; `None` is joined by hand."""
    inputs = keras.Input((3, 3))
    inner = CELLS[cell](3, use_bias=bias, return_sequences=sequences,
                        unroll=True)  # fmt: skip
    x = layers.Bidirectional(inner, merge_mode=merge, name="both")(inputs)
    x = x if merge else layers.Concatenate()(x)
    x = layers.GlobalAveragePooling1D()(x) if sequences else x
    outputs = layers.Dense(2, use_bias=bias)(x)
    return randomized(keras.Model(inputs, outputs), biases=bias)


def series(seed=1):
    return np.random.default_rng(seed).normal(size=(2, 3, 3)).astype("float32")


MERGES = pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul", None])


@MERGES
def test_relevance_is_conserved(merge):
    # One cell and one kind of output for each merge, in turn.
    kinds = {"lstm": ["concat", "ave", None], "gru": ["sum", "mul"]}
    cell = next(name for name, merges in kinds.items() if merge in merges)
    model = both(merge, cell=cell, sequences=merge in ("ave", "mul"))
    found = ke.LRP(model, composite="epsilon").explain(series(), 1)
    size = np.abs(found.attributions).sum((1, 2))
    away = found.attributions.sum((1, 2)) - found.scores
    # The stabilizer takes its part of products, which are small.
    assert np.all(np.abs(away) < 1e-3 * size)
    assert np.all(np.abs(found.delta) < 1e-5 * size)
    assert size.min() > 0


@MERGES
def test_what_biases_take_is_counted(merge):
    model = both(merge, bias=True)
    found = ke.LRP(model, composite="epsilon").explain(series(), 1)
    size = np.abs(found.attributions).sum((1, 2))
    assert np.all(np.abs(found.delta) < 1e-4 * np.maximum(size, found.scores))


@MERGES
def test_differences_are_complete(merge):
    model = both(merge, bias=True)
    x, r = series(), series(2)[0]
    found = ke.DeepLIFT(model, baseline=r).explain(x, 1)
    expected = np.asarray(model(x) - model(r[None]))[:, 1]
    flow = np.abs(found.attributions).sum((1, 2))
    error = np.abs(found.attributions.sum((1, 2)) - expected)
    assert np.all(error < 1e-4 * flow)


@pytest.mark.parametrize("method", [ke.LRP, ke.DeepLIFT])
def test_outputs_apart_are_outputs_joined(method):
    joined, apart = both("concat"), both(None)
    apart.set_weights(joined.get_weights())
    np.testing.assert_allclose(
        method(joined)(series(), 1), method(apart)(series(), 1),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
