"""What does a step of a learned mask cost beyond the bare work?

    python benchmarks/extremal_perturbation.py [--models VGG16,demo]
        [--areas 0.05,0.1,0.2] [--steps 10] [--rounds 5]

Prints, measured in turn in one run: a step of `ExtremalPerturbation` on one
picture, all areas together, against a bare compiled step (forward and
backward) on a batch of as many pictures as there are areas. What comes
before and after the steps is taken out: it is the difference between a long
and a short run that is compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from keras_explain.attribution.perturbation.extremal import (
    ExtremalPerturbation,
)
from keras_explain.datasets import demo_model

BUDGET = 1.10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="VGG16,demo")
    parser.add_argument("--areas", default="0.05,0.1,0.2")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    areas = tuple(map(float, options.areas.split(",")))
    table = Table(title=f"Time of a step, on {lower_bound.device()}")
    for column in ("model", "perturbation", "ratio", "spread", "budget"):
        table.add_column(column)
    for name in options.models.split(","):
        for perturbation in ("blur", "fade"):
            value, spread = _ratio(name, perturbation, areas, options)
            over = f"{BUDGET:.2f}" + "  over" * (value > BUDGET)
            row = [name, perturbation, f"{value:.3f}", f"{spread:.3f}", over]
            table.add_row(*row)
            print("\t".join(row), flush=True)
    Console().print(table)


def _ratio(name, perturbation, areas, options):  # type: ignore[no-untyped-def]
    if name == "demo":
        model, size = demo_model(), 96
    else:
        size = 224
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(weights=None)
    noise = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3))
    x = tf.constant(noise, tf.float32)
    rows = tf.repeat(x, len(areas), axis=0)
    linear = lower_bound.logits_model(model)
    short, steps = 2, options.steps
    masks = {
        number: ExtremalPerturbation(
            model,
            areas=areas,
            perturbation=perturbation,
            settings={"num_steps": number},
        )
        for number in (short, short + steps)
    }
    bare = {number: _bare(linear, number) for number in masks}
    for number in masks:  # compiles
        masks[number](x, 0)
        bare[number](rows)
    ratios = []
    for _ in range(options.rounds):
        work = _step(lambda n: masks[n](x, 0), masks)
        bound = _step(lambda n: bare[n](rows), masks)
        ratios.append(work / bound)
    spread = statistics.quantiles(ratios, n=4)
    return statistics.median(ratios), spread[2] - spread[0]


def _step(run: Callable, numbers: dict) -> float:
    """Time of the steps that a long run has more than a short one."""
    times = []
    for number in numbers:
        start = time.perf_counter()
        np.asarray(run(number))
        times.append(time.perf_counter() - start)
    return times[1] - times[0]


def _bare(model: keras.Model, steps: int) -> Callable:
    """Forward and backward of a batch, again and again."""

    @tf.function(autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor, x: tf.Tensor) -> tuple:
            score = model(x, training=False)[:, 0]
            (gradient,) = tf.gradients(tf.reduce_sum(score), [x])
            return step + 1, x + 1e-9 * gradient

        return tf.while_loop(
            lambda step, _: step < steps,
            body,
            (tf.constant(0), x),
            parallel_iterations=1,
        )[1]

    return run


if __name__ == "__main__":
    main()
