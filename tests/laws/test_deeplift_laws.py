"""What DeepLIFT and its relatives keep whatever the network."""

from __future__ import annotations

import itertools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.attribution.deeplift import DeepLIFT, DeepSHAP
from keras_explain.attribution.gradient_shap import GradientSHAP
from keras_explain.rules import Norm, Pass, registry
from tests import zoo

# Of random networks some are dead, or sure of themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The map of"),
    pytest.mark.filterwarnings("ignore:The softmax is saturated"),
]
RULES = ["rescale", "reveal_cancel", "genomics_default"]


def randomized(model, scale=0.5):
    """Weights, biases and statistics of every kind; zeros hide errors."""
    noise = np.random.default_rng(11)
    for v in model.variables:
        drawn = noise.normal(size=v.shape) * scale
        if "variance" in v.path:
            v.assign(np.abs(drawn) + 0.3)
        elif v.dtype.startswith("float") and "seed" not in v.path:
            fan = math.prod(v.shape[:-1]) if len(v.shape) > 1 else 1
            v.assign(drawn / math.sqrt(fan) * 2)
    return model


def net(*stack, shape=(8, 8, 3), classes=4):
    return keras.Sequential(
        [keras.Input(shape), *stack, layers.Flatten(), layers.Dense(classes)]
    )


