"""`keras-explain demo`, as a person would run it for the first time."""

import re

import pytest

from keras_explain import datasets
from keras_explain.engine import catalogue
from tests.cli.conftest import start


@pytest.mark.slow
def test_demo(tmp_path):
    process = start("demo", cwd=tmp_path)
    printed, news = process.communicate(timeout=400)
    assert process.returncode == 0, news
    path = tmp_path / "explanations" / "index.html"
    assert printed.strip() == str(path)
    page = path.read_text()
    entries = catalogue.entries()
    assert page.count('scope="row"') == 8 + len(entries)
    for entry in entries:
        assert page.count(f'alt="{entry.title} of ') == 8
    for name in datasets.CLASS_NAMES:
        assert f"<strong>{name}</strong>" in page
    hits = page.count("on the object</span>")
    misses = page.count("off the object</span>")
    assert hits + misses == 8 * len(entries)
    # The classes are seen, so most peaks are on the objects.
    assert hits > 2 * misses
    totals = re.findall(r"(\d+) of 8</td>", page)
    assert sum(map(int, totals)) == hits
    assert "stage3_block2_out" in page
    assert "num_samples=16" in page
    assert {p.name for p in path.parent.iterdir()} == {"index.html"}


def test_number_of_pictures(run, out):
    code, _, news = run("demo", "--pictures", "0")
    assert code == 2
    assert "--pictures must be at least 1" in news
