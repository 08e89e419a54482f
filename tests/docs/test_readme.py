"""The README says what is so, and what it tells to type works."""

import importlib
import re
import shlex
import sys
import tomllib

import pytest

from keras_explain.version import __version__
from tests.docs.pages import ROOT, blocks, commands


@pytest.fixture
def methods_table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    yield importlib.import_module("methods_table")
    sys.modules.pop("methods_table")


@pytest.mark.parametrize("page", ["README.md", "docs/choosing_a_method.md"])
def test_tables_of_methods_are_current(methods_table, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    made = methods_table.updated(text, methods_table.PAGES[page]())
    assert text == made, "Run: python docs/methods_table.py --write"


def test_each_method_is_in_the_readme_once(methods_table):
    table = methods_table.readme_table()
    for entry in methods_table.entries():
        assert table.count(f"`{entry.cls.__name__}`") == 1


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("demo", ["python -m pip install", "keras-explain demo"]),
        ("test", ["python -m pip install", "python -m pytest"]),
    ],
)
def test_readme_commands_are_one_line(name, programs):
    lines = commands(name)
    assert len(lines) == 1
    parts = lines[0].split(" && ")
    assert len(parts) == len(programs)
    for part, program in zip(parts, programs, strict=True):
        assert part.startswith(program)
        assert shlex.split(part)


def test_readme_demo_command_is_known():
    from keras_explain.cli.main import parser

    words = shlex.split(commands("demo")[0].split(" && ")[1])
    assert words[0] == "keras-explain"
    assert parser().parse_args(words[1:]).command == "demo"


def test_readme_test_command_names_an_extra():
    install = shlex.split(commands("test")[0].split(" && ")[0])
    assert install[-1] == ".[test]"
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert re.search(r"^test =$", setup, re.MULTILINE)


def test_readme_example_is_six_lines():
    (_, _, code), *_ = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 6


def test_readme_picture_is_small():
    picture = ROOT / "docs" / "images" / "readme.png"
    assert picture.stat().st_size < 300_000


def test_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [__version__]


def test_changelog_has_the_version_or_is_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^]]+)\]", text, re.MULTILINE)
    assert headings[0] in ("Unreleased", __version__)


def test_distribution_and_command_names():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    name = re.search(r"^name = (.*)$", setup, re.MULTILINE)[1]
    assert f"`{name}`" in readme
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