def ties():
    """Pixels of few values, so that maxima are often equal."""
    return net(
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.Conv2D(3, 2, activation="relu"),
        layers.MaxPooling2D(),
    )


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    y = layers.Conv2D(2, 1, activation="leaky_relu")(x)
    x = layers.Concatenate()([x, y, ops.relu(x - y[..., :1])])
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def gated():
    """Squeeze and excitation, and products of three."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="silu")(x)
    g = layers.GlobalAveragePooling2D(keepdims=True)(x)
    g = layers.Dense(4, activation="sigmoid")(g)
    x = layers.Multiply()([x, g])
    x = layers.Multiply()([x, ops.tanh(x), g])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def attention():
    return randomized(zoo.build("vision_transformer").model)


def inner_softmax():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(x)
    x = layers.Softmax(axis=[1, 2])(x * 5)
    x = layers.Dense(5, activation="softmax")(layers.Flatten()(x) * 20)
    x = ops.softmax(x * 3, axis=1)
    return keras.Model(inputs, layers.Dense(3)(x))


def tiny_outputs():
    """A score of 1e-4, of functions that are smooth."""
    model = net(
        layers.Conv2D(4, 3, activation="silu"),
        layers.Dense(4, activation="gelu"),
        layers.Dense(4, activation="tanh"),
        layers.Dense(4, activation="mish"),
    )
    model.add(layers.Rescaling(1e-4))
    return model


def kinks():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="elu")(x)
    x = layers.Dense(4, activation="selu")(x)
    x = layers.Dense(4, activation="hard_sigmoid")(x)
    x = layers.Dense(4, activation="relu6")(x)
    x = layers.PReLU()(x)
    x = layers.Dense(4, activation="hard_shrink")(x)
    x = layers.Flatten()(ops.glu(layers.Dense(4)(x)))
    return keras.Model(inputs, layers.Dense(3)(x))


def normalized():
    return net(
        layers.Conv2D(4, 3),
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.RMSNormalization(),
        layers.UnitNormalization(axis=[1, 2]),
        layers.LayerNormalization(axis=[2, 3]),
    )


def arithmetic():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="softplus")(x)
    x = ops.maximum(x, ops.exp(-x)) / (1 + ops.square(x))
    y = ops.max(x, axis=(1, 2))
    z = ops.maximum(ops.mean(x, axis=(1, 2)), 0.5)
    x = layers.Maximum()([y, z * 2, ops.sqrt(z)])
    x = layers.Concatenate()([x, layers.Dot(1)([y, z])])
    return keras.Model(inputs, layers.Dense(3)(x))


def sequence():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 12))(x)
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Dense(8, activation="relu"))(x)
    x = layers.Attention()([x, x])
    x = layers.SimpleRNN(3)(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def merged_batch():
    """Rows of a picture become samples of their own, and come back."""
    x = inputs = keras.Input((8, 8, 3))
    x = ops.reshape(x, (-1, 8, 3))
    x = layers.Conv1D(4, 3, activation="relu")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.Dense(4, activation="gelu")(x)
    x = layers.LayerNormalization()(x)
    x = ops.reshape(x, (-1, 96))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


NETS = {
    made.__name__: made
    for made in (
        ties, residual, gated, attention, inner_softmax, tiny_outputs,
        kinks, normalized, arithmetic, sequence, merged_batch,
    )
}  # fmt: skip


def pictures(count=3):
    return np.round(zoo.images(count) * 2) / 2  # many equal values


def sums(explanation):
    flat = tf.nest.flatten(explanation.attributions)
    return sum(np.float64(a).reshape(len(a), -1).sum(1) for a in flat)


def score(model, x, target):
    return np.float64(ke.Gradient(model).explain(x, target).scores)


@pytest.mark.parametrize("name", NETS)
def test_contributions_sum_to_the_difference(name):
    model = randomized(NETS[name]())
    x, r = pictures(), pictures(4)[3]
    expected = score(model, x, 1) - score(model, r[None], 1)
    found = {}
    for rule in RULES:
        explanation = DeepLIFT(model, baseline=r, rule=rule).explain(x, 1)
        found[rule] = explanation.attributions
        flow = np.abs(explanation.attributions).sum((1, 2, 3))
        error = np.abs(sums(explanation) - expected)
        assert np.all(error < 2e-5 * np.maximum(flow, np.abs(expected)))
        assert np.all(np.abs(explanation.delta - sums(explanation) + expected)
                      < 1e-5 * np.maximum(flow, 1e-4))  # fmt: skip
    # Not the gradient: that is far off.
    plain = ke.Gradient(model)(x, 1) * (x - r)
    missing = np.abs(np.sum(plain, (1, 2, 3)) - expected)
    assert np.any(missing > 1e-3 * np.abs(expected))


@pytest.mark.parametrize("name", NETS)
def test_one_sample_is_explained_whatever_the_others(name):
    """Others may equal the baseline, in part or in all but a pixel."""
    model = randomized(NETS[name]())
    x, r = pictures(), pictures(4)[3]
    x[1, :4] = r[:4]
    x[2] = r
    x[2, 0, 0, 0] += 1
    each = np.stack([r] * 3)
    explain = DeepLIFT(model, baseline=r)
    together = explain(x, 1)
    apart = np.concatenate([explain(x[k : k + 1], 1) for k in range(3)])
    scale = np.abs(apart).max()
    np.testing.assert_allclose(together, apart, atol=2e-5 * scale)
    # A row for each sample says the same as one for all.
    rows = DeepLIFT(model, baseline=each)(x, 1)
    np.testing.assert_allclose(together, rows, atol=2e-5 * scale)
    by_function = DeepLIFT(model, baseline=lambda x: 0 * x + r)(x, 1)
    np.testing.assert_allclose(together, by_function, atol=2e-5 * scale)


@pytest.mark.parametrize(
    "name", ["functional", "subclassed", "sigmoid", "logits", "ops_nodes"]
)
@pytest.mark.parametrize("of", ["probability", "log_probability"])
def test_probabilities_are_divided_as_well(name, of):
    specimen = zoo.build(name)
    model, x = randomized(specimen.model, 2.0), specimen.inputs
    index = 0 if specimen.head == "sigmoid" else 3
    target = ke.Class(index, of=of)
    explanation = DeepLIFT(model, baseline=0.2).explain(x, target)
    start = score(model, np.full_like(x, 0.2), target)
    expected = score(model, x, target) - start
    flow = np.abs(explanation.attributions).sum((1, 2, 3))
    np.testing.assert_allclose(
        sums(explanation), expected, atol=1e-5 * flow.max()
    )


def test_probabilities_far_from_each_other():
    """Logits 100 apart: a common shift alone would give 0 / 0."""
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, activation="softmax")]
    )
    model.set_weights([np.eye(3) * 100, np.zeros(3)])
    x, r = np.array([[1.0, 0.1, -1]]), np.array([-1.0, 0.5, 1])
    explanation = DeepLIFT(model, baseline=r).explain(
        x, ke.Class(1, of="probability") - ke.Class(2, of="probability")
    )
    assert np.all(np.isfinite(explanation.attributions))
    np.testing.assert_allclose(sums(explanation), [1.0], atol=1e-5)


@pytest.mark.parametrize(
    "target",
    [
        ke.LayerActivation("conv2"),
        ke.Direction("conv2", np.arange(6.0), cosine_power=1),
        ke.Neuron("conv2", (2, 3, 1)),
        ke.Channel("conv2", 4),
        ke.Class(2) - ke.Class(3) * 2,
        ke.Output(lambda y: tf.reduce_sum(y**2, 1)),
    ],
    ids=lambda t: type(t).__name__,
)
@pytest.mark.parametrize("rule", RULES)
def test_other_targets(target, rule):
    model = randomized(zoo.build("functional").model)
    x = zoo.images(2)
    explanation = DeepLIFT(model, baseline=0.3, rule=rule).explain(x, target)
    start = score(model, np.full_like(x, 0.3), target)
    expected = score(model, x, target) - start
    np.testing.assert_allclose(sums(explanation), expected, rtol=2e-4)


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_and_layer(name):
    specimen = zoo.build(name)
    randomized(specimen.model)
    index = 0 if specimen.head == "sigmoid" else 3
    layer = specimen.feature_map or "hidden"
    for options in ({}, {"layer": layer}):
        explanation = DeepLIFT(specimen.model, **options).explain(
            specimen.inputs, index
        )
        flow = sums(explanation) - explanation.delta
        assert np.all(np.abs(explanation.delta) < 1e-4 * np.abs(flow) + 1e-6)
    if specimen.integers:
        tokens = DeepLIFT(specimen.model).explain(specimen.inputs, index)
        assert tokens.attributions.shape == specimen.inputs.shape
        padding = specimen.inputs == 0
        np.testing.assert_array_equal(tokens.attributions[padding], 0)


def test_what_passes_the_layer_by_stays():
    x = inputs = keras.Input((4,))
    y = layers.Dense(3, activation="tanh", name="side")(x)
    z = layers.Dense(3, activation="softplus", name="other")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(y * z)))
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for baseline in (0.5, np.full((3, 4), 0.5)):
        explanation = DeepLIFT(model, baseline=baseline, layer="side").explain(
            data, 0
        )
        side = keras.Model(inputs, [y, z])
        y1, z1 = side(data)
        y0, _ = side(np.full((3, 4), 0.5, "float32"))
        kernel, _ = model.layers[-1].weights
        expected = (y1 - y0) * z1 * kernel[:, 0]
        np.testing.assert_allclose(
            explanation.attributions, expected, atol=1e-6
        )
        np.testing.assert_allclose(explanation.delta, 0, atol=1e-6)


def test_equal_values_have_the_gradient_for_a_multiplier():
    """Two inputs that cancel in a hidden unit are told apart."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(1, activation="relu", use_bias=False),
            layers.Dense(1),
        ]
    )
    model.layers[0].set_weights([np.array([[1.0], [-1.0]])])
    model.layers[1].set_weights([np.array([[2.0]]), np.zeros(1)])
    found = DeepLIFT(model, baseline=np.array([2.0, 1]))(np.array([[3.0, 2]]))
    np.testing.assert_array_equal(found, [[2, -2]])


