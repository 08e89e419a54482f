"""Attention behind a mask: what is masked might as well not be there."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests.laws.test_relevance_laws import randomized, total
from tests.marking import slow_but

MASKED = np.tril(np.ones((1, 5, 5), bool))
MASKED[:, 3] = False  # a row that sees nothing


def attn_lrp(model, **options):
    composite = rules.relevance_composite(
        (rules.linear, rules.Epsilon()), attention="attn_lrp"
    )
    return ke.LRP(model, composite=composite, **options)


def cp_lrp(model, **options):
    return ke.LRP(model, composite="epsilon", **options)


METHODS = {"cp_lrp": cp_lrp, "attn_lrp": attn_lrp, "deep_lift": ke.DeepLIFT}


def multi_head(**options):
    return layers.MultiHeadAttention(2, 3, **options)


def grouped(**options):
    return layers.GroupQueryAttention(4, 4, 2, **options)


QUICK = slow_but({multi_head}, [multi_head, grouped])


def network(attention, last=False, **call):
    """Attention over five places; its last place alone, or all."""
    inputs = keras.Input((5, 6))
    x = attention(inputs, inputs, **call)
    x = x[:, -1] if last else layers.Flatten()(x)
    return randomized(keras.Model(inputs, layers.Dense(3)(x)))


def sequences():
    noise = np.random.default_rng(5).normal(size=(2, 5, 6))
    return noise.astype("float32")


@pytest.mark.parametrize("mask", slow_but({"causal"}, ["causal", "explicit"]))
@pytest.mark.parametrize("make", QUICK)
@pytest.mark.parametrize("method", METHODS)
def test_the_last_place_sees_all(method, make, mask):
    """A causal mask hides nothing from it."""
    call = {"use_causal_mask": True}
    if mask == "explicit":
        call = {"attention_mask": np.tril(np.ones((1, 5, 5), bool))}
    explain, x = METHODS[method], sequences()
    expected = explain(network(make(), last=True))(x, 1)
    assert np.abs(expected).max() > 0.01
    found = explain(network(make(), last=True, **call))(x, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_padding_might_as_well_not_be_there(method):
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 6, mask_zero=True)(tokens)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    model = randomized(keras.Model(tokens, layers.Dense(3)(x)))
    options = {"baseline": 8} if method == "deep_lift" else {}
    explain = METHODS[method](model, **options)
    short = explain(np.array([[1, 2, 3]]), 1).numpy()
    long = explain(np.array([[1, 2, 3, 0, 0]]), 1).numpy()
    np.testing.assert_allclose(long[:, :3], short, atol=1e-6)
    np.testing.assert_array_equal(long[:, 3:], 0)


@pytest.mark.parametrize("dropout", slow_but({0.0}, [0.0, 0.1]))
@pytest.mark.parametrize("make", [multi_head, grouped])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_made_of_rows_that_see_nothing(method, make, dropout):
    """Keras gives them the mean of all, or with dropout nothing."""
    model = network(make(dropout=dropout), attention_mask=MASKED)
    options = {"baseline": 0.3} if method == "deep_lift" else {}
    found = METHODS[method](model, **options).explain(sequences(), 1)
    assert np.isfinite(found.attributions).all()
    flow = total(np.abs(found.attributions))
    np.testing.assert_array_less(np.abs(found.delta), 1e-5 * flow)
    assert (flow < 100).all()
    if method == "deep_lift":
        start = model(np.full((2, 5, 6), 0.3))[:, 1]
        np.testing.assert_allclose(
            total(found.attributions), found.scores - start, atol=1e-5
        )


class Unlike(layers.MultiHeadAttention):
    """Weights that are no softmax."""

    def _masked_softmax(self, attention_scores, attention_mask=None):
        return ops.sigmoid(attention_scores)


@pytest.mark.parametrize("method", ["attn_lrp", "deep_lift"])
def test_weights_of_another_kind_are_refused(method):
    model = network(Unlike(2, 3, name="odd"))
    with pytest.raises(ValueError, match="(?s)softmax.*Sigmoid.*'odd'.*cp_lrp"):
        METHODS[method](model)(sequences(), 1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["attn_lrp", "deep_lift"])
def test_attention_over_two_axes_goes_through_the_values(method):
    model = keras.Sequential(
        [
            keras.Input((2, 3, 4)),
            layers.LayerNormalization(),
            TwoAxes(name="two"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    pictures = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="(?s)softmax.*over one axis"):
        METHODS[method](model)(pictures, 1)
    found = cp_lrp(model).explain(pictures, 1)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


class TwoAxes(layers.Layer):
    """Attention over rows and columns at once."""

    def __init__(self, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(
            2, 3, attention_axes=(1, 2), name="attention"
        )

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return self.attention(x, x)
