"""What must hold of relevance: nothing is made, and what is lost is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain import rules
from keras_explain.engine.relevance import Shares
from keras_explain.engine.rules import TensorRule
from tests import zoo
from tests.marking import slow_but

NAMES = ["epsilon", "epsilon_plus_flat", "epsilon_alpha2_beta1",
         "alpha2_beta1", "deep_taylor", "epsilon_gamma_box"]  # fmt: skip


def randomized(model, seed=0, biases=True):
    """Weights of which activations live, and no offset without biases."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        kind = weight.path.split("/")[-1]
        if "variance" in kind:
            value = rng.uniform(0.5, 2, weight.shape)
        elif kind in ("gamma", "scale"):
            value = rng.uniform(0.5, 1.5, weight.shape)
        elif kind in ("bias", "beta", "moving_mean"):
            value = rng.normal(size=weight.shape) * 0.3 * biases
        else:
            fan_in = np.prod(weight.shape[:-1])
            value = rng.normal(size=weight.shape) * np.sqrt(2 / fan_in)
        weight.assign(value)
    return model


def conv(filters, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)


def residual(bias):
    """Batch norms behind convolutions, and a shortcut that is added."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.ReLU()(layers.BatchNormalization()(conv(8, use_bias=bias)(x)))
    y = layers.BatchNormalization()(conv(8, use_bias=bias)(x))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    y = layers.BatchNormalization()(conv(8, 1, use_bias=bias)(x))
    x = layers.ReLU()(x + y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


def branches(bias):
    """Branches of several kinds, put side by side; ties in the maxima."""
    # Between the maps of a separable convolution signs are mixed, so that a
    # unit may have no positive contribution, and z+ nothing to divide by.
    kind = layers.SeparableConv2D if bias else layers.Conv2D
    x = inputs = keras.Input((6, 6, 3))
    x = conv(6, activation="relu", use_bias=bias)(x)
    x = layers.Concatenate()(
        [
            layers.MaxPooling2D(2, 1, padding="same")(x),
            layers.AveragePooling2D(3, 1, padding="same")(x),
            kind(4, 3, padding="same", activation="relu", use_bias=bias)(x),
        ]
    )  # fmt: skip
    x = layers.ZeroPadding2D(1)(layers.UpSampling2D(2)(x))
    x = layers.DepthwiseConv2D(3, strides=2, use_bias=bias)(x)
    x = layers.Flatten()((layers.LeakyReLU if bias else layers.ReLU)()(x))
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


def leading(bias):
    """A batch norm in front of a dense layer and of a convolution."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(8, 3, activation="relu", use_bias=bias)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dense(8, activation="relu", use_bias=bias)(x)
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


