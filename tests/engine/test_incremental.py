"""Runs of a part of a model are runs of the whole."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_explain as ke
from keras_explain.attribution.perturbation import Occlusion
from keras_explain.engine import incremental, saving
from tests import zoo


def noise(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def head(inputs, x):
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def random_norms(model):
    """Norms that do something, and biases that are not zero."""
    random = np.random.default_rng(9)
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        value = tf.convert_to_tensor(variable).numpy()
        if np.all(value == value.ravel()[0]):
            variable.assign(random.uniform(0.5, 1.5, value.shape))
    return model


def vgg():
    x = inputs = keras.Input((17, 24, 3))
    for filters in (4, 6, 5):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="elu")(x)
        x = layers.MaxPooling2D()(x)
    return head(inputs, x)


def resnet():
    """Sums of branches with different reach, and strides on even sizes."""
    x = inputs = keras.Input((24, 23, 3))
    x = layers.ZeroPadding2D(((2, 3), (1, 3)))(x)
    x = layers.Conv2D(4, 5, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters, stride in ((4, 1), (6, 2)):
        y = layers.Conv2D(filters, 1, strides=stride)(x)
        z = layers.Conv2D(3, 3, strides=stride, padding="same")(x)
        z = layers.ReLU(negative_slope=0.1)(layers.BatchNormalization()(z))
        z = layers.Conv2D(filters, 3, padding="same")(z)
        x = layers.Activation("gelu")(layers.Add()([y, z]))
    x = layers.GlobalAveragePooling2D()(x)
    return head(inputs, x)


def inception():
    """Everything else that is local."""
    x = inputs = keras.Input((20, 22, 4))
    x = layers.Rescaling(0.5, offset=0.1)(x)
    one = layers.SeparableConv2D(3, 3, dilation_rate=2, padding="same",
                                 activation="tanh")(x)  # fmt: skip
    two = layers.DepthwiseConv2D(4, padding="same", depth_multiplier=2)(x)
    three = layers.AveragePooling2D(3, 1, padding="same")(x)
    three = layers.Softmax()(three)
    # Below zero, so that a padding of zeros would win.
    five = layers.Rescaling(1.0, offset=-9.0)(x)
    five = layers.MaxPooling2D(3, 1, padding="same")(five)
    four = layers.Conv2D(4, 3, padding="same", groups=2)(x)
    x = layers.Concatenate()([one, two, three, four, five])
    x = layers.AveragePooling2D((3, 2), strides=2, padding="same")(x)
    x = layers.LayerNormalization()(x)
    y = layers.Dense(5, activation=layers.LeakyReLU())(x)
    y = layers.SpatialDropout2D(0.2)(layers.PReLU(shared_axes=[1, 2])(y))
    x = layers.Conv2D(5, 3, padding="same")(x)
    x = layers.Maximum()([x, y]) * 2.0 - y
    x = layers.UpSampling2D((2, 1))(ops.silu(x))
    x = layers.Cropping2D(((1, 2), (0, 1)))(x)
    return head(inputs, layers.Conv2D(3, (2, 3))(x))


def series():
    x = inputs = keras.Input((40, 2))
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x)
    x = layers.ZeroPadding1D(1)(layers.AveragePooling1D(2)(x))
    x = layers.SeparableConv1D(3, 3, padding="same", strides=2)(x)
    x = layers.Cropping1D((1, 0))(layers.UpSampling1D(2)(x))
    x = layers.DepthwiseConv1D(2, padding="same")(x)
    return head(inputs, layers.MaxPooling1D(2, padding="same")(x))


def volume():
    x = inputs = keras.Input((9, 10, 12, 1))
    x = layers.Conv3D(2, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling3D(2, padding="same")(x)
    x = layers.Conv3D(2, 2, padding="same")(x)
    x = layers.UpSampling3D(2)(layers.AveragePooling3D(2)(x))
    return head(inputs, layers.ZeroPadding3D(1)(layers.Cropping3D(1)(x)))


def gate():
    """A layer that looks at everything comes early."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid")(y)])
    return head(inputs, layers.Conv2D(4, 3, padding="same")(x))


def mixing():
    """Functions and constants that do not treat all positions alike."""

    def centered(x):
        return x - ops.mean(x, (1, 2), keepdims=True)

    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(3, 3, padding="same", activation=centered)(x)
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    ramp = np.linspace(0, 4, 16, dtype="float32")[:, None, None]
    x = x * np.array([1.0, 2.0, 3.0], "float32") * ramp
    x = layers.Conv2D(3, 3, padding="same")(x)
    return head(inputs, layers.Activation(centered)(x))


def ramp():
    """A constant that changes along the positions."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    x = x * np.linspace(0, 4, 16, dtype="float32")[:, None, None] + 1.0
    return head(inputs, layers.Conv2D(3, 3, padding="same")(x))


def rows():
    """A norm that treats each row in its own way."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(axis=1)(x)
    return head(inputs, layers.Conv2D(3, 3, padding="same")(x))


