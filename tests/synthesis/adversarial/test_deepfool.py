"""DeepFool: closed form, a slow copy, and how near it comes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain.synthesis import deepfool, fgsm
from tests import zoo
from tests.synthesis.adversarial.victims import Net, digits, linear

WIDE = (-50.0, 50.0)


def nearest(weights, bias, x, label, candidates=None):
    """The shortest way over a boundary of a linear model."""
    scores = x @ weights + bias
    ways = []
    for k in range(weights.shape[1]):
        if k == label or (candidates is not None and k not in candidates):
            continue
        w = weights[:, k] - weights[:, label]
        ways.append((scores[label] - scores[k]) / (w @ w) * w)
    return min(ways, key=np.linalg.norm)


@pytest.fixture
def problem():
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, 5))
    bias = random.normal(size=5)
    x = random.uniform(-1, 1, size=(10, 6))
    return weights, bias, x, (x @ weights + bias).argmax(-1)


@pytest.mark.parametrize("overshoot", [0.02, 0.3])
@pytest.mark.parametrize("head", ["softmax", "linear"])
def test_a_linear_model_takes_one_step_of_known_length(
    problem, overshoot, head
):
    weights, bias, x, labels = problem
    model = linear(weights, bias, head)
    found = deepfool(model, x, overshoot=overshoot, bounds=WIDE)
    ways = np.array([nearest(weights, bias, a, b)
                     for a, b in zip(x, labels, strict=True)])  # fmt: skip
    np.testing.assert_allclose(
        found.images, x + (1 + overshoot) * ways, atol=2e-6
    )
    np.testing.assert_allclose(
        found.norm_l2,
        (1 + overshoot) * np.linalg.norm(ways, axis=1),
        atol=2e-6,
    )
    assert found.success.all() and (found.steps == 1).all()


def test_one_sigmoid_has_one_boundary():
    random = np.random.default_rng(1)
    w, b = random.normal(size=(6, 1)), np.array([0.3])
    x = random.uniform(-1, 1, size=(8, 6))
    found = deepfool(linear(w, b, "sigmoid"), x, bounds=WIDE)
    # The paper's binary case: -f(x) / |w|^2 * w.
    ways = -(x @ w + b) / (w.T @ w) * w.T
    np.testing.assert_allclose(found.images, x + 1.02 * ways, atol=2e-6)
    assert found.success.all()
    assert set(found.labels) == {0, 1}


def test_only_the_leading_candidates_are_looked_at(problem):
    weights, bias, x, labels = problem
    model = linear(weights, bias)
    deepfool(model, x, bounds=WIDE)  # with its own compiled function
    found = deepfool(model, x, num_candidates=3, bounds=WIDE)
    order = np.argsort(-(x @ weights + bias), axis=1)
    rows = zip(x, labels, order, strict=True)
    ways = np.array([nearest(weights, bias, a, b, c[:3]) for a, b, c in rows])
    every = np.array([nearest(weights, bias, a, b)
                      for a, b in zip(x, labels, strict=True)])  # fmt: skip
    assert np.abs(ways - every).max() > 0.01
    np.testing.assert_allclose(found.images, x + 1.02 * ways, atol=2e-6)


def test_a_target_is_reached_over_the_boundary_with_the_leader(problem):
    weights, bias, x, labels = problem
    target = (labels + 1) % 5
    found = deepfool(linear(weights, bias), x, target, targeted=True,
                     bounds=WIDE)  # fmt: skip
    assert found.success.all()
    np.testing.assert_array_equal(found.predictions, target)
    first = []
    for a, b, c in zip(x, labels, target, strict=True):
        w = weights[:, c] - weights[:, b]
        scores = a @ weights + bias
        first.append(a + 1.02 * (scores[b] - scores[c]) / (w @ w) * w)
    one = found.steps == 1
    assert one.any()
    np.testing.assert_allclose(
        found.images[one], np.array(first)[one], atol=2e-6
    )


def slow_deepfool(net, x, overshoot, max_steps, bounds):
    """Algorithm 2 of the paper in float64, clipped."""
    start = net.logits(x)
    label = int(start.argmax())
    for step in range(max_steps):
        logits, jacobian = net.run(x)
        if logits.argmax() != label:
            return x, step
        best, way = np.inf, None
        for k in range(len(logits)):
            if k == label:
                continue
            w = jacobian[k] - jacobian[label]
            # What is at a bound cannot move further.
            w[(x <= bounds[0]) & (w < 0) | (x >= bounds[1]) & (w > 0)] = 0
            f = logits[k] - logits[label]
            if abs(f) / np.linalg.norm(w) < best:
                best = abs(f) / np.linalg.norm(w)
                way = abs(f) / np.linalg.norm(w) ** 2 * w
        x = np.clip(x + (1 + overshoot) * way, *bounds)
    return x, max_steps


@pytest.mark.parametrize("bounds", [WIDE, (-1.0, 1.0)])
def test_it_is_the_slow_one(bounds):
    net = Net.random(seed=2)
    random = np.random.default_rng(5)
    x = random.uniform(-1, 1, (20, 6)).astype("float32").astype("float64")
    found = deepfool(net.keras(), x, max_steps=30, bounds=bounds)
    slow = [slow_deepfool(net, row, 0.02, 30, bounds) for row in x]
    expected = np.array([image for image, _ in slow])
    np.testing.assert_allclose(found.images, expected, atol=2e-4)
    np.testing.assert_array_equal(found.steps, [steps for _, steps in slow])
    assert len(set(found.steps)) > 1 and found.success.all()


def test_clipping_does_not_take_the_overshoot():
    """With one of two values at its bound the other goes all the way."""
    weights = np.array([[1.0, -1.0], [1.0, -1.0]])
    found = deepfool(linear(weights), np.array([[0.0, 0.4]]), overshoot=0.1,
                     bounds=(0, 1), max_steps=2)  # fmt: skip
    # From 0.4 by 0.4 and a tenth of it would leave the bounds as well.
    assert not found.success[0]
    bias = np.array([-0.2, 0.0])
    found = deepfool(linear(weights, bias), np.array([[0.0, 0.4]]),
                     overshoot=0.1, bounds=(0, 1))  # fmt: skip
    np.testing.assert_allclose(found.images, [[0, 0.4 - 1.1 * 0.3]], atol=1e-6)
    assert found.success[0] and found.steps[0] == 1


def test_digits_are_all_fooled_and_from_nearer_than_by_fgsm():
    model, images, labels = digits()
    found = deepfool(model, images, labels, bounds=(0, 1))
    tried = found.initially_correct
    assert found.success[tried].all() and found.success_rate == 1
    assert found.images.min() >= 0 and found.images.max() <= 1
    lengths = np.full(len(images), np.inf)
    for epsilon in np.linspace(0.02, 0.4, 20):
        other = fgsm(model, images, labels, epsilon=epsilon, bounds=(0, 1))
        new = other.success & np.isinf(lengths)
        lengths[new] = other.norm_l2[new]
    assert np.median(found.norm_l2[tried]) < 0.7 * np.median(lengths[tried])
    assert 0.05 < found.relative_l2[tried].mean() < 0.3


def test_targets_of_digits_are_reached():
    model, images, _ = digits()
    own = model.predict(images, verbose=0).argmax(-1)
    images = images[own != 4][:40]
    found = deepfool(model, images, 4, targeted=True, bounds=(0, 1))
    assert found.success.all() and (found.predictions == 4).all()


def test_an_image_that_is_not_fooled_says_so():
    model, images, labels = digits()
    found = deepfool(model, images, labels, max_steps=1, bounds=(0, 1))
    assert 0 < found.success.sum() < found.initially_correct.sum()
    held = found.predictions == labels
    np.testing.assert_array_equal(
        found.success, found.initially_correct & ~held
    )


def test_a_batch_is_its_images_alone():
    model, images, labels = digits()
    images, labels = images[:5], labels[:5]
    together = deepfool(model, images, labels, bounds=(0, 1))
    assert len(set(together.steps)) > 1
    for k in range(5):
        alone = deepfool(model, images[k : k + 1], labels[k : k + 1],
                         bounds=(0, 1))  # fmt: skip
        np.testing.assert_allclose(
            alone.images[0], together.images[k], atol=1e-5
        )
        # Rounding may take a last short step, or not.
        assert abs(alone.steps[0] - together.steps[k]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["nested", "subclassed", "sigmoid", "vision_transformer", "series"]
)
def test_other_kinds_of_classifiers(name):
    built = zoo.build(name)
    found = deepfool(built.model, built.inputs, bounds=(-20, 20))
    assert found.success.all()
