"""The examples in docstrings give what they say."""

import doctest
import importlib
import io
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_explain
from keras_explain.engine import catalogue

ROOT = Path(keras_explain.__file__).parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules():
    """Names of all modules of the package, found without importing them."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("keras_explain", *path.relative_to(ROOT).with_suffix("").parts)
        yield ".".join(parts).removesuffix(".__init__")


@pytest.fixture
def given(model, images):
    """What the examples may use."""
    return {
        "keras_explain": keras_explain,
        "keras": keras,
        "np": np,
        "model": model,
        "images": images,
    }


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples(name, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report = io.StringIO()
    names = {**vars(module), **given}
    for test in finder.find(module, name, globs=names):
        runner.run(test, out=report.write)
    assert runner.failures == 0, report.getvalue()


@pytest.mark.parametrize(
    "entry", catalogue.entries(), ids=lambda entry: entry.name
)
def test_method_docstring_is_complete(entry):
    text = entry.cls.__doc__
    for section in ("Args:", "Output shape:", "Example:", "References:"):
        assert f"\n    {section}\n" in text, section
    assert ">>> " in text
    assert "Costs" in text or "costs" in text, "what does it cost?"
    assert "https://" in text.split("References:")[1]
