"""LRP as it is used: bad input, models of one's own, traces."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests import zoo


def chain(*stack, shape=(5,)):
    return keras.Sequential([keras.Input(shape), *stack])


def vectors(count=2, size=5):
    x = np.random.default_rng(0).normal(size=(count, size))
    return x.astype("float32")


class Square(layers.Layer):
    """Bends the signal by a raw op."""

    def call(self, x):
        return tf.square(x)


class Scale(layers.Layer):
    """Affine, of raw ops and a weight."""

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], name="gain")

    def call(self, x):
        return x * self.gain


class Affine(layers.Layer):
    """A dense layer of one's own, that Keras knows nothing of."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")
        self.bias = self.add_weight(shape=(4,), name="bias")

    def call(self, x):
        return tf.matmul(x, self.kernel) + self.bias


class Raw(keras.Model):
    """A subclassed model with something raw between its layers."""

    def __init__(self, between):
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu", name="hidden")
        self.out = layers.Dense(3, name="out")
        self.between = between

    def call(self, x):
        return self.out(self.between(x, self.hidden(x)))


@pytest.fixture
def registered():
    """Takes back what a test registers."""
    kinds = []

    def register(kind, rule):
        kinds.append(kind)
        rules.register(kind, rule)

    yield register
    for kind in kinds:
        rules.unregister(kind)


# Bad rules and options.


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rules.AlphaBeta(2, 2), "alpha - beta = 1.*alpha=2, beta=2"),
        (lambda: rules.AlphaBeta(0, -1), "neither of them negative"),
        (lambda: rules.Gamma(-0.5), "gamma=-0.5.*at least 0"),
        (lambda: rules.Epsilon(0), "stabilizer must be positive.*epsilon=0"),
        (lambda: rules.Epsilon(-1.0), "epsilon=-1"),
        (lambda: rules.Epsilon(np.nan), "epsilon=nan"),
        (lambda: rules.ZPlus(0), "epsilon=0"),
        (lambda: rules.AlphaBeta(epsilon=0), "epsilon=0"),
        (lambda: rules.WSquare(0), "epsilon=0"),
        (lambda: rules.Flat(-1), "epsilon=-1"),
        (lambda: rules.ZBox(1, 0), "below its upper.*low=1, high=0"),
        (lambda: rules.ZBox(1, 1), "low=1, high=1"),
        (lambda: rules.ZBox([0, 2], [1, 1]), "below its upper"),
        (lambda: rules.Attention("flow"), "two ways.*'flow'.*'attn_lrp'"),
        (lambda: rules.relevance_composite(attention="x"), "variant='x'"),
    ],
)
def test_bad_rules(make, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Norm(0),
        lambda: rules.Norm(-1),
        lambda: rules.Bilinear("flow"),
        lambda: rules.Softmax("flow"),
        lambda: rules.Gamma(np.nan),
        lambda: rules.AlphaBeta(np.nan, 0),
    ],
    ids=["zero", "negative", "bilinear", "softmax", "gamma", "alpha"],
)
def test_numbers_and_names_that_no_rule_takes(make):
    with pytest.raises(ValueError, match="Received"):
        make()


def test_bad_options(model):
    with pytest.raises(ValueError, match="(?s)no composite.*'epsilon_plus'"):
        ke.LRP(model, composite="epsilon_pluss")
    for wrong in (3, None, rules.Epsilon()):
        with pytest.raises(TypeError, match="name or a `keras_explain.rules"):
            ke.LRP(model, composite=wrong)
    with pytest.raises(ValueError, match="below its upper.*\n.*low=1, high=0"):
        ke.LRP(model, low=1, high=0)
    with pytest.raises(ValueError, match="(?s)two sides.*low=1, high=None"):
        ke.LRP(model, composite="deep_taylor", low=1)


def test_the_box_rule_needs_a_box(model, images):
    with pytest.raises(ValueError, match="(?s)needs the bounds.*low=None"):
        ke.LRP(model, composite="epsilon_gamma_box")(images, 0)
    with pytest.raises(ValueError, match="(?s)outside the box.*samples \\[0"):
        ke.LRP(model, composite="epsilon_gamma_box", low=-0.1, high=0.1)(
            images, 0
        )


@pytest.mark.parametrize("of", ["probability", "log_probability"])
def test_a_probability_is_no_score_to_divide(model, images, of):
    for target in (ke.Class(0, of=of), ke.Class(1) - ke.Class(0, of=of)):
        with pytest.raises(ValueError, match="(?s)before the softmax.*logit"):
            ke.LRP(model)(images, target)


def test_a_network_without_kernels():
    model = chain(layers.ReLU(name="relu"), layers.Flatten())
    with pytest.raises(ValueError, match="(?s)a kernel.*'relu'.*Gradient"):
        ke.LRP(model)(vectors(), 0)


