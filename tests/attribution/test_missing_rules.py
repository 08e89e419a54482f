"""What a message advises where no rule is known, and that it helps."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain import rules
from tests.attribution.test_relevance import chain, vectors
from tests.attribution.test_unknown_operations import Raw

BOTH = pytest.mark.parametrize("method", [ke.LRP, ke.DeepLIFT])


class Block(layers.Layer):
    """A layer with a layer inside, and a function beside it."""

    def __init__(self, join, **options):
        super().__init__(**options)
        self.inner = layers.Dense(5, use_bias=False)
        self.join = join

    def call(self, x):
        return self.join(x, self.inner(x))


def bend(x):
    """A function of one's own."""
    return x * tf.sigmoid(x - 1)


class Bent(layers.Layer):
    """The same as a layer."""

    def call(self, x):
        return bend(x)


@pytest.fixture
def registered():
    rules.register(Bent, rules.Pass)
    yield
    rules.unregister(Bent)


def refusal(method, model):
    model(vectors())
    with pytest.raises(ValueError, match="no rule") as error:
        method(model)(vectors(), 0)
    return str(error.value)


def block(join):
    return chain(Block(join, name="block"), layers.Dense(3))


JOINS = {
    "add": (lambda x, y: x + y, "AddV2", "keras.layers.Add()"),
    "subtract": (lambda x, y: x - y, "Sub", "keras.layers.Subtract()"),
    "multiply": (lambda x, y: x * y, "Mul", "keras.layers.Multiply()"),
    "relu": (lambda x, y: tf.nn.relu(y), "Relu", "keras.layers.ReLU()"),
    "mean": (lambda x, y: y + tf.reduce_mean(x, -1, True), "Mean",
             "a layer class of your own for Mean, which needs no rule"),
    "exp": (lambda x, y: tf.exp(y), "Exp",
            "a layer class of your own for Exp, which you register: "
            "`keras_explain.rules.register(ThatLayer, rule)`"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
def test_in_a_layer_that_holds_layers(name):
    """The layer, the op, what stands for it, and the layer as one."""
    join, op, instead = JOINS[name]
    text = refusal(ke.LRP, block(join))
    assert "'block: Block (" in text and op in text
    assert "in the `call` of `block`" in text.lower() and instead in text
    assert "as one: `keras_explain.rules.register(Block, rule)`" in text


@pytest.mark.parametrize("name", JOINS)
def test_in_the_call_of_a_model(name):
    """Nothing can be registered for it, and nothing is advised to be."""
    join, op, instead = JOINS[name]
    text = refusal(ke.LRP, Raw(join))
    assert "the model itself: Model (" in text and op in text
    assert "In the `call` of the model use" in text and instead in text
    assert "register(Model" not in text and "as one" not in text


def test_differences_pass_sums_by_themselves():
    """DeepLIFT needs no rule for a sum, and does not name it."""
    summed = block(lambda x, y: x + y)
    found = ke.DeepLIFT(summed).explain(vectors(), 0, verbose=False)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)
    text = refusal(ke.DeepLIFT, block(lambda x, y: x + tf.exp(y)))
    assert "'block: Block (Exp)'" in text and "Add" not in text


def test_a_layer_of_the_kind_that_is_advised_helps():
    class Summed(Block):
        def __init__(self, **options):
            super().__init__(None, **options)
            self.join = layers.Add()

        def call(self, x):
            return self.join([x, self.inner(x)])

    model = chain(Summed(), layers.Dense(3, use_bias=False))
    found = ke.LRP(model, composite="epsilon").explain(vectors(), 0)
    np.testing.assert_allclose(
        found.attributions.sum(1), found.scores, rtol=1e-4
    )


@BOTH
def test_in_a_layer_of_its_own(method):
    """It is the rule of the layer that is missing."""
    text = refusal(method, chain(layers.Dense(4), Bent(), layers.Dense(3)))
    assert "State the rule of the layer: `keras_explain.rules." in text
    assert "register(Bent, rule)`" in text and "ThatLayer" not in text

    class Hidden(layers.Layer):
        def call(self, x):
            return tf.nn.relu(x)

    text = refusal(method, chain(layers.Dense(4), Hidden(), layers.Dense(3)))
    assert "register(Hidden, rule)`" in text
    assert "; or in the `call` of `Hidden` use layers that it holds: a " in text
    assert "`keras.layers.ReLU()` for Relu" in text


@BOTH
def test_a_function_of_a_functional_model(method):
    """It is no class; called in a layer it can be registered."""
    x = inputs = keras.Input((5,))
    x = ops.logaddexp(layers.Dense(4)(x), layers.Dense(4)(x))
    text = refusal(method, keras.Model(inputs, layers.Dense(3)(x)))
    assert ": Logaddexp (" in text and "`keras.ops.logaddexp`" in text
    assert "in a layer class of your own" in text
    assert "register(Logaddexp" not in text
    assert "register(ThatLayer, rule)`" in text


@BOTH
def test_a_function_as_an_activation(method, registered):
    model = chain(layers.Dense(4, activation=bend, name="hidden"),
                  layers.Dense(3))  # fmt: skip
    text = refusal(method, model)
    assert "`bend` is a function" in text and "behind 'hidden'" in text
    assert "register(bend" not in text
    mended = chain(layers.Dense(4), Bent(), layers.Dense(3))
    mended.set_weights(model.get_weights())
    found = method(mended).explain(vectors(), 0, verbose=False)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


def test_a_layer_of_keras():
    """Nobody can change its `call`: the rule is left."""
    model = chain(layers.LSTM(3), layers.Dense(2), shape=(4, 2))
    with pytest.raises(ValueError, match="no rule") as error:
        ke.ExcitationBackprop(model)(np.ones((1, 4, 2), "float32"), 0)
    assert str(error.value).endswith(
        "State the rule of the layer: "
        "`keras_explain.rules.register(keras.layers.LSTM, rule)`."
    )


def test_a_composite_that_does_not_take_what_is_registered(registered):
    """It is the composite that lacks the rule."""
    model = chain(layers.Dense(4), Bent(), layers.Dense(3))
    bare = rules.Composite(((rules.linear, rules.Epsilon()),))
    with pytest.raises(ValueError, match="no rule") as error:
        ke.LRP(model, composite=bare)(vectors(), 0)
    text = str(error.value)
    assert "`rules.relevance_composite(...)`" in text
    assert "rules.register(" not in text
    made = rules.relevance_composite((rules.linear, rules.Epsilon()))
    ke.LRP(model, composite=made)(vectors(), 0)


def test_much_that_is_missing_is_named_and_advice_is_short():
    stack = [Block(join, name=name) for name, (join, *_) in JOINS.items()]
    text = refusal(ke.LRP, chain(*stack, layers.Dense(3)))
    assert all(f"'{name}: Block (" in text for name in JOINS)
    assert len(text.splitlines()) == 5


def test_a_recurrent_cell_of_ones_own():
    """A rule for `RNN` would be one for LSTM as well."""

    class Cell(layers.SimpleRNNCell):
        pass

    class Strange(layers.Layer):
        state_size = 3

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))

        def call(self, x, states, training=False):
            return tf.tanh(x @ self.kernel + states[0]), [states[0]]

    x = np.ones((1, 4, 2), "float32")
    model = chain(layers.RNN(Strange()), layers.Dense(2), shape=(4, 2))
    words = r"(?s)Strange in .*register\(YourSubclassOfRNN, rule\)"
    with pytest.raises(ValueError, match=words):
        ke.LRP(model)(x, 0)
    model = chain(layers.RNN(Cell(3)), layers.Dense(2), shape=(4, 2))
    ke.LRP(model)(x, 0)
