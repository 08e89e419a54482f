"""Relevance methods against those of PyTorch: zennit and Captum.

    pip install torch torchvision zennit captum
    python benchmarks/pytorch_peers.py [--models VGG16,ResNet50]
        [--batches 4,1] [--rounds 7] [--only epsilon,...]

Prints how long a call of ours takes in calls of theirs, on the same
architecture, batch and number of threads, taken in turn in one process: below
1 ours is faster. Beside it are both in plain gradients of their own framework,
which tells how much of it is the method and how much the framework. The last
row is of those gradients themselves. Weights are random; what one of them
refuses to explain is named by its error.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from captum import attr
from zennit import canonizers, composites, rules, types
from zennit.attribution import Gradient
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_explain as ke

THREADS = len(os.sched_getaffinity(0))


def _layers(rule: Callable) -> Callable:
    """A composite of zennit with one rule for all layers with a kernel."""

    def made(canonizers: list[Any]) -> composites.LayerMapComposite:
        layer_map = [
            (types.Activation, rules.Pass()),
            (Sum, rules.Norm()),
            (types.AvgPool, rules.Norm()),
            (types.Linear, rule()),
        ]
        return composites.LayerMapComposite(layer_map, canonizers=canonizers)

    return made


def _zennit(make: Callable) -> Callable:
    """A method of zennit, until the stack ends: `(x) -> relevance`."""

    def made(
        model: torch.nn.Module,
        target: torch.Tensor,
        stack: contextlib.ExitStack,
    ) -> Callable:
        known = (
            [ResNetCanonizer()]
            if isinstance(model, torchvision.models.ResNet)
            else [canonizers.SequentialMergeBatchNorm()]
        )
        attributor = Gradient(model=model, composite=make(canonizers=known))
        stack.enter_context(attributor)  # rules stay in place between calls
        one_hot = torch.eye(1000)[target]
        return lambda x: attributor(x, one_hot)[1]

    return made


def _captum(make: Callable) -> Callable:
    """A method of Captum: `(x) -> attributions`."""

    def made(model: torch.nn.Module, target: torch.Tensor, _: Any) -> Callable:
        method = make(model)
        return lambda x: method.attribute(x, target=target).detach()

    return made


def _lrp(composite: str) -> Callable:
    return lambda model: ke.LRP(model, composite=composite)


# Name: (ours, theirs).
CASES: dict[str, tuple[Callable, Callable]] = {
    "zennit, epsilon": (_lrp("epsilon"), _zennit(_layers(rules.Epsilon))),
    "Captum, LRP epsilon": (_lrp("epsilon"), _captum(attr.LRP)),
    "zennit, alpha1_beta0": (
        _lrp("alpha1_beta0"),
        _zennit(_layers(lambda: rules.AlphaBeta(1, 0))),
    ),
    "zennit, alpha2_beta1": (
        _lrp("alpha2_beta1"),
        _zennit(_layers(lambda: rules.AlphaBeta(2, 1))),
    ),
    "zennit, epsilon_plus_flat": (
        _lrp("epsilon_plus_flat"),
        _zennit(composites.EpsilonPlusFlat),
    ),
    "zennit, epsilon_alpha2_beta1": (
        _lrp("epsilon_alpha2_beta1"),
        _zennit(composites.EpsilonAlpha2Beta1),
    ),
    "zennit, excitation backprop": (
        ke.ExcitationBackprop,
        _zennit(composites.ExcitationBackprop),
    ),
    "Captum, DeepLift": (
        lambda model: ke.DeepLIFT(model, baseline=lambda x: 0.0 * x),
        _captum(attr.DeepLift),
    ),
}
MODELS = {"VGG16": "vgg16", "ResNet50": "resnet50"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="VGG16,ResNet50")
    parser.add_argument("--batches", default="4,1")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)  # as TensorFlow does
    warnings.simplefilter("ignore")
    for name in options.models.split(","):
        for batch in map(int, options.batches.split(",")):
            _compare(name, batch, options.only.split(","), options.rounds)


def _compare(name: str, batch: int, only: list[str], rounds: int) -> None:
    keras.utils.set_random_seed(0)
    ours = getattr(keras.applications, name)(weights=None)
    theirs = getattr(torchvision.models, MODELS[name])(weights=None).eval()
    noise = np.random.default_rng(0).normal(size=(batch, 224, 224, 3))
    x = tf.constant(noise, tf.float32)
    same = torch.tensor(noise, dtype=torch.float32).permute(0, 3, 1, 2)
    same = same.contiguous().requires_grad_()
    target = theirs(same).argmax(1).detach()
    bound = lower_bound.gradient(lower_bound.logits_model(ours))
    plain = copy.deepcopy(theirs)  # which gets no rules

    def gradient(x: torch.Tensor) -> torch.Tensor:
        score = plain(x)[torch.arange(batch), target].sum()
        return torch.autograd.grad(score, x)[0]

    def timed(work: Callable, other: Callable) -> list[tuple[float, float]]:
        return lower_bound.timed(work, lambda _: other(same), x, rounds)

    def ratio(times: list[tuple[float, float]]) -> str:
        return "{:.3f} ({:.3f})".format(*lower_bound.summary(times))

    table = Table(title=f"{name}, 224 px, batch {batch}, {THREADS} threads")
    for column in ("method", "ours in theirs", "ours", "theirs"):
        table.add_column(column)
    for case, (make, make_theirs) in CASES.items():
        if not any(part in case for part in only):
            continue
        with contextlib.ExitStack() as stack:
            try:
                work = make_theirs(theirs, target, stack)
                work(same)
            except Exception as error:  # it is what the table tells
                row = ["-", "-", f"{type(error).__name__}: {error}"[:60]]
            else:
                mine = make(ours)
                row = [
                    ratio(timed(mine, work)),
                    ratio(lower_bound.timed(mine, bound, x, rounds)),
                    ratio(timed(lambda _, work=work: work(same), gradient)),
                ]
                del mine
        table.add_row(case, *row)
        print("\t".join((name, str(batch), case, *row)), flush=True)
        gc.collect()
    table.add_row("gradient", ratio(timed(bound, gradient)), "1", "1")
    Console().print(table)


if __name__ == "__main__":
    main()
