"""What must hold of patterns and of what is sent back through them."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain.attribution.pattern import PatternAttribution, PatternNet
from tests import zoo
from tests.marking import slow_but
from tests.reference.test_patterns import randomized

BOTH = pytest.mark.parametrize("cls", [PatternNet, PatternAttribution])
MODELS = ["functional", "sequential", "subclassed", "nested", "nested_twice",
          "ops_nodes", "shared", "inputs_list", "inputs_dict", "sigmoid",
          "multi_label", "open_size", "series", "volume",
          "tabular"]  # fmt: skip


def data(count=24, shape=(8, 8, 3), seed=5):
    noise = np.random.default_rng(seed)
    return noise.normal(0.5, 1, (count, *shape)).astype("float32")


def conv_net(padding="same"):
    """Convolutions with batch normalization, pooling and a sum."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding=padding, name="conv1")(x)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    y = layers.Conv2D(6, 3, padding="same", name="conv2")(x)
    y = layers.BatchNormalization(name="norm2")(y)
    x = layers.ReLU(name="relu2")(layers.Add(name="sum")([x, y]))
    x = layers.AveragePooling2D(2, padding="same", name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(8, activation="relu", name="hidden")(x)
    return randomized(
        keras.Model(inputs, layers.Dense(4, name="logits")(x)), seed=8
    )


def folded(model, name):
    """The kernel of a convolution with its normalization."""
    layer = model.get_layer(name)
    norm = name.replace("conv", "norm")
    if norm == name:
        return layer.kernel.numpy()
    norm = model.get_layer(norm)
    return np.asarray(
        layer.kernel * norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    )


@pytest.mark.parametrize("signal", ["relu_positive", "relu_negative", "linear"])
def test_a_weight_and_its_pattern_make_one(signal):
    model = conv_net()
    explainer = PatternNet(model, signal=signal).fit(data())
    assert list(explainer.patterns) == ["conv1", "conv2", "hidden", "logits"]
    for name, pattern in explainer.patterns.items():
        product = folded(model, name) * pattern
        sums = product.sum(axis=tuple(range(product.ndim - 1)))
        varies = np.abs(pattern).reshape(-1, len(sums)).max(0) > 0
        np.testing.assert_allclose(sums[varies], 1, atol=1e-4)
        assert varies.mean() > 0.5


def test_the_pattern_is_the_signal_where_the_weights_are_not():
    """Figure 2 of the paper: `x = a y + d e`, and the weights cancel `d`."""
    noise = np.random.default_rng(0)
    y, e = noise.normal(size=(2, 5000, 1))
    a, d = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    x = (y @ a + 0.7 * e @ d).astype("float32")
    dense = layers.Dense(1, name="dense")
    model = keras.Sequential([keras.Input((2,)), dense])
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    dense.set_weights([w, np.array([0.3])])
    np.testing.assert_allclose(w[:, 0], [1, -1], atol=1e-4)

    explainer = PatternNet(model).fit(x, batch_size=512)
    np.testing.assert_allclose(
        explainer.patterns["dense"][:, 0], a[0], atol=0.03
    )
    # One layer: the output, in the direction of the pattern.
    output = np.asarray(model(x[:7]))
    np.testing.assert_allclose(
        explainer(x[:7], 0),
        output * explainer.patterns["dense"][:, 0],
        rtol=1e-5,
    )
    # The direction of the gradient is the weights.
    gradient = ke.Gradient(model)(x[:7], 0)
    np.testing.assert_allclose(gradient, np.tile(w[:, 0], (7, 1)), rtol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_relevance_is_conserved_but_for_gates_and_padding(padding):
    model, x = conv_net(padding), data(6)
    explainer = PatternAttribution(model).fit(data())
    for target in (0, 3):
        found = explainer.explain(x, target, verbose=False)
        flow = np.abs(found.attributions).sum(axis=(1, 2, 3))
        assert np.all(
            np.abs(found.delta) < 1e-4 * (np.abs(found.scores) + flow)
        )
    assert np.abs(found.attributions).max() > 1e-4


def test_nothing_is_lost_in_a_linear_network():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5), layers.Dense(2)]
    )
    x = data(20, (6,))
    found = PatternAttribution(model).fit(x).explain(x, 1, verbose=False)
    np.testing.assert_allclose(
        found.attributions.sum(1), found.scores, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "name", slow_but({"functional", "nested", "series"}, MODELS)
)
@BOTH
def test_every_kind_of_model(cls, name, tmp_path):
    specimen = zoo.build(name)
    explainer = cls(specimen.model).fit(specimen.inputs)
    found = explainer.explain(specimen.inputs, 0, verbose=False)
    tf.nest.assert_same_structure(found.attributions, specimen.inputs)
    for maps, x in zip(
        tf.nest.flatten(found.attributions),
        tf.nest.flatten(specimen.inputs),
        strict=True,
    ):
        assert maps.shape == x.shape
        assert np.all(np.isfinite(maps)) and np.any(maps)
    if cls is PatternAttribution:
        assert np.abs(found.delta).max() < 1e-4
    else:
        assert found.delta is None

    explainer.save(tmp_path / "patterns.npz")
    again = cls.load(specimen.model, tmp_path / "patterns.npz")
    tf.nest.map_structure(
        np.testing.assert_array_equal,
        again(specimen.inputs, 0),
        explainer(specimen.inputs, 0),
    )


