"""How much more than the plain gradient do the relevance methods cost?

    python benchmarks/rules.py [--models VGG16,ResNet50] [--batches 4,1]
        [--rounds 7] [--only lrp_epsilon,...] [--memory]

Prints ratios measured in one run: each method against the hand-written
compiled gradient on the same model and batch, taken in turn; the median with
its spread between quartiles, and the ratio of the fastest of either. With
`--memory` it prints peak memory in place of time: what the tensors of one call
take.

TensorFlow takes the kernels of oneDNN by itself on some processors only: set
`TF_ENABLE_ONEDNN_OPTS` to 1 or 0 to have them or not.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import statistics
import warnings
from collections.abc import Callable

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_explain as ke

# Name: (how to make it, ratio of the design).
CASES: dict[str, tuple[Callable, float]] = {
    "lrp_epsilon": (lambda m, x: ke.LRP(m, composite="epsilon"), 1.10),
    "lrp_alpha1_beta0": (
        lambda m, x: ke.LRP(m, composite="alpha1_beta0"),
        1.50,
    ),
    "lrp_epsilon_plus_flat": (
        lambda m, x: ke.LRP(m, composite="epsilon_plus_flat"),
        1.50,
    ),
    "lrp_alpha2_beta1": (
        lambda m, x: ke.LRP(m, composite="alpha2_beta1"),
        2.10,
    ),
    "lrp_epsilon_alpha2_beta1": (
        lambda m, x: ke.LRP(m, composite="epsilon_alpha2_beta1"),
        2.10,
    ),
    "excitation_backprop": (lambda m, x: ke.ExcitationBackprop(m), 1.50),
    "deep_lift": (
        # A baseline for each sample of its own, also of one sample.
        lambda m, x: ke.DeepLIFT(m, baseline=lambda x: 0.1 * x[::-1]),
        1.60,
    ),
    "deep_lift_shared": (lambda m, x: ke.DeepLIFT(m, baseline=0.0), 1.15),
}
MEMORY_BUDGET = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="VGG16,ResNet50")
    parser.add_argument("--batches", default="4,1")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        # The allocator that counts, on all processors.
        os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    warnings.simplefilter("ignore", ke.ExplainWarning)
    names = list(filter(None, options.only.split(","))) or list(CASES)
    for model in options.models.split(","):
        for batch in map(int, options.batches.split(",")):
            show = _memory_table if options.memory else _time_table
            show(model, batch, names, options)


def _prepared(
    name: str, batch: int, size: int
) -> tuple[keras.Model, tf.Tensor]:
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape)
    noise = np.random.default_rng(0).normal(size=(batch, *shape))
    return model, tf.constant(noise, tf.float32)


def _table(heading: str, *columns: str) -> Table:
    table = Table(title=f"{heading}, on {lower_bound.device()}")
    for column in columns:
        table.add_column(column)
    return table


def _time_table(
    name: str, batch: int, names: list[str], options: argparse.Namespace
) -> None:
    model, x = _prepared(name, batch, options.size)
    bound = lower_bound.gradient(lower_bound.logits_model(model))
    table = _table(
        f"{name}, {options.size} px, batch {batch}, in gradients",
        "method", "ratio", "spread", "of the fastest", "budget",
    )  # fmt: skip
    for case in names:
        make, budget = CASES[case]
        work = make(model, x)
        times = lower_bound.timed(work, bound, x, options.rounds)
        value, spread = lower_bound.summary(times)
        over = "" if value <= budget else "  over"
        row = (
            case, f"{value:.3f}", f"{spread:.3f}",
            f"{lower_bound.fastest(times):.3f}", f"{budget:.2f}{over}",
        )  # fmt: skip
        table.add_row(*row)
        print("\t".join((name, str(batch), *row)), flush=True)
        del work
    Console().print(table)


def _memory_table(
    name: str, batch: int, names: list[str], options: argparse.Namespace
) -> None:
    model, x = _prepared(name, batch, options.size)
    linear = lower_bound.logits_model(model)
    plain = _peak(lambda: lower_bound.gradient(linear), x)
    table = _table(
        f"{name}, {options.size} px, batch {batch}, peak memory "
        f"(the gradient: {plain:.0f} MB)",
        "method", "MB", "ratio", "budget",
    )  # fmt: skip
    for case in names:
        make = functools.partial(CASES[case][0], model, x)
        peak = _peak(make, x)
        over = "" if peak <= MEMORY_BUDGET * plain else "  over"
        row = (
            case, f"{peak:.0f}", f"{peak / plain:.2f}",
            f"{MEMORY_BUDGET}{over}",
        )  # fmt: skip
        table.add_row(*row)
        print("\t".join((name, str(batch), *row)), flush=True)
    Console().print(table)


def _peak(make: Callable, x: tf.Tensor) -> float:
    """The most that one call holds in tensors, in MB, above what is there.

    What is kept from call to call counts. Threads hold more in one call than
    in another: the median of several.
    """
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    gc.collect()
    before = tf.config.experimental.get_memory_info(device)["current"]
    work = make()
    work(x)  # traces and compiles
    peaks = []
    for _ in range(5):
        tf.config.experimental.reset_memory_stats(device)
        work(x)
        peaks.append(tf.config.experimental.get_memory_info(device)["peak"])
    return (statistics.median(peaks) - before) / 1e6


if __name__ == "__main__":
    main()
