"""Traces of relevance: a row for each layer, and what the rows add up to."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_explain as ke
from keras_explain import rules
from tests.attribution.test_relevance import chain, vectors
from tests.laws.test_relevance_laws import randomized


def series(steps=3, size=3):
    x = np.random.default_rng(1).normal(size=(2, steps, size))
    return x.astype("float32")


def words(steps=6):
    return np.random.default_rng(2).integers(0, 9, (2, steps))


def trace_of(model, x, target=1, **options):
    return ke.LRP(model, composite="epsilon", **options).trace(x, target)


def check_chain(trace, names):
    """These rows come in this order, and each has the whole score."""
    positions = [list(trace.layers).index(name) for name in names]
    assert positions == sorted(positions)
    for name in names:
        np.testing.assert_allclose(
            trace.sums[name], trace.scores, rtol=1e-3, atol=1e-5, err_msg=name
        )


def plain(*stack, shape):
    """A chain without biases, whose sums are the score at each layer."""
    out = layers.Dense(3, use_bias=False, name="out")
    return randomized(chain(*stack, out, shape=shape), biases=False)


RECURRENT = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "simple": layers.SimpleRNN,
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_layer(kind):
    """At its output, be it the last state or all of them."""
    model = plain(
        RECURRENT[kind](
            4, use_bias=False, return_sequences=True, unroll=True, name="all"
        ),
        RECURRENT[kind](4, use_bias=False, name="last"),
        shape=(3, 3),
    )
    trace = trace_of(model, series())
    assert list(trace.layers) == ["inputs", "all", "last", "out"]
    check_chain(trace, ["inputs", "all", "last", "out"])
    assert trace.layers["all"].shape == (2, 3, 4)
    if kind == "simple":  # the quickest to trace
        explainer = ke.LRP(model, composite="epsilon", layer="all")
        np.testing.assert_allclose(
            trace.layers["all"], explainer(series(), 1), atol=1e-6
        )


def test_both_directions_are_one_row():
    """Relevance passes them as one: what is inside has none to show."""
    model = plain(
        layers.Bidirectional(
            layers.LSTM(4, use_bias=False, name="way"), name="both"
        ),
        shape=(3, 3),
    )
    trace = trace_of(model, series())
    assert list(trace.layers) == ["inputs", "both", "out"]
    check_chain(trace, ["inputs", "both", "out"])
    assert trace.layers["both"].shape == (2, 8)


def test_each_step_and_all_of_them():
    """The steps come before the layer that holds them, and add up to it."""
    step = layers.Dense(4, use_bias=False, name="step")
    model = plain(
        layers.TimeDistributed(step, name="steps"),
        layers.GlobalAveragePooling1D(name="mean"),
        shape=(3, 3),
    )
    trace = trace_of(model, series(3))
    check_chain(trace, ["inputs", "steps", "mean", "out"])
    parts = [trace.layers[f"steps/step:{k}"] for k in range(3)]
    np.testing.assert_allclose(
        np.stack(parts, 1), trace.layers["steps"], atol=1e-6
    )


def test_words_have_their_embedding():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, name="embedded")(tokens)
    attention = layers.MultiHeadAttention(2, 3, use_bias=False, name="mixed")
    x = layers.GlobalAveragePooling1D(name="mean")(attention(x, x))
    out = layers.Dense(3, use_bias=False, name="out")
    model = randomized(keras.Model(tokens, out(x)), biases=False)
    explainer = ke.LRP(model, composite="epsilon")
    trace = explainer.trace(words(), 1)
    names = ["embedded", "mixed/value", "mixed", "mean", "out"]
    check_chain(trace, names)
    assert list(trace.layers)[0] == "embedded"
    assert trace.layers["mixed"].shape == (2, 6, 4)
    assert not trace.layers["mixed/query"].any()  # by CP-LRP
    np.testing.assert_allclose(
        trace.layers["embedded"].sum(-1), explainer(words(), 1), atol=1e-6
    )


def test_a_layer_of_ones_own_that_holds_layers():
    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = layers.Dense(5, use_bias=False, name="inner")
            self.sum = layers.Add(name="sum")

        def call(self, x):
            return self.sum([x, self.inner(x)])

    trace = trace_of(plain(Block(name="block"), shape=(5,)), vectors())
    names = ["inputs", "block/inner", "block/sum", "block", "out"]
    assert list(trace.layers) == names
    check_chain(trace, ["inputs", "block/sum", "block", "out"])

    rules.register(Block, rules.Norm())
    try:
        trace = trace_of(plain(Block(name="block"), shape=(5,)), vectors())
    finally:
        rules.unregister(Block)
    assert list(trace.layers) == ["inputs", "block", "out"]
    check_chain(trace, ["inputs", "block", "out"])


def test_a_model_in_the_model_is_shown_by_its_layers():
    inner = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, use_bias=False, name="a")],
        name="inner",
    )
    trace = trace_of(plain(inner, shape=(5,)), vectors())
    assert list(trace.layers) == ["inputs", "inner/a", "out"]


def test_states_are_rows_of_their_own():
    """A decoder takes all of its relevance from the states of an encoder."""
    one, two = keras.Input((3, 3)), keras.Input((2, 3))
    options = {"use_bias": False}
    encoder = layers.LSTM(4, return_state=True, name="encoder", **options)
    _, *state = encoder(one)
    x = layers.LSTM(4, name="decoder", **options)(two, initial_state=state)
    outputs = layers.Dense(3, name="out", **options)(x)
    model = randomized(keras.Model([one, two], outputs), biases=False)
    x = [series(3), series(2)]
    trace = trace_of(model, x)
    assert list(trace.layers) == [
        "inputs[0]", "inputs[1]", "encoder[0]", "encoder[1]", "encoder[2]",
        "decoder", "out",
    ]  # fmt: skip
    sums = trace.sums
    assert not sums["encoder[0]"].any()  # nobody reads it
    states = sums["encoder[1]"] + sums["encoder[2]"]
    np.testing.assert_allclose(states, sums["inputs[0]"], rtol=1e-3)
    np.testing.assert_allclose(
        states + sums["inputs[1]"], trace.scores, rtol=1e-3, atol=1e-5
    )


def test_inputs_by_name():
    """Those in integers have no relevance, and no row."""
    a, b = keras.Input((5,), name="a"), keras.Input((4,), name="b")
    which = keras.Input((1,), name="c", dtype="int32")
    picked = layers.Flatten()(layers.Embedding(9, 3, name="picked")(which))
    joined = layers.Concatenate(name="joined")([a, b, picked])
    outputs = layers.Dense(3, use_bias=False, name="out")(joined)
    model = keras.Model({"a": a, "b": b, "c": which}, outputs)
    x = {"a": vectors(), "b": vectors(size=4), "c": words(1)}
    trace = trace_of(model, x)
    assert list(trace.layers)[:2] == ["inputs[a]", "inputs[b]"]
    assert "inputs[c]" not in trace.layers
    parts = ["inputs[a]", "inputs[b]", "picked"]
    np.testing.assert_allclose(
        sum(trace.sums[name] for name in parts), trace.scores, rtol=1e-4
    )
    check_chain(trace, ["joined", "out"])


def test_a_layer_with_the_name_of_the_inputs():
    model = plain(layers.Dense(4, use_bias=False, name="inputs"), shape=(5,))
    trace = trace_of(model, vectors())
    assert list(trace.layers) == ["the inputs", "inputs", "out"]
    assert trace.layers["inputs"].shape == (2, 4)


def test_from_a_layer_on():
    """The first row is what is attributed to."""
    model = plain(
        layers.Dense(4, use_bias=False, name="one"),
        layers.Dense(6, use_bias=False, name="two"), shape=(5,),
    )  # fmt: skip
    trace = trace_of(model, vectors(), layer="one")
    assert list(trace.layers) == ["one", "two", "out"]
    check_chain(trace, ["one", "two", "out"])


def test_probabilities_have_no_row():
    """Neither of the dense layer that gives them, nor of what holds it."""

    class Head(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.out = layers.Dense(3, activation="softmax", name="given")

        def call(self, x):
            return self.out(x)

    hidden = layers.Dense(4, use_bias=False, name="hidden")
    model = chain(hidden, Head(name="head"), shape=(5,))
    trace = trace_of(randomized(model, biases=False), vectors())
    assert list(trace.layers) == ["inputs", "hidden"]
    check_chain(trace, ["inputs", "hidden"])


@pytest.mark.parametrize(
    "method", [ke.DeepTaylor, ke.ExcitationBackprop], ids=["taylor", "walk"]
)
def test_traces_of_the_other_methods(method):
    """Probabilities sum to one at each layer, relevance to the score."""
    model = plain(layers.Dense(4, activation="relu", use_bias=False, name="h"),
                  shape=(5,))  # fmt: skip
    model.set_weights([np.abs(w) for w in model.get_weights()])
    trace = method(model).trace(np.abs(vectors()), 1)
    assert list(trace.layers) == ["inputs", "h", "out"]
    np.testing.assert_allclose(trace.sums["inputs"], trace.sums["h"], rtol=1e-3)