def shapley(f, x, r):
    """Exact Shapley values of a function of few inputs."""
    n = len(x)
    found = np.zeros(n)
    for order in itertools.permutations(range(n)):
        point = r.copy()
        for k in order:
            before = f(point)
            point[k] = x[k]
            found[k] += f(point) - before
    return found / math.factorial(n)


def test_a_product_and_a_maximum_as_shapley_says():
    one, two = keras.Input((1,)), keras.Input((1,))
    product = keras.Model([one, two], layers.Multiply()([one, two]))
    x, r = np.array([3.0, -2.0]), np.array([0.5, 4.0])
    found = DeepLIFT(product, baseline=[r[:1], r[1:]])(
        [x[None, :1], x[None, 1:]], 0
    )
    expected = shapley(np.prod, x, r)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_inside_a_wrapper(rule):
    """Without noise the mean over noisy copies is the thing itself."""
    model = randomized(zoo.build("functional").model)
    x = zoo.images(2)
    for baseline in (0.1, x[::-1] + 1):
        inner = DeepLIFT(model, baseline=baseline, rule=rule)
        outer = ke.SmoothGrad(inner, num_samples=3, noise_stddev=0.0)
        np.testing.assert_allclose(outer(x, 3), inner(x, 3), atol=1e-6)


def linear_model():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    return randomized(model)


