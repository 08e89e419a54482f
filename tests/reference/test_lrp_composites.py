"""What has no kernel under LRP: maxima, sums, gates, attention, recurrence."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests.reference.test_lrp_rules import (
    GOLDEN,
    stable,
    walk_back,
)

EPSILON_RULES = rules.relevance_composite((rules.linear, rules.Epsilon()))


def relevance_of(model, x, upstream, composite=EPSILON_RULES):
    ((found, lost),) = walk_back(model, x, [composite], upstream)[1]
    return found, lost


def model_of(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack])


def randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights(
        [rng.normal(size=w.shape) * 0.7 for w in model.get_weights()]
    )
    return model


# Maxima.

POOLS = [
    (layers.MaxPooling2D(2, 2), (5, 4, 2)),
    (layers.MaxPooling2D(2, 2, padding="same"), (5, 4, 2)),
    (layers.MaxPooling2D(3, 2), (5, 6, 2)),
    (layers.MaxPooling2D(3, 2, padding="same"), (5, 6, 2)),
    (layers.MaxPooling2D((3, 2), (1, 3), padding="same"), (4, 5, 1)),
    (layers.MaxPooling1D(3, 2, padding="same"), (6, 2)),
    (layers.MaxPooling3D(2), (2, 4, 3, 2)),
    (layers.GlobalMaxPooling1D(), (6, 2)),
    (layers.GlobalMaxPooling2D(), (3, 4, 2)),
    (layers.GlobalMaxPooling2D(keepdims=True), (3, 4, 2)),
    (layers.GlobalMaxPooling3D(), (2, 2, 3, 2)),
]


def winners_by_loops(layer, x, r):
    """R_i = sum over windows of R / number of ties, where x_i is largest."""
    space = x.shape[1:-1]
    if hasattr(layer, "pool_size"):
        size, strides = layer.pool_size, layer.strides
        size, strides = (
            np.broadcast_to(v, len(space)) for v in (size, strides)
        )
        same = layer.padding == "same"
    else:
        size, strides, same = np.array(space), np.array(space), False
    out = r if r.ndim == x.ndim else r.reshape(len(x), *[1] * len(space), -1)
    need = (np.array(out.shape[1:-1]) - 1) * strides + size - space
    before = np.maximum(need, 0) // 2 if same else np.zeros(len(space), int)
    found = np.zeros(x.shape)
    for n, c in itertools.product(range(len(x)), range(x.shape[-1])):
        for place in np.ndindex(out.shape[1:-1]):
            start = np.array(place) * strides - before
            inside = tuple(
                slice(max(a, 0), min(a + s, top))
                for a, s, top in zip(start, size, space, strict=True)
            )
            window = x[n, ..., c][inside]
            best = window == window.max()
            found[n, ..., c][inside] += out[(n, *place, c)] * best / best.sum()
    return found


@pytest.mark.parametrize(("layer", "shape"), POOLS, ids=lambda v: str(v)[:24])
def test_winners_share_ties(layer, shape):
    """Each maximum shares among its ties; nothing is made nor lost."""
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, (2, *shape)).astype("float32")  # full of ties
    model = model_of(shape, layer)
    r = rng.normal(size=(2, *model.output_shape[1:]))
    found, lost = relevance_of(model, x, r)
    np.testing.assert_allclose(found, winners_by_loops(layer, x, r), atol=1e-5)
    np.testing.assert_allclose(lost, 0, atol=1e-5)


def two_inputs(merge, shape=(4,)):
    """A model of one input, whose halves are merged."""
    inputs = keras.Input((2, *shape))
    return keras.Model(inputs, merge(inputs[:, 0], inputs[:, 1]))


def merged(merge, a, b, r, composite=EPSILON_RULES):
    a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
    model = two_inputs(merge, a.shape[1:])
    found, lost = relevance_of(model, np.stack([a, b], 1), r, composite)
    return found[:, 0], found[:, 1], lost


def test_maximum_shares_ties():
    a, b = [[1.0, 2, 3, 0]], [[0.0, 2, 4, 0]]
    for merge in (lambda a, b: layers.Maximum()([a, b]), ops.maximum):
        for_a, for_b, lost = merged(merge, a, b, [[1.0, 4, -3, 2]])
        np.testing.assert_allclose(for_a, [[1, 2, 0, 1]])
        np.testing.assert_allclose(for_b, [[0, 2, -3, 1]])
        np.testing.assert_allclose(lost, [0])


# Sums.


def test_sums_as_lxt():
    golden = GOLDEN["lxt_add2"]
    found = merged(
        lambda a, b: layers.Add()([a, b]), golden["a"], golden["b"], golden["R"]
    )
    np.testing.assert_allclose(found[0], golden["R_a"], atol=1e-5)
    np.testing.assert_allclose(found[1], golden["R_b"], atol=1e-5)


@pytest.mark.parametrize(
    ("merge", "weights"),
    [
        (lambda a, b: layers.Subtract()([a, b]), (1, -1)),
        (lambda a, b: layers.Average()([a, b]), (0.5, 0.5)),
        (lambda a, b: layers.Add()([a, b, a]), (2, 1)),
        (lambda a, b: a - b, (1, -1)),
        (lambda a, b: 2 * a + b / 4, (2, 0.25)),
        (lambda a, b: ops.add(a, ops.negative(b)), (1, -1)),
    ],
    ids=["subtract", "average", "twice", "minus", "scaled", "negative"],
)
def test_sums_in_proportion(merge, weights):
    """R_a = w_a a R / (w_a a + w_b b)."""
    rng = np.random.default_rng(3)
    a, b, r = (rng.normal(size=(2, 5)) for _ in range(3))
    bottom = stable(weights[0] * a + weights[1] * b)
    for_a, for_b, lost = merged(merge, a, b, r)
    np.testing.assert_allclose(for_a, weights[0] * a * r / bottom, rtol=1e-3)
    np.testing.assert_allclose(for_b, weights[1] * b * r / bottom, rtol=1e-3)
    np.testing.assert_allclose(lost, 0, atol=1e-3)


def test_what_a_constant_adds_is_lost():
    """R_a = a R / (a + c); the rest went to the constant."""
    a, c, r = np.array([[1.0, 2, -3]]), np.array([1.0, 2, 1]), [[4.0, 5, 6]]
    for add in (lambda x: x + c.astype("float32"),
                lambda x: ops.add(c.astype("float32"), x)):  # fmt: skip
        inputs = keras.Input((3,))
        found, lost = relevance_of(keras.Model(inputs, add(inputs)), a, r)
        np.testing.assert_allclose(found, a * r / (a + c), rtol=1e-5)
        np.testing.assert_allclose(lost, [(c * r / (a + c)).sum()], rtol=1e-5)


def test_average_pooling_as_zennit():
    golden = GOLDEN["zennit_avgpool_norm"]
    x = np.array(golden["x"])[..., np.newaxis][:, 0]
    model = model_of((3, 3, 1), layers.AveragePooling2D(2, 1))
    found, _ = relevance_of(model, x, None)
    expected = np.array(golden["expected"])[:, 0, :, :, np.newaxis]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_folded_norm_as_zennit():
    """Dense and batch normalization are the dense layer of both."""
    golden = GOLDEN["zennit_bn_merge"]
    norm = layers.BatchNormalization(epsilon=golden["eps"])
    parts = model_of((3,), layers.Dense(2), norm)
    arrays = [np.array(golden["W"]).T, golden["b"], golden["gamma"],
              golden["beta"], golden["mean"], golden["var"]]  # fmt: skip
    parts.set_weights([np.array(a, "float32") for a in arrays])
    whole_one = model_of((3,), layers.Dense(2))
    whole_one.set_weights(
        [np.array(golden["merged_W"]).T, np.array(golden["merged_b"])]
    )
    x = np.array([[1.0, -1, 2], [2, 0.5, -1]])
    for rule in (rules.Epsilon(), rules.AlphaBeta(), rules.WSquare()):
        composite = rules.relevance_composite((rules.linear, rule))
        found, lost = relevance_of(parts, x, None, composite)
        expected, gone = relevance_of(whole_one, x, None, composite)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_allclose(lost, gone, atol=2e-5)


# Products and gates.


def test_products_of_equals_as_lxt():
    golden = GOLDEN["lxt_mul2"]
    a, b = [[1.0, 2, 3]], [[-1.0, 5, 0.5]]
    for merge in (lambda a, b: layers.Multiply()([a, b]), ops.multiply):
        found = merged(merge, a, b, golden["R"])
        np.testing.assert_allclose(found[0], golden["R_a"])
        np.testing.assert_allclose(found[1], golden["R_b"])


@pytest.mark.parametrize("activation", ["sigmoid", "hard_sigmoid", "tanh"])
def test_squeeze_and_excitation(activation):
    """All to the signal, whatever the gate is made by."""
    inputs = keras.Input((3, 4, 2))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = layers.Conv2D(2, 1, activation=activation)(gate)
    model = keras.Model(inputs, layers.Multiply()([inputs, gate]))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    r = np.random.default_rng(1).normal(size=(2, 3, 4, 2))
    found, lost = relevance_of(model, x, r)
    np.testing.assert_allclose(found, r, rtol=1e-6)
    np.testing.assert_allclose(lost, 0, atol=1e-6)


def test_a_sigmoid_is_the_gate_of_an_equal_shape():
    found = merged(lambda a, b: layers.Multiply()([ops.sigmoid(a), b]),
                   [[1.0, 2]], [[3.0, 0]], [[5.0, 6]])  # fmt: skip
    np.testing.assert_allclose(found[0], [[0, 0]])
    np.testing.assert_allclose(found[1], [[5, 6]])


def test_a_product_of_a_signal_with_itself():
    """Both halves come back to it."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Multiply()([inputs, inputs]))
    x = np.array([[1.0, -2, 0]])
    found, _ = relevance_of(model, x, [[1.0, 2, 3]])
    np.testing.assert_allclose(found, [[1, 2, 3]])


