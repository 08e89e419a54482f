"""Samples with masks to evaluate on, and the numbers read back."""

import json

import numpy as np
import pytest

QUICK = ("--measures", "pointing,energy", "--methods", "gradient,grad_cam")


def samples(count=6, classes=3, size=16, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    masks = np.zeros((count, size, size), np.uint8)
    for k in range(count):
        masks[k, k : k + 8, 3:11] = 1
    return {"x": x, "y": np.arange(count) % classes, "masks": masks}


@pytest.fixture
def write(tmp_path):
    """Writes an `.npz` file of arrays; `None` leaves one out."""

    def write(name="data.npz", **changes):
        arrays = {**samples(), **changes}
        kept = {k: v for k, v in arrays.items() if v is not None}
        np.savez(tmp_path / name, **kept)
        return tmp_path / name

    return write


@pytest.fixture
def data_file(write):
    return write()


@pytest.fixture
def evaluate(run, out):
    """Runs the command into `out`: exit code, stdout, stderr."""

    def evaluate(*arguments):
        return run("evaluate", *arguments, "--out", out)

    return evaluate


def numbers(out):
    return json.loads((out / "evaluation.json").read_text())


def by_name(out):
    return {method["name"]: method for method in numbers(out)["methods"]}


def value(out, method, measure):
    return by_name(out)[method]["measures"][measure]["mean"]