def test_integers_cannot_be_explained():
    """Whole numbers of a float model can; inputs of integers cannot."""
    model = chain(layers.Dense(3))
    whole = np.array([[1, 2, 3, 4, 5]])
    found = ke.LRP(model, composite="epsilon")(whole, 0)
    np.testing.assert_allclose(
        found, ke.LRP(model, composite="epsilon")(whole.astype("float32"), 0)
    )
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(3)(ops.cast(inputs, "float32")))
    with pytest.raises(ValueError, match="(?s)differentiated.*integers"):
        ke.LRP(model)(whole.astype("int32"), 0)


def broken():
    model = chain(layers.Dense(4, activation="relu"), layers.Dense(3))
    model.layers[0].set_weights([np.full((5, 4), np.nan), np.zeros(4)])
    return model


def test_weights_that_are_not_numbers_are_named():
    with pytest.raises(ValueError, match="weights that are NaN"):
        ke.LRP(broken())(vectors(), 0)


# What no rule is known for.


def test_a_raw_op_in_a_layer(registered):
    """Refused by name; a registered rule lets it pass, until taken back."""
    model = chain(layers.Dense(4), Square(name="bend"), layers.Dense(3))
    words = r"(?s)no rule.*'bend: Square \(Square\)'.*register\(Square, rule\)"
    with pytest.raises(ValueError, match=words):
        ke.LRP(model)(vectors(), 0)
    registered(Square, rules.Pass)
    found = ke.LRP(model, composite="epsilon").explain(vectors(), 0)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    rules.unregister(Square)
    with pytest.raises(ValueError, match=words):
        ke.LRP(model)(vectors(), 0)


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda x, y: x + y, "the model itself"),
        (lambda x, y: tf.square(y), r"the model itself.*\(Square\)"),
        (lambda x, y: tf.nn.relu(y), r"the model itself.*\(Relu\)"),
        (lambda x, y: ops.exp(y), r"the model itself.*\(Exp\)"),
    ],
    ids=["residual", "square", "relu", "exp"],
)
def test_a_raw_op_in_the_call_of_a_model(between, words):
    model = Raw(between)
    model(vectors())
    with pytest.raises(ValueError, match=f"(?s)no rule.*{words}"):
        ke.LRP(model)(vectors(), 0)


def test_a_subclassed_model_that_only_moves():
    """Raw reshapes and slices hand relevance on."""
    model = Raw(lambda x, y: tf.reshape(y[:, ::-1], [-1, 5]))
    model(vectors())
    found = ke.LRP(model, composite="epsilon").explain(vectors(), 0)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    assert np.abs(found.attributions).max() > 0


def test_an_op_without_a_rule():
    inputs = keras.Input((5,))
    x = ops.exp(layers.Dense(4)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match=r"(?s)'exp: Exp.*register\(Exp"):
        ke.LRP(model)(vectors(), 0)


def test_a_layer_that_is_affine_needs_no_rule():
    """Raw ops that scale are divided in proportion: it is the dense layer."""
    model = chain(layers.Dense(4, use_bias=False), Scale(), layers.Dense(3))
    merged = chain(layers.Dense(4, use_bias=False), layers.Dense(3))
    gain = np.array([0.5, -2, 3, 1])
    model.layers[1].set_weights([gain])
    kernel = model.layers[0].get_weights()[0]
    merged.set_weights([kernel * gain, *model.layers[2].get_weights()])
    a, b = (
        ke.LRP(m, composite="epsilon")(vectors(), 1) for m in (model, merged)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_unknown_recurrent_cells():
    class Cell(layers.Layer):
        state_size = 3

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))

        def call(self, x, states, training=False):
            h = tf.tanh(x @ self.kernel + states[0])
            return h, [h]

    x = np.ones((1, 4, 2), "float32")
    model = chain(layers.RNN(Cell(), name="own"), layers.Dense(2), shape=(4, 2))
    with pytest.raises(ValueError, match="(?s)recurrent cell.*Cell in 'own'"):
        ke.LRP(model)(x, 0)
    model = chain(layers.ConvLSTM2D(2, 2, name="film"), layers.Flatten(),
                  layers.Dense(2), shape=(3, 4, 4, 1))  # fmt: skip
    with pytest.raises(
        ValueError, match="(?s)ConvLSTMCell in 'film'.*register"
    ):
        ke.LRP(model)(np.ones((1, 3, 4, 4, 1), "float32"), 0)


def test_nothing_is_asked_of_what_lies_before_the_layer():
    """At `layer=` rules are needed behind it alone."""
    model = chain(
        Square(), layers.Dense(4, activation="relu", name="hidden"),
        layers.Dense(3),
    )  # fmt: skip
    with pytest.raises(ValueError, match="no rule"):
        ke.LRP(model)(vectors(), 0)
    found = ke.LRP(model, composite="epsilon", layer="hidden")(vectors(), 2)
    kernel, _ = model.layers[-1].get_weights()
    hidden = np.asarray(model.layers[1](model.layers[0](vectors())))
    np.testing.assert_allclose(found, hidden * kernel[:, 2], atol=1e-5)


