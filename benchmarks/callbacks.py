"""What does a callback cost: against the explainer, and of an epoch?

    python benchmarks/callbacks.py [--model ResNet50] [--rounds 9]
        [--samples 64] [--only grad_cam,saliency]

Prints, for eight pictures, for how long the training waits for a logger that
writes for TensorBoard or as files, against the time of its explainer alone,
measured in turn; the same with the drawing and writing, which go on beside the
training; and the share of an epoch that it waits. `--model demo` is the network
of this package, which is so small that drawing takes longer than explaining.
Integrated gradients of a large model take minutes a round: ask for them.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import keras
import lower_bound
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_explain as ke
from keras_explain.callbacks import ExplanationLogger, PNGWriter
from keras_explain.datasets import demo_model, load

METHODS = {
    "grad_cam": ke.GradCAM,
    "saliency": ke.Saliency,
    "integrated_gradients": ke.IntegratedGradients,
}
BUDGET = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ResNet50")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--only", default="grad_cam,saliency")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    is_demo = options.model == "demo"
    options.size = 96 if is_demo else 224
    model = demo_model() if is_demo else _application(options.model)
    model.compile("adam", "sparse_categorical_crossentropy")
    data = load(options.samples, size=options.size)
    model.fit(*data, verbose=0)
    start = time.perf_counter()
    model.fit(*data, verbose=0)
    epoch = time.perf_counter() - start
    table = Table(
        title=f"Eight pictures, {options.model}, on {lower_bound.device()}; "
        f"an epoch of {options.samples} pictures takes {epoch:.1f} s"
    )
    for column in (
        "method",
        "writer",
        "waits",
        "spread",
        "budget",
        "with drawing",
        "epoch",
    ):
        table.add_column(column)
    for name in options.only.split(","):
        for writer in ("tensorboard", "png"):
            row = _row(name, METHODS[name], writer, model, epoch, options)
            table.add_row(*row)
    Console().print(table)


def _application(name: str) -> keras.Model:
    return getattr(keras.applications, name)(weights=None)


def _row(name, method, writer, model, epoch, options):  # type: ignore[no-untyped-def]
    pictures, _ = load(8, "validation", size=options.size)
    with tempfile.TemporaryDirectory() as folder:
        where = (
            {"log_dir": folder}
            if writer == "tensorboard"
            else {"writers": PNGWriter(folder)}
        )
        logger = ExplanationLogger(method, pictures, **where)
        logger.set_model(model)
        logger.on_train_begin()
        alone = method(model)
        alone(pictures)
        logger.on_epoch_end(0)
        times = np.array(
            [_round(logger, alone, pictures) for _ in range(options.rounds)]
        )
        logger.on_train_end()
    waits, drawn, bare = times.T
    value, spread = (
        np.median(waits / bare),
        np.ptp(np.percentile(waits / bare, [25, 75])),
    )
    with_drawing = np.median((waits + drawn) / bare)
    share = 100 * np.median(waits) / epoch
    over = "" if value <= BUDGET else "  over"
    print(f"{name}\t{writer}\t{value:.3f}\t{share:.1f} %", flush=True)
    return (
        name, writer, f"{value:.2f}", f"{spread:.2f}", f"{BUDGET}{over}",
        f"{with_drawing:.2f}", f"{share:.1f} %",
    )  # fmt: skip


def _round(logger, alone, pictures):  # type: ignore[no-untyped-def]
    """Seconds in the callback, until all is drawn, and of the explainer."""
    start = time.perf_counter()
    logger.on_epoch_end(0)
    waited = time.perf_counter()
    logger._wait()
    drawn = time.perf_counter()
    np.asarray(alone(pictures))
    return waited - start, drawn - waited, time.perf_counter() - drawn


if __name__ == "__main__":
    main()
