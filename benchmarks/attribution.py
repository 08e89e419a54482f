"""How much more than the bare work does a method cost?

    python benchmarks/attribution.py [--models VGG16,ResNet50] [--batches 4,1]
        [--samples 50] [--rounds 7] [--only gradient,grad_cam] [--peers]

Prints ratios measured in one run: each method against the hand-written
compiled lower bound on the same model and batch, taken in turn. With
`--peers` the same methods of xplique and tf-keras-vis stand beside it, where
they are installed (`pip install xplique tf-keras-vis --no-deps`).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import lower_bound
import numpy as np
import peers
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_explain
from keras_explain.engine import catalogue

# Ratios of the design, by family: (gradient-like, sampled, CAM, masked).
BUDGETS = {"gradient": 1.03, "sampled": 1.03, "cam": 1.03, "masked": 1.02}


class Case(NamedTuple):
    """One row: the work, its lower bound and what they are compared on."""

    name: str
    kind: str
    work: Callable
    bound: Callable
    unit: str


def cases(model: keras.Model, samples: int) -> Iterator[Case]:
    """Yields a case for each method of the catalogue that has a budget."""
    linear = lower_bound.logits_model(model)
    gradient = lower_bound.gradient(linear)
    forward = lower_bound.forward(linear)
    layer = keras_explain.GradCAM(model)
    layer = layer.explain(np.ones((1, *model.input.shape[1:]))).layer
    cam = lower_bound.grad_cam(linear, layer)
    many = lower_bound.repeated(gradient, samples)
    forwards = lower_bound.repeated(forward, samples + 1)
    for entry in catalogue.entries():
        name, cls = entry.name, entry.cls
        if entry.family == "gradient" or name in {
            "guided_backprop",
            "deconvnet",
        }:
            yield Case(name, "gradient", cls(model), gradient, "1 gradient")
        elif entry.family == "noise":
            work = cls(model, num_samples=samples)
            yield Case(name, "sampled", work, many, f"{samples} gradients")
        elif entry.family == "path":
            work = cls(model, num_steps=samples)
            yield Case(name, "sampled", work, many, f"{samples} gradients")
        elif name == "score_cam":
            work = cls(model, max_channels=samples)
            unit = f"{samples} + 1 forwards"
            yield Case(name, "masked", work, forwards, unit)
        elif entry.family == "cam" and name not in {"cam", "ablation_cam"}:
            yield Case(name, "cam", cls(model), cam, "hand-written Grad-CAM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="VGG16,ResNet50")
    parser.add_argument("--batches", default="4,1")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", keras_explain.ExplainWarning)
    only = set(filter(None, options.only.split(",")))
    for name in options.models.split(","):
        for batch in map(int, options.batches.split(",")):
            _table(name, batch, only, options)


def _table(
    name: str, batch: int, only: set[str], options: argparse.Namespace
) -> None:
    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape)
    noise = np.random.default_rng(0).normal(size=(batch, *shape))
    x = tf.constant(noise, tf.float32)
    heading = f"{name}, {options.size} px, batch {batch}, on "
    table = Table(title=heading + lower_bound.device())
    for column in ("method", "lower bound", "ratio", "spread", "budget"):
        table.add_column(column)
    if options.peers:
        table.add_column("peers")
    for case in cases(model, options.samples):
        if only and case.name not in only:
            continue
        sampled = case.kind in ("sampled", "masked")
        rounds = max(3, options.rounds // 3) if sampled else options.rounds
        value, spread = lower_bound.ratio(case.work, case.bound, x, rounds)
        budget = BUDGETS[case.kind]
        met = "" if value <= budget else "  over"
        row = [case.name, case.unit, f"{value:.3f}", f"{spread:.3f}",
               f"{budget:.2f}{met}"]  # fmt: skip
        if options.peers:
            row.append(peers.ratios(case, model, x, options.samples))
        table.add_row(*row)
        print("\t".join(row), flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
