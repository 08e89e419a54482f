"""The page of a calibration: what it holds, and how it looks in Chromium."""

import dataclasses
import html.parser
import re

import numpy as np
import pytest

from keras_explain import plots
from keras_explain.report import (
    CalibrationReport,
    Constants,
    Diagram,
    Measure,
)
from tests.report.conftest import EVIL

LONG = "a_very_long_name_without_a_space_" * 4
# Elements without an end.
VOID = {"meta", "img", "br", "link", "input", "hr"}


def diagram(title, value=100):
    picture = plots.to_png(np.full((32, 48, 3), value, np.uint8))
    return Diagram(title, picture, f"{title} text", f"{title} in words")


def report(**changes):
    made = CalibrationReport(
        title="Calibration of a model",
        facts=(("Model", "a.keras"), ("Fitted on", "10 samples")),
        notices=("One thing.", "Another."),
        measures=(
            Measure("Error", "a gap", 0.25, 0.0123),
            Measure("Score", "a score", 1.0, 2.5),
            Measure("Accuracy", "hits", 0.75, 0.75, is_share=True),
        ),
        diagrams=(diagram("Before"), diagram("After", 50)),
        constants=Constants("Two numbers.", ("Class", "Factor"), (("0", "2"),)),
        by_chance=0.0321,
        file="calm.keras",
    )
    return dataclasses.replace(made, **changes)


def evil():
    return report(
        title=EVIL,
        facts=((EVIL, LONG), (LONG, EVIL)),
        notices=(EVIL, LONG),
        measures=(
            Measure(EVIL, LONG, 0.1, 0.2),
            Measure(LONG, EVIL, 0.2, 0.1, is_share=True),
        ),
        diagrams=(
            dataclasses.replace(diagram("Before"), title=EVIL, alt=EVIL),
            dataclasses.replace(diagram("After"), title=LONG, text=EVIL),
        ),
        constants=Constants(
            EVIL, ("Class", "Factor"), ((EVIL, "-0.0123"), (LONG, "1.23"))
        ),
        file=f"{EVIL}{LONG}.keras",
    )


def test_says_what_was_found():
    page = report().html()
    assert page.startswith("<!doctype html>\n<html lang")
    for text in (
        "<title>Calibration of a model</title>", "a.keras", "One thing.",
        "Another.", ">0.250<", ">0.0123<", ">75.0 %<", "Two numbers.",
        ">Class 0<", 'data-name="Factor">2<', "up to 0.0321 by chance",
        'load_model("calm.keras")', "Before text", "After text",
    ):  # fmt: skip
        assert text in page, text


def test_verdicts():
    falls, rises = Measure("", "", 2.0, 1.0), Measure("", "", 1.0, 2.0)
    assert (falls.verdict, rises.verdict) == ("better", "worse")
    share = Measure("", "", 0.5, 0.6, is_share=True)
    assert share.verdict == "better"
    assert dataclasses.replace(share, after=0.4).verdict == "worse"
    # No difference that the reader can see.
    assert Measure("", "", 0.5, 0.50001).verdict == "same"
    page = report().html()
    found = re.findall(r'class="(?:hit|miss|same)">(\w+)<', page)
    assert found == ["better", "worse", "same"]


def test_pictures_are_inside_and_have_a_text():
    page = report().html()
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) == 2
    for image, alt in zip(images, ("Before", "After"), strict=True):
        assert f'alt="{alt} in words"' in image
        assert re.search(r'src="data:image/png;base64,', image)


def test_the_policy_allows_no_script_at_all():
    page = report().html()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
    }
    assert "<script" not in page


def test_without_constants_there_is_no_table():
    page = report(constants=Constants("A matrix.")).html()
    assert "A matrix." in page
    assert page.count("<table") == 1


def test_code_is_opened_if_it_may_be_there():
    assert "safe_mode" not in report().html()
    page = report(holds_code=True).html()
    assert 'load_model("calm.keras", safe_mode=False)' in page


class Nesting(html.parser.HTMLParser):
    """Notes elements that are closed in a wrong order, and used ids."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.ids, self.named = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        self.named += values.get("aria-labelledby", "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("made", [report(), evil()], ids=["usual", "evil"])
def test_elements_are_closed_and_names_lead_somewhere(made):
    parser = Nesting()
    parser.feed(made.html())
    assert parser.wrong == []
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.named) <= set(parser.ids)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "calm.html"
    path.write_text(evil().html(), encoding="utf-8")
    return path


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_does_no_harm_and_fits(visit, path, width):
    visited = visit(path, width=width)
    assert visited.said == []
    assert visited.asked == []
    page = visited.page
    assert page.evaluate("window.ran") is None
    assert page.title() == EVIL
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img[src=x]").count() == 0
    broken = page.evaluate(
        "[...document.images].filter(i => !i.complete || !i.naturalWidth)"
        ".length"
    )
    assert broken == 0


@pytest.mark.browser
def test_light_and_dark(visit, path):
    for scheme, is_dark in (("light", False), ("dark", True)):
        page = visit(path, scheme=scheme).page
        back, ink = (
            page.evaluate(f"getComputedStyle(document.body).{what}")
            for what in ("backgroundColor", "color")
        )
        assert (brightness(back) < 60) is is_dark
        assert (brightness(ink) > 200) is is_dark
        # Diagrams have dark ink in both.
        paper = page.evaluate(
            "getComputedStyle(document.images[0]).backgroundColor"
        )
        assert brightness(paper) == 255


def brightness(text):
    numbers = text[text.index("(") + 1 : -1].split(",")[:3]
    return sum(float(n) for n in numbers) / 3


@pytest.mark.browser
def test_diagrams_stand_side_by_side_or_below_each_other(visit, tmp_path):
    path = tmp_path / "calm.html"
    path.write_text(report().html(), encoding="utf-8")
    place = """[...document.querySelectorAll('figure')].map(figure => {
        const box = figure.getBoundingClientRect();
        return [box.left, box.top];
    })"""
    (left, top), (right, other) = visit(path).page.evaluate(place)
    assert right > left
    assert top == other
    first, second = visit(path, width=375).page.evaluate(place)
    assert first[0] == second[0]
    assert second[1] > first[1]


@pytest.mark.browser
def test_short_words_are_not_broken(visit, tmp_path):
    path = tmp_path / "calm.html"
    path.write_text(report().html(), encoding="utf-8")
    for width in (800, 1280):
        heights = visit(path, width=width).page.evaluate(
            "[...document.querySelectorAll('.hit, .miss, .same')]"
            ".map(e => e.getClientRects().length)"
        )
        assert heights == [1, 1, 1]
