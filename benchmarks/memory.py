"""Does peak memory grow with the number of samples, masks or images?

    python benchmarks/memory.py [--model VGG16] [--size 96]

Each row is a process of its own; its peak is what the system reports at the
end. All ratios should stay near one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

SAMPLES = (10, 40, 160)
IMAGES = (16, 64, 256)
MASKS = (100, 400, 1600)
PICTURES = (10, 100, 1000)  # that a measure streams over


def peak(arguments: list[str]) -> float:
    """Returns the peak of a fresh process, in MiB."""
    ran = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1]) / 1024


def child(options: argparse.Namespace) -> None:
    """Explains, and prints the peak in KiB."""
    import keras
    import numpy as np

    import keras_explain.attribution  # noqa: F401  (fills the catalogue)
    from keras_explain.engine import catalogue

    shape = (options.size, options.size, 3)
    model = getattr(keras.applications, options.model)(
        weights=None, input_shape=shape
    )
    if options.method in ("deletion", "insertion"):
        measure(options, model)
        return
    entry = catalogue.find(options.method)
    sampled = {
        "integrated_gradients": "num_steps",
        "smooth_grad": "num_samples",
        "score_cam": "max_channels",
        "rise": "num_masks",
    }
    extra = {}
    if options.method in sampled:
        extra = {sampled[options.method]: options.samples, "batch_size": 8}
    if options.method == "occlusion":
        # So many windows along each axis that there are as many in all.
        stride = max(1, round(options.size / options.samples**0.5))
        extra = {"window": stride, "stride": stride, "batch_size": 8}
    explainer = entry.cls(model, **extra)
    noise = np.random.default_rng(0)

    def pictures():
        for _ in range(0, options.images, 8):
            yield noise.normal(size=(8, *shape)).astype("float32")

    for part in explainer.stream(pictures(), 3, batch_size=8):
        del part
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measure(options: argparse.Namespace, model: Any) -> None:
    """Evaluates maps that cost nothing, and prints the peak in KiB."""
    import numpy as np

    from keras_explain import evaluation

    noise = np.random.default_rng(0)

    def pictures():
        for start in range(0, options.images, 8):
            count = min(8, options.images - start)
            shape = (count, options.size, options.size, 3)
            yield noise.normal(size=shape).astype("float32")

    result = getattr(evaluation, options.method)(
        lambda inputs, target: inputs, pictures(), 3, model=model, steps=4,
        batch_size=8, verbose=False,
    )  # fmt: skip
    assert len(result) == options.images
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="VGG16")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--method", default="integrated_gradients")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    base = ["--model", options.model, "--size", str(options.size)]
    print(f"{options.model}, {options.size} px, batches of 8, MiB (ratio)")
    for method in ("integrated_gradients", "smooth_grad", "score_cam"):
        _row(method, "--samples", SAMPLES, base)
    for method in ("rise", "occlusion"):
        _row(method, "--samples", MASKS, base)
    for method in ("gradient", "grad_cam"):
        _row(method, "--images", IMAGES, base)
    for method in ("deletion", "insertion"):
        _row(method, "--images", PICTURES, base)


def _row(
    method: str, option: str, values: tuple[int, ...], base: list[str]
) -> None:
    peaks = [
        peak([*base, "--method", method, option, str(value)])
        for value in values
    ]
    cells = [
        f"{value}: {p:.0f} ({p / peaks[0]:.2f})"
        for value, p in zip(values, peaks, strict=True)
    ]
    print(f"{method:22s} {option[2:]:8s} {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
