"""FGSM and PGD: closed forms, a slow copy, budgets, and one trace."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_explain.synthesis import fgsm, pgd
from keras_explain.synthesis.adversarial import run as attack_run
from tests import zoo
from tests.synthesis.adversarial.victims import Net, digits, linear

WIDE = (-50.0, 50.0)


def two_classes(seed=0, features=6):
    random = np.random.default_rng(seed)
    weights = random.normal(size=(features, 2)).astype("float32")
    x = random.uniform(-1, 1, size=(8, features)).astype("float32")
    labels = (x @ weights).argmax(-1)
    away = weights[:, 1 - labels].T - weights[:, labels].T
    return weights, x, away.astype("float64")


# Closed forms: a linear model has the same gradient everywhere.


@pytest.mark.parametrize("head", ["softmax", "linear"])
def test_fgsm_of_a_linear_model(head):
    weights, x, away = two_classes()
    found = fgsm(linear(weights, head=head), x, epsilon=0.3, bounds=(-1, 1))
    expected = np.clip(x + 0.3 * np.sign(away), -1, 1)
    np.testing.assert_allclose(found.images, expected, atol=1e-6)


def test_fgsm_of_one_sigmoid_leaves_either_class():
    random = np.random.default_rng(1)
    weights = random.normal(size=(6, 1)).astype("float32")
    x = random.uniform(-1, 1, size=(8, 6)).astype("float32")
    model = linear(weights, head="sigmoid")
    labels = (x @ weights)[:, 0] > 0
    assert 0 < labels.sum() < 8
    found = fgsm(model, x, epsilon=0.2, bounds=WIDE)
    sign = np.where(labels, -1, 1)[:, None] * np.sign(weights.T)
    np.testing.assert_allclose(found.images, x + 0.2 * sign, atol=1e-6)
    np.testing.assert_array_equal(found.labels, labels)
    p = 1 / (1 + np.exp(-(found.images @ weights)[:, 0]))
    np.testing.assert_allclose(
        found.confidence, np.maximum(p, 1 - p), atol=1e-5
    )


@pytest.mark.parametrize("random_start", [True, False])
def test_pgd_of_a_linear_model_ends_in_the_corner_of_the_ball(random_start):
    weights, x, away = two_classes()
    found = pgd(linear(weights), x, epsilon=0.3, bounds=(-1, 1), steps=10,
                random_start=random_start)  # fmt: skip
    expected = np.clip(x + 0.3 * np.sign(away), -1, 1)
    np.testing.assert_allclose(found.images, expected, atol=1e-6)


@pytest.mark.parametrize("random_start", [True, False])
def test_pgd_in_l2_of_a_linear_model_ends_at_the_far_end(random_start):
    weights, x, away = two_classes()
    found = pgd(linear(weights), x, epsilon=0.7, norm="l2", bounds=WIDE,
                steps=200, step_size=0.05,
                random_start=random_start)  # fmt: skip
    expected = x + 0.7 * away / np.linalg.norm(away, axis=1, keepdims=True)
    np.testing.assert_allclose(found.images, expected, atol=1e-4)
    np.testing.assert_allclose(found.norm_l2, 0.7, atol=1e-6)


# The slow copies, in float64 and one input at a time.


def slow_fgsm(net, x, label, epsilon, bounds):
    return np.clip(x + epsilon * np.sign(net.loss_gradient(x, label)), *bounds)


def slow_pgd(net, start, label, norm, step_size):
    epsilon, steps, bounds = 0.4, 9, (-1, 1)
    x = start.copy()
    for _ in range(steps):
        g = net.loss_gradient(x, label)
        if norm == "linf":
            x = x + step_size * np.sign(g)
            change = np.clip(x - start, -epsilon, epsilon)
        else:
            change = x + step_size * g / np.linalg.norm(g) - start
            length = np.linalg.norm(change)
            change *= min(1, epsilon / length)
        x = np.clip(start + change, *bounds)
    return x


def net_inputs(net, number=12, seed=3):
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (number, 6)).astype("float32").astype("float64")
    return x, np.array([net.logits(row).argmax() for row in x])


def test_fgsm_is_the_slow_one():
    net = Net.random()
    x, labels = net_inputs(net)
    found = fgsm(net.keras(), x, epsilon=0.2, bounds=(-1, 1))
    expected = [slow_fgsm(net, a, b, 0.2, (-1, 1))
                for a, b in zip(x, labels, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found.images, expected, atol=1e-6)
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [True, False])
def test_pgd_is_the_slow_one(norm, targeted):
    net = Net.random()
    x, labels = net_inputs(net)
    wanted = (labels + 2) % net.classes if targeted else labels
    found = pgd(net.keras(), x, wanted, epsilon=0.4, norm=norm,
                step_size=0.06, steps=9, random_start=False,
                targeted=targeted, bounds=(-1, 1))  # fmt: skip
    step = -0.06 if targeted else 0.06
    expected = [slow_pgd(net, a, b, norm, step)
                for a, b in zip(x, wanted, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found.images, expected, atol=2e-5)
    after = np.array([net.logits(row).argmax() for row in expected])
    np.testing.assert_array_equal(found.predictions, after)
    reached = after == wanted if targeted else after != wanted
    np.testing.assert_array_equal(found.success, reached)


def test_pgd_of_one_step_is_fgsm():
    model, images, _ = digits()
    one = fgsm(model, images[:20], epsilon=0.1, bounds=(0, 1))
    same = pgd(model, images[:20], epsilon=0.1, step_size=0.1, steps=1,
               random_start=False, bounds=(0, 1))  # fmt: skip
    np.testing.assert_array_equal(one.images, same.images)


# What must hold on any model.


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.2, 0.3])
def test_budgets_and_bounds_are_kept_and_pgd_is_the_stronger(epsilon):
    model, images, labels = digits()
    one = fgsm(model, images, labels, epsilon=epsilon, bounds=(0, 1))
    many = pgd(model, images, labels, epsilon=epsilon, bounds=(0, 1))
    round_ball = pgd(model, images, labels, epsilon=4 * epsilon, norm="l2",
                     bounds=(0, 1))  # fmt: skip
    for found in (one, many, round_ball):
        assert found.images.min() >= 0 and found.images.max() <= 1
        assert found.accuracy <= found.original_accuracy
    assert one.norm_linf.max() <= epsilon + 1e-6
    assert many.norm_linf.max() <= epsilon + 1e-6
    assert round_ball.norm_l2.max() <= 4 * epsilon + 1e-6
    assert many.accuracy <= one.accuracy


def test_a_larger_epsilon_fools_more():
    model, images, labels = digits()
    left = [
        pgd(model, images, labels, epsilon=e, bounds=(0, 1)).accuracy
        for e in (0.02, 0.1, 0.3)
    ]
    assert left[0] > left[1] > left[2]
    assert left[0] > 0.9 and left[2] < 0.1


def test_result_is_measured_on_the_images():
    model, images, labels = digits()
    found = pgd(model, images, labels, epsilon=0.1, bounds=(0, 1))
    p = model.predict(found.images, verbose=0)
    np.testing.assert_array_equal(found.predictions, p.argmax(-1))
    np.testing.assert_allclose(found.confidence, p.max(-1), atol=1e-5)
    clean = model.predict(images, verbose=0).argmax(-1)
    np.testing.assert_array_equal(found.original_predictions, clean)
    np.testing.assert_array_equal(found.initially_correct, clean == labels)
    fooled = (p.argmax(-1) != labels) & (clean == labels)
    np.testing.assert_array_equal(found.success, fooled)
    assert found.accuracy == np.mean(p.argmax(-1) == labels)
    assert found.success_rate == fooled.sum() / (clean == labels).sum()


def test_what_is_wrong_from_the_start_is_left_alone():
    model, images, labels = digits()
    given = labels.copy()
    given[:5] = (given[:5] + 1) % 10
    found = pgd(model, images[:10], given[:10], epsilon=0.3, bounds=(0, 1))
    wrong = ~found.initially_correct
    assert wrong[:5].all() and not wrong.all()
    np.testing.assert_array_equal(found.images[wrong], images[:10][wrong])
    assert not found.success[wrong].any()
    assert (found.steps[wrong] == 0).all() and (found.steps[~wrong] > 0).all()
    assert found.success[~wrong].all() and found.success_rate == 1


def test_without_labels_the_prediction_is_left():
    model, images, _ = digits()
    own = model.predict(images, verbose=0).argmax(-1)
    found = fgsm(model, images, epsilon=0.1, bounds=(0, 1))
    given = fgsm(model, images, own, epsilon=0.1, bounds=(0, 1))
    assert found.initially_correct.all()
    np.testing.assert_array_equal(found.images, given.images)


def test_targeted_attacks_reach_their_target():
    model, images, _ = digits()
    own = model.predict(images, verbose=0).argmax(-1)
    images = images[own != 8]
    found = pgd(model, images, 8, epsilon=0.4, targeted=True, bounds=(0, 1))
    assert found.success.all() and (found.predictions == 8).all()
    assert found.accuracy == 0 and found.initially_correct.all()
    nearer = fgsm(model, images, 8, epsilon=0.05, targeted=True,
                  bounds=(0, 1))  # fmt: skip
    before = model.predict(images, verbose=0)[:, 8]
    after = model.predict(nearer.images, verbose=0)[:, 8]
    assert (after > before).mean() > 0.95


@pytest.mark.parametrize("factor", [1, 100, 10000])
def test_certainty_does_not_hide_the_gradient(factor):
    """Where `p` is rounded to one, a cross entropy has no gradient."""
    weights, x, away = two_classes()
    model = linear(weights * np.float32(factor))
    found = fgsm(model, x, epsilon=2.0, bounds=WIDE)
    expected = x + 2.0 * np.sign(away)
    np.testing.assert_allclose(found.images, expected, atol=1e-5)
    assert found.success.all()


def test_a_certain_wrong_class_counts_like_the_others():
    """`p - y` is rounded to zero for the label before the others are."""
    weights = np.array([[60.0, 0, 0], [0, 1.0, -2.0]], "float32")
    found = fgsm(linear(weights), np.array([[1.0, 0.01]]), epsilon=0.1,
                 bounds=WIDE)  # fmt: skip
    np.testing.assert_allclose(found.images, [[0.9, -0.09]], atol=1e-6)


# One image does not see the others, nor how they are batched.


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_batch_is_its_images_alone(norm):
    model, images, labels = digits()
    images, labels = images[:6], labels[:6]
    options = {"epsilon": 0.2, "norm": norm, "steps": 8, "bounds": (0, 1)}
    together = pgd(model, images, labels, **options)
    for k in range(6):
        alone = pgd(model, images[k : k + 1], labels[k : k + 1], **options)
        np.testing.assert_allclose(
            alone.images[0], together.images[k], atol=1e-5
        )


def test_batches_and_datasets_give_the_same():
    model, images, labels = digits()
    images, labels = images[:11], labels[:11]
    options = {"epsilon": 0.2, "steps": 5, "bounds": (0, 1)}
    whole = pgd(model, images, labels, **options)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(5)
    for other in (
        pgd(model, images, labels, batch_size=4, **options),
        pgd(model, data, labels, **options),
        pgd(model, iter([images[:3], images[3:]]), labels, **options),
    ):
        np.testing.assert_allclose(other.images, whole.images, atol=1e-5)
        np.testing.assert_array_equal(other.labels, whole.labels)


def test_the_same_seed_gives_the_same_images():
    model, images, _ = digits()
    options = {"epsilon": 0.2, "steps": 3, "bounds": (0, 1)}
    first = pgd(model, images[:9], seed=4, **options)
    again = pgd(model, images[:9], seed=4, **options)
    other = pgd(model, images[:9], seed=5, **options)
    np.testing.assert_array_equal(first.images, again.images)
    assert np.any(first.images != other.images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_fills_the_ball(norm):
    weights, _, _ = two_classes(features=3)
    model = linear(weights)
    x = np.zeros((1, 3), "float32")
    starts = np.concatenate(
        [
            pgd(model, x, epsilon=1.0, norm=norm, steps=1,
                step_size=1e-9, seed=k, bounds=WIDE).images
            for k in range(300)
        ]
    )  # fmt: skip
    assert np.abs(starts.mean(0)).max() < 0.15
    if norm == "linf":
        within = np.abs(starts).max(axis=1)
    else:
        within = np.linalg.norm(starts, axis=1)
    # The share of an even ball within a radius is its third power.
    assert within.max() <= 1 + 1e-6
    assert abs(np.mean(within**3) - 0.5) < 0.07


# Compiled once, whatever is asked; and nothing is left behind.


class Counted(layers.Layer):
    calls = 0

    def call(self, x):
        Counted.calls += 1
        return x


def test_it_is_traced_once():
    x = inputs = keras.Input((4,))
    x = layers.Dense(3, activation="softmax")(Counted()(x))
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).uniform(size=(7, 4))
    pgd(model, images, epsilon=0.1, bounds=(0, 1))
    before = Counted.calls
    pgd(model, images[:3], epsilon=0.2, bounds=(-1, 2), steps=7, seed=3)
    pgd(model, images, [1] * 7, epsilon=0.2, bounds=(0, 1), batch_size=2)
    assert Counted.calls == before
    pgd(model, images, epsilon=0.2, bounds=(0, 1), norm="l2")
    assert Counted.calls > before


def test_a_model_that_trains_is_followed():
    weights, x, away = two_classes()
    model = linear(weights)
    fgsm(model, x, epsilon=0.2, bounds=WIDE)
    model.set_weights([-weights, np.zeros(2)])
    found = fgsm(model, x, epsilon=0.2, bounds=WIDE)
    labels = (x @ -weights).argmax(-1)
    away = -(weights[:, 1 - labels].T - weights[:, labels].T)
    np.testing.assert_allclose(found.images, x + 0.2 * np.sign(away), atol=1e-6)


def test_the_model_is_not_changed_and_not_kept():
    built = zoo.build("nested")
    model, images = built.model, built.inputs
    del built
    before = [w.copy() for w in model.get_weights()]
    calls = {k: v for k, v in vars(model).items() if k == "call"}
    fgsm(model, images, epsilon=0.1, bounds=(-9, 9))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert calls == {k: v for k, v in vars(model).items() if k == "call"}
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_few_functions_are_kept():
    weights, x, _ = two_classes()
    model = linear(weights)
    for number in range(attack_run._MOST_FUNCTIONS + 2):
        wide = np.zeros((1, 6), "float32")
        fgsm(model, wide, epsilon=0.1, bounds=WIDE)
        attack_run._COMPILED[model][number] = (None, None)
    fgsm(model, x, epsilon=0.1, bounds=WIDE, targeted=False)
    pgd(model, x, epsilon=0.1, bounds=WIDE, steps=1)
    assert len(attack_run._COMPILED[model]) <= attack_run._MOST_FUNCTIONS