def test_a_failed_call_leaves_no_trace():
    """Afterwards the user's own `fit` and tape work as before."""
    model = chain(layers.Dense(4), Square(), layers.Dense(3))
    x, y = vectors(), np.zeros((2, 3))
    before = {id(layer): dict(layer.__dict__) for layer in model.layers}
    with pytest.raises(ValueError, match="no rule"):
        ke.LRP(model)(x, 0)
    for layer in model.layers:
        assert set(layer.__dict__) == set(before[id(layer)])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.constant(x)))
    assert all(
        g is not None for g in tape.gradient(loss, model.trainable_weights)
    )
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)


# Registration.


def test_nonsense_is_not_registered():
    with pytest.raises(TypeError, match="class of layers.*\n.*layer_type=3"):
        rules.register(3, rules.Pass)
    for wrong in ("pass", None, rules.Epsilon):
        with pytest.raises(TypeError, match="(?s)no rule.*Received: rule="):
            rules.register(Square, wrong)
    rules.unregister(Square)  # of what has none nothing is said


@pytest.mark.parametrize("rule", [rules.Epsilon(), rules.AlphaBeta(),
                                  rules.Norm()],
                         ids=["epsilon", "alpha", "norm"])  # fmt: skip
def test_rules_of_kernels_for_layers_of_ones_own(registered, rule):
    """A registered dense layer is divided as one of Keras."""
    model = chain(Affine(), layers.ReLU(), layers.Dense(3))
    twin = chain(layers.Dense(4), layers.ReLU(), layers.Dense(3))
    twin.set_weights(model.get_weights())
    registered(Affine, rule)
    linear = rules.Epsilon() if isinstance(rule, rules.Norm) else rule
    composite = rules.relevance_composite(
        (rules.first(rules.linear), linear), (rules.linear, rules.Epsilon())
    )
    found = ke.LRP(model, composite="epsilon")(vectors(), 1)
    expected = ke.LRP(twin, composite=composite)(vectors(), 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# Traces.


def test_a_trace_shows_the_conservation():
    """In a chain without biases the sums are the score at every layer."""
    model = chain(
        layers.Conv2D(4, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Flatten(name="flat"),
        layers.Dense(3, use_bias=False, activation="softmax", name="out"),
        shape=(8, 8, 3),
    )
    x = zoo.images(2)
    explainer = ke.LRP(model, composite="epsilon")
    trace = explainer.trace(x, 1)
    assert list(trace.layers)[:5] == ["conv", "norm", "relu", "pool", "flat"]
    assert trace.layers["conv"].shape == (2, 6, 6, 4)
    for name, sums in trace.sums.items():
        np.testing.assert_allclose(
            sums, trace.scores, rtol=1e-3, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(
        trace.layers["relu"],
        ke.LRP(model, composite="epsilon", layer="relu")(x, 1),
        atol=1e-6,
    )
    assert "pool" in str(trace) and "score" in str(trace)


def test_options_are_kept(model, images, tmp_path):
    explainer = ke.LRP(model, composite="deep_taylor", low=-5, high=5)
    config = json.loads(json.dumps(explainer.get_config()))
    again = ke.LRP.from_config(model, config)
    np.testing.assert_array_equal(again(images, 0), explainer(images, 0))


def test_an_explanation_by_a_composite_of_ones_own_is_saved(
    model, images, tmp_path
):
    composite = rules.relevance_composite((rules.linear, rules.Epsilon()))
    explainer = ke.LRP(model, composite=composite)
    json.dumps(explainer.get_config())
    explainer.explain(images, 0).save(tmp_path / "found.npz")


def test_an_output_of_one_s_own_starts_with_what_it_sees():
    """Of logits it is the target of the same class; probabilities are none."""
    specimen = zoo.build("logits")
    explainer = ke.LRP(specimen.model)
    mine = explainer(specimen.inputs, ke.Output(lambda y: y[:, 3]))
    expected = explainer(specimen.inputs, 3)
    np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-7)
    softmax = ke.LRP(zoo.build("functional").model)
    with pytest.raises(ValueError, match="before the softmax"):
        softmax(specimen.inputs, ke.Output(lambda y: y[:, 3]))


def test_a_number_that_is_a_maximum_receives_nothing():
    """`maximum(x, 0.5)`: where the number wins, relevance is lost to it."""
    inputs = keras.Input((5,))
    x = ops.maximum(layers.Dense(6)(inputs), 0.1)
    model = keras.Model(inputs, layers.Dense(3)(x))
    found = ke.LRP(model, composite="epsilon").explain(3 * vectors(), 1)
    assert np.isfinite(found.attributions).all()
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
