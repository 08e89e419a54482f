"""What does a step of synthesis cost beyond the bare work?

    python benchmarks/synthesis.py [--models VGG16,ResNet50,demo] [--batch 4]
        [--steps 20] [--rounds 5]

Prints, measured in turn in one run: a step of `maximize` against a bare
compiled step on the same model, batch and optimizer (forward, backward,
update of the picture); the same with the transforms and the parameterization
that are used by default; the time of a unit in a batch of 32 against a run of
its own; and the peak of the process after ever more steps. Measures
tf-keras-vis as well where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_explain as ke
from keras_explain.datasets import demo_model
from keras_explain.synthesis import Maximization, Pixels

BUDGET, SHARED_BUDGET = 1.05, 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="VGG16,ResNet50,demo")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table(title=f"Time of a step, on {lower_bound.device()}")
    for column in ("model", "what", "ratio", "spread", "budget"):
        table.add_column(column)
    for name in options.models.split(","):
        for row in _steps(name, options):
            table.add_row(name, *row)
            print(name, *row, flush=True)
    for row in _together(options):
        table.add_row("demo", *row)
    Console().print(table)
    _memory()


def _steps(name, options):  # type: ignore[no-untyped-def]
    model = _model(name)
    size = 96 if name == "demo" else 224
    targets = list(range(options.batch))
    linear = lower_bound.logits_model(model)
    bare = _bare(linear, targets, size, options.steps)
    raw = Pixels(bounds=None, stddev=1.0)
    adam = keras.optimizers.Adam(0.01)
    for what, settings, budget in (
        ("a step", {"image": raw, "transforms": None}, BUDGET),
        (
            "with sigmoid and noise",
            {"image": Pixels(), "transforms": None},
            None,
        ),
        ("with transforms and Fourier", {}, None),
    ):
        made = Maximization(
            model, targets, optimizer=adam, value_range=(0, 255)
            if settings.get("image") is not raw else None,
            size=size if name == "demo" else None, **settings,
        )  # fmt: skip
        yield _row(what, _run(made, options.steps), bare, options, budget)
    peer = _tf_keras_vis(model, targets, size, options.steps)
    if peer is not None:
        yield _row("a step of tf-keras-vis", peer, bare, options, None)


def _tf_keras_vis(model, targets, size, steps):  # type: ignore[no-untyped-def]
    """The same steps by another library, where it is installed."""
    if importlib.util.find_spec("tf_keras_vis") is None:
        return None
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    made = ActivationMaximization(model, model_modifier=ReplaceToLinear())
    start = np.random.default_rng(0).normal(size=(len(targets), size, size, 3))

    def run() -> np.ndarray:
        return made(
            CategoricalScore(targets),
            seed_input=start.astype("float32"),
            input_modifiers=None,
            regularizers=None,
            steps=steps,
            optimizer=keras.optimizers.Adam(0.01),
        )

    return run


def _row(what, work, bound, options, budget):  # type: ignore[no-untyped-def]
    value, spread = lower_bound.ratio(
        lambda _: work(), lambda _: bound(), None, options.rounds
    )
    over = "" if budget is None else f"{budget}" + "  over" * (value > budget)
    return what, f"{value:.3f}", f"{spread:.3f}", over


def _run(made: Maximization, steps: int) -> Callable:
    """Steps alone, in one stretch of the graph, as the bare loop has it."""
    loop = made._runner

    def run() -> np.ndarray:
        loop.reset()
        return loop._stretch(steps, False).history["score"]

    return run


def _bare(model, targets, size, steps):  # type: ignore[no-untyped-def]
    """The same steps, written by hand for a model and its classes."""
    shape = (len(targets), size, size, 3)
    images = keras.Variable(np.random.default_rng(0).normal(size=shape))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build([images])
    index = tf.constant(targets)

    @tf.function(autograph=False)
    def climb() -> tf.Tensor:
        def body(step: tf.Tensor, scores: tf.Tensor) -> tuple:
            x = tf.convert_to_tensor(images)
            logits = model(x, training=False)
            score = tf.gather(logits, index, axis=1, batch_dims=1)
            (gradient,) = tf.gradients(tf.reduce_sum(score), [x])
            optimizer.apply([-gradient], [images])
            return step + 1, score

        return tf.while_loop(
            lambda step, _: step < steps,
            body,
            (tf.constant(0), tf.zeros([len(targets)])),
            parallel_iterations=1,
        )[1]

    return lambda: climb().numpy()


def _together(options):  # type: ignore[no-untyped-def]
    """32 units of the small network in one batch, against one alone."""
    model = demo_model()
    units = [ke.Channel("stage2_block2_out", k) for k in range(32)]
    alone = _run(Maximization(model, units[0], size=64), options.steps)
    batch = _run(Maximization(model, units, size=64), options.steps)
    value, spread = lower_bound.ratio(
        lambda _: batch(), lambda _: alone(), None, options.rounds
    )
    over = "  over" * (value / 32 > SHARED_BUDGET)
    row = ("one of 32 units, of a run of its own", f"{value / 32:.3f}",
           f"{spread / 32:.3f}", f"{SHARED_BUDGET}{over}")  # fmt: skip
    print(*row, flush=True)
    yield row


def _memory() -> None:
    made = Maximization(demo_model(), 3, size=64)
    for steps in (50, 200, 800):
        start = time.perf_counter()
        made.run(steps, verbose=False)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = time.perf_counter() - start
        print(f"{steps} steps: peak {peak:.0f} MiB, {seconds:.1f} s")


def _model(name: str) -> keras.Model:
    if name == "demo":
        return demo_model()
    return getattr(keras.applications, name)(weights=None)


if __name__ == "__main__":
    main()
