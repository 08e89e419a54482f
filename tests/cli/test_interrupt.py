"""Ctrl-C: what is done stays, nothing is left half written, and it goes on."""

import re
import signal
import time

import pytest

from keras_explain.engine.interruption import between_steps
from tests.cli.conftest import start, write_picture


@pytest.mark.slow
def test_interrupted_and_started_again(run, model_file, tmp_path, out):
    folder = tmp_path / "many"
    folder.mkdir()
    number = 200
    for k in range(number):
        write_picture(folder / f"{k}.png", seed=k, size=(16, 16))
    command = ["explain", model_file, folder, "--method", "saliency"]
    process = start(*command, "--out", out)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*/result.json"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    printed, news = process.communicate(timeout=60)
    assert process.returncode == 130, news
    assert printed == ""
    assert "Traceback" not in news
    said = re.search(r"Done: (\d+) of 200 images", news)
    assert said, news
    assert "Run the same command again" in news

    finished = {p: p.stat().st_mtime_ns for p in out.glob("*/*")}
    folders = [p for p in out.iterdir() if p.is_dir()]
    assert 3 <= len(folders) == int(said[1]) < number
    for one in folders:
        names = {p.name for p in one.iterdir()}
        assert names == {
            "picture.png", "saliency.png", "saliency.npz", "result.json"
        }  # fmt: skip

    code, _, news = run(*command)
    assert code == 0
    assert f"Done already: {said[1]} of 200" in news
    assert "The report shows 200 images" in news
    after = {p: p.stat().st_mtime_ns for p in finished}
    assert after == finished
    assert len(list(out.glob("*/result.json"))) == number
    assert not [p for p in out.rglob("*") if ".part" in p.name]


FULL = (
    "import resource, sys\n"
    "from keras_explain.cli.main import main\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    "sys.exit(main())\n"
)


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(model_file, tmp_path, out):
    # The system refuses files of more than 2,000 bytes: the picture can be
    # written, and then the explanation cannot.
    picture = write_picture(tmp_path / "a.png", size=(16, 16))
    process = start(
        "explain", model_file, picture, "--method", "saliency", "--out", out,
        code=FULL,
    )  # fmt: skip
    printed, news = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "File too large" in news
    assert "Traceback" not in news
    assert printed == ""
    assert list(out.iterdir()) == []


def test_what_a_killed_run_left_is_cleared(run, model_file, pictures, out):
    command = ["explain", model_file, pictures / "a.png"]
    command += ["--method", "grad_cam"]
    run(*command)
    (result,) = out.glob("*/result.json")
    result.unlink()
    (result.parent / "tmpabc.part").write_text("half")
    (result.parent / ".grad_cam.png.0.part").write_text("half")
    assert run(*command)[0] == 0
    assert result.exists()
    assert not [p for p in out.rglob("*") if ".part" in p.name]


def test_the_second_interrupt_does_not_wait(capfd):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with between_steps() as check:
            check()
            signal.raise_signal(signal.SIGINT)
            assert "Ctrl-C again stops at once" in capfd.readouterr().err
            with pytest.raises(KeyboardInterrupt):
                check()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with between_steps() as check:  # as under `nohup`
            signal.raise_signal(signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, previous)
