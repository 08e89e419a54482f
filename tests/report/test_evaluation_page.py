"""The page of a comparison: what it holds, and how it looks in Chromium."""

import dataclasses
import math
import re

import numpy as np
import pytest

from keras_explain import plots
from keras_explain.report.evaluation import (
    CurvePicture,
    EvaluationReport,
    Judged,
    JudgedBy,
    Judgement,
    measured,
)
from tests.report.conftest import EVIL
from tests.report.test_calibration_page import LONG, Nesting


def cell(mean, rank=1.0, valid=10, **changes):
    return Judgement(mean, 0.0123, valid, 10, rank, **changes)


MEASURES = (
    JudgedBy("pointing", "Pointing game", True, "hits", "one pixel", "a=1"),
    JudgedBy("deletion", "Deletion", False, "area", "zeros", ranked=False),
)
PICTURE = plots.to_png(np.full((32, 48, 3), 100, np.uint8))


def report(**changes):
    found = EvaluationReport(
        title="Whom to believe",
        facts=(("Model", "a.keras"), ("Samples", "10")),
        notices=("One thing.",),
        measures=MEASURES,
        methods=(
            Judged("first", "First", 1.5,
                   (cell(0.75, best=True), cell(0.25, valid=7)),
                   seconds=0.25, options="n=3", notes=("Of note.",)),
            Judged("second", "Second", 2.0,
                   (cell(0.7, 2.0, close=True), Judgement(refused="no sum"))),
            Judged("random", "Random", None, (cell(0.1, 2.5), cell(12345.6)),
                   is_baseline=True, seconds=1e-3),
        ),
        curves=(CurvePicture("Deletion", "Lower is better.", PICTURE),),
        left_out=(("Third", "It does not fit.\nReally."),),
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def evil():
    measures = tuple(
        dataclasses.replace(m, title=t, text=t, caveat=LONG, settings=EVIL)
        for m, t in zip(MEASURES, (EVIL, LONG), strict=True)
    )
    missing = Judgement(refused=EVIL)
    return report(
        title=EVIL,
        facts=((EVIL, LONG), (LONG, EVIL)),
        notices=(EVIL, LONG),
        measures=measures,
        methods=tuple(
            Judged(name, name, 1e9, (cell(-1e9, 1.0), missing),
                   options=EVIL, notes=(LONG, EVIL))
            for name in (EVIL, LONG)
        ),
        curves=(CurvePicture(EVIL, LONG, PICTURE),),
        left_out=((EVIL, LONG), (LONG, EVIL)),
    )  # fmt: skip


def rows(page):
    """The cells of the ranking as plain text."""
    table = re.search(r'<table class="rank".*?</table>', page, re.DOTALL)[0]
    found = []
    for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL):
        cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        plain = [re.sub(r"<[^>]*>", " ", text) for text in cells]
        found.append([" ".join(text.split()) for text in plain])
    return found


def test_the_table():
    assert rows(report().html()) == [
        ["Method", "Mean rank low is good", "Pointing game high is good",
         "Deletion low is good, not ranked", "Time for one explanation"],
        ["First", "1.5", "0.750 ± 0.012, best",
         "0.250 ± 0.012 (7 of 10), rank 1", "250 ms"],
        ["Second", "2.0", "0.700 ± 0.012, ≈ best", "-", "-"],
        ["Random knows nothing of the model", "-", "0.100 ± 0.012, rank 2.5",
         "12346 ± 0.012, rank 1", "1 ms"],
    ]  # fmt: skip


def test_says_the_rest():
    page = report().html()
    for text in (
        "<title>Whom to believe</title>", "One thing.", "hits", "one pixel",
        "zeros", "a=1", "n=3", "Of note.", "It does not fit.\nReally.",
        'title="no sum"', "Lower is better.",
    ):  # fmt: skip
        assert text in page, text
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    # Only what there is something to say about.
    told = re.search(r'id="methods".*?</table>', page, re.DOTALL)[0]
    assert "Second" not in told and "First" in told


def test_sections_without_contents_are_not_there():
    bare = report(curves=(), left_out=(), methods=report().methods[1:]).html()
    for name in ("curves", "left", "methods"):
        assert f'id="{name}"' not in bare
        assert f'id="{name}"' in report().html()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.12345, "0.123"), (-0.5, "-0.500"), (9.9994, "9.999"),
     (12.345, "12.3"), (5.4e6, "5.40e+06"), (3e-7, "3.00e-07"),
     (math.nan, "-")],
)  # fmt: skip
def test_numbers(value, text):
    assert measured(value) == text


@pytest.mark.parametrize("page", [report(), evil()], ids=["usual", "evil"])
def test_elements_are_closed_and_names_lead_somewhere(page):
    parser = Nesting()
    parser.feed(page.html())
    assert parser.wrong == []
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.named) <= set(parser.ids)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_does_no_harm_and_fits(visit, tmp_path, width):
    path = tmp_path / "evaluation.html"
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


@pytest.mark.browser
def test_heads_stay_in_sight(visit, tmp_path):
    many = report(methods=report().methods * 20)
    path = tmp_path / "evaluation.html"
    path.write_text(many.html(), encoding="utf-8")
    page = visit(path, width=500).page
    top, left = page.evaluate(
        """() => {
        const box = document.querySelector('.scroll');
        box.scrollTo(120, 600);
        const edge = box.getBoundingClientRect();
        const top = document.querySelector('.rank thead th');
        const side = [...document.querySelectorAll('.rank tbody th')].at(-1);
        return [top.getBoundingClientRect().top - edge.top,
                side.getBoundingClientRect().left - edge.left];
    }"""
    )
    assert abs(top) < 3
    assert abs(left) < 3
