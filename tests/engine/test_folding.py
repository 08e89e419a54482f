"""Which batch normalizations are one map with which linear layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain import rules
from keras_explain.engine.folding import folds
from keras_explain.engine.recording import record
from tests.laws.test_relevance_laws import randomized

SHAPE = (6, 6, 4)


def chain(*stack, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), *stack])


def folded(model, kept=()):
    """`{linear layer: (norm before, norm behind)}` and the norms gone."""
    spec = tf.TensorSpec([None, *model.input_shape[1:]])
    graph = record(model, spec)
    found, gone = folds(graph, frozenset(graph.find(k).index for k in kept))

    def name(norm):
        return None if norm is None else norm.name

    pairs = {
        graph.calls[index].path: (name(fold.before), name(fold.behind))
        for index, fold in found.items()
    }
    return pairs, {graph.calls[index].path for index in gone}


def conv(**options):
    return layers.Conv2D(4, 3, name="conv", **options)


def norm(name="norm", **options):
    return layers.BatchNormalization(name=name, **options)


BEHIND = {
    "conv": (conv, SHAPE),
    "conv same": (lambda: conv(padding="same"), SHAPE),
    "groups": (lambda: conv(groups=2), SHAPE),
    "no bias": (lambda: conv(use_bias=False), SHAPE),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2,
                                                 name="conv"), SHAPE),
    "one channel": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2,
                                                   name="conv"), (6, 6, 1)),
    "separable": (lambda: layers.SeparableConv2D(3, 3, name="conv"), SHAPE),
    "transposed": (lambda: layers.Conv2DTranspose(3, 3, name="conv"), SHAPE),
    "dense": (lambda: layers.Dense(8, name="conv"), (5,)),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (6, 3), name="conv",
                                          bias_axes="d"), (6, 4)),
    "einsum no bias": (lambda: layers.EinsumDense("abc,cde->abde", (6, 2, 3),
                                                  name="conv"), (6, 4)),
    "einsum heads": (lambda: layers.EinsumDense("abc,cde->abde", (6, 2, 3),
                                                bias_axes="d", name="conv"),
                     (6, 4)),
}  # fmt: skip
BEFORE = [name for name in BEHIND if name not in (
    "conv same", "groups", "transposed", "einsum", "einsum no bias",
    "einsum heads")]  # fmt: skip


def scores_agree(model, x):
    """A folded model computes what the model does."""
    found = ke.LRP(model, composite="epsilon_plus").explain(x, 1)
    expected = np.asarray(model(x))[:, 1]
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.scores, expected, atol=1e-5 * size)
    flow = np.abs(found.attributions).reshape(len(x), -1).sum(1)
    assert (np.abs(found.delta) < 1e-4 * np.maximum(flow, size)).all()


def inputs_of(shape):
    x = np.random.default_rng(0).normal(size=(3, *shape))
    return x.astype("float32")


@pytest.mark.parametrize("name", BEHIND)
def test_a_norm_behind_a_linear_layer(name):
    make, shape = BEHIND[name]
    tail = [layers.ReLU(), layers.Flatten(), layers.Dense(2)]
    model = randomized(chain(make(), norm(), *tail, shape=shape))
    assert folded(model) == ({"conv": (None, "norm")}, {"norm"})
    scores_agree(model, inputs_of(shape))


@pytest.mark.parametrize("name", BEHIND)
def test_a_norm_before_a_linear_layer(name):
    """Not behind padding, and not where channels are not those of a kernel."""
    make, shape = BEHIND[name]
    tail = [layers.ReLU(), layers.Flatten(), layers.Dense(2)]
    model = randomized(chain(norm(), make(), *tail, shape=shape))
    expected = ({"conv": ("norm", None)}, {"norm"})
    assert folded(model) == (expected if name in BEFORE else ({}, set()))
    scores_agree(model, inputs_of(shape))


@pytest.mark.parametrize("name", BEFORE)
def test_norms_on_both_sides(name):
    """Both are folded, or one is left as it is; the score stays."""
    make, shape = BEHIND[name]
    tail = [layers.ReLU(), layers.Flatten(), layers.Dense(2)]
    model = randomized(chain(norm("start"), make(), norm(), *tail, shape=shape))
    pairs, gone = folded(model)
    assert gone == {n for pair in pairs.values() for n in pair if n}
    scores_agree(model, inputs_of(shape))


def test_norms_in_a_row():
    """One is folded into each side of what stands between; none is lost."""
    model = randomized(
        chain(layers.Dense(4, name="a"), norm("one"), norm("two"),
              layers.Dense(3, name="b"), shape=(5,))
    )  # fmt: skip
    expected = ({"a": (None, "one"), "b": ("two", None)}, {"one", "two"})
    assert folded(model) == expected
    scores_agree(model, inputs_of((5,)))


def test_no_norm_is_folded_across_an_activation():
    for stack in (
        [conv(activation="relu"), norm(), layers.ReLU()],
        [conv(), layers.ReLU(), norm(), layers.ReLU()],
        [norm(), layers.ReLU(), conv()],
    ):
        model = chain(*stack)
        assert folded(model) == ({}, set())


def test_no_norm_is_folded_where_others_read_in_between():
    inputs = keras.Input(SHAPE)
    x = conv()(inputs)
    model = keras.Model(inputs, layers.Add()([x, norm()(x)]))
    assert folded(model) == ({}, set())
    x = norm()(inputs)
    model = keras.Model(inputs, [conv()(x), layers.ReLU()(x)])
    assert folded(model) == ({}, set())


def test_no_norm_of_another_axis_is_folded():
    assert folded(chain(conv(), norm(axis=1))) == ({}, set())
    assert folded(chain(norm(axis=1), conv())) == ({}, set())
    assert folded(chain(norm(axis=1), layers.Dense(2), shape=(3, 4))) == (
        {},
        set(),
    )


def test_of_a_shared_convolution_one_call_may_be_folded():
    inputs = keras.Input((6, 6, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    x = layers.ReLU()(norm()(shared(inputs)))
    x = layers.Flatten()(shared(x))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    assert folded(model) == ({"shared": (None, "norm")}, {"norm"})
    scores_agree(model, inputs_of(SHAPE))


def test_what_is_looked_at_is_not_folded():
    model = chain(conv(), norm(), layers.ReLU())
    assert folded(model, kept=["conv"]) == ({}, set())
    model = chain(norm(), layers.Dense(3, name="dense"), shape=(5,))
    assert folded(model, kept=["norm"]) == ({}, set())


def test_a_channel_in_front_of_a_norm_is_the_convolutions_own():
    """The score of a `Channel` is the mean of the layer's own output."""
    model = randomized(chain(conv(), norm(), layers.ReLU()))
    x = inputs_of(SHAPE)
    own = np.asarray(model.get_layer("conv")(x))[..., 2]
    found = ke.LRP(model, composite="epsilon").explain(x, ke.Channel("conv", 2))
    np.testing.assert_allclose(found.scores, own.mean((1, 2)), rtol=1e-4)


