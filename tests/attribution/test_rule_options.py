"""Numbers that rules do not take, and layers that are no maximum."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain import rules
from tests import zoo
from tests.attribution.test_relevance import chain, vectors

# Every number of a public rule: `(number) -> rule`.
NUMBERS = {
    "Epsilon": lambda v: rules.Epsilon(v),
    "ZPlus": lambda v: rules.ZPlus(v),
    "AlphaBeta alpha": lambda v: rules.AlphaBeta(v, 1.0),
    "AlphaBeta beta": lambda v: rules.AlphaBeta(2.0, v),
    "AlphaBeta epsilon": lambda v: rules.AlphaBeta(epsilon=v),
    "Gamma": lambda v: rules.Gamma(v),
    "Gamma epsilon": lambda v: rules.Gamma(epsilon=v),
    "ZBox low": lambda v: rules.ZBox(v, 1.0),
    "ZBox high": lambda v: rules.ZBox(0.0, v),
    "ZBox epsilon": lambda v: rules.ZBox(epsilon=v),
    "WSquare": lambda v: rules.WSquare(v),
    "Flat": lambda v: rules.Flat(v),
    "Norm": lambda v: rules.Norm(v),
    "Normalization": lambda v: rules.Normalization(v),
    "SignalTakesAll": lambda v: rules.SignalTakesAll(v),
    "Bilinear": lambda v: rules.Bilinear(epsilon=v),
    "Attention": lambda v: rules.Attention(epsilon=v),
    "BetaSmooth": lambda v: rules.BetaSmooth(v),
    "relevance_composite": lambda v: rules.relevance_composite(
        (rules.linear, rules.Epsilon()), epsilon=v),
}  # fmt: skip
NO_NUMBERS = ["x", None, True, [1e-6], {}, 1j, len, np.ones(2), tf.ones(2)]
STABILIZERS = [
    name for name in NUMBERS
    if "epsilon" in name or " " not in name
    and name not in ("Gamma", "BetaSmooth")
]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number(name):
    """Refused by its name, with what was passed and what to pass."""
    for wrong in NO_NUMBERS:
        if name in ("ZBox low", "ZBox high") and np.ndim(wrong):
            continue  # bounds may be arrays
        with pytest.raises((TypeError, ValueError)) as error:
            NUMBERS[name](wrong)
        one_side = wrong is None and name in ("ZBox low", "ZBox high")
        assert error.type is (ValueError if one_side else TypeError), wrong
        lines = str(error.value).splitlines()
        assert len(lines) == 3 and lines[1].startswith("Received: ")
        assert repr(wrong)[:5] in lines[1]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_no_rule_can_count_with(name):
    for wrong in (np.nan, np.inf, -np.inf, -1):
        if name == "ZBox low" and wrong == -1:
            continue
        with pytest.raises(ValueError, match="Received: .*(nan|inf|-1)"):
            NUMBERS[name](wrong)


@pytest.mark.parametrize("name", STABILIZERS)
def test_stabilizers_that_float32_does_not_hold(name):
    """In float32 these are zero and infinity."""
    for wrong in (0, 1e-50, 1e50, 1e39):
        with pytest.raises(ValueError, match="must be positive and finite"):
            NUMBERS[name](wrong)


@pytest.mark.parametrize("name", STABILIZERS)
def test_numbers_of_any_type_pass(name):
    for number in (1, 1e-6, np.float32(1e-6), np.float64(1), np.int64(2),
                   np.array(0.1), tf.constant(0.1)):  # fmt: skip
        NUMBERS[name](number)


@pytest.mark.parametrize("wrong", [0, 1e39])
def test_strengths_at_their_ends(wrong):
    with pytest.raises(ValueError, match="sharpness of a softplus.*\n.*beta="):
        rules.BetaSmooth(wrong)
    if wrong:
        with pytest.raises(ValueError, match="Gamma strengthens"):
            rules.Gamma(wrong)
    else:
        rules.Gamma(wrong)  # which is `Epsilon`


def test_no_number_of_a_public_rule_is_left_out():
    """Each rule that takes a number is in the table."""
    named = {name.split()[0] for name in NUMBERS}
    others = {
        "Composite", "DeconvNet", "Gate", "GuidedReLU", "Pass", "Softmax",
        "Winner", "convolution", "first", "kinds", "last", "layer_type",
        "linear", "path", "register", "role", "unregister",
    }  # fmt: skip
    assert named | others == set(rules.__all__)
    assert not named & others


# Maxima.


class Largest(layers.Layer):
    """A maximum of somebody else."""

    def __init__(self, axis=None, **options):
        super().__init__(**options)
        if axis is not None:
            self.axis = axis

    def call(self, x):
        return tf.reduce_max(x, 1)


def assigned(selector, *stack):
    """An explanation with `Winner` for what is selected."""
    composite = rules.relevance_composite(
        (selector, rules.Winner), (rules.linear, rules.Epsilon())
    )
    model = chain(*stack, layers.Dense(2), shape=(8, 8, 3))
    return ke.LRP(model, composite=composite)(zoo.images(2), 0)


@pytest.mark.parametrize(
    "layer",
    [
        lambda name: layers.AveragePooling2D(2, name=name),
        lambda name: layers.GlobalAveragePooling2D(name=name),
        lambda name: layers.LayerNormalization(name=name),
        lambda name: layers.ReLU(name=name),
        lambda name: layers.ReLU(max_value=1.0, name=name),
        lambda name: layers.Softmax(name=name),
        lambda name: layers.Conv2D(2, 3, name=name),
        lambda name: layers.UpSampling2D(2, name=name),
        lambda name: Largest(name=name),
    ],
    ids=["average", "global", "layer_norm", "relu", "capped",
         "softmax", "conv", "up", "own"],
)  # fmt: skip
def test_a_layer_that_is_no_maximum(layer):
    """Of an average no input is the output: nothing would come back."""
    words = "(?s)`Winner` is for maxima.*Received: chosen: .*role\\('winner'\\)"
    with pytest.raises(ValueError, match=words):
        assigned(rules.path("chosen"), layers.Conv2D(3, 3), layer("chosen"),
                 layers.Flatten())  # fmt: skip


def test_maxima_are_assigned_by_hand():
    """Of Keras, of a class below it, and of one's own with an axis."""

    class Pooling(layers.MaxPooling2D):
        pass

    found = [
        assigned(rules.kinds(kind), layers.Conv2D(3, 3), layer,
                 layers.Flatten())
        for kind, layer in {
            "MaxPooling2D": layers.MaxPooling2D(2),
            "Pooling": Pooling(2),
            "GlobalMaxPooling2D": layers.GlobalMaxPooling2D(),
            "Largest": Largest(1),
        }.items()
    ]  # fmt: skip
    assert all(np.abs(values).max() > 0 for values in found)


def test_a_class_below_maximum():
    class Both(layers.Maximum):
        pass

    inputs = keras.Input((5,))
    sides = [layers.Dense(4, use_bias=False)(inputs) for _ in range(2)]
    outputs = layers.Dense(3, use_bias=False)(Both()(sides))
    composite = rules.relevance_composite(
        (rules.layer_type(Both), rules.Winner),
        (rules.linear, rules.Epsilon()),
    )
    model = keras.Model(inputs, outputs)
    found = ke.LRP(model, composite=composite).explain(vectors(), 0)
    np.testing.assert_allclose(
        found.attributions.sum(1), found.scores, rtol=1e-4
    )
