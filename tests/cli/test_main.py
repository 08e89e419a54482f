"""The command itself: help, exit codes, and errors nobody foresaw."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from keras_explain.cli.failures import CommandError, shown
from keras_explain.cli.main import main
from keras_explain.version import __version__
from tests.cli.conftest import START, write_picture


def test_help(run):
    code, printed, _ = run("--help")
    assert code == 0
    for command in ("demo", "explain", "methods", "layers"):
        assert f"\n    {command} " in printed


def test_version(run):
    code, printed, _ = run("--version")
    assert (code, printed) == (0, f"keras-explain {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["expalin"], ["explain"], ["explain", "model"]]
)
def test_wrong_usage(run, arguments):
    code = main(arguments)
    assert code == 2


def test_a_progress_bar_for_who_sees_it(model_file, pictures, out):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "explain", model_file, pictures,
         "--out", out, "--method", "gradient"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown_there = b""
    with contextlib.suppress(OSError):  # the other end closes
        while part := os.read(ours, 4096):
            shown_there += part
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Images" in shown_there
    assert b"3/3" in shown_there
    assert printed.decode().strip() == str(out / "index.html")


def test_debug_shows_where_an_error_happened(tmp_path):
    model = str(tmp_path / "no.keras")
    write_picture(tmp_path / "a.png")
    with pytest.raises(CommandError, match="no such model file"):
        main(
            ["explain", model, str(tmp_path), "--debug", "--out",
             str(tmp_path / "out")]
        )  # fmt: skip


def test_an_error_nobody_foresaw_is_no_traceback(
    run, model_file, pictures, out
):
    # A folder where a file has to go.
    (out / "index.html").mkdir(parents=True)
    code, printed, news = run("explain", model_file, pictures)
    assert code == 2
    assert "cannot be written" in news
    assert printed == ""


def test_names_are_safe_to_print():
    assert shown("caf\u00e9 [red].png") == "caf\u00e9 [red].png"
    assert "\x1b" not in shown("\x1b[31mred")
    assert shown(b"\xff.png".decode(errors="surrogateescape")) == "\ufffd.png"