def test_relevance_at_a_convolution_in_front_of_a_norm():
    """At `layer=conv` it is divided in proportion to the conv's own output."""
    tail = [layers.Flatten(), layers.Dense(2, name="out")]
    model = randomized(chain(conv(), norm(), *tail))
    x = inputs_of(SHAPE)
    own = np.asarray(model.get_layer("conv")(x))
    scale = model.get_layer("norm")
    gamma, _, _, variance = scale.get_weights()
    slope = gamma / np.sqrt(variance + scale.epsilon)
    kernel = model.get_layer("out").get_weights()[0][:, 1].reshape(4, 4, 4)
    # Flatten keeps the order, so that the chain of weights is this product.
    expected = own * slope * kernel
    found = ke.LRP(model, composite="epsilon", layer="conv")(x, 1)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-4 * size)


def test_weights_that_change_are_seen():
    """A fold reads the statistics when it runs, not when it was made."""
    tail = [layers.Flatten(), layers.Dense(2)]
    model = randomized(chain(conv(), norm(), *tail))
    explainer, x = ke.LRP(model, composite="epsilon"), inputs_of(SHAPE)
    explainer(x, 1)
    randomized(model, seed=5)
    fresh = ke.LRP(model, composite="epsilon")(x, 1)
    np.testing.assert_allclose(explainer(x, 1), fresh, rtol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_a_rule_of_ones_own_for_relus_is_not_folded_away(fused):
    """It counts as it would behind a layer that folds nothing."""
    dense = layers.Dense(6, activation="relu" if fused else None)
    stack = [dense] if fused else [dense, layers.ReLU()]
    model = randomized(chain(*stack, layers.Dense(3), shape=(5,)))
    x = inputs_of((5,))
    w1, b1, w2, _ = (np.asarray(w, "float64") for w in model.get_weights())
    h = x @ w1 + b1
    own = np.maximum(h, 0) * w2[:, 1] / (1 + np.exp(-3 * h))
    expected = x * ((own / h) @ w1.T)
    composite = rules.relevance_composite(
        (rules.kinds("ReLU", "relu"), rules.BetaSmooth(3.0)),
        (rules.linear, rules.Epsilon(1e-9)),
    )
    found = ke.LRP(model, composite=composite)(x, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
