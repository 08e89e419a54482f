"""What do methods that hide parts cost: against the forwards they need?

    python benchmarks/perturbation.py [--model VGG16] [--size 224]
        [--masks 16] [--rounds 3] [--window 16] [--stride 48] [--only NAME]
        [--cpu-time]

Prints ratios measured in one run, in turn: Occlusion, RISE and Score-CAM
against bare compiled forwards of as many rows, at the batch size at which
those are fastest; and incremental occlusion against the plain one and against
its bare forwards. With `--cpu-time` it is the time of the processor that is
compared, for a machine that others use as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_explain
from keras_explain.attribution.perturbation import RISE, Occlusion

BUDGET, FASTER = 1.02, 2.5
BATCH_SIZES = (1, 4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="VGG16")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--masks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--stride", type=int, default=48)
    parser.add_argument("--only", default="")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    warnings.simplefilter("ignore", keras_explain.ExplainWarning)
    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    cls = getattr(keras.applications, options.model)
    model = cls(weights=None, input_shape=shape)
    noise = np.random.default_rng(0).normal(size=(1, *shape))
    x = tf.constant(noise, tf.float32)
    forward = lower_bound.forward(lower_bound.logits_model(model))
    best = best_batch_size(forward, x, clock)
    table = Table(
        title=f"{options.model}, {options.size} px, rows of {best}, on "
        + lower_bound.device()
    )
    for column in ("work", "against", "ratio", "spread", "budget"):
        table.add_column(column)
    wanted = set(filter(None, options.only.split(",")))

    def add(name: str, against: str, found: list[float], budget: str) -> None:
        value, spread = statistics.median(found), max(found) - min(found)
        row = [name, against, f"{value:.3f}", f"{spread:.3f}", budget]
        table.add_row(*row)
        print("\t".join(row), flush=True)

    for name, method in methods(model, options.masks, best).items():
        if wanted and name not in wanted:
            continue
        bound = forwards(forward, x, options.masks, best)
        times = in_turn({"work": lambda m=method: m(x), "bound": bound},
                        options.rounds, clock)  # fmt: skip
        unit = f"{options.masks} + 1 forwards"
        add(name, unit, ratios(times, "work", "bound"), f"<= {BUDGET}")
    if not wanted or "incremental" in wanted:
        incremental(model, forward, x, best, options, add)
    Console().print(table)


def methods(model: keras.Model, masks: int, rows: int) -> dict[str, Callable]:
    """The methods, each with so many masks."""
    side = round(masks**0.5)
    window = -(-model.input_shape[1] // side)
    return {
        "occlusion": Occlusion(
            model, window=window, incremental=False, batch_size=rows
        ),
        "rise": RISE(model, num_masks=masks, batch_size=rows),
        "score_cam": keras_explain.ScoreCAM(
            model, max_channels=masks, batch_size=rows
        ),
    }


def incremental(
    model: keras.Model,
    forward: Callable,
    x: tf.Tensor,
    rows: int,
    options: argparse.Namespace,
    add: Callable,
) -> None:
    """Windows that are run in part, against the whole."""
    given = {"window": options.window, "stride": options.stride}
    along = 1 + -(-(options.size - options.window) // options.stride)
    parts = Occlusion(model, batch_size=rows, **given)
    whole = Occlusion(model, batch_size=rows, incremental=False, **given)
    runs = {
        "parts": lambda: parts(x),
        "whole": lambda: whole(x),
        "bound": forwards(forward, x, along**2, rows),
    }
    one, other = np.asarray(parts(x)), np.asarray(whole(x))
    score = np.abs(whole.explain(x, verbose=False).scores).max()
    print(f"largest difference, as a share of the score: "
          f"{np.abs(one - other).max() / score:.1e}")  # fmt: skip
    clock = time.process_time if options.cpu_time else time.perf_counter
    times = in_turn(runs, options.rounds, clock)
    name = f"window {options.window}, {along**2} of them"
    budget = f">= {FASTER} x faster"
    add(name, "plain occlusion", ratios(times, "whole", "parts"), budget)
    add(name, "bare forwards", ratios(times, "bound", "parts"), budget)


def forwards(
    forward: Callable, x: tf.Tensor, number: int, rows: int
) -> Callable:
    """So many rows and one more, as fast as they go."""
    batch = tf.repeat(x, rows, 0)
    rest = tf.repeat(x, number % rows, 0)

    def run() -> tf.Tensor:
        found = forward(x)
        for _ in range(number // rows):
            found = forward(batch)
        return forward(rest) if number % rows else found

    return run


def best_batch_size(forward: Callable, x: tf.Tensor, clock: Callable) -> int:
    """The number of rows at which a row takes least time."""
    runs = {
        rows: forwards(forward, x, max(BATCH_SIZES), rows)
        for rows in BATCH_SIZES
    }
    times = in_turn(runs, 2, clock)
    return min(times, key=lambda rows: min(times[rows]))


def in_turn(runs: dict, rounds: int, clock: Callable) -> dict:
    """Times each run in turn, after one that is not counted."""
    times: dict = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            np.asarray(run())
            times[name].append(clock() - start)
    return times


def ratios(times: dict, work: str, bound: str) -> list[float]:
    pairs = zip(times[work], times[bound], strict=True)
    return [one / other for one, other in pairs]


if __name__ == "__main__":
    main()
