"""Penalties: their formulas, slowly, and gradients that hold at zero."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_explain import synthesis
from keras_explain.synthesis import (
    conditioning,
    inversion,
    pixel_operators,
    regularizers,
    transforms,
)
from keras_explain.synthesis.regularizers import (
    L2,
    ExpertDensity,
    Lp,
    TotalVariation,
)
from tests.synthesis.finite_differences import check_gradient

PARTS = [
    L2(0.3),
    L2(2.0, center=0.5),
    L2(2.0, center=[0.1, 0.2, 0.3]),
    Lp(0.2),
    Lp(0.2, p=1),
    Lp(0.2, p=2.5, center=0.5),
    TotalVariation(0.7),
    TotalVariation(0.7, beta=1.5),
    TotalVariation(0.7, beta=1),
]
SHAPES = [(7, 3), (4, 6, 3), (3, 4, 5, 3)]


def pictures(shape, rows=2):
    return np.random.default_rng(0).normal(size=(rows, *shape))


def density_model(shape, end=(), seed=3):
    """log p(x) = -sum w^2 (x - m)^2, up to a constant."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Normalization(
        mean=rng.normal(size=np.prod(shape)),
        variance=rng.uniform(0.5, 2, size=np.prod(shape)),
    )(x)
    return keras.Model(
        inputs, keras.ops.reshape(-keras.ops.sum(x**2, -1), (-1, *end))
    )


def slow_penalty(part, x):
    """The formula for one picture, one value at a time."""
    total = 0.0
    if not isinstance(part, TotalVariation):
        power = part.p if isinstance(part, Lp) else 2
        for place in np.ndindex(*x.shape):
            center = np.broadcast_to(part.center, x.shape)[place]
            total += abs(x[place] - float(center)) ** power
        return part.weight * total
    for place in np.ndindex(*x.shape):
        square = 0.0
        for axis in range(x.ndim - 1):
            after = list(place)
            after[axis] += 1
            if after[axis] < x.shape[axis]:
                square += (x[tuple(after)] - x[place]) ** 2
        total += square ** (part.beta / 2)
    return part.weight * total


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_serialize_compare_and_hash(part):
    config = keras.saving.serialize_keras_object(part)
    again = keras.saving.deserialize_keras_object(config)
    assert again == part and repr(again) == repr(part)
    assert hash(again) == hash(part)
    assert sum(other == part for other in PARTS) == 1
    assert not part.needs_pixels and part.name == type(part).__name__


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_penalty_by_definition(part, shape):
    x = pictures(shape)
    penalty = part.penalty(tf.constant(x, tf.float32))
    assert penalty.shape == (2,) and penalty.dtype == tf.float32
    np.testing.assert_allclose(
        penalty, [slow_penalty(part, one) for one in x], rtol=1e-5
    )
    check_gradient(part.penalty, x)


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_gradient_where_the_penalty_is_zero(part):
    """Flat pictures at the center: no slope, and above all no NaN."""
    center = np.broadcast_to(getattr(part, "center", 0.25), (4, 5, 3))
    x = np.stack([center, pictures((4, 5, 3))[0]]).astype("float32")
    x[1, :2] = center[:2]

    @tf.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            penalty = part.penalty(x)
        return penalty, tape.gradient(penalty, x)

    penalty, gradient = slope(x)
    assert penalty[0] == 0
    np.testing.assert_array_equal(gradient[0], np.zeros((4, 5, 3)))
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[1, 0], np.zeros((5, 3)))
    assert np.all(np.any(gradient[1, 2:] != 0, (0, 1)))


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_rows_stand_alone_and_penalties_change_nothing_else(part):
    x = tf.constant(pictures((4, 6, 3), 3), tf.float32)
    together = part.penalty(x)
    for row in range(3):
        np.testing.assert_allclose(
            part.penalty(x[row : row + 1])[0], together[row], rtol=1e-6
        )
    assert part.gradient(x, tf.constant(0)) is x
    assert part.project(x, x, tf.constant(0)) is x


