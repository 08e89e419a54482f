"""How easily are small networks fooled, and what does a step cost?

    python benchmarks/adversarial.py [--rounds 7] [--tables accuracy,speed]

Attacks two networks on pictures that they were not trained on: a small
convolutional one that is trained here on 1400 digits of scikit-learn, on the
remaining 397; and the demo network, on 64 shapes of 96 x 96 pixels. Then it
times PGD against the same number of bare steps, written by hand: a compiled
gradient of the cross entropy, its sign and two clips. Prints Markdown.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

from keras_explain.datasets import demo_images, demo_model, load
from keras_explain.synthesis import deepfool, fgsm, pgd
from keras_explain.synthesis.adversarial.result import Adversarial

# As shares of the range of values; larger pictures take smaller changes.
EPSILONS = {
    "digits": (0.05, 0.1, 0.2, 0.3),
    "shapes": (0.01, 0.02, 0.05, 0.1),
}
STEPS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tables", default="accuracy,speed")
    options = parser.parse_args()
    model, images, labels = digits()
    if "accuracy" in options.tables:
        accuracy("digits", model, images, labels, 1.0)
        accuracy("shapes", demo_model(), *load(64, "test"), 255.0)
    if "speed" in options.tables:
        print(f"\nOn {lower_bound.device()}.\n")
        speed(model, images, options.rounds)


def accuracy(
    name: str,
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    width: float,
) -> None:
    """Prints how much of the accuracy attacks leave.

    Args:
        name: Of what is attacked, a key of `EPSILONS`.
        model: A classifier.
        images, labels: What it was not trained on.
        width: Of the range of values, which begins at 0.
    """

    def left(attack: Callable, factor: float = 1, **options: object) -> str:
        found: list[Adversarial] = [
            attack(model, images, labels, epsilon=factor * width * e,
                   bounds=(0, width), **options)
            for e in EPSILONS[name]
        ]  # fmt: skip
        return " | ".join(f"{each.accuracy:.3f}" for each in found)

    # In the ball changes are at most half as long as in the box.
    factor = math.sqrt(images[0].size) / 2
    clean = np.mean(model.predict(images, verbose=0).argmax(-1) == labels)
    print(f"\n{len(images)} {name}; accuracy on clean ones {clean:.3f}.\n")
    print("| accuracy at epsilon | ", end="")
    print(" | ".join(map(str, EPSILONS[name])) + " |")
    print("|---" * (len(EPSILONS[name]) + 1) + "|")
    print(f"| FGSM | {left(fgsm)} |")
    print(f"| PGD, {STEPS} steps | {left(pgd, steps=STEPS)} |")
    print(
        f"| PGD, L2, {STEPS} steps, {factor:.3g} x epsilon | "
        f"{left(pgd, factor, norm='l2', steps=STEPS)} |"
    )
    start = time.perf_counter()
    found = deepfool(model, images, labels, bounds=(0, width))
    first = time.perf_counter() - start
    tried = found[found.initially_correct]
    print(
        f"\nDeepFool: success {tried.success_rate:.1%}, at most "
        f"{tried.steps.max()} steps, median L2 {np.median(tried.norm_l2):.3f},"
        f" mean relative L2 {tried.relative_l2.mean():.4f}; {first:.1f} s with "
        "compilation."
    )


def speed(model: keras.Model, images: np.ndarray, rounds: int) -> None:
    shapes = demo_images(num=16)[0].astype("float32")
    print("| PGD against bare steps | batch | a step | whole call |")
    print("|---|---|---|---|")
    for name, attacked, batch, width in (
        ("digits, 8 x 8", model, images, 1.0),
        ("demo model, 96 x 96", demo_model(), shapes, 255.0),
    ):
        step, whole = ratios(attacked, batch, width, rounds)
        print(f"| {name} | {len(batch)} | {step:.3f} x | {whole:.3f} x |")


def ratios(
    model: keras.Model, images: np.ndarray, width: float, rounds: int
) -> tuple[float, float]:
    """A step of PGD in bare steps, and a call in as many."""
    few, bare = STEPS // 4, bare_step(model, images, width)

    def attacked(steps: int) -> Callable:
        return lambda: pgd(
            model, images, epsilon=0.1 * width, steps=steps,
            bounds=(0, width), batch_size=len(images),
        )  # fmt: skip

    def stepped() -> None:
        x = tf.constant(images)
        for _ in range(STEPS):
            x = bare(x)
        x.numpy()

    found = []
    runs = [attacked(STEPS), attacked(few), stepped]
    for run in runs:
        run()
    for _ in range(rounds):
        # In turn, so that what else the machine does hits all alike.
        whole, part, bound = map(seconds, runs)
        steps = (whole - part) * STEPS / (STEPS - few)
        found.append((steps / bound, whole / bound))
    step, call = zip(*found, strict=True)
    return statistics.median(step), statistics.median(call)


def seconds(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bare_step(model: keras.Model, images: np.ndarray, width: float) -> Callable:
    """One compiled step, as one would write it for one known model."""
    linear = lower_bound.logits_model(model)
    start = tf.constant(images)
    labels = tf.argmax(linear(start), -1)
    epsilon = 0.1 * width
    step_size = 2.5 * epsilon / STEPS

    def compute(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, linear(x, training=False)
            )
        x += step_size * tf.sign(tape.gradient(loss, x))
        x = tf.clip_by_value(x, start - epsilon, start + epsilon)
        return tf.clip_by_value(x, 0, width)

    return tf.function(compute, autograph=False)


def digits() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A trained network, and the digits it was not trained on."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype("float32").reshape(-1, 8, 8, 1)
    labels = labels[order].astype("int32")
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 3, activation="relu", padding="same")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    optimizer = keras.optimizers.Adam(2e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(images[:1400], labels[:1400], epochs=12, batch_size=64,
              verbose=0)  # fmt: skip
    return model, images[1400:], labels[1400:]


if __name__ == "__main__":
    main()