def transformer(bias):
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Reshape((9, 12))(x)
    x = layers.Dense(8, use_bias=bias)(x)
    y = layers.LayerNormalization(center=bias)(x)
    y = layers.MultiHeadAttention(2, 4, use_bias=bias)(y, y)
    x = layers.Add()([x, y])
    y = layers.LayerNormalization(center=bias)(x)
    y = layers.Dense(16, activation="gelu", use_bias=bias)(y)
    x = layers.Add()([x, layers.Dense(8, use_bias=bias)(y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


def masked(bias):
    """Attention that is causal, and attention with a mask of its own."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Reshape((9, 12))(x)
    x = layers.Dense(8, use_bias=bias)(x)
    mask = np.tril(np.ones((1, 9, 9), bool))
    y = layers.MultiHeadAttention(2, 4, use_bias=bias)(
        x, x, use_causal_mask=True
    )
    x = layers.Add()([x, y])
    y = layers.GroupQueryAttention(4, 4, 2, use_bias=bias)(
        x, x, attention_mask=mask
    )
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


BUILDERS = {
    f.__name__: f for f in (residual, branches, leading, transformer, masked)
}


def explainer(model, name, **options):
    bounds = (
        {"low": -800.0, "high": 800.0} if name == "epsilon_gamma_box" else {}
    )
    return ke.LRP(model, composite=name, **bounds, **options)


def pictures(count=2):
    """So large that stabilizers do not count."""
    return 100 * zoo.images(count, size=6)


def total(values):
    return np.asarray(values, "float64").reshape(len(values), -1).sum(1)


@pytest.mark.parametrize(
    ("builder", "name"),
    [
        (builder, name)
        for builder in BUILDERS
        for name in ("epsilon", "epsilon_plus_flat", "z_plus", "deep_taylor",
                     "epsilon_gamma_box")
        # Of signals of both signs a unit may have no positive contribution.
        if builder not in ("transformer", "masked")
        or name not in ("z_plus", "deep_taylor")
    ],
)  # fmt: skip
def test_relevance_is_conserved_without_biases(builder, name):
    """sum(R) = score, to 1e-5 of what was propagated."""
    model = randomized(BUILDERS[builder](False), biases=False)
    found = explainer(model, name).explain(pictures(), 1)
    flow = np.abs(found.attributions).reshape(2, -1).sum(1)
    size = np.maximum(flow, np.abs(found.scores))
    missing = total(found.attributions) - found.scores
    assert (np.abs(found.scores) > 1e-3).all()
    np.testing.assert_array_less(np.abs(missing), 1e-5 * size)
    np.testing.assert_array_less(np.abs(found.delta), 1e-5 * size)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_lost_is_known(builder, name):
    """sum(R) + lost = score with biases too: delta is nothing."""
    model = randomized(BUILDERS[builder](True))
    found = explainer(model, name).explain(pictures() / 100, 1)
    flow = np.abs(found.attributions).reshape(2, -1).sum(1)
    np.testing.assert_array_less(np.abs(found.delta), 1e-4 * flow)
    if name == "epsilon":
        missing = np.abs(total(found.attributions) - found.scores)
        assert (missing > 1e-3 * np.abs(found.scores)).any()  # to biases


@pytest.mark.parametrize("attention", ["cp_lrp", "attn_lrp"])
@pytest.mark.parametrize("builder", ["transformer", "masked"])
def test_what_is_lost_in_attention_is_known(builder, attention):
    model = randomized(BUILDERS[builder](True))
    composite = rules.relevance_composite(
        (rules.linear, rules.Epsilon()), attention=attention
    )
    found = ke.LRP(model, composite=composite).explain(pictures() / 100, 1)
    flow = np.abs(found.attributions).reshape(2, -1).sum(1)
    np.testing.assert_array_less(np.abs(found.delta), 1e-5 * flow)


def two_layers(bias=True):
    x = inputs = keras.Input((5,))
    x = layers.Dense(6, activation="relu", use_bias=bias)(x)
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(x))


@pytest.mark.parametrize("epsilon", [1e-6, 0.2])
def test_what_is_lost_by_hand(epsilon):
    """What biases and stabilizers take, summed over both layers in NumPy."""
    model = randomized(two_layers())
    w1, b1, w2, b2 = (w.astype("float64") for w in model.get_weights())
    x = np.random.default_rng(1).normal(size=(4, 5))

    def sign(z):
        return np.where(z >= 0, 1.0, -1.0)

    z1 = x @ w1 + b1
    h = np.maximum(z1, 0)
    score = h @ w2[:, 2] + b2[2]
    away = epsilon * sign(score)
    lost = score * (b2[2] + away) / (score + away)
    r = h * w2[:, 2] * (score / (score + away))[:, np.newaxis]
    away = epsilon * sign(z1)
    lost += (r * (b1 + away) / (z1 + away)).sum(1)
    composite = rules.relevance_composite(
        (rules.linear, rules.Epsilon(epsilon))
    )
    found = ke.LRP(model, composite=composite).explain(x, 2)
    np.testing.assert_allclose(found.scores, score, rtol=1e-5)
    assert (np.abs(lost) > 0.005).all()
    received = total(found.attributions)
    np.testing.assert_allclose(received, score - lost, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


@pytest.mark.parametrize("builder", ["residual", "branches"])
def test_epsilon_is_input_x_gradient_without_biases(builder):
    """Of ReLUs and maxima the gradient is the matrix that relevance takes."""
    model = randomized(BUILDERS[builder](False), biases=False)
    x = pictures()
    found = ke.LRP(model, composite="epsilon")(x, 0)
    expected = ke.InputXGradient(model)(x, 0).numpy()
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * size)


def pair():
    """Two networks that compute the same function, written differently.

    Of Sundararajan, Taly and Yan, 2017, figure 7:
    relu(relu(x1) - 1 - relu(x2)) and relu(relu(x1 - 1) - relu(x2)).
    """
    made = []
    for inside, outside in (([0.0, 0.0], -1.0), ([-1.0, 0.0], 0.0)):
        model = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(2, activation="relu"),
                layers.Dense(1, activation="relu"),
                layers.Dense(1, use_bias=False),
            ]
        )
        model.set_weights(
            [np.eye(2), np.array(inside), np.array([[1.0], [-1.0]]),
             np.array([outside]), np.ones((1, 1))]
        )  # fmt: skip
        made.append(model)
    return made


def test_gradients_do_not_see_how_a_function_is_written():
    """Implementation invariance, of the gradient and of its integral."""
    one, two = pair()
    grid = np.random.default_rng(0).uniform(-1, 4, (50, 2)).astype("float32")
    np.testing.assert_allclose(one(grid), two(grid), atol=1e-6)
    x = np.array([[3.0, 1.0]], "float32")
    np.testing.assert_allclose(ke.Gradient(one)(x, 0), ke.Gradient(two)(x, 0))
    a, b = (ke.IntegratedGradients(m, num_steps=200)(x, 0) for m in (one, two))
    np.testing.assert_allclose(a, [[1.5, -0.5]], atol=0.02)
    np.testing.assert_allclose(b, a, atol=0.02)


def test_relevance_sees_how_a_function_is_written():
    """Implementation invariance is violated where theory says so.

    At (3, 1), where both are 1, alpha 2 and beta 1 give `2 * 2 * 2 * 3/3` and
    `-2 * 1/2 * 2` in the one. In the other the bias of -1 is no rival of x2,
    which has `-2 * 1/1 * 2`.
    """
    x = np.array([[3.0, 1.0]], "float32")
    one, two = (ke.LRP(m, composite="alpha2_beta1")(x, 0) for m in pair())
    np.testing.assert_allclose(one, [[8, -2]], rtol=1e-4)
    np.testing.assert_allclose(two, [[8, -4]], rtol=1e-4)


def test_differences_see_how_a_function_is_written():
    """The paper's example: from zero, at (3, 1), where both are 1."""
    x, zero = np.array([[3.0, 1.0]], "float32"), np.zeros((1, 2), "float32")
    one, two = (ke.DeepLIFT(m, baseline=zero)(x, 0) for m in pair())
    np.testing.assert_allclose(one, [[1.5, -0.5]], rtol=1e-4)
    np.testing.assert_allclose(two, [[2, -1]], rtol=1e-4)


class Halved(TensorRule):
    """Passes on half of what it should, and does not say so."""

    def divide(self, at, relevance):
        share = tf.math.divide_no_nan(relevance, at.output)
        (slope,) = tf.gradients(at.output, at.inputs, share)
        return Shares([0.5 * at.inputs[0] * slope])


def test_a_rule_that_loses_relevance_is_told_of():
    composite = rules.relevance_composite(
        (rules.kinds("GlobalAveragePooling2D"), Halved()),
        (rules.linear, rules.Epsilon()),
    )
    explainer = ke.LRP(zoo.build("functional").model, composite=composite)
    with pytest.warns(ke.ExplainWarning, match="Relevance is not conserved"):
        found = explainer.explain(zoo.images(2), 1)
    assert np.all(np.abs(found.delta) > 1e-3 * np.abs(found.scores))


@pytest.mark.parametrize("order", ["behind", "before"])
@pytest.mark.parametrize(
    "name", ["epsilon", "alpha2_beta1", "epsilon_plus_flat"]
)
def test_relevance_does_not_see_a_batch_norm(order, name):
    """Folded, it leaves the relevance of the layer merged by hand."""
    shape = (6, 6, 3)
    norm = layers.BatchNormalization(name="norm")
    linear = layers.Conv2D(4, 3, name="conv")
    stack = [linear, norm] if order == "behind" else [norm, linear]
    tail = [layers.ReLU(), layers.Flatten(), layers.Dense(2, name="out")]
    model = randomized(keras.Sequential([keras.Input(shape), *stack, *tail]))
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    offset = beta - mean * scale
    kernel, bias = linear.get_weights()
    if order == "behind":
        kernel, bias = kernel * scale, bias * scale + offset
    else:
        bias = bias + np.einsum("hwio,i->o", kernel, offset)
        kernel = kernel * scale[:, np.newaxis]
    merged = keras.Sequential(
        [keras.Input(shape), layers.Conv2D(4, 3), *map(_again, tail)]
    )
    merged.set_weights([kernel, bias, *model.get_layer("out").get_weights()])
    x = zoo.images(2, size=6)
    found, expected = (ke.LRP(m, composite=name)(x, 1) for m in (model, merged))
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * size)


def _again(layer):
    return type(layer).from_config(layer.get_config())


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_sample_is_explained_alone(builder):
    """A batch is the batches of one, and a second call is the first."""
    model = randomized(BUILDERS[builder](True))
    explainer = ke.LRP(model, composite="epsilon_alpha2_beta1")
    x, classes = zoo.images(3, size=6), np.array([0, 2, 1])
    found = explainer(x, ke.Class(classes)).numpy()
    size = np.abs(found).max()
    for k in range(3):
        alone = explainer(x[k : k + 1], ke.Class(int(classes[k])))
        np.testing.assert_allclose(alone[0], found[k], atol=1e-4 * size)
    np.testing.assert_array_equal(explainer(x, ke.Class(classes)), found)


def test_relevance_is_linear_in_the_target():
    """Of a sum of scores it is the sum, with Epsilon up to the stabilizer."""
    model = randomized(residual(True))
    explainer, x = ke.LRP(model, composite="epsilon"), zoo.images(2, size=6)
    a, b = explainer(x, 0).numpy(), explainer(x, 2).numpy()
    found = explainer(x, 2 * ke.Class(0) - ke.Class(2))
    np.testing.assert_allclose(found, 2 * a - b, atol=1e-4 * np.abs(a).max())
    predicted = np.asarray(model(x)).argmax(1)
    np.testing.assert_array_equal(
        explainer(x), explainer(x, ke.Class(predicted))
    )


@pytest.mark.parametrize(
    "policy", slow_but({"mixed_float16"}, ["mixed_float16", "mixed_bfloat16"])
)
@pytest.mark.parametrize("name", ["epsilon_plus_flat", "epsilon_alpha2_beta1"])
def test_mixed_precision_is_close(policy, name):
    reference = randomized(branches(True))
    x = zoo.images(2, size=6)
    expected = ke.LRP(reference, composite=name)(x, 1).numpy()
    keras.config.set_dtype_policy(policy)
    half = branches(True)
    half.set_weights(reference.get_weights())
    found = ke.LRP(half, composite=name)(x, 1).numpy()
    assert found.dtype == "float32" and np.isfinite(found).all()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < (0.02 if policy == "mixed_float16" else 0.15)