def test_calls_of_a_shared_layer_pool_their_statistics():
    x = data(10, (4,))
    inputs = keras.Input((4,))
    shared = layers.Dense(4, activation="relu", name="shared")
    both = keras.Model(inputs, shared(shared(inputs)))
    once = keras.Model(inputs, shared(inputs))
    found = PatternNet(both).fit(x).patterns
    assert list(found) == ["shared"]
    everything = np.concatenate([x, np.asarray(once(x))])
    expected = PatternNet(once).fit(everything).patterns["shared"]
    np.testing.assert_allclose(found["shared"], expected, rtol=1e-4, atol=1e-5)


def test_calls_that_differ_in_what_follows_do_not_pool():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.ReLU()(shared(inputs))
    model = keras.Model(inputs, shared(x))
    assert list(PatternNet(model).fit(data(9, (4,))).patterns) == [
        "shared:0",
        "shared:1",
    ]


def test_several_batches_are_one():
    model, x = conv_net(), data(20)
    whole = PatternNet(model).fit(x, batch_size=20).patterns
    parts = PatternNet(model).fit(x, batch_size=7).patterns
    for name, pattern in whole.items():
        scale = np.abs(pattern).max()
        np.testing.assert_allclose(parts[name], pattern, atol=1e-4 * scale)


