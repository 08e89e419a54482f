"""Scalings against slow optimizers, known vectors and laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from keras_explain.calibration import optimum
from keras_explain.calibration.scaling import (
    MatrixScaling,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
)
from keras_explain.engine.errors import ExplainWarning
from tests.calibration import slow_calibration as slow

SCALINGS = (TemperatureScaling, VectorScaling, MatrixScaling, PlattScaling)


def binary(samples=400):
    noise = np.random.default_rng(5)
    z = 3 * noise.normal(size=(samples, 1))
    chance = 1 / (1 + np.exp(-(0.4 * z[:, 0] + 0.5)))
    return z, (noise.uniform(size=samples) < chance).astype(int)


def few(samples=150, classes=3):
    noise = np.random.default_rng(6)
    z = 2 * noise.normal(size=(samples, classes))
    mixed = 0.5 * z + 0.3 * z[:, [1, 2, 0]] + [0.3, 0.0, -0.5]
    return z, (mixed + noise.gumbel(size=z.shape)).argmax(1)


def test_known_temperature():
    logits = np.log([[0.2, 0.8], [0.3, 0.7]])
    found = TemperatureScaling().fit_logits(logits, [1, 0]).temperature
    assert 1 / found == pytest.approx(0.417770489, abs=1e-9)
    assert found == pytest.approx(2.3936587, abs=1e-6)


@pytest.mark.parametrize("true", [0.25, 0.5, 1, 2, 5, 20])
def test_temperature_is_recovered(true):
    z, y = slow.drawn(true, samples=20000)
    found = TemperatureScaling().fit_logits(z, y).temperature
    assert found == pytest.approx(true, rel=0.02)


@pytest.mark.parametrize("true", [0.25, 1, 20])
def test_temperature_is_the_optimum(true):
    z, y = slow.drawn(true)
    found = TemperatureScaling().fit_logits(z, y).temperature

    def slope(beta):
        p = slow.softmax(beta * z)
        return ((p * z).sum(1) - z[np.arange(len(z)), y]).mean()

    beta = optimize.brentq(slope, 1e-4, 1e4, xtol=1e-15, rtol=1e-14)
    assert found == pytest.approx(1 / beta, rel=1e-9)
    by_value = optimize.minimize_scalar(
        lambda u: slow.likelihood(slow.softmax(np.exp(u) * z), y),
        bounds=(-10, 10),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert found == pytest.approx(np.exp(-by_value.x), rel=1e-6)


def test_temperature_of_one_unit():
    z, y = binary()
    found = TemperatureScaling().fit_logits(z, y)
    best = optimize.minimize_scalar(
        lambda u: slow.likelihood(slow.softmax(np.exp(u) * z), y),
        bounds=(-10, 10),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert found.temperature == pytest.approx(np.exp(-best.x), rel=1e-6)
    p = found.calibrate(z)
    assert p.shape == (400, 1)
    expected = slow.softmax(z / found.temperature)
    np.testing.assert_allclose(p, expected, atol=1e-6)
    # Two columns, of which the first is zero, are the same problem.
    two = TemperatureScaling().fit_logits(np.hstack([0 * z, z]), y)
    assert two.temperature == pytest.approx(found.temperature, rel=1e-12)


def test_temperature_keeps_the_classes():
    z, y = slow.drawn(5)
    p = TemperatureScaling().fit_logits(z, y).calibrate(z)
    np.testing.assert_array_equal(p.argmax(1), z.astype("float32").argmax(1))


def test_temperature_does_not_depend_on_blocks(monkeypatch):
    z, y = slow.drawn(2)
    whole = optimum.temperature(z, y)[0]
    monkeypatch.setattr(optimum, "_BLOCK", 70)
    assert optimum.temperature(z, y)[0] == pytest.approx(whole, rel=1e-12)


def test_temperature_warns_without_mistakes():
    z, _ = slow.drawn(1)
    with pytest.warns(ExplainWarning, match="no mistake"):
        found = TemperatureScaling().fit_logits(z, z.argmax(1))
    assert found.temperature == pytest.approx(np.exp(-10))
    assert np.isfinite(found.calibrate(z)).all()


def test_temperature_warns_below_chance():
    z, _ = slow.drawn(1)
    with pytest.warns(ExplainWarning, match="no better than chance"):
        found = TemperatureScaling().fit_logits(z, z.argmin(1))
    assert found.temperature == pytest.approx(np.exp(10))
    assert np.isfinite(found.calibrate(z)).all()


@pytest.mark.parametrize("classes", [1, 3])
def test_temperature_warns_of_logits_that_say_nothing(classes):
    y = np.arange(20) % 2
    with pytest.warns(ExplainWarning, match="all the same"):
        found = TemperatureScaling().fit_logits(np.zeros((20, classes)), y)
    assert found.temperature == 1.0


def test_huge_logits():
    z, y = slow.drawn(2)
    found = TemperatureScaling().fit_logits(1e3 * z, y).temperature
    one = TemperatureScaling().fit_logits(z, y).temperature
    assert found == pytest.approx(1e3 * one, rel=1e-9)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("diagonal", [True, False])
def test_affine_gradient_is_that_of_differences(classes, diagonal):
    z, y = few() if classes == 3 else binary()
    loss = optimum.AffineLoss(z, y, diagonal, (0.3, 0.7))
    at = np.random.default_rng(0).normal(size=loss.start().size)
    weights, bias = loss.split(at)
    matrix = np.diag(weights) if diagonal else weights
    odir = (0.3, 0.7)
    if classes == 3:
        expected = slow.affine_loss(matrix, bias, z, y, odir)
        assert loss(at)[0] == pytest.approx(expected, rel=1e-12)
    differences = optimize.approx_fprime(at, lambda v: loss(v)[0], 1e-7)
    np.testing.assert_allclose(loss(at)[1], differences, atol=1e-6)


def test_vector_is_the_optimum():
    z, y = few()
    found = VectorScaling().fit_logits(z, y)

    def loss(v):
        return slow.affine_loss(np.diag(v[:3]), v[3:], z, y)

    best = optimize.minimize(loss, [1, 1, 1, 0, 0, 0], tol=1e-10)
    at = loss(np.append(found.weights, found.bias).astype("float64"))
    assert at == pytest.approx(best.fun, abs=2e-7)
    np.testing.assert_allclose(found.weights, best.x[:3], atol=1e-3)
    # Without a penalty a constant in the bias has no effect, and it starts
    # at zero.
    assert found.bias.sum() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("odir", [(0.2, 0.4), (5.0, 5.0)])
def test_matrix_with_odir_is_the_optimum(odir):
    z, y = few()
    found = MatrixScaling(odir=odir).fit_logits(z, y)

    def loss(v):
        return slow.affine_loss(v[:9].reshape(3, 3), v[9:], z, y, odir)

    start = np.append(np.eye(3), np.zeros(3))
    best = optimize.minimize(loss, start, tol=1e-10)
    at = loss(np.append(found.weights, found.bias).astype("float64"))
    assert at == pytest.approx(best.fun, abs=2e-7)
    np.testing.assert_allclose(found.weights.ravel(), best.x[:9], atol=1e-3)
    scores = z @ found.weights.T + found.bias
    np.testing.assert_allclose(
        found.calibrate(z), slow.softmax(scores), atol=1e-6
    )


def test_odir_shrinks_what_it_weighs():
    z, y = few()
    free = MatrixScaling().fit_logits(z, y)
    held = MatrixScaling(odir=(1e4, 1e4)).fit_logits(z, y)
    outside = ~np.eye(3, dtype=bool)
    assert np.abs(free.weights[outside]).max() > 0.05
    assert np.abs(held.weights[outside]).max() < 1e-3
    assert np.abs(held.bias).max() < 1e-3
    assert np.diag(held.weights).min() > 0.1  # not weighed


def test_matrix_warns_where_there_is_no_optimum():
    noise = np.random.default_rng(0)
    z = noise.normal(size=(6, 3))
    result = np.arange(6) % 3
    found = None
    with pytest.MonkeyPatch.context() as patch:
        # Stopped after one step, as a hopeless fit is after 2000.
        whole = optimize.minimize

        def stopped(*args, **options):
            options["options"]["maxiter"] = 1
            return whole(*args, **options)

        patch.setattr(optimize, "minimize", stopped)
        with pytest.warns(ExplainWarning, match="before its optimum"):
            found = MatrixScaling().fit_logits(z, result)
    assert np.isfinite(found.calibrate(z)).all()


def slow_platt(f, positive):
    above, below = positive.sum(), (~positive).sum()
    t = np.where(positive, (above + 1) / (above + 2), 1 / (below + 2))

    def loss(v):
        s = v[0] * f + v[1]
        return (np.logaddexp(0, s) - t * s).sum()

    return optimize.minimize(loss, [1.0, 0.0], tol=1e-10).x


def test_platt_of_one_unit():
    z, y = binary()
    found = PlattScaling().fit_logits(z, y)
    slope, intercept = slow_platt(z[:, 0], y == 1)
    assert found.slope[0] == pytest.approx(slope, abs=1e-4)
    assert found.intercept[0] == pytest.approx(intercept, abs=1e-4)
    np.testing.assert_allclose(
        found.calibrate(z), slow.softmax(slope * z + intercept), atol=1e-4
    )


def test_platt_of_separable_scores_is_finite():
    z = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    found = PlattScaling().fit_logits(z, [0, 0, 1, 1])
    slope, intercept = slow_platt(z[:, 0], np.array([0, 0, 1, 1]) == 1)
    assert found.slope[0] == pytest.approx(slope, abs=1e-4)
    assert found.intercept[0] == pytest.approx(intercept, abs=1e-4)
    # The targets are 3 / 4 and 1 / 4, and the scores are symmetric.
    assert found.calibrate(z).mean() == pytest.approx(0.5, abs=1e-6)


def test_platt_of_several_classes():
    z, y = few()
    found = PlattScaling().fit_logits(z, y)
    p = slow.softmax(z)
    odds = np.log(p / (1 - p))
    columns = []
    for k in range(3):
        slope, intercept = slow_platt(odds[:, k], y == k)
        columns.append(1 / (1 + np.exp(-slope * odds[:, k] - intercept)))
    expected = slow.normalized(np.stack(columns, 1))
    np.testing.assert_allclose(found.calibrate(z), expected, atol=1e-4)


def test_platt_does_not_see_a_constant_in_the_logits():
    z, y = few()
    found = PlattScaling().fit_logits(z, y)
    shifted = z + np.random.default_rng(0).normal(size=(len(z), 1)) * 9
    np.testing.assert_allclose(
        found.calibrate(shifted), found.calibrate(z), atol=1e-4
    )


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("data", [binary, few])
def test_scaling_lowers_the_likelihood_loss(scaling, data):
    z, y = data()
    z = 4 * z
    p = scaling().fit_logits(z, y).calibrate(z)
    if p.shape[1] > 1:
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    before = slow.likelihood(slow.softmax(z).clip(1e-30, 1 - 1e-15), y)
    assert slow.likelihood(p.astype("float64"), y) < 0.8 * before


def test_richer_scalings_fit_better():
    z, y = few()
    losses = [
        slow.likelihood(scaling().fit_logits(z, y).calibrate(z), y)
        for scaling in (TemperatureScaling, VectorScaling, MatrixScaling)
    ]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_positions_are_samples(scaling):
    z, y = few(samples=144)
    flat = scaling().fit_logits(z, y)
    placed = scaling().fit_logits(z.reshape(4, 6, 6, 3), y.reshape(4, 6, 6))
    p = placed.calibrate(z.reshape(4, 6, 6, 3))
    assert p.shape == (4, 6, 6, 3)
    np.testing.assert_array_equal(p.reshape(-1, 3), flat.calibrate(z))


@pytest.mark.parametrize("odir", [(1.0,), (-1.0, 0.0), (0.1, np.nan)])
def test_odir_is_a_pair(odir):
    with pytest.raises(ValueError, match="two penalties"):
        MatrixScaling(odir=odir)
