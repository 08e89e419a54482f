"""Draws that depend on the seed, the step and the facet alone."""

from __future__ import annotations

import numpy as np

from keras_explain.synthesis.randomness import Randomness


def draws(random):
    return [
        np.asarray(random.normal((3,))),
        np.asarray(random.uniform((2, 2), -1.0, 1.0)),
        np.asarray(random.integers((4,), -2, 3)),
    ]


def test_rows_of_a_facet_draw_the_same_whatever_the_batch():
    batch = draws(Randomness([5, 6], [0, 1, 0, 1, 1]))
    for seed, rows in ((5, [0, 2]), (6, [1, 3, 4])):
        alone = draws(Randomness([seed], [0]))
        for together, single in zip(batch, alone, strict=True):
            for row in rows:
                np.testing.assert_array_equal(together[row], single[0])


def test_seeds_steps_streams_and_draws_differ():
    base = Randomness([5], [0])
    others = [
        Randomness([6], [0]), base.at(1), base.at(0, stream=1), base.at(1, 1),
    ]  # fmt: skip
    first = np.asarray(base.normal((50,)))
    seen = [first, np.asarray(base.normal((50,)))]
    seen += [np.asarray(other.normal((50,))) for other in others]
    for k, one in enumerate(seen):
        for two in seen[k + 1 :]:
            assert abs(np.corrcoef(one[0], two[0])[0, 1]) < 0.5
    np.testing.assert_array_equal(first, base.at(0).normal((50,)))


def test_distributions():
    random = Randomness([1], [0])
    normal = np.asarray(random.normal((20000,), 3.0))
    assert abs(normal.std() - 3) < 0.05 and abs(normal.mean()) < 0.1
    uniform = np.asarray(random.uniform((20000,), 2.0, 4.0))
    assert uniform.min() >= 2 and uniform.max() < 4
    assert abs(uniform.mean() - 3) < 0.02
    integers = np.asarray(random.integers((20000,), -2, 3))
    assert sorted(np.unique(integers)) == [-2, -1, 0, 1, 2]
