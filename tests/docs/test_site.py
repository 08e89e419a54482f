"""The site is built, after the examples have drawn their pictures."""

import shutil
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

DOCS = ROOT / "docs"


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path, drawn):
    pytest.importorskip("sphinx", reason="needs the extra `docs`")
    pytest.importorskip("myst_parser", reason="needs the extra `docs`")
    pytest.importorskip("furo", reason="needs the extra `docs`")
    # A copy, so that two runs at once do not write the same files.
    kept_out = shutil.ignore_patterns("_build", "generated", "__pycache__")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=kept_out)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=kept_out)
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):  # included
        shutil.copy(ROOT / name, tmp_path)
    # Examples that have run before are not run once more.
    shutil.copytree(drawn, tmp_path / "docs" / "generated")
    out = tmp_path / "html"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-b", "html", "docs", str(out)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        assert (out / f"{page.stem}.html").exists()
