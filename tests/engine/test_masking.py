"""Hidden parts: what takes their place, and the score under many masks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_explain as ke
from keras_explain.engine import fills, sampling
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.masking import Masked, blend
from tests import zoo


@pytest.mark.parametrize("rows", [1, 4, 7, 100])
@pytest.mark.parametrize("number", [1, 5, 12])
def test_collect_is_in_order(rows, number):
    sizes = []

    def squares(ids):
        sizes.append(ids.shape)
        return tf.stack([ids * ids, -ids], 1)

    found = tf.function(
        lambda: sampling.collect(squares, number, rows, tf.constant(2))
    )()
    expected = np.arange(number)
    np.testing.assert_array_equal(found, np.stack([expected**2, -expected], 1))


def test_mean_zero_and_numbers():
    x = tf.constant(zoo.images(2))
    mean = np.asarray(x).mean((1, 2), keepdims=True)
    found = fills.filled("mean", x)
    np.testing.assert_allclose(found, np.broadcast_to(mean, x.shape), rtol=1e-5)
    np.testing.assert_array_equal(fills.filled("zero", x), 0 * x)
    np.testing.assert_array_equal(fills.filled(2.5, x), 0 * x + 2.5)
    table = tf.constant([[1.0, 3.0], [2.0, 6.0]])
    np.testing.assert_array_equal(fills.filled("mean", table), [[2, 2], [4, 4]])


def test_blur_is_a_gaussian_that_keeps_a_constant():
    x = zoo.images(1)
    sigma = 0.1 * 8
    cells = np.arange(8)
    weights = np.exp(-((cells[:, None] - cells) ** 2) / (2 * sigma**2))
    weights /= weights.sum(1, keepdims=True)
    expected = np.einsum("ia,jb,nabc->nijc", weights, weights, x)
    np.testing.assert_allclose(fills.filled("blur", tf.constant(x)), expected,
                               rtol=1e-4, atol=1e-6)  # fmt: skip
    ones = tf.ones((1, 8, 5, 2))
    np.testing.assert_allclose(fills.filled("blur", ones), ones, rtol=1e-6)


def test_values_of_a_sample():
    x = tf.constant(zoo.images(2))
    array = np.arange(8 * 8 * 3, dtype="float32").reshape(8, 8, 3)
    given = fills.fill_arguments(array, x, None)["fill"]
    np.testing.assert_array_equal(
        fills.filled(array, x, given), np.stack([array, array])
    )
    assert fills.fill_arguments("mean", x, None) == {}
    assert fills.fill_arguments(0, x, None) == {}


def test_refused_fills():
    with pytest.raises(ValueError, match="no such fill.*\n.*'men'.*\n.*'mean'"):
        fills.check_fill("men")
    tokens = tf.constant([[1, 2, 3]])
    with pytest.raises(ValueError, match="no mean and no blur"):
        fills.filled("blur", tokens)
    np.testing.assert_array_equal(fills.filled(9, tokens), [[9, 9, 9]])
    given = {"fill": tf.zeros((2, 4))}["fill"]
    with pytest.raises(ValueError, match="does not fit the outputs"):
        fills.filled(np.zeros(4), tf.constant(zoo.images(2)), given)


def test_blend():
    x, fill = tf.constant([[1.0, 2.0]]), tf.constant([[10.0, 20.0]])
    masks = tf.constant([[[1.0, 0.0]], [[0.5, 1.0]]])
    np.testing.assert_array_equal(
        blend(x, fill, masks), [[[1, 20]], [[5.5, 2]]]
    )
    tokens = tf.constant([[1, 2]])
    found = blend([x, tokens], [fill, 0 * tokens], [None, masks])
    np.testing.assert_array_equal(found[0], [[[1, 2]], [[1, 2]]])
    np.testing.assert_array_equal(found[1], [[[1, 0]], [[1, 2]]])
    other = tf.constant([[[10.0, 20.0]], [[-1.0, 7.0]]])
    np.testing.assert_array_equal(blend(x, other, masks), [[[1, 20]], [[0, 2]]])


class Halves(Explainer):
    """Scores with the left or the right half hidden, and more."""

    fill = "mean"

    def _attribute(self, function):
        at = function.evaluate()
        function = function.settled(at.indices)
        masked = Masked(function, at, fills.filled(self.fill, at.point))

        def masks(ids):
            size = at.point.shape[2]
            left = tf.cast(tf.range(size) < size // 2, tf.float32)
            kept = tf.stack([left, 1 - left, 1 + 0 * left])
            return tf.gather(kept, ids % 3)[:, None, None, :, None]

        scores = masked.collect(masks, 7, self.batch_size)
        return Attribution(at.point, at, details={
            "scores": tf.transpose(scores), "pair": [at.score, -at.score],
        })  # fmt: skip


@pytest.mark.parametrize("layer", [None, "conv1"])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_scores_under_masks(layer, batch_size, tmp_path):
    specimen = zoo.build("functional")
    explainer = Halves(specimen.model, layer=layer)
    explainer.batch_size = batch_size
    found = explainer.explain(specimen.inputs, 3, batch_size=1)
    scores = found.details["scores"]
    assert scores.shape == (2, 7)
    np.testing.assert_allclose(scores[:, 2], found.scores, rtol=1e-5)
    # Of equal rows, which may lie at other places of a chunk.
    np.testing.assert_allclose(scores[:, :3], scores[:, 3:6], rtol=1e-6)
    if layer is None:
        x = specimen.inputs.copy()
        mean = x.mean((1, 2), keepdims=True)
        x[:, :, 4:] = mean
        # The softmax is left out: the model's own logits.
        expected = ke.Gradient(specimen.model).explain(x, 3).scores
        np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-4)
    np.testing.assert_array_equal(found.details["pair"][1], -found.scores)

    found.save(tmp_path / "a.npz")
    again = ke.Explanation.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.details["scores"], scores)
    np.testing.assert_array_equal(found[1].details["scores"], scores[1:])
