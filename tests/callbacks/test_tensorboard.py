"""TensorBoard itself, in a browser, shows the pictures of every epoch."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from keras_explain.callbacks import GradCAMLogger
from keras_explain.datasets import CLASS_NAMES, demo_model, load

# Where the screenshot for the documentation goes, if it is asked for.
SCREENSHOT = os.environ.get("KERAS_EXPLAIN_SCREENSHOT")


@contextlib.contextmanager
def tensorboard(log_dir):
    """The address of a server on loopback, which is stopped at the end."""
    command = [
        sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir),
        "--port", "0", "--host", "127.0.0.1",
        "--samples_per_plugin", "images=1000", "--load_fast", "false",
    ]  # fmt: skip
    output = Path(log_dir).parent / "tensorboard.txt"
    with output.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 60
        found = None
        while found is None:
            assert server.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            found = re.search(r"http://127\.0\.0\.1:\d+", output.read_text())
            time.sleep(0.2)
        yield found[0]
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two epochs of the demo network."""
    folder = tmp_path_factory.mktemp("run") / "logs"
    keras.utils.set_random_seed(0)
    model = demo_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = load(64)
    logger = GradCAMLogger(
        load(4, "validation"), folder, labels=CLASS_NAMES, on_error="raise"
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    return folder


@pytest.mark.slow
def test_the_pictures_of_both_epochs_are_there(logs, chromium):
    with tensorboard(logs) as address:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/#timeseries&tagFilter=explanations")
        pictures = page.locator("card-view img")
        pictures.first.wait_for(timeout=60_000)
        page.wait_for_function(
            "document.querySelectorAll('card-view img').length >= 4 && "
            "[...document.querySelectorAll('card-view img')]"
            ".every(i => i.naturalWidth > 100)",
            timeout=60_000,
        )
        listed = page.request.get(
            f"{address}/data/plugin/timeseries/tags"
        ).json()
        tags = listed["images"]["tagRunSampledInfo"]
        assert set(tags) == {f"explanations/grad_cam/{k}" for k in range(4)}
        # Of each tag both epochs, which are pictures that differ.
        series = page.request.get(
            f"{address}/data/plugin/images/images?run=explanations"
            "&tag=explanations/grad_cam/0&sample=0"
        ).json()
        assert [entry["step"] for entry in series] == [0, 1]
        shown = [
            page.request.get(
                f"{address}/data/plugin/images/individualImage?{e['query']}"
            ).body()
            for e in series
        ]
        assert all(picture[1:4] == b"PNG" for picture in shown)
        assert shown[0] != shown[1]
        assert page.get_by_text("explanations/grad_cam/0").count() > 0
        # What a person sees: the last epoch, and with the slider the first.
        card = page.locator("card-view").first
        assert "Step 1" in card.inner_text()
        last = card.locator("img").first.get_attribute("src")
        card.locator("input[type=range]").first.focus()
        page.keyboard.press("ArrowLeft")
        card.get_by_text("Step 0").wait_for(timeout=20_000)
        page.wait_for_function(
            "src => { const i = document.querySelector('card-view img');"
            "return i.getAttribute('src') !== src && i.complete &&"
            "i.naturalWidth > 100; }",
            arg=last,
            timeout=20_000,
        )
        if SCREENSHOT:
            page.screenshot(path=SCREENSHOT)
        page.close()
