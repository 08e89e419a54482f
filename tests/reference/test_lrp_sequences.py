"""LRP through attention, normalizations and recurrence, against slow NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests.reference.test_lrp_composites import (
    GOLDEN,
    merged,
    model_of,
    randomized,
    relevance_of,
)
from tests.reference.test_lrp_rules import per_sample, stable


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_softmax_as_lxt():
    """R_i = x_i (R_i - s_i sum(R)); under CP-LRP nothing passes."""
    golden = GOLDEN["lxt_softmax"]
    model = model_of((3,), layers.Softmax())
    for variant, expected in (("attn_lrp", golden["expected"]), ("cp_lrp", 0)):
        composite = rules.Composite(
            ((rules.kinds("Softmax"), rules.Softmax(variant)),)
        )
        found, lost = relevance_of(model, golden["x"], golden["R"], composite)
        np.testing.assert_allclose(found, np.broadcast_to(expected, (1, 3)),
                                   atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(lost, [1 - found.sum()], atol=1e-6)


def test_products_of_matrices_as_lxt():
    golden = GOLDEN["lxt_matmul"]
    found = merged(ops.matmul, golden["A"], golden["B"], golden["R"])
    np.testing.assert_allclose(found[0], golden["R_A"], atol=1e-5)
    np.testing.assert_allclose(found[1], golden["R_B"], atol=1e-5)
    np.testing.assert_allclose(found[2], [0], atol=1e-5)


def test_layer_normalization_as_lxt():
    golden = GOLDEN["lxt_layernorm"]
    model = model_of((3,), layers.LayerNormalization(epsilon=golden["eps"]))
    model.set_weights([np.array(golden["gamma"]), np.array(golden["beta"])])
    found, lost = relevance_of(model, golden["x"], golden["R"])
    np.testing.assert_allclose(found, golden["expected"], rtol=1e-4)
    away = np.array(golden["R"]) * golden["beta"] / np.array(golden["y"])
    np.testing.assert_allclose(lost, [away.sum()], rtol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization(epsilon=0.1),
        layers.LayerNormalization(axis=(1, 2), epsilon=0.1),
        layers.RMSNormalization(epsilon=0.1),
        layers.GroupNormalization(2, epsilon=0.1),
        layers.UnitNormalization(),
    ],
    ids=["layer", "axes", "rms", "group", "unit"],
)
def test_normalizations_keep_their_scale(layer):
    """x_i sum_j (dy_j/dx_i at a fixed deviation) R_j / y_j, by hand."""
    model = randomized(model_of((3, 4), layer))
    x, r = np.random.default_rng(4).normal(size=(2, 1, 3, 4))
    axes = {"LayerNormalization": layer.axis, "GroupNormalization": None}
    axes = axes.get(type(layer).__name__, -1) if hasattr(layer, "axis") else -1
    parts = [x] if axes is not None else [x[..., :2], x[..., 2:]]
    axes = (1, 2) if axes is None else axes
    axes = tuple(axes) if isinstance(axes, list) else axes
    values = {v.path.split("/")[-1]: v.numpy() for v in layer.weights}
    gamma = values.get("gamma", values.get("scale", np.ones(4)))
    beta = values.get("beta", np.zeros(4))
    y = np.asarray(model(x), "float64")
    given = r / stable(y) * gamma
    share = []
    for k, part in enumerate(parts):
        ratio = given[..., 2 * k : 2 * k + part.shape[-1]]
        centered = isinstance(
            layer, (layers.LayerNormalization, layers.GroupNormalization)
        )
        mean = part.mean(axes, keepdims=True) * centered
        square = ((part - mean) ** 2).mean(axes, keepdims=True)
        scale = 1 / np.sqrt(square + 0.1)
        if isinstance(layer, layers.UnitNormalization):
            scale = 1 / np.sqrt((part**2).sum(axes, keepdims=True))
        back = ratio - ratio.mean(axes, keepdims=True) * centered
        share.append(part * scale * back)
    found, lost = relevance_of(model, x, r)
    np.testing.assert_allclose(found, np.concatenate(share, -1), rtol=2e-3,
                               atol=1e-5)  # fmt: skip
    away = (r / stable(y) * (stable(y) - y + beta)).sum()
    np.testing.assert_allclose(lost, [away], rtol=1e-3, atol=1e-4)


def attention_model(heads=1, **options):
    inputs = keras.Input((3, 4))
    layer = layers.MultiHeadAttention(heads, 2, name="attention", **options)
    return randomized(keras.Model(inputs, layer(inputs, inputs)))


def attention_by_hand(model, x, r, variant):
    """One head, from `(tokens, 4)` to relevance of the same shape."""
    wq, bq, wk, bk, wv, bv, wo, bo = model.get_weights()
    wq, wk, wv, bq, bk, bv = (w.squeeze() for w in (wq, wk, wv, bq, bk, bv))
    wo = wo.squeeze()
    q, k, v = x @ wq + bq, x @ wk + bk, x @ wv + bv
    scores = q @ k.T / np.sqrt(2)
    s = softmax(scores)
    o = s @ v

    def linear(x, w, z, r):
        return x * (r / stable(z) @ w.T)

    to_o = linear(o, wo, o @ wo + bo, r)
    ratio = to_o / stable(o)
    if variant == "cp_lrp":
        return linear(x, wv, v, v * (s.T @ ratio))
    to_v = v * (s.T @ ratio) / 2
    to_s = s * (ratio @ v.T) / 2
    to_scores = scores * (to_s - s * to_s.sum(-1, keepdims=True))
    each = to_scores / stable(scores) / 2 / np.sqrt(2)
    to_q, to_k = q * (each @ k), k * (each.T @ q)
    return (
        linear(x, wv, v, to_v) + linear(x, wq, q, to_q) + linear(x, wk, k, to_k)
    )


@pytest.mark.parametrize("variant", ["cp_lrp", "attn_lrp"])
def test_attention_by_hand(variant):
    """One head of self-attention, relevance started at random."""
    model = attention_model()
    x, r = np.random.default_rng(5).normal(size=(2, 3, 4))
    composite = rules.relevance_composite(
        (rules.linear, rules.Epsilon()), attention=variant
    )
    found, lost = relevance_of(model, x[np.newaxis], r[np.newaxis], composite)
    expected = attention_by_hand(model, x, r, variant)
    np.testing.assert_allclose(found[0], expected, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(lost, [r.sum() - expected.sum()], atol=1e-3)


@pytest.mark.parametrize("heads", [1, 2])
def test_cp_lrp_conserves_through_attention(heads):
    """Without biases all relevance comes back by the values."""
    model = attention_model(heads, use_bias=False)
    x, r = np.random.default_rng(6).normal(size=(2, 2, 3, 4))
    found, lost = relevance_of(model, x, r)
    size = np.abs(found).sum()
    np.testing.assert_allclose(
        per_sample(found), per_sample(r), atol=1e-5 * size
    )
    np.testing.assert_allclose(lost, 0, atol=1e-5 * size)


def test_masked_tokens_receive_nothing():
    """A causal mask: relevance of the first token stays with it."""
    inputs = keras.Input((3, 4))
    layer = layers.MultiHeadAttention(2, 2)
    model = randomized(
        keras.Model(inputs, layer(inputs, inputs, use_causal_mask=True))
    )
    x, r = np.random.default_rng(7).normal(size=(2, 1, 3, 4))
    r[:, 1:] = 0
    for variant in ("cp_lrp", "attn_lrp"):
        composite = rules.relevance_composite(
            (rules.linear, rules.Epsilon()), attention=variant
        )
        found, _ = relevance_of(model, x, r, composite)
        assert np.abs(found[:, 0]).max() > 0.01
        np.testing.assert_allclose(found[:, 1:], 0, atol=1e-6)


# Recurrence: gates are constants, tanh hands on what it is given.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mix(x, w, z, r):
    """Epsilon without a stabilizer: of `z`, what is due to `x @ w`."""
    return x * ((r / z) @ w.T)


def lstm_by_hand(weights, x, r):
    """LRP-all, step by step back from the last state."""
    w, u, b = weights
    n = u.shape[0]
    h, c = [np.zeros(n)], [np.zeros(n)]
    seen = []
    for t in range(len(x)):
        z = x[t] @ w + h[-1] @ u + b
        i, f, o = (sigmoid(z[k * n : (k + 1) * n]) for k in (0, 1, 3))
        g = z[2 * n : 3 * n]
        c.append(f * c[-1] + i * np.tanh(g))
        h.append(o * np.tanh(c[-1]))
        seen.append((i, f, g))
    found, to_h, to_c = np.zeros_like(x), r, np.zeros(n)
    for t in reversed(range(len(x))):
        i, f, g = seen[t]
        to_c = to_c + to_h
        to_g = to_c * i * np.tanh(g) / c[t + 1]
        to_c = to_c * f * c[t] / c[t + 1]
        columns = slice(2 * n, 3 * n)
        found[t] = mix(x[t], w[:, columns], g, to_g)
        to_h = mix(h[t], u[:, columns], g, to_g)
    return found


def gru_by_hand(weights, x, r, reset_after):
    w, u, b = weights
    n = u.shape[0]
    b, b_inner = b if reset_after else (b, np.zeros(3 * n))
    h, seen = [np.zeros(n)], []
    columns = slice(2 * n, 3 * n)
    for t in range(len(x)):
        z = x[t] @ w + b
        inner = h[-1] @ u + b_inner
        update, reset = (
            sigmoid((z + inner)[k * n : (k + 1) * n]) for k in (0, 1)
        )
        if reset_after:
            g = z[columns] + reset * inner[columns]
        else:
            g = z[columns] + (reset * h[-1]) @ u[:, columns]
        seen.append((update, reset, g))
        h.append(update * h[-1] + (1 - update) * np.tanh(g))
    found, to_h = np.zeros_like(x), r
    for t in reversed(range(len(x))):
        update, reset, g = seen[t]
        to_g = to_h * (1 - update) * np.tanh(g) / h[t + 1]
        kept = to_h * update * h[t] / h[t + 1]
        found[t] = mix(x[t], w[:, columns], g, to_g)
        if reset_after:
            back = h[t] * ((to_g * reset / g) @ u[:, columns].T)
        else:
            back = reset * h[t] * ((to_g / g) @ u[:, columns].T)
        to_h = kept + back
    return found


def simple_by_hand(weights, x, r):
    w, u, b = weights
    h, seen = [np.zeros(u.shape[0])], []
    for t in range(len(x)):
        seen.append(x[t] @ w + h[-1] @ u + b)
        h.append(np.tanh(seen[-1]))
    found, to_h = np.zeros_like(x), r
    for t in reversed(range(len(x))):
        found[t] = mix(x[t], w, seen[t], to_h)
        to_h = mix(h[t], u, seen[t], to_h)
    return found


RECURRENT = {
    "lstm": (lambda **k: layers.LSTM(3, **k), lstm_by_hand),
    "gru": (lambda **k: layers.GRU(3, **k),
            lambda w, x, r: gru_by_hand(w, x, r, True)),
    "gru before": (lambda **k: layers.GRU(3, reset_after=False, **k),
                   lambda w, x, r: gru_by_hand(w, x, r, False)),
    "simple": (lambda **k: layers.SimpleRNN(3, **k), simple_by_hand),
}  # fmt: skip


def sequences(count=2):
    return np.random.default_rng(8).normal(size=(count, 4, 2))


@pytest.mark.parametrize("options", [{}, {"go_backwards": True},
                                     {"unroll": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrence_by_hand(name, options):
    make, by_hand = RECURRENT[name]
    model = randomized(model_of((4, 2), make(**options)))
    x, r = sequences(), np.random.default_rng(9).normal(size=(2, 3))
    found, lost = relevance_of(model, x, r)
    order = slice(None, None, -1 if "go_backwards" in options else 1)
    for k in range(2):
        expected = by_hand(model.get_weights(), x[k, order], r[k])[order]
        size = np.abs(expected).max()
        np.testing.assert_allclose(found[k], expected, atol=2e-3 * size)
    missing = per_sample(r) - per_sample(found)
    np.testing.assert_allclose(lost, missing, atol=1e-4 * np.abs(found).sum())


def test_sequences_of_states_by_hand():
    """Relevance of a step comes from this step and those before."""
    model = randomized(model_of((4, 2), layers.LSTM(3, return_sequences=True)))
    x, r = sequences(1), np.zeros((1, 4, 3))
    r[0, 1] = [1.0, -2, 3]
    found, _ = relevance_of(model, x, r)
    expected = lstm_by_hand(model.get_weights(), x[0, :2], r[0, 1])
    np.testing.assert_allclose(found[0, :2], expected, rtol=1e-3)
    np.testing.assert_array_equal(found[0, 2:], 0)


@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
def test_both_directions_by_hand(merge):
    """Each direction has the relevance of its part of the output."""
    layer = layers.Bidirectional(layers.LSTM(3), merge_mode=merge)
    model = randomized(model_of((4, 2), layer))
    x = sequences(1)
    r = np.random.default_rng(9).normal(size=(1, model.output_shape[-1]))
    there, back = layer.forward_layer, layer.backward_layer
    if merge == "concat":
        parts = r[0, :3], r[0, 3:]
    elif merge == "mul":  # two signals share alike
        parts = r[0] / 2, r[0] / 2
    else:
        a, b = (np.asarray(part(x.astype("float32"))) for part in (there, back))
        parts = (r * a / (a + b))[0], (r * b / (a + b))[0]
    one = lstm_by_hand(there.get_weights(), x[0], parts[0])
    two = lstm_by_hand(back.get_weights(), x[0, ::-1], parts[1])[::-1]
    found, _ = relevance_of(model, x, r)
    np.testing.assert_allclose(found[0], one + two, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("inner", "shape"),
    [(layers.Dense(2), (3, 4)), (layers.Conv2D(2, 2), (3, 3, 3, 1))],
    ids=["dense", "conv"],
)
def test_time_distributed_is_each_step_alone(inner, shape):
    """The rule of the layer inside, at each step; biases are accounted for."""
    model = randomized(model_of(shape, layers.TimeDistributed(inner)))
    alone = model_of(shape[1:], inner)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype("float32")
    r = rng.normal(size=(2, *model.output_shape[1:]))
    composite = rules.relevance_composite((rules.linear, rules.AlphaBeta()))
    found, lost = relevance_of(model, x, r, composite)
    for t in range(shape[0]):
        expected, _ = relevance_of(alone, x[:, t], r[:, t], composite)
        np.testing.assert_allclose(found[:, t], expected, rtol=1e-4, atol=1e-5)
    missing = per_sample(r) - per_sample(found)
    np.testing.assert_allclose(lost, missing, atol=1e-4)


def test_one_relevance_for_each_token():
    """A model of tokens: the embedding's channels are summed."""
    inputs = keras.Input((4,), dtype="int32")
    embedding = layers.Embedding(9, 3, name="embedding")
    x = layers.GlobalAveragePooling1D()(embedding(inputs))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    tokens = np.array([[1, 2, 3, 3], [8, 0, 0, 1]])
    found = ke.LRP(model, composite="epsilon")(tokens, 1).numpy()
    table, kernel = model.get_weights()[:2]
    np.testing.assert_allclose(
        found, table[tokens] @ kernel[:, 1] / 4, atol=1e-5
    )
    at_layer = ke.LRP(model, composite="epsilon", layer="embedding")(tokens, 1)
    assert at_layer.shape == (2, 4, 3)
    np.testing.assert_allclose(at_layer.numpy().sum(-1), found, atol=1e-6)
