"""The page as text: what it holds, what it escapes, how it is written."""

import dataclasses
import os
import re

import numpy as np
import pytest

from keras_explain import plots
from keras_explain.engine import catalogue
from keras_explain.report import Cell, Column, Prediction, Report, Row
from keras_explain.report.rendering import duration, number, percent


def png(value=100):
    return plots.to_png(np.full((8, 8, 3), value, np.uint8))


def cell(method, **changes):
    made = Cell(
        method,
        picture=png(),
        target="cat",
        score=8.25,
        layer="conv",
        seconds=0.02,
        peak=(0.25, 0.75),
        hit=True,
    )
    return dataclasses.replace(made, **changes)


def column(name, family="cam"):
    return Column(name, name.title(), family, "Somebody, 2020", "Shows.", "1 x")


def report(**changes):
    rows = (
        Row("one.png", png(), (cell("a"), cell("b", hit=False))),
        Row(
            "two.png",
            png(50),
            (cell("a", seconds=9.0, first=True), cell("b")),
            predictions=(Prediction("cat", 0.75, is_share=True),),
        ),
    )
    made = Report("Title", (column("a"), column("b", "other")), rows)
    return dataclasses.replace(made, **changes)


def test_says_what_was_found():
    page = report().html()
    assert page.startswith("<!doctype html>\n<html lang")
    for text in (
        "one.png", "two.png", "<strong>cat</strong>", "8.25", "20 ms",
        "9.0 s with compiling", "75.0 %", "2 of 2", "1 of 2",
        'alt="A of one.png for cat, peak on the object"',
        'alt="B of one.png for cat, peak off the object"',
        "left: 25.00%; top: 75.00%",
    ):  # fmt: skip
        assert text in page, text


def test_every_picture_has_a_text_and_is_inside():
    page = report().html()
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) == 2 + 2 + 4  # scales, pictures, maps
    for image in images:
        assert re.search(r'alt="[^"]+"', image)
        assert re.search(r'src="data:image/(png|jpeg);base64,', image)


def test_texts_are_escaped():
    evil = '<img src=x onerror="window.ran=1">'
    first = cell("a", target=evil, layer=evil, notes=(evil,))
    row = Row(
        evil,
        png(),
        (first, cell("b", refused=evil)),
        predictions=(Prediction(evil, 1.0),),
        facts=((evil, evil),),
    )
    page = report(
        title=evil,
        rows=(row,),
        facts=((evil, evil),),
        notices=(evil,),
        skipped=((evil, evil),),
        columns=(
            dataclasses.replace(column("a"), title=evil, options=evil),
            dataclasses.replace(column("b"), paper=evil, summary=evil),
        ),
    ).html()
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=&#34;") >= 16


def test_the_policy_allows_no_script_but_its_own():
    page = report().html()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"])


def test_what_does_not_apply_says_why():
    refused = cell("b", refused="No ReLU.\nReceived: tanh.")
    page = report(rows=(Row("one.png", png(), (cell("a"), refused)),)).html()
    assert "Not applicable: No ReLU.</div>" in page
    assert "<strong>Not applicable:</strong> No ReLU.\nReceived: tanh." in page


def test_without_a_known_object_there_is_no_verdict():
    rows = (Row("one.png", png(), (cell("a", hit=None), cell("b", hit=None))),)
    page = report(rows=rows).html()
    assert "on the object" not in page
    assert "Peak on the object" not in page


def test_methods_of_a_family_stand_together():
    columns = (column("a"), column("b", "other"), column("c"))
    rows = (Row("one.png", png(), (cell("a"), cell("b"), cell("c"))),)
    page = report(columns=columns, rows=rows).html()
    heads = re.findall(r'scope="col">(\w)</th>', page)
    assert heads == ["A", "C", "B"]
    cards = re.findall(r'class="only-cards">(\w)<', page)
    assert cards == ["A", "C", "B"]
    assert 'colspan="2" scope="colgroup">cam<' in page


def test_summary_leaves_compiling_out():
    first, second = report().summaries()
    assert (first.hits, first.judged, first.seconds) == (2, 2, 0.02)
    assert (second.hits, second.judged) == (1, 2)
    only = report(rows=report().rows[1:]).summaries()[0]
    assert (only.seconds, only.first) == (9.0, True)


def test_columns_come_from_the_catalogue():
    entry = catalogue.find("grad_cam")
    made = Column.of(entry, "num_samples=3")
    assert (made.title, made.family) == ("Grad-CAM", "cam")
    assert made.summary == entry.summary
    page = report(columns=(made, column("b"))).html()
    assert "Here with num_samples=3." in page


def test_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "index.html"
    report().write(path)
    assert path.read_text() == report().html()
    assert os.listdir(path.parent) == ["index.html"]
    with pytest.raises(OSError, match="cannot be written"):
        report().write(path / "index.html")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        report().write(tmp_path / "taken.html")
    assert not [p for p in tmp_path.rglob("*") if ".part" in p.name]


def test_file_names_that_are_no_text_are_written(tmp_path):
    rows = (Row("\udcff.png", png(), (cell("a"), cell("b"))),)
    report(rows=rows).write(tmp_path / "index.html")
    assert "?.png" in (tmp_path / "index.html").read_text()


def test_numbers_as_people_write_them():
    assert [number(x) for x in (0, 8.254, -123.4, 0.0123, 1e-7)] == [
        "0.00", "8.25", "-123", "0.0123", "1.00e-07"
    ]  # fmt: skip
    assert [percent(x) for x in (1, 0.99999, 0.5, 0.0001)] == [
        "100.0 %", "> 99.9 %", "50.0 %", "< 0.1 %"
    ]  # fmt: skip
    assert [duration(x) for x in (0.0123, 2, 600)] == [
        "12 ms", "2.0 s", "10.0 min"
    ]  # fmt: skip
