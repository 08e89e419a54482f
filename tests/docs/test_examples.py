"""Each example runs by itself, soon enough, and draws its picture."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# Minutes of training; the model it makes is tested with the data sets.
RUN = [path for path in EXAMPLES if path.stem != "train_demo_model"]


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_example_draws_its_picture(path, tmp_path, drawn):
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "ExplainWarning" not in done.stderr
    os.replace(tmp_path / f"{path.stem}.png", drawn / f"{path.stem}.png")
    picture = Image.open(drawn / f"{path.stem}.png").convert("RGB")
    assert min(picture.size) > 200
    colors = np.asarray(picture).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) > 10


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_example_is_short_and_says_how_to_run_it(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert lines[0].startswith('"""') and lines[0].rstrip('"').endswith("?")
    assert f"python examples/{path.name}" in lines[2]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_example_is_in_the_documentation(path):
    pages = "".join(p.read_text() for p in (ROOT / "docs").glob("*.md"))
    assert f"{{literalinclude}} ../examples/{path.name}" in pages
    assert f"(generated/{path.stem}.png)" in pages
