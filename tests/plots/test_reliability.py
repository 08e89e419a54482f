"""A reliability diagram draws what it is given, and refuses the rest."""

from __future__ import annotations

import numpy as np
import pytest

from keras_explain.calibration import (
    ExpectedCalibrationError,
    ReliabilityDiagram,
)
from keras_explain.plots import reliability_diagram, to_png


def curve(**changed):
    found = {
        "accuracy": np.array([np.nan, 0.4, 0.7, 0.75]),
        "confidence": np.array([np.nan, 0.4, 0.6, 0.95]),
        "count": np.array([0.0, 20.0, 100.0, 400.0]),
        "edges": np.linspace(0, 1, 5),
    }
    return {**found, **changed}


def test_bars_gaps_and_counts():
    above, below = reliability_diagram(curve()).axes
    accuracy, gap = above.containers[:2]
    np.testing.assert_allclose(
        [bar.get_height() for bar in accuracy], [0, 0.4, 0.7, 0.75]
    )
    np.testing.assert_allclose(
        [bar.get_y() + bar.get_height() for bar in gap], [0, 0.4, 0.6, 0.95]
    )
    shares = [bar.get_height() for bar in below.containers[0]]
    np.testing.assert_allclose(shares, np.array([0, 20, 100, 400]) / 520)
    error = (100 * 0.1 + 400 * 0.2) / 520
    assert above.texts[0].get_text() == f"ECE {error:.3f}"


def test_a_metric_is_drawn_as_its_curve():
    diagram = ReliabilityDiagram(4)
    diagram.update_state([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    found = to_png(reliability_diagram(diagram))
    assert found == to_png(reliability_diagram(diagram.curve()))
    both = reliability_diagram({"before": diagram, "after": curve()})
    assert len(both.axes) == 4


@pytest.mark.parametrize(
    "wrong", [None, [0.2, 0.4], ExpectedCalibrationError(), {"before": None}]
)
def test_what_has_no_curve(wrong):
    with pytest.raises(TypeError, match="drawn of a curve"):
        reliability_diagram(wrong)


@pytest.mark.parametrize("count", [0.0, np.nan])
def test_no_samples(count):
    with pytest.raises(ValueError, match="no samples"):
        reliability_diagram(curve(count=np.full(4, count)))
    with pytest.raises(ValueError, match="no samples"):
        reliability_diagram(ReliabilityDiagram(4))


def test_whiskers_are_as_wide_as_chance():
    above, _ = reliability_diagram(curve()).axes
    _, _, (lines,) = above.containers[2].lines
    reach = [np.ptp(segment[:, 1]) for segment in lines.get_segments()]
    for found, p, n in zip(reach, (0.4, 0.7, 0.75), (20, 100, 400),
                           strict=True):  # fmt: skip
        expected = 2 * 1.96 * np.sqrt(p * (1 - p) / n)
        assert abs(found / expected - 1) < 0.2
    assert len(reliability_diagram(curve(), num_bootstraps=0).axes[0]
               .containers) == 2  # fmt: skip


def test_side_by_side_and_the_same_each_time():
    both = {"before": curve(), "after": curve(confidence=curve()["accuracy"])}
    figure = reliability_diagram(both, title="digits")
    assert [a.get_title() for a in figure.axes[:2]] == ["before", "after"]
    assert to_png(figure) == to_png(reliability_diagram(both, title="digits"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"accuracy": np.ones(3)}, "no confidence, count, edges"),
        (curve(count=np.ones(3)), "shapes"),
        (curve(edges=np.linspace(0, 1, 4)), "shapes"),
    ],
)
def test_what_is_no_curve(given, words):
    with pytest.raises(ValueError, match=words):
        reliability_diagram(given)


def test_level():
    with pytest.raises(ValueError, match="confidence_level"):
        reliability_diagram(curve(), confidence_level=95)
