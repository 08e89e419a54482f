"""The page of made pictures: what it holds, and how it looks in Chromium."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from keras_explain import plots
from keras_explain.report import MadePicture, SynthesisReport
from tests.report.conftest import EVIL
from tests.report.test_calibration_page import LONG, Nesting


def made(title="class 3", **changes):
    picture = plots.to_png(np.full((64, 64, 3), 100, np.uint8))
    found = MadePicture(title, picture, 12.345, (0.0, 1.0, 3.0, 4.0))
    return dataclasses.replace(found, **changes)


def gif():
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), (k, 0, 0)) for k in (0, 200)]
    frames[0].save(buffer, "gif", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def report(**changes):
    found = SynthesisReport(
        title="What a model looks for",
        facts=(("Model", "a.keras"), ("Steps", "4")),
        notices=("One thing.",),
        pictures=(made(), made("class 5")),
    )
    return dataclasses.replace(found, **changes)


def evil():
    return report(
        title=EVIL,
        facts=((EVIL, LONG), (LONG, EVIL)),
        notices=(EVIL, LONG),
        pictures=(made(EVIL), made(LONG, score=-1e9)),
        moving=gif(),
    )


def test_says_what_was_made():
    page = report().html()
    for text in (
        "<title>What a model looks for</title>", "a.keras", "One thing.",
        "<h3>class 3</h3>", "<h3>class 5</h3>", "score 12.3<",
    ):  # fmt: skip
        assert text in page, text
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) == 2
    assert 'alt="class 5, the picture that was made"' in images[1]
    assert "<details" not in page and "<script" not in page


def test_a_moving_picture_can_be_put_away():
    page = report(moving=gif()).html()
    inside = re.search(r"<details.*?</details>", page, re.DOTALL)[0]
    assert 'src="data:image/gif;base64,' in inside


def test_the_curve_rises_from_the_lower_left_to_the_upper_right():
    assert made().points == "0.0,23.0 33.3,17.5 66.7,6.5 100.0,1.0"


def test_curves_of_all_kinds():
    assert made(curve=()).points == ""
    assert made(curve=(1.0,)).points == ""
    assert made(curve=(2.0, 2.0)).points == "0.0,23.0 100.0,23.0"
    assert made(curve=(1.0, np.nan, 2.0)).points == "0.0,23.0 100.0,1.0"
    # Of many steps means are drawn.
    jumping = made(curve=tuple(k % 2 + k / 100 for k in range(1200))).points
    heights = [float(pair.split(",")[1]) for pair in jumping.split()]
    assert len(heights) == 60
    assert (np.diff(heights) < 0).all()
    assert "<svg" not in report(pictures=(made(curve=()),)).html()


@pytest.mark.parametrize("page", [report(), evil()], ids=["usual", "evil"])
def test_elements_are_closed_and_names_lead_somewhere(page):
    parser = Nesting()
    parser.feed(page.html().replace("/>", "></polyline>"))
    assert parser.wrong == []
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.named) <= set(parser.ids)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_does_no_harm_and_fits(visit, tmp_path, width):
    path = tmp_path / "made.html"
    path.write_text(evil().html(), encoding="utf-8")
    visited = visit(path, width=width)
    assert visited.said == []
    assert visited.asked == []
    page = visited.page
    assert page.evaluate("window.ran") is None
    assert page.title() == EVIL
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = page.evaluate(
        "[...document.images].filter(i => !i.complete || !i.naturalWidth)"
        ".length"
    )
    assert broken == 0
