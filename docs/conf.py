"""Builds the site: python -m sphinx -W -b html docs docs/_build/html"""

from __future__ import annotations

import os
import re
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
GENERATED = HERE / "generated"
sys.path.insert(0, str(HERE))

import methods_table  # noqa: E402

import keras_explain  # noqa: E402

_SOURCES = Path(keras_explain.__file__).parent

project = "keras_explain"
author = "The keras_explain developers"
release = version = keras_explain.__version__
project_copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated"]
default_role = "literal"
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Input shape", "returns_style"),
    ("Output shape", "returns_style"),
    ("Call arguments", "params_style"),
]

html_theme = "furo"
html_title = f"keras_explain {release}"
html_theme_options = {"navigation_with_keys": True}

_SECTION = re.compile(r"[A-Z][A-Za-z ]+:$")


def mark_formulas(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Makes literal blocks of the indented formulas in docstrings."""
    made: list[str] = []
    head = ""  # the last line that is not indented
    for number, line in enumerate(lines):
        before = lines[number - 1] if number else ""
        starts = line.startswith("    ") and not before.strip() and number
        if starts and head and not _SECTION.match(head) and head[0] not in ">.":
            if made[-2:-1] != ["::"]:
                made += ["::", ""]
            head = ""
        if line.strip() and not line.startswith(" "):
            head = line
        made.append(line)
    lines[:] = made


def write_api() -> None:
    """Writes the part of the API page that the catalogue knows."""
    parts = []
    for heading, members in methods_table.families():
        directives = "\n".join(
            f".. autoclass:: keras_explain.{entry.cls.__name__}"
            for entry in members
        )
        parts.append(f"### {heading}\n\n```{{eval-rst}}\n{directives}\n```\n")
    (GENERATED / "api_methods.md").write_text("\n".join(parts))


def run_examples() -> None:
    """Runs the examples, which write their pictures into `generated`.

    One is not run again where its picture is newer than the example and the
    library.
    """
    library = [p.stat().st_mtime for p in _SOURCES.rglob("*.py")]
    for path in sorted(EXAMPLES.glob("*.py")):
        if path.stem == "train_demo_model":  # takes minutes
            continue
        picture = GENERATED / f"{path.stem}.png"
        made = picture.stat().st_mtime if picture.exists() else 0.0
        if made > max(path.stat().st_mtime, *library):
            continue
        with mock.patch.object(sys, "argv", [str(path), str(GENERATED)]):
            with warnings.catch_warnings():
                warnings.simplefilter("error", keras_explain.ExplainWarning)
                runpy.run_path(str(path), run_name="__main__")


def setup(app: Any) -> dict[str, Any]:
    GENERATED.mkdir(exist_ok=True)
    write_api()
    run_examples()
    # Before napoleon, which turns sections into fields.
    app.connect("autodoc-process-docstring", mark_formulas, priority=100)
    return {"parallel_read_safe": True}
