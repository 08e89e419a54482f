"""What does a callback cost: against the explainer, and of an epoch?

    python benchmarks/callbacks.py [--model ResNet50] [--rounds 9]
        [--samples 64]

Prints, for eight pictures, the time of a logger that writes for TensorBoard
or as files against that of its explainer alone, measured in turn, and the
share of an epoch that it takes. `--model demo` is the network of this package,
which is so small that drawing takes longer than explaining.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import keras
import lower_bound
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
    for column in ("method", "writer", "ratio", "spread", "budget", "epoch"):
        table.add_column(column)
    for name, method in METHODS.items():
        for writer in ("tensorboard", "png"):
            table.add_row(*_row(name, method, writer, model, epoch, options))
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
        logger = ExplanationLogger(method, pictures, on_error="raise", **where)
        logger.set_model(model)
        logger.on_train_begin()
        alone = method(model)
        taken = []

        def logged(x: object) -> None:
            start = time.perf_counter()
            logger.on_epoch_end(0)
            taken.append(time.perf_counter() - start)

        value, spread = lower_bound.ratio(
            logged, lambda x: alone(pictures), pictures, options.rounds
        )
        logger.on_train_end()
    share = 100 * sorted(taken)[len(taken) // 2] / epoch
    over = "" if value <= BUDGET else "  over"
    print(f"{name}\t{writer}\t{value:.3f}\t{share:.1f} %", flush=True)
    return (
        name, writer, f"{value:.2f}", f"{spread:.2f}", f"{BUDGET}{over}",
        f"{share:.1f} %",
    )  # fmt: skip


if __name__ == "__main__":
    main()