# Numbers of Captum's tests, and defects of peers that must not come back.


def captum_net(changed=True):
    """3 x 3 of 2, ReLU, 1 x 3 of 3; `changed` with one weight of -2."""
    model = model_of((3,), layers.Dense(3, use_bias=False, activation="relu",
                                        name="linear"),
                     layers.Dense(1, use_bias=False))  # fmt: skip
    kernel = np.full((3, 3), 2.0)
    kernel[0, 0] = -2 if changed else 2
    model.set_weights([kernel, np.full((3, 1), 3.0)])
    return model


def by_order(first, others):
    return rules.relevance_composite(
        (rules.first(rules.linear), first), (rules.linear, others)
    )


@pytest.mark.parametrize(
    ("composite", "changed", "expected"),
    [
        ("epsilon", False, [18, 36, 54]),
        (by_order(rules.Gamma(1.0), rules.Gamma(0.25)), True,
         [28 / 3, 104 / 3, 52]),
        ("alpha1_beta0", True, [12, 33.6, 50.4]),
        (by_order(rules.Pass, rules.Epsilon()), True, [24, 36, 36]),
    ],
    ids=["epsilon", "gamma", "alpha1", "identity"],
)  # fmt: skip
def test_simple_numbers_of_captum(composite, changed, expected):
    """In a batch with the input times three, and in a second call too."""
    x, factors = np.array([[1.0, 2, 3]]), np.array([[1.0], [3.0]])
    explainer = ke.LRP(captum_net(changed), composite=composite)
    for _ in range(2):
        found = explainer.explain(x * factors, 0)
        np.testing.assert_allclose(
            found.attributions, expected * factors, rtol=1e-5
        )
        np.testing.assert_allclose(found.delta, 0, atol=1e-4)


