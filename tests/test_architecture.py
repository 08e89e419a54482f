"""The house: which way imports run, and how large a room may be."""

from __future__ import annotations

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "keras_explain"
FILES = sorted(PACKAGE.rglob("*.py"))
FAMILIES = {"attribution", "calibration", "evaluation", "synthesis", "units"}

# Who may import whom, by folder; all may import the version.
MAY_IMPORT = {
    "engine": {"engine"},
    "rules": {"rules", "engine"},
    **{name: {name, "rules", "engine"} for name in FAMILIES},
    "plots": {"plots", "engine.errors", "engine.files"},
    "datasets": {"datasets", "engine.errors"},
    "report": {"report", "engine", "rules", "plots", *FAMILIES},
    "callbacks": {"callbacks", "plots", "engine", "rules", *FAMILIES},
    "cli": {"cli", "report", "datasets", "plots", "engine", "rules",
            *FAMILIES},
    "__init__.py": {"engine", "rules", *FAMILIES},
    "__main__.py": {"cli"},
    "version.py": set(),
}  # fmt: skip

# A reason for each exception: {file: (what it may import, why)}.
IMPORT_EXCEPTIONS = {
    "engine/explanation.py": (
        {"plots"},
        "an Explanation draws itself; imported in the methods that draw",
    ),
    "evaluation/result.py": (
        {"plots"},
        "an Evaluation draws itself; imported in the methods that draw",
    ),
    "synthesis/adversarial/result.py": (
        {"plots"},
        "an Adversarial draws itself; imported in the methods that draw",
    ),
    "synthesis/result.py": (
        {"plots"},
        "a Synthesis draws itself; imported in the methods that draw",
    ),
}
SIZE_EXCEPTIONS: dict[str, str] = {}
FORBIDDEN_NAMES = {"utils", "misc", "common", "helpers"}


def room(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported(path: pathlib.Path) -> set[str]:
    """Modules of ours that a file imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == "keras_explain" and rest:
                found.add(".".join(rest))
    return found


@pytest.mark.parametrize(
    "path", FILES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_run_one_way(path):
    allowed = set(MAY_IMPORT[room(path)])
    relative = str(path.relative_to(PACKAGE))
    if relative in IMPORT_EXCEPTIONS:
        allowed |= IMPORT_EXCEPTIONS[relative][0]
    for name in imported(path):
        fits = any(f"{name}.".startswith(f"{part}.") for part in allowed)
        assert fits or name.startswith("version"), (
            f"{relative} imports keras_explain.{name}"
        )


def test_rooms_have_proper_names():
    for path in FILES:
        assert not FORBIDDEN_NAMES & set(path.with_suffix("").parts)


@pytest.mark.parametrize(
    "path", FILES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_files_and_functions_are_small(path):
    relative = str(path.relative_to(PACKAGE))
    if relative in SIZE_EXCEPTIONS:
        return
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{relative} is too long"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= 50, f"{relative}: {node.name} has {lines} lines"
        a = node.args
        count = len([x for x in a.posonlyargs + a.args + a.kwonlyargs
                     if x.arg not in ("self", "cls")])  # fmt: skip
        assert count <= 7, f"{relative}: {node.name} takes {count} arguments"


def test_files_of_tests_are_small():
    for path in pathlib.Path(__file__).parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, f"{path} is too long"


def test_exceptions_are_needed_and_reasoned():
    for relative, (extra, reason) in IMPORT_EXCEPTIONS.items():
        path = PACKAGE / relative
        used = {name.split(".")[0] for name in imported(path)}
        assert extra <= used and len(reason) > 20
    for relative, reason in SIZE_EXCEPTIONS.items():
        assert len((PACKAGE / relative).read_text().splitlines()) > 400
        assert len(reason) > 20


def test_no_gradient_is_filed_for_good():
    """What `tf.custom_gradient` does under trace; see `own_gradient.py`."""
    found = [
        path.name
        for path in FILES
        if "@tf.custom_gradient" in path.read_text(encoding="utf-8")
    ]
    assert found == ["own_gradient.py"]