def test_total_variation_of_an_edge():
    """Anisotropic in two axes, and nothing at the far borders."""
    x = np.zeros((1, 4, 6, 1), "float32")
    x[:, :, 3:] = 2.0
    for beta, expected in ((1, 8.0), (1.5, 4 * 2**1.5), (2, 16.0)):
        found = TotalVariation(1.0, beta).penalty(tf.constant(x))
        np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_prototype_of_a_linear_score_under_l2():
    """`argmax w x - weight |x - c|^2 = c + w / (2 weight)`."""
    w = np.random.default_rng(0).normal(size=(1, 5)).astype("float32")
    part = L2(0.7, center=0.5)
    x = tf.Variable(tf.zeros((1, 5)))
    for _ in range(200):
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(w * x, 1) - part.penalty(x)
        x.assign_add(0.3 * tape.gradient(score, x))
    np.testing.assert_allclose(x, 0.5 + w / 1.4, rtol=1e-5)


@pytest.mark.parametrize("end", [(), (1,)])
def test_expert_density(end):
    x = pictures((3, 4, 1), 3).astype("float32")
    model = density_model((3, 4, 1), end)
    part = ExpertDensity(0.5, model)
    penalty = part.penalty(tf.constant(x))
    assert penalty.shape == (3,)
    np.testing.assert_allclose(
        penalty, -0.5 * np.reshape(model(x), -1), rtol=1e-6
    )
    np.testing.assert_allclose(
        penalty[1:2], part.penalty(tf.constant(x[1:2])), rtol=1e-6
    )
    assert part == ExpertDensity(0.5, model)
    assert part != ExpertDensity(0.5, density_model((3, 4, 1), end))


def test_climbing_an_expert_density_finds_its_mode():
    model = density_model((4,), (1,))
    mean = np.asarray(model.layers[2].mean).reshape(1, 4)
    x = tf.Variable(tf.zeros((1, 4)))
    for _ in range(300):
        with tf.GradientTape() as tape:
            penalty = ExpertDensity(1.0, model).penalty(x)
        x.assign_sub(0.1 * tape.gradient(penalty, x))
    np.testing.assert_allclose(x, mean, atol=1e-4)


def test_expert_density_runs_as_in_inference():
    model = keras.Sequential([
        keras.Input((4,)), keras.layers.Dropout(0.9), keras.layers.Dense(1)
    ])  # fmt: skip
    x = tf.ones((2, 4))
    once, again = (ExpertDensity(1.0, model).penalty(x) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, -model(x)[:, 0], rtol=1e-6)


def test_expert_density_refuses_other_models():
    wide = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"\(batch,\).*\n.*\(2, 2\)"):
        ExpertDensity(1.0, wide).penalty(tf.ones((2, 4)))
    with pytest.raises(TypeError, match=r"takes a keras\.Model"):
        ExpertDensity(1.0, lambda x: x)
    with pytest.raises(ValueError, match="not built"):
        ExpertDensity(1.0, keras.Sequential([keras.layers.Dense(1)]))
    part = ExpertDensity(1.0, density_model((4,)))
    with pytest.raises(ValueError, match="only the name is saved"):
        ExpertDensity.from_config(part.get_config())


REFUSED = [
    (lambda: L2(-1.0), ValueError, "weight=-1.0"),
    (lambda: L2("1"), TypeError, "takes a number as `weight`"),
    (lambda: L2(1.0, center=[0.0, np.nan]), ValueError, "NaN"),
    (lambda: Lp(1.0, p=0.5), ValueError, "from 1"),
    (lambda: TotalVariation(1.0, beta=3), ValueError, "beta 1, 1.5, 2"),
    (lambda: TotalVariation(np.inf), ValueError, "weight=inf"),
    (
        lambda: TotalVariation(1.0).penalty(tf.ones((2, 5))),
        ValueError,
        "`L2` or `Lp`",
    ),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_refuses_what_cannot_be_meant(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_parts_are_at_hand():
    """All that `maximize` takes is there without knowing its module."""
    for module in (conditioning, pixel_operators, regularizers, transforms):
        for name, part in vars(module).items():
            if getattr(part, "__module__", "") != module.__name__:
                continue
            if name[0].isupper() and name != "PixelOperator":
                assert getattr(synthesis, name) is part
                assert name in synthesis.__all__


@pytest.mark.parametrize("size", [32, 224])
def test_the_usual_variation_is_the_published_one(size):
    _, published = inversion.published((size, size, 3), 0.5)
    assert TotalVariation().weight == pytest.approx(published.weight, rel=0.01)
    assert TotalVariation().beta == published.beta
