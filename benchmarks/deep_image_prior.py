"""How well does an untrained network restore a picture, and at what cost?

    python benchmarks/deep_image_prior.py [--picture restored.png]
        [--tasks denoise,inpaint,super_resolve,stop,speed]
        [--images astronaut,camera,coffee,chelsea]
        [--width 32] [--scales 4] [--steps 2000] [--runs 2] [--rounds 7]
        [--total-variation 3e-6]

Pictures that come with scikit-image, 128 x 128 pixels: with Gaussian noise of
25 gray levels, with half of the pixels hidden, and four times smaller. Prints
the peak signal-to-noise ratio of what was given, of a simple way (a Gaussian
blur, linear and bicubic interpolation) and of what was made, the mean of so
many runs. Then the ratio of a step to one that is
written by hand for the same network. Writes a picture: what was given, the
simple way, what was made, and the original. Needs scikit-image.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import lower_bound
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_explain.synthesis import observed
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.downsampling import downsample
from keras_explain.synthesis.networks import Hourglass, hourglass
from keras_explain.synthesis.optimize import Loop
from keras_explain.synthesis.problem import Problem
from keras_explain.synthesis.randomness import Randomness
from keras_explain.synthesis.regularizers import TotalVariation
from keras_explain.synthesis.restoration import (
    denoise,
    inpaint,
    super_resolve,
    unchanged,
)
from keras_explain.synthesis.value_range import ValueRange
from keras_explain.synthesis.watching import Watched

FACTOR = 4
NOISE = 25 / 255
STEPS = {"denoise": 1500, "stop": 4000, "inpaint": 2500, "super_resolve": 2000}
TASKS = (*STEPS, "speed")
# The head, the man with his camera, the cup, the face of the cat.
CUTS = {
    "astronaut": (0, 100, 256),
    "camera": (0, 0, 512),
    "coffee": (16, 100, 384),
    "chelsea": (22, 90, 256),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--images", default="astronaut")
    parser.add_argument("--picture")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--scales", type=int, default=4)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--total-variation", type=float, default=0.0)
    options = parser.parse_args()
    network = Hourglass((options.width,) * options.scales)
    names = options.images.split(",")
    print(
        f"On {lower_bound.device()}. 128 x 128 pixels, {options.width} "
        f"channels at {options.scales} scales, total variation "
        f"{options.total_variation:g}.\n"
    )
    tasks = [t for t in options.tasks.split(",") if t != "speed"]
    if tasks:
        print(
            "| picture | task | given | simple | made | best on the way | "
            "ms a step and run |"
        )
        print("|---|---|---|---|---|---|---|")
    strips = []
    for task in tasks:
        steps = options.steps or STEPS[task]
        for name in names:
            print(f"| {name} ", end="")
            strip = restored(
                task, load(name), network, steps, options.runs,
                options.total_variation,
            )  # fmt: skip
            strips.append(strip)
    if options.picture and strips:
        shown = np.concatenate(strips, axis=0)
        shown = np.round(shown.clip(0, 1) * 255).astype(np.uint8)
        Image.fromarray(shown).save(options.picture)
    if "speed" in options.tasks:
        speed(load("astronaut"), network, options.rounds)


def load(name: str) -> np.ndarray:
    """A square of 256 pixels in `[0, 1]`, or more, brought to 128."""
    from skimage import data

    top, left, side = CUTS[name]
    image = getattr(data, name)()[top : top + side, left : left + side] / 255
    image = image.reshape(*image.shape[:2], -1)
    size, channels = side // 128, image.shape[-1]
    means = image.reshape(128, size, 128, size, channels).mean(axis=(1, 3))
    return means.astype(np.float32)


def restored(
    task: str,
    image: np.ndarray,
    network: Hourglass,
    steps: int,
    runs: int,
    variation: float,
) -> np.ndarray:
    """Prints a row of the table; returns given, simple, made and true."""
    random = np.random.default_rng(0)
    noise = random.normal(0, NOISE, image.shape)
    noisy = (image + noise).clip(0, 1).astype(np.float32)
    mask = random.random(image.shape[:2]) < 0.5
    small = downsample(image[np.newaxis], FACTOR, "average").numpy()[0]
    hidden = image * mask[..., np.newaxis]
    work: dict[str, tuple] = {
        "denoise": (denoise, (noisy,), noisy, blurred(noisy), 1 / 30),
        "stop": (denoise, (noisy,), noisy, blurred(noisy), 1 / 30),
        "inpaint": (inpaint, (image, mask), hidden, filled(image, mask), 0.03),
        "super_resolve": (super_resolve, (small, FACTOR),
                          small.repeat(FACTOR, 0).repeat(FACTOR, 1),
                          bicubic(small), 0.03),
    }  # fmt: skip
    method, given, seen, simple, input_noise = work[task]
    more: dict[str, Any] = {}
    if task == "super_resolve":
        more["kernel"] = "average"
    if task == "stop":
        more.update(stop="variance", patience=500)
    if variation:
        more["regularizers"] = [TotalVariation(variation, beta=1)]
    began = time.perf_counter()
    prior = DeepImagePrior(network, input_noise=input_noise)
    made = method(*given, steps=steps, verbose=False, prior=prior, runs=runs,
                  snapshots=range(100, steps + 1, 100), **more)  # fmt: skip
    each = (time.perf_counter() - began) / made.steps / runs * 1e3
    ways = {k: psnr(v[0], image) for k, v in made.frames.items()}
    best = max(ways, key=ways.__getitem__)
    print(
        f"| {task} | {psnr(seen, image):.2f} | {psnr(simple, image):.2f} | "
        f"{psnr(made.images[0], image):.2f}, {made.steps} steps | "
        f"{ways[best]:.2f} after {best} | "
        f"{each:.0f} |",
        flush=True,
    )
    strip = np.concatenate([seen, simple, made.images[0], image], axis=1)
    return np.broadcast_to(strip, (*strip.shape[:2], 3))  # gray ones as well


def speed(image: np.ndarray, network: Hourglass, rounds: int) -> None:
    print("\n| a step, in bare steps of the same network | ratio |")
    print("|---|---|")
    for noise, name in ((1 / 30, "with input noise"), (0.0, "without")):
        print(f"| {name} | {ratio(image, network, noise, rounds):.3f} x |")


def ratio(
    image: np.ndarray, network: Hourglass, noise: float, rounds: int
) -> float:
    """Time of 20 steps, in that of 20 bare ones; the median of rounds."""
    steps = 20
    prior = DeepImagePrior(network, input_noise=noise)
    values = image[np.newaxis]
    target = observed.Observed(
        values, np.ones_like(values), unchanged, ValueRange(0.0, 1.0)
    )
    problem = Problem(target, prior, image.shape, Randomness([0], [0]),
                      averaging=0.99)  # fmt: skip
    watched = Watched(Loop(problem, prior.optimizer()), 5.0)
    bare = bare_step(image, network, noise)

    def ours() -> None:
        for _ in watched.stretches(watched.step + steps):
            pass

    def by_hand() -> None:
        for k in range(steps):
            loss = bare(tf.constant(k))
        loss.numpy()

    found = []
    for run in (ours, by_hand, ours):  # long stretches are known by then
        run()
    for _ in range(rounds):
        # In turn, so that what else the machine does hits both alike.
        found.append(seconds(ours) / seconds(by_hand))
    return statistics.median(found)


def bare_step(image: np.ndarray, settings: Hourglass, noise: float) -> Callable:
    """One compiled step, as one would write it for one picture."""
    network = hourglass(image.shape, **{
        name: getattr(settings, name) for name in ("channels", "skip_channels")
    })  # fmt: skip
    optimizer = keras.optimizers.Adam(0.01)
    weights = network.trainable_variables
    optimizer.build(weights)
    shape = [1, *network.input_shape[1:]]
    code = tf.random.stateless_uniform(shape, [0, 0], 0.0, 0.1)
    truth = tf.constant(image[np.newaxis])

    def step(k: tf.Tensor) -> tf.Tensor:
        fed = code
        if noise:
            seed = tf.stack([0, k])
            fed += tf.random.stateless_normal(shape, seed, stddev=noise)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(fed) - truth))
        gradients = tape.gradient(loss, [w.value for w in weights])
        optimizer.apply(gradients, weights)
        return loss

    return tf.function(step, autograph=False)


def seconds(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def psnr(made: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean(np.square(made.astype(float).clip(0, 1) - truth))
    return float(-10 * np.log10(error))


def blurred(image: np.ndarray) -> np.ndarray:
    """The simplest way to remove noise, at its best width."""
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (0.8, 0.8, 0))


def filled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Linear interpolation between the pixels that were kept."""
    from scipy import interpolate

    places = np.argwhere(mask)
    everywhere = np.argwhere(np.ones_like(mask))
    values = interpolate.griddata(places, image[mask], everywhere)
    nearest = interpolate.griddata(
        places, image[mask], everywhere, method="nearest"
    )
    values = np.where(np.isnan(values), nearest, values)
    return values.reshape(image.shape).astype(np.float32)


def bicubic(small: np.ndarray) -> np.ndarray:
    size = (small.shape[1] * FACTOR, small.shape[0] * FACTOR)
    channels = [
        Image.fromarray(small[..., k]).resize(size, Image.Resampling.BICUBIC)
        for k in range(small.shape[-1])
    ]
    return np.stack(channels, -1).clip(0, 1)


if __name__ == "__main__":
    main()