def test_pixels_far_from_zero_keep_their_digits():
    """The statistics are centered before float32 sums them."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    x = data(4000, (4,))
    near = PatternNet(model).fit(x).patterns["dense"]
    far = PatternNet(model).fit(x + 255).patterns["dense"]
    np.testing.assert_allclose(far, near, atol=2e-3 * np.abs(near).max())


@BOTH
def test_data_of_unknown_length_are_read_once(cls):
    x, passes = data(20), []

    def generate():
        passes.append(1)
        for start in range(0, 20, 5):
            yield x[start : start + 5], np.zeros(5)

    dataset = tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, 8, 8, 3)), tf.TensorSpec((None,)),
        ),
    )  # fmt: skip
    assert int(dataset.cardinality()) < 0
    model = conv_net()
    streamed = cls(model).fit(dataset).patterns
    assert passes == [1]
    whole = cls(model).fit(x).patterns
    for name in whole:
        np.testing.assert_allclose(
            streamed[name], whole[name], atol=1e-4 * np.abs(whole[name]).max()
        )


def test_a_new_fit_takes_effect_where_it_was_compiled():
    model, x = conv_net(), data(2)
    explainer = PatternNet(model).fit(data(seed=1))
    wrapped = ke.SmoothGrad(explainer, num_samples=2, noise_stddev=0.0)
    before, _ = explainer(x, 1), wrapped(x, 1)
    other = data(seed=2) ** 2
    explainer.fit(other)
    fresh = PatternNet(model).fit(other)(x, 1)
    scale = np.abs(fresh).max()
    np.testing.assert_allclose(explainer(x, 1), fresh, atol=1e-6 * scale)
    np.testing.assert_allclose(wrapped(x, 1), fresh, atol=1e-5 * scale)
    assert np.abs(np.asarray(before) - fresh).max() > 0.01 * scale


@BOTH
def test_a_signal_seen_from_inside(cls):
    """A layer that is looked at has nothing folded into it."""
    model, x = conv_net(), data(3)
    explainer = cls(model).fit(data())
    # The normalization as a layer of its own behind, and folded: the same
    # map, as long as all gates are open in front of the target.
    target = ke.Neuron("conv1", (4, 4, 2))
    found = np.asarray(explainer(x, target))
    pattern = explainer.patterns["conv1"][..., 2]
    raw = model.get_layer("conv1").kernel.numpy()[..., 2]
    ratio = folded(model, "conv1")[..., 2] / raw
    pattern = pattern * ratio  # `w . a = 1` for the weights as they are
    np.testing.assert_allclose((raw * pattern).sum(), 1, atol=1e-4)
    window = pattern * raw if cls is PatternAttribution else pattern
    score = np.asarray(explainer.explain(x, target).scores)
    expected = score[:, None, None, None] * window
    np.testing.assert_allclose(
        found[:, 3:6, 3:6], expected, rtol=1e-3, atol=1e-6
    )
    # From a layer on, which is a part of the model on its own.
    inner = cls(model, layer="norm1").fit(data())
    assert inner(x, 1).shape == (3, 8, 8, 6)


def test_a_scaling_is_undone():
    """The pattern of `z = s x + c` is `1 / s`."""
    x = data(9, (4,))
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="d")])
    scaled = keras.Sequential(
        [keras.Input((4,)), layers.Rescaling(0.1, 2.0), layers.Dense(3)]
    )
    kernel, bias = plain.get_layer("d").get_weights()
    scaled.layers[-1].set_weights([kernel * 10, bias - 20 * kernel.sum(0)])
    np.testing.assert_allclose(
        PatternNet(scaled).fit(x)(x, 1),
        PatternNet(plain).fit(x)(x, 1),
        rtol=1e-3,
        atol=1e-4,
    )


def deep_net(blocks=12, width=40):
    """Residual blocks in which signals grow by some powers of ten each."""
    x = inputs = keras.Input((width,))
    for k in range(blocks):
        y = layers.Dense(width, activation="relu", name=f"a{k}")(x)
        y = layers.Dense(width, name=f"b{k}")(y)
        x = layers.ReLU(name=f"relu{k}")(layers.Add(name=f"sum{k}")([x, y]))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def test_signals_that_outgrow_float32_are_scaled_as_a_whole():
    model, x = deep_net(), np.abs(data(50, (40,)))
    explainer = PatternNet(model).fit(x)
    patterns = {k: v.astype("float64") for k, v in explainer.patterns.items()}
    names = [f"relu{k}" for k in range(12)]
    gates, inner = (
        dict(zip(names, keras.Model(model.input, [
            model.get_layer(n).output for n in found])(x), strict=True))
        for found in (names, [n.replace("relu", "a") for n in names])
    )  # fmt: skip
    signal = np.asarray(model(x))[:, 1:2] * patterns["logits"][:, 1]
    for k in reversed(range(12)):
        signal = signal * (np.asarray(gates[f"relu{k}"]) > 0)
        branch = signal @ patterns[f"b{k}"].T
        branch = branch * (np.asarray(inner[f"relu{k}"]) > 0)
        signal = signal + branch @ patterns[f"a{k}"].T
    size = np.abs(signal).max(axis=1)
    assert size.max() > 1e18 and size.max() / size.min() > 10
    found = np.asarray(explainer(x, 1), "float64")
    assert np.abs(found).max() < 1e16
    found /= np.abs(found).max(axis=1, keepdims=True)
    np.testing.assert_allclose(found, signal / size[:, None], atol=2e-3)


@pytest.mark.slow
def test_a_scaled_signal_does_not_depend_on_the_batch():
    x = np.abs(data(30, (40,)))
    x[1:] *= 1e-3  # the first sample is by far the largest
    model = keras.Sequential([keras.Input((40,))])
    for _ in range(30):
        model.add(layers.Dense(40, activation="relu"))
    model.add(layers.Dense(3))
    explainer = PatternNet(model).fit(x)
    whole = explainer.explain(x[:4], 1, verbose=False).attributions
    alone = explainer.explain(x[:4], 1, batch_size=1, verbose=False)
    assert np.all(np.isfinite(whole))
    for a, b in zip(whole, alone.attributions, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3 * np.abs(b).max())


def test_dead_and_constant_units_have_no_pattern():
    x = data(300, (8,))
    x[:, 4:] = [1.7, 0.31, 2.9, 0.77]
    dense = layers.Dense(6, activation="relu", name="hidden")
    model = keras.Sequential(
        [keras.Input((8,)), dense, layers.Dense(1, name="logits")]
    )
    kernel = np.random.default_rng(1).uniform(0.1, 1, (8, 6))
    kernel[:4, 2:] = 0  # these read constants alone
    dense.set_weights([kernel, np.array([0.0, -99.0, 0.4, 0.3, 0.1, 0.0])])
    found = PatternNet(model).fit(x, batch_size=7).patterns["hidden"]
    assert np.abs(found[:, 0]).max() > 0.01
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-6)
    explainer = PatternAttribution(model).fit(x)
    with warnings.catch_warnings():
        # Where the one unit that is left is off, the map is zero.
        warnings.simplefilter("ignore", ke.ExplainWarning)
        found = explainer.explain(x, 0, batch_size=300, verbose=False)
    assert np.abs(found.delta).max() < 1e-4


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_has_nearly_the_same_patterns(policy):
    reference = PatternNet(zoo.build("nested").model).fit(data()).patterns
    keras.config.set_dtype_policy(policy)
    found = PatternNet(zoo.build("nested").model).fit(data()).patterns
    for name, pattern in reference.items():
        corr = np.corrcoef(found[name].ravel(), pattern.ravel())[0, 1]
        assert corr > 0.99


def test_fit_leaves_no_trace():
    model, x = conv_net(), data(4)
    before = [np.array(w) for w in model.get_weights()]
    calls = [layer.call for layer in model.layers]
    PatternNet(model).fit(x)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [layer.call for layer in model.layers] == calls
    assert not any("call" in vars(layer) for layer in model.layers)