def test_simple_windows_are_no_exception():
    """Two ways to the same numbers, ties and lost rows included."""
    x, r = np.round(pictures()), np.round(pictures(4)[3])
    found = []
    for form in ("VALID", "valid"):
        pool = layers.MaxPooling2D((2, 4))
        model = randomized(net(pool, layers.Conv2D(2, 2), shape=(9, 9, 3)))
        pool.padding = form  # in capitals the windows are not seen as simple
        pictures_ = [np.pad(t, [(0, 0)] * (t.ndim - 3) + [(0, 1)] * 2
                            + [(0, 0)]) for t in (x, r)]  # fmt: skip
        found.append(DeepLIFT(model, baseline=pictures_[1])(pictures_[0], 1))
        rows = np.stack([pictures_[1]] * 3)
        found.append(DeepLIFT(model, baseline=rows)(pictures_[0], 1))
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-6)


def background(rows=6):
    noise = np.random.default_rng(4)
    return noise.normal(size=(rows, 5)).astype("float32")


def test_deep_shap_is_the_mean_over_the_background():
    model = randomized(zoo.build("tabular").model)
    x, rows = zoo.build("tabular").inputs, background()
    explanation = DeepSHAP(model, background=rows).explain(x)
    single = [DeepLIFT(model, baseline=r)(x) for r in rows]
    np.testing.assert_allclose(
        explanation.attributions, np.mean(single, 0), atol=1e-5
    )
    classes = explanation.target
    scores = [score(model, rows, int(c)).mean() for c in classes]
    expected = explanation.scores - scores
    np.testing.assert_allclose(sums(explanation), expected, atol=1e-5)
    none = DeepSHAP(model).explain(x)
    np.testing.assert_allclose(none.attributions, DeepLIFT(model)(x), atol=1e-6)


@pytest.mark.parametrize("cls", [DeepSHAP, GradientSHAP])
def test_shap_of_a_linear_model_is_exact(cls):
    model, x, rows = linear_model(), background()[:2] + 1, background()
    options = {} if cls is DeepSHAP else {"num_samples": 12}
    explanation = cls(model, background=rows, **options).explain(x, 1)
    kernel, bias = (np.asarray(w, "float64") for w in model.weights)
    if cls is DeepSHAP:
        for k in range(2):
            each = [
                shapley(lambda p: p @ kernel[:, 1] + bias[1],
                        np.float64(x[k]), np.float64(r))
                for r in rows
            ]  # fmt: skip
            expected = np.mean(each, 0)
            np.testing.assert_allclose(
                explanation.attributions[k], expected, atol=1e-5
            )
    else:  # the rows that were drawn; the same for both samples
        mean = x - explanation.attributions / kernel[:, 1]
        np.testing.assert_allclose(mean[0], mean[1], atol=1e-5)
        inside = np.linalg.lstsq(
            np.vstack([rows.T, np.ones(6)]), np.append(mean[0], 1), rcond=None
        )[0]
        counts = inside * 12
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
        assert np.all(counts > -0.01) and np.sum(counts > 0.5) > 2
    np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)


def test_gradient_shap_of_one_row_nears_integrated_gradients():
    model = randomized(zoo.build("tabular").model)
    x, row = zoo.build("tabular").inputs, background(1)
    expected = ke.IntegratedGradients(model, baseline=row, num_steps=300)(x, 1)
    few, many = (
        GradientSHAP(model, background=row, num_samples=n).explain(x, 1)
        for n in (4, 1024)
    )
    scale = np.abs(expected).max()
    error = np.abs(many.attributions - expected).max()
    assert error < 0.08 * scale
    assert error < np.abs(few.attributions - expected).max()
    assert np.abs(many.delta).max() < 0.1 * scale


def test_gradient_shap_draws():
    model = randomized(zoo.build("tabular").model)
    x, rows = zoo.build("tabular").inputs, background()
    options = {"background": rows, "num_samples": 5}
    first = GradientSHAP(model, **options)(x, 1)
    small = GradientSHAP(model, **options, batch_size=2)(x, 1)
    np.testing.assert_allclose(first, small, atol=1e-6)
    alone = GradientSHAP(model, **options)(x[1:], 1)
    np.testing.assert_allclose(first[1:], alone, atol=1e-6)
    other = GradientSHAP(model, **options, seed=1)(x, 1)
    noisy = GradientSHAP(model, **options, noise_stddev=0.1)(x, 1)
    scale = np.abs(first).max()
    assert np.abs(first - other).max() > 1e-2 * scale
    assert 1e-3 * scale < np.abs(first - noisy).max() < scale


