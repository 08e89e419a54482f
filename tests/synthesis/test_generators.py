"""Pictures drawn by networks: CPPN by its formula, decoders by their codes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain.synthesis.generators import CPPN, Generator
from keras_explain.synthesis.randomness import Randomness
from tests.synthesis.finite_differences import check_gradient

SHAPES = [(7, 1), (5, 8, 3), (3, 4, 5, 2)]


def randomness(facets=2, rows=None):
    index = range(facets) if rows is None else rows
    return Randomness(range(facets), list(index))


def decoder(activation="sigmoid", code=6, shape=(4, 5, 3)):
    """Batch statistics and dropout make training and inference differ."""
    return keras.Sequential(
        [
            keras.Input((code,)),
            keras.layers.Dense(16, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(int(np.prod(shape)), activation),
            keras.layers.Reshape(shape),
        ]
    )


def random_weights(part, shape, rows=2):
    """Values whose last layer is not zero, as after some steps."""
    rng = np.random.default_rng(0)
    values = part.start(shape, randomness(rows))
    return [np.asarray(v) + 0.3 * rng.normal(size=v.shape) for v in values]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cppn_by_definition(shape):
    part = CPPN(layers=3, width=5)
    values = random_weights(part, shape)
    x = part.images([tf.constant(v, tf.float32) for v in values], shape)
    for row in range(2):
        for place in np.ndindex(*shape[:-1]):
            h = [
                -np.sqrt(3) + 2 * np.sqrt(3) * i / (size - 1)
                for i, size in zip(place, shape, strict=False)
            ]
            for w, b in zip(values[:-2:2], values[1:-2:2], strict=True):
                z = np.arctan(h @ w[row] + b[row, 0])
                h = np.concatenate([z / 0.67, z**2 / 0.6])
            y = h @ values[-2][row] + values[-1][row, 0]
            np.testing.assert_allclose(
                x[row][place], 1 / (1 + np.exp(-y)), atol=1e-5
            )


def test_cppn_has_the_published_size_and_starts_gray():
    values = CPPN().start((224, 224, 3), randomness(2))
    assert sum(int(np.prod(v.shape[1:])) for v in values) == 8451
    x = CPPN().images(values, (224, 224, 3))
    np.testing.assert_array_equal(x, np.full((2, 224, 224, 3), 0.5))
    for weights, inputs in zip(values[:-2:2], [2] + 7 * [48], strict=True):
        assert np.std(weights) == pytest.approx(inputs**-0.5, rel=0.25)
        assert np.any(weights[0] != weights[1])
    assert all(not np.any(bias) for bias in values[1::2])
    optimizer = CPPN().optimizer()
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(2e-3)  # ours


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cppn_rows_stand_alone_and_gradients_are_exact(shape):
    part = CPPN(layers=2, width=4)
    values = random_weights(part, shape, 3)

    @tf.function
    def draw(*values):
        x = part.images(list(values), shape)
        assert x.shape[1:] == shape
        return x

    together = draw(*[tf.constant(v, tf.float32) for v in values])
    for row in range(3):
        alone = draw(*[tf.constant(v[row : row + 1], tf.float32)
                       for v in values])  # fmt: skip
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
    check_gradient(lambda *v: part.images(list(v), shape), *values)


def test_cppn_draws_the_same_picture_at_any_size():
    part = CPPN(layers=3, width=6)
    values = [tf.constant(v, tf.float32)
              for v in random_weights(part, (9, 9, 1))]  # fmt: skip
    small = part.images(values, (9, 9, 1))
    large = part.images(values, (33, 33, 1))
    np.testing.assert_allclose(large[:, ::4, ::4], small, atol=1e-5)


def test_cppn_learns_a_picture():
    """A disk, which single pixels of a smooth map can draw."""
    grid = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, 12)] * 2))
    disk = (grid < 0.6).astype("float32")[None, ..., None]
    part = CPPN(layers=3, width=8)
    values = [tf.Variable(v) for v in part.start((12, 12, 1), randomness(1))]
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(values)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            x = part.images([v + 0.0 for v in values], (12, 12, 1))
            error = tf.reduce_mean(tf.square(x - disk))
        optimizer.apply(tape.gradient(error, values), values)
        return error

    errors = [float(step()) for _ in range(120)]
    assert errors[0] == pytest.approx(0.25) and errors[-1] < 0.05


@pytest.mark.parametrize(
    "part", [CPPN(), CPPN(32, layers=2, width=7)], ids=repr
)
def test_cppn_is_saved(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and hash(again) == hash(part)
    assert again != CPPN(31)


@pytest.mark.parametrize(
    ("activation", "output_range"),
    [("sigmoid", (0, 1)), ("tanh", (-1, 1)), (None, (-0.2, 0.3)), (None, None)],
)
def test_generator_by_definition(activation, output_range):
    network = decoder(activation)
    part = Generator(network, output_range=output_range)
    assert part.code_shape == (6,) and part.bounded == bool(output_range)
    (codes,) = part.start((4, 5, 3), randomness(3))
    assert codes.shape == (3, 6)
    x = part.images([codes], (4, 5, 3))
    expected = np.asarray(network(codes, training=False), np.float64)
    if output_range is not None:
        low, high = output_range
        expected = np.clip((expected - low) / (high - low), 0, 1)
    np.testing.assert_allclose(x, expected, atol=1e-6)
    # As in inference, and again: nothing is drawn or updated.
    np.testing.assert_array_equal(x, part.images([codes], (4, 5, 3)))
    for row in range(3):
        alone = part.images([codes[row : row + 1]], (4, 5, 3))
        np.testing.assert_allclose(x[row], alone[0], atol=1e-6)


def test_generator_leaves_the_decoder_as_it_is():
    network = decoder()
    before = [w.copy() for w in network.get_weights()]
    flags = [layer.trainable for layer in network.layers]
    part = Generator(network, decay=0.1, code_range=(-1, 1))

    @tf.function
    def climb(codes):
        for _ in range(3):
            with tf.GradientTape() as tape:
                tape.watch(codes)
                score = tf.reduce_sum(part.images([codes], (4, 5, 3)))
            (codes,) = part.project([codes + tape.gradient(score, codes)])
        return codes

    codes = climb(part.start((4, 5, 3), randomness())[0])
    assert np.all(np.isfinite(codes)) and np.abs(codes).max() <= 1
    for once, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(once, now)
    assert flags == [layer.trainable for layer in network.layers]


def test_climbing_in_code_space_brightens_a_pixel():
    part = Generator(decoder())
    (codes,) = part.start((4, 5, 3), randomness())
    values = []
    for _ in range(20):
        with tf.GradientTape() as tape:
            tape.watch(codes)
            value = part.images([codes], (4, 5, 3))[:, 1, 2, 0]
        codes += 2 * tape.gradient(value, codes)
        values.append(value.numpy())
    assert np.all(values[-1] > values[0] + 0.1)


def test_codes_start_and_stay_where_they_may():
    part = Generator(decoder(code=2000), stddev=3.0)
    (codes,) = part.start((4, 5, 3), randomness())
    assert np.std(codes) == pytest.approx(3, rel=0.05)
    part = Generator(decoder(), stddev=3.0, code_range=(0.0, 1.5), decay=0.25)
    (codes,) = part.start((4, 5, 3), randomness(20))
    assert np.min(codes) == 0 and np.max(codes) == 1.5
    (codes,) = part.project([tf.constant([[-1.0, 0, 1, 2, 4, 1.5]])])
    np.testing.assert_allclose(codes, [[0, 0, 0.75, 1.5, 1.5, 1.125]])
    high = np.arange(1.0, 7)
    part = Generator(decoder(), code_range=(np.zeros(6), high))
    (codes,) = part.project([tf.fill((2, 6), 9.0)])
    np.testing.assert_allclose(codes, [high, high])
    assert part == Generator(part.decoder, code_range=(np.zeros(6), high))
    assert hash(part) != hash(Generator(part.decoder))


def test_codes_to_start_from():
    code = np.arange(6.0)
    (codes,) = Generator(decoder(), initial=code).start(
        (4, 5, 3), randomness(2)
    )
    np.testing.assert_array_equal(codes, [code, code])
    part = Generator(decoder(), initial=np.stack([code, -code]))
    (codes,) = part.start((4, 5, 3), randomness(2, [0, 1, 1]))
    np.testing.assert_array_equal(codes, [code, -code, -code])
    with pytest.raises(ValueError, match=r"shape \(6,\).*\n.*\(5,\)"):
        Generator(decoder(), initial=np.ones(5)).start((4, 5, 3), randomness())


def test_convolutional_and_half_precision_decoders():
    network = keras.Sequential(
        [
            keras.Input((None, None, 2)),
            keras.layers.Conv2DTranspose(
                3, 4, 2, "same", activation="sigmoid", dtype="mixed_float16"
            ),
        ]
    )
    part = Generator(network, code_shape=(2, 3, 2))
    (codes,) = part.start((4, 6, 3), randomness())
    assert codes.shape == (2, 2, 3, 2)
    x = part.images([codes], (4, 6, 3))
    assert x.dtype == tf.float32 and x.shape == (2, 4, 6, 3)


def test_subclassed_decoders():
    class Decoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(12, "sigmoid")

        def call(self, codes, training=False):
            return keras.ops.reshape(self.dense(codes), (-1, 4, 3))

    network = Decoder()
    network(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="does not say the shape"):
        Generator(network)
    part = Generator(network, code_shape=(5,))
    values = part.start((4, 3), randomness())
    assert part.images(values, (4, 3)).shape == (2, 4, 3)


def test_saving_a_generator_says_that_the_decoder_stays_behind():
    part = Generator(decoder(), decay=0.1)
    config = part.get_config()
    assert config["decoder"] == part.decoder.name and config["decay"] == 0.1
    with pytest.raises(ValueError, match="only the name is saved"):
        Generator.from_config(config)
    again = Generator.from_config({**config, "decoder": part.decoder})
    assert again == part and again != Generator(decoder(), decay=0.1)


def two_inputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


def open_size():
    return keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(3)])


REFUSED = [
    (lambda: CPPN(layers=0), ValueError, "layers=0"),
    (lambda: CPPN(width=2.5), TypeError, "width=2.5"),
    (lambda: CPPN().start((7,), randomness()), ValueError, "Pixels"),
    (lambda: Generator("decoder"), TypeError, r"keras\.Model"),
    (lambda: Generator(two_inputs()), ValueError, "2 inputs"),
    (lambda: Generator(open_size()), ValueError, "code_shape="),
    (
        lambda: Generator(decoder(), code_shape=(7,)),
        ValueError,
        r"codes of shape \(6,\)",
    ),
    (lambda: Generator(decoder(), stddev=-1), ValueError, "stddev=-1"),
    (lambda: Generator(decoder(), decay=1.5), ValueError, "decay=1.5"),
    (
        lambda: Generator(decoder(), output_range=(1, 0)),
        ValueError,
        "low under high",
    ),
    (
        lambda: Generator(decoder(), code_range=(1, 2, 3)),
        ValueError,
        "code_range=",
    ),
    (lambda: Generator(decoder(), initial=[np.nan]), ValueError, "NaN"),
    (
        lambda: Generator(decoder()).images([tf.zeros((1, 6))], (8, 8, 3)),
        ValueError,
        r"shape \(8, 8, 3\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()