def stacked():
    """Two maps that stand one below the other."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    x = layers.Concatenate(axis=1)([x, x])
    return head(inputs, layers.Conv2D(3, 3, padding="same")(x))


class Subclassed(keras.Model):
    """Raw operations between the layers, which nobody sees."""

    def __init__(self):
        super().__init__()
        self.one = layers.Conv2D(4, 3, padding="same", activation="relu")
        self.two = layers.Conv2D(4, 3, padding="same")
        self.three = layers.Conv2D(3, 3, padding="same")
        self.out = layers.Dense(3)

    def call(self, x):
        x = self.two(self.one(x))
        x = x - tf.reduce_mean(x, (1, 2), keepdims=True)
        return self.out(ops.mean(self.three(x), (1, 2)))


def subclassed():
    model = Subclassed()
    model(noise(1, 16, 16, 3))
    return model


def segmenter():
    """The last layer makes the output itself."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(5, 1, activation="softmax")(x)
    return keras.Model(inputs, x)


def shared():
    """One layer that is called twice, in a model in a model."""
    inner_in = keras.Input((16, 16, 3))
    layer = layers.Conv2D(3, 3, padding="same", activation="relu")
    inner = keras.Model(inner_in, layer(layer(inner_in)), name="inner")
    inputs = keras.Input((16, 16, 3))
    return head(inputs, layers.MaxPooling2D()(inner(inner(inputs))))


def masked():
    """A mask goes along with the tensors."""
    x = inputs = keras.Input((20, 3))
    x = layers.Masking()(x)
    x = layers.Dense(4, activation="relu")(x)
    return head(inputs, layers.LSTM(3)(x))


NETS = [vgg, resnet, inception, series, volume, gate, mixing, ramp, rows,
        stacked, subclassed, shared, masked]  # fmt: skip


def both(model, x, target=1, **options):
    """Runs of parts against runs of the whole.

    What is compared are differences of scores, so that the rounding is that
    of the scores.
    """
    plain, parts = (
        Occlusion(model, incremental=way, **options).explain(
            x, target, verbose=False
        )
        for way in (False, True)
    )
    for one, other in zip(
        tf.nest.flatten(plain.attributions),
        tf.nest.flatten(parts.attributions),
        strict=True,
    ):
        scale = max(np.abs(plain.scores).max(), np.abs(one).max())
        assert np.ptp(one) > 1e-3 * scale
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    ("window", "stride"),
    [(4, 3), pytest.param(1, 7, marks=pytest.mark.slow)],
)
def test_parts_are_the_whole(make, window, stride):
    model = random_norms(make())
    shape = (16, 16, 3) if make is subclassed else model.input_shape[1:]
    both(model, noise(2, *shape), window=window, stride=stride, batch_size=7)


@pytest.mark.parametrize(
    ("fill", "window", "stride"),
    [("blur", (5, 5, 2), (4, 4, 1)), (3.0, (3, 4), 3)],
)
def test_fills_and_channels(fill, window, stride):
    x = noise(1, 16, 16, 3)
    both(segmenter(), x, window=window, stride=stride, fill=fill)


def test_an_output_for_each_position():
    x = noise(2, 16, 16, 3)
    both(segmenter(), x, ke.Class(2, position=(3, 4)), window=3, stride=2)


def test_several_inputs():
    """What comes of the other inputs is not computed again."""
    specimen = zoo.build("inputs_dict")
    both(specimen.model, specimen.inputs, window=2)


def test_of_a_layer():
    specimen = zoo.build("nested")
    both(specimen.model, specimen.inputs, window=2, layer="backbone/relu1")


def test_mixed_precision():
    """The casts between layers are seen through."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = random_norms(gate())
    found = [
        np.asarray(Occlusion(model, window=4, incremental=way)(
            noise(1, 16, 16, 3), 1))
        for way in (False, True)
    ]  # fmt: skip
    assert np.corrcoef(*map(np.ravel, found))[0, 1] > 0.9


def test_only_pieces_are_run(monkeypatch):
    """The convolutions get pieces, and the last ones what is left."""
    seen = []
    real = incremental._Run._piece

    def watched(self, operation, *args):
        found = real(self, operation, *args)
        if isinstance(operation, layers.Conv2D):
            seen.append(None if found is None else found.piece.shape[1:3])
        return found

    monkeypatch.setattr(incremental._Run, "_piece", watched)
    Occlusion(vgg(), window=3, stride=4, incremental=True)(
        noise(1, 17, 24, 3), 1
    )
    sizes = seen[:6]
    assert sizes[0] == (5, 5) and sizes[1] == (7, 7)
    assert sizes[2][0] <= 6 and sizes[3][0] <= 8


def test_it_pays_in_large_convolutions_only(monkeypatch):
    """As the recorded graph says, before anything is traced."""
    chosen = []
    real = saving.pays
    monkeypatch.setattr(
        saving, "pays", lambda *a: chosen.append(real(*a)) or chosen[-1]
    )

    def net(size, first):
        x = inputs = keras.Input((size, size, 3))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        if first:
            x = layers.LayerNormalization(axis=(1, 2))(x)
        for _ in range(2):
            x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))

    for size, first, window in ((64, False, 16), (64, True, 16),
                                (16, False, 4), (64, False, 60)):  # fmt: skip
        Occlusion(net(size, first), window=window, stride=window)(
            noise(1, size, size, 3), 1
        )
    assert chosen == [True, False, False, False]


def test_the_model_is_as_it_was():
    model = random_norms(vgg())
    before = [tf.convert_to_tensor(v).numpy() for v in model.variables]
    calls = [layer.__dict__.get("call") for layer in model.layers]
    Occlusion(model, window=4, incremental=True)(noise(1, 17, 24, 3), 1)
    assert calls == [layer.__dict__.get("call") for layer in model.layers]
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(
            value, tf.convert_to_tensor(variable).numpy()
        )