class Swoosh(layers.Layer):
    def call(self, x):
        return x * tf.sigmoid(x - 1)


class Slope(layers.Layer):
    def call(self, x):
        return tf.abs(x) * 0 + 3 * x


def test_unknown_operations_are_refused_and_can_be_registered(monkeypatch):
    model = randomized(net(layers.Conv2D(2, 3), Swoosh(), Slope()))
    x = zoo.images(2)
    with pytest.raises(ValueError, match=r"(?s)Swoosh.*Slope.*register"):
        DeepLIFT(model)(x)
    monkeypatch.setitem(registry._RULES, Swoosh, Pass)
    monkeypatch.setitem(registry._RULES, Slope, Norm())
    explanation = DeepLIFT(model, baseline=0.1).explain(x, 1)
    np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)
    assert np.abs(sums(explanation)).min() > 1e-3


def test_incomplete_contributions_are_told(monkeypatch):
    model = randomized(net(layers.Conv2D(2, 3), Swoosh()))
    # Wrong: it is not affine.
    monkeypatch.setitem(registry._RULES, Swoosh, Norm())
    with pytest.warns(ke.ExplainWarning, match="registered"):
        DeepLIFT(model).explain(zoo.images(2), 1)


def test_wrong_options_are_refused():
    model = linear_model()
    x = background(2)
    with pytest.raises(ValueError, match="'genomics_default'"):
        DeepLIFT(model, rule="rescaled")
    with pytest.raises(ValueError, match=r"samples \[1\]"):
        DeepLIFT(model, baseline=x[1])(x)
    with pytest.raises(ValueError, match="does not fit"):
        DeepLIFT(model, baseline=np.zeros(3))(x)
    for cls in (DeepSHAP, GradientSHAP):
        with pytest.raises(ValueError, match="at least one row"):
            cls(model, background=np.zeros((0, 5)))
        with pytest.raises(ValueError, match="does not fit"):
            cls(model, background=np.zeros((4, 3)))(x)
        with pytest.raises(ValueError, match="equals the input"):
            cls(model, background=x[:1])(x)
    with pytest.raises(ValueError, match="num_samples"):
        GradientSHAP(model, num_samples=0)
    two = zoo.build("inputs_dict")
    with pytest.raises(ValueError, match="one array for each input"):
        DeepLIFT(two.model, baseline={"image": 0.0})(two.inputs)


@pytest.mark.parametrize("name", ["inputs_list", "inputs_dict"])
def test_several_inputs(name):
    specimen = zoo.build(name)
    randomized(specimen.model)
    x = specimen.inputs
    half = tf.nest.map_structure(lambda t: 0.5 * t[1], x)
    rows = tf.nest.map_structure(lambda t: t[::-1] + 0.5, x)
    for baseline in (half, rows):
        explanation = DeepLIFT(specimen.model, baseline=baseline).explain(x, 1)
        np.testing.assert_allclose(explanation.delta, 0, atol=1e-5)
    found = DeepSHAP(specimen.model, background=rows).explain(x, 1)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    config = json.loads(json.dumps(DeepLIFT(specimen.model, baseline=half)
                                   .get_config()))  # fmt: skip
    again = DeepLIFT.from_config(specimen.model, config)
    np.testing.assert_array_equal(
        tf.nest.flatten(again(x, 1))[0],
        tf.nest.flatten(DeepLIFT(specimen.model, baseline=half)(x, 1))[0],
    )


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("ties", "mixed_float16"),
        ("ties", "mixed_bfloat16"),
        ("gated", "mixed_float16"),
        ("attention", "mixed_float16"),
        ("sequence", "mixed_float16"),
    ],
)
@pytest.mark.filterwarnings("ignore::keras_explain.ExplainWarning")
def test_half_precision_is_near(name, policy):
    x, r = pictures(), pictures(4)[3]
    full = DeepLIFT(randomized(NETS[name]()), baseline=r)(x, 1)
    keras.config.set_dtype_policy(policy)
    half = DeepLIFT(randomized(NETS[name]()), baseline=r)(x, 1)
    assert half.dtype == tf.float32
    assert np.all(np.isfinite(half))
    least = 0.98 if policy == "mixed_float16" else 0.85
    assert np.corrcoef(np.ravel(full), np.ravel(half))[0, 1] > least
