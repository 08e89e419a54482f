"""The pages are complete, their links lead somewhere and their code runs."""

import ast
import re
import shlex

import pytest

import keras_explain
from keras_explain import (
    calibration,
    callbacks,
    datasets,
    evaluation,
    plots,
    synthesis,
    units,
)
from keras_explain.engine import catalogue
from tests.docs.pages import PAGES, ROOT, SHORT, blocks, run_page
from tests.marking import slow_but

DOCS = ROOT / "docs"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors of the headings of a page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_resolve(page):
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        if name.startswith("generated/"):  # made by the build, by examples
            example = ROOT / "examples" / f"{name[10:-4]}.py"
            assert example.exists(), link
            continue
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_a_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        if page.stem != "index":
            assert re.search(rf"^{page.stem}$", index, re.MULTILINE), page


@pytest.mark.parametrize(
    "page", slow_but(SHORT, PAGES), ids=lambda page: page.stem
)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Pages that add a method must not add it for the tests that follow.
    entries = dict(catalogue._ENTRIES)
    monkeypatch.setattr(catalogue, "_ENTRIES", entries)
    run_page(page)


def test_catalogue_is_in_choosing_a_method():
    page = (DOCS / "choosing_a_method.md").read_text(encoding="utf-8")
    for entry in catalogue.entries():
        assert f"`{entry.name}`" in page
        assert f"keras_explain.{entry.cls.__name__}`" in page


@pytest.mark.parametrize(
    "module",
    [
        keras_explain,
        calibration,
        callbacks,
        plots,
        datasets,
        evaluation,
        synthesis,
        units,
    ],
)
def test_public_names_are_documented(module):
    # What the catalogue holds is added to the page by the build.
    documented = {
        f"keras_explain.{entry.cls.__name__}" for entry in catalogue.entries()
    }
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    directive = r"^\.\. (?:auto\w+|py:data):: (keras_explain\.[\w.]+)$"
    documented |= set(re.findall(directive, page, re.MULTILINE))
    public = {f"{module.__name__}.{name}" for name in module.__all__}
    assert public <= documented, public - documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_free_of_machine_paths(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(home|work|root|tmp|Users)/", text)


DOCUMENTED = ("engine", "attribution/perturbation",
              "attribution/surrogate", "calibration", "callbacks",
              "evaluation", "synthesis")  # fmt: skip


def first_lines(folder):
    """The fixed part of each message of a folder, as far as it goes."""
    for path in sorted((ROOT / "keras_explain" / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func)
            if called == "message" and node.args:
                text = node.args[0]
                pieces = getattr(text, "values", [text])
                fixed = [p.value for p in pieces if isinstance(p, ast.Constant)]
                if fixed:
                    yield max(fixed, key=len).strip()


@pytest.mark.parametrize("folder", DOCUMENTED)
def test_errors_are_documented(folder):
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    page = page.replace("\\*", "*")
    missing = [line for line in first_lines(folder) if line not in page]
    assert not missing


def test_commands_in_the_pages_are_known(capsys):
    from keras_explain.cli.main import parser

    for page in PAGES:
        for _, _, code in blocks(page, "shell"):
            for line in code.splitlines():
                words = shlex.split(line)
                if words and words[0] == "keras-explain":
                    assert parser().parse_args(words[1:]).command, line