@pytest.mark.parametrize(
    "composite", [by_order(rules.Gamma(1.0), rules.Gamma(0.25)), "alpha1_beta0"]
)
def test_layer_numbers_of_captum(composite):
    explainer = ke.LRP(captum_net(), composite=composite, layer="linear")
    np.testing.assert_allclose(
        explainer(np.array([[1.0, 2, 3]]), 0), [[24, 36, 36]], rtol=1e-5
    )


def test_a_convolution_of_captum():
    """Biases of -50 and -75 take nothing where they cancel: delta is 0."""
    model = model_of((4, 4, 1), layers.Conv2D(2, 3, activation="relu",
                                              name="conv"),
                     layers.Permute((3, 1, 2)), layers.Flatten(),
                     layers.Dense(1, use_bias=False))  # fmt: skip
    dense = np.array([[1.0] * 5 + [-1.0] * 3]).T
    model.set_weights([np.ones((3, 3, 1, 2)), np.array([-50.0, -75]), dense])
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    found = ke.LRP(model, composite="epsilon").explain(x, 0)
    expected = [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]
    np.testing.assert_allclose(
        found.attributions[0, :, :, 0], expected, atol=1e-4
    )
    np.testing.assert_allclose(found.delta, 0, atol=1e-4)
    found = ke.LRP(model, composite="epsilon", layer="conv")(x, 0)
    expected = [[[0, 4], [31, 40]], [[0, 0], [-6, -15]]]
    found = np.moveaxis(found.numpy()[0], -1, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_skip_connection_of_captum():
    inputs = keras.Input((2,))
    x = layers.Dense(2, use_bias=False)(inputs)
    model = keras.Model(inputs, layers.Add()([inputs, x]))
    model.set_weights([np.full((2, 2), 5.0)])
    found = ke.LRP(model, composite="epsilon").explain(np.array([[2.0, 3]]), 1)
    np.testing.assert_allclose(found.attributions, [[10, 18]], rtol=1e-5)
    np.testing.assert_allclose(found.delta, [0], atol=1e-4)


def test_two_inputs_are_conserved():
    """Captum's own test has a delta of -104 here."""
    a, b = keras.Input((3,)), keras.Input((3,))
    net = captum_net(False)
    model = keras.Model([a, b], net(layers.Add()([a, b])))
    x = np.array([[1.0, 2, 3]])
    found = ke.LRP(model, composite="epsilon").explain([x, 3 * x], 0)
    np.testing.assert_allclose(found.attributions[0], [[18, 36, 54]], rtol=1e-5)
    np.testing.assert_allclose(
        found.attributions[1], [[54, 108, 162]], rtol=1e-5
    )
    np.testing.assert_allclose(found.delta, [0], atol=1e-3)


def test_negative_inputs_under_alpha_one():
    """The textbook has [1, 2]; clamping weights alone gives [3, 0]."""
    model = model_of((2,), layers.Dense(1, use_bias=False))
    model.set_weights([np.array([[1.0], [-1]])])
    found = ke.LRP(model, composite="alpha1_beta0")(np.array([[1.0, -2]]), 0)
    np.testing.assert_allclose(found, [[1, 2]], rtol=1e-5)


def test_masked_scores_of_a_softmax_stay_finite():
    model = model_of((3,), layers.Softmax())
    composite = rules.Composite(
        ((rules.kinds("Softmax"), rules.Softmax("attn_lrp")),)
    )
    for masked in (-np.inf, -1e9):
        x = np.array([[1.0, masked, 2.0]])
        found, lost = relevance_of(model, x, [[0.2, 0.5, 0.3]], composite)
        assert np.isfinite(found).all() and np.isfinite(lost).all()
        assert found[0, 1] == 0 and found[0, 2] != 0


def test_the_first_layer_is_the_first_that_runs():
    """Not the one that was made, or registered, first."""
    last, start = layers.Dense(1, name="a"), layers.Dense(3, name="b")
    inputs = keras.Input((4,))
    model = randomized(keras.Model(inputs, last(layers.ReLU()(start(inputs)))))
    x = np.random.default_rng(0).normal(size=(2, 4))
    found = ke.LRP(model, composite="epsilon_plus_flat")(x, 0).numpy()
    np.testing.assert_allclose(found, np.repeat(found[:, :1], 4, 1), rtol=1e-5)
    assert (np.abs(found) > 1e-3).all()


@pytest.mark.parametrize("head", ["fused", "layer", "op"])
def test_a_softmax_at_the_end_is_set_aside(head):
    """Relevance of a class is that of its logit."""
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="relu")(inputs)
    logits = layers.Dense(3)
    if head == "fused":
        logits.activation = keras.activations.softmax
    x = logits(x)
    x = {"layer": layers.Softmax(), "op": ops.softmax}.get(head, lambda y: y)(x)
    model = randomized(keras.Model(inputs, x))
    plain = model_of((4,), layers.Dense(5, activation="relu"), layers.Dense(3))
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 4))
    found, expected = (ke.LRP(m).explain(x, 1) for m in (model, plain))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    np.testing.assert_allclose(
        found.attributions, expected.attributions, rtol=1e-5
    )
