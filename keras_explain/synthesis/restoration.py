"""Pictures restored from what is left of them, without any training data."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.deep_image_prior import PUBLISHED, DeepImagePrior
from keras_explain.synthesis.downsampling import downsample
from keras_explain.synthesis.observed import read
from keras_explain.synthesis.restoring import (
    options_of,
    restored,
    with_options,
)
from keras_explain.synthesis.result import Synthesis


def unchanged(images: tf.Tensor) -> tf.Tensor:
    """Returns pictures as they are: what noise and masks are added to."""
    return images


@with_options
def restore(
    images: Any,
    operator: Callable[[tf.Tensor], tf.Tensor],
    *,
    steps: int = 2000,
    **options: Any,
) -> Synthesis:
    """Finds pictures of which an operator makes what was observed.

    Use it for damage that can be written as a function: a blur, a sensor, a
    lost channel. For noise, holes and low resolution there are `denoise`,
    `inpaint` and `super_resolve`. No data set is needed: that an untrained
    network of convolutions draws the picture is all that is known about it.
    Costs `steps` gradients of that network for each picture; on a CPU take
    a small one, such as `prior=DeepImagePrior(Hourglass((32,) * 4))`.

    `w* = argmin_w mean(m (A(f_w(z)) - y)^2)` and `x = f_w*(z)`, for what was
    observed `y`, the operator `A`, the mask `m` and a network `f` with a
    fixed input `z`. What is returned is the exponential running mean of `x`,
    which is 1 to 2 dB better than the last one. As the network learns noise
    in the end, the number of steps matters; `stop="variance"` finds it.

    Where rows of a batch are damaged differently, call `restore` for each:
    the operator sees whole batches.

    Args:
        images: What was observed, `(batch, height, width, channels)` or one
            picture without the batch axis: uint8 from 0 to 255, or floats
            from 0 to 1; other ranges with a `value_range`.
        operator: A differentiable TensorFlow function that takes pictures
            `(batch, *shape)` in the range of `images` and makes what was
            observed of them.
        steps: Number of steps; with `start`, those before count.
        snapshots: Steps after which the pictures are kept as `frames`.
        start: A `Synthesis` of the same settings to go on from.
        callback: Called with a `Progress` a few times each second; the run
            ends if it returns `True`.
        prior: How pictures are made of numbers. By default a
            `DeepImagePrior` as published for the task.
        regularizers: Penalties on pictures from 0 to 1, next to a mean of
            squared errors; so of a small weight, such as
            `TotalVariation(1e-5)`.
        optimizer: A Keras optimizer, of which a copy is used; by default
            Adam as the prior has it.
        averaging: Weight of the past in the running mean; 0 for none.
        backtrack: By how many decibels a picture may get worse within 100
            steps, measured against what was observed, before it is put back
            to where it was; `None` to let it.
        stop: `"variance"` ends the run `patience` steps after the pictures
            of the last `window` steps differed least, and the one found
            then is returned; `None` makes all steps. With `start` the window
            begins anew.
        window: See `stop`.
        patience: See `stop`.
        runs: How many networks draw each picture, with first weights of their
            own; the mean of what they draw is returned, which is 0.3 to 0.6 dB
            better for two of them, and costs as many times more. `history` has
            a column for each network, those of one run after the other.
        seed: Of the first weights and of what is added to the input; further
            runs take the seeds that follow. Same seed, same picture, bit for
            bit on a CPU.
        value_range: `(low, high)` of the pictures that are made. What was
            observed may then leave it, as noise does.
        shape: Of the pictures that are made, if the operator changes it.
        mask: What of `images` is used: 1 = kept, 0 = hidden, or weights in
            between. `(height, width)`, with channels or without, for all
            pictures or with the batch axis for each.
        verbose: Whether to show a progress bar.

    Returns:
        A `Synthesis`. Its `images` always have a batch axis, as float32 in
        the range of what was given; `history["loss"]` is the mean squared
        error of each step where the range is from 0 to 1, and `score` is
        minus that of the final pictures. `stopped` may also be `"variance"`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If values are NaN or out of range, a mask hides
            everything or has another shape, the operator does not make what
            was observed or has no gradient, or pictures are too small.

    Example:

    >>> from keras_explain.synthesis.deep_image_prior import DeepImagePrior
    >>> from keras_explain.synthesis.networks import Hourglass
    >>> from keras_explain.synthesis.restoration import restore
    >>> dark = np.full((16, 16, 3), 0.25)
    >>> made = restore(
    ...     dark, lambda x: 0.5 * x, steps=4, verbose=False,
    ...     prior=DeepImagePrior(Hourglass((8, 8))),
    ... )
    >>> made.images.shape, made.history["loss"].shape
    ((1, 16, 16, 3), (4, 1))

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
        Wang et al., 2021. Early Stopping for Deep Image Prior.
        https://arxiv.org/abs/2112.06074
    """
    given = options_of(options)
    return restored(images, operator, steps, "restored", given, pictures=False)


@with_options
def denoise(images: Any, *, steps: int = 1800, **options: Any) -> Synthesis:
    """Removes noise from pictures.

    Use it where there is one picture and no clean ones to learn from. It
    takes noise that differs from pixel to pixel, of any distribution with
    mean zero; the network fits the picture first and the noise later, so
    that the number of steps decides. Costs are those of `restore`.

    `x = f_w*(z)` with `w* = argmin_w mean (f_w(z) - y)^2`.

    Args:
        images: Noisy pictures, as for `restore`. Floats that noise has taken
            out of 0 to 1 need `value_range=(0, 1)`.
        steps: Number of steps.
        **options: As for `restore`.

    Returns:
        A `Synthesis`, as `restore` does.

    Raises:
        TypeError, ValueError: As `restore` does.

    Example:

    >>> from keras_explain.synthesis.deep_image_prior import DeepImagePrior
    >>> from keras_explain.synthesis.networks import Hourglass
    >>> from keras_explain.synthesis.restoration import denoise
    >>> noisy = np.random.default_rng(0).integers(
    ...     0, 256, (16, 16, 3)).astype("uint8")
    >>> prior = DeepImagePrior(Hourglass((8, 8)))
    >>> denoise(noisy, steps=4, prior=prior, verbose=False).value_range
    (0.0, 255.0)

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """
    given = options_of(options, PUBLISHED["denoising"].prior)
    return restored(images, unchanged, steps, "denoised", given)


@with_options
def inpaint(
    images: Any,
    mask: Any,
    *,
    steps: int = 2000,
    keep: bool = True,
    **options: Any,
) -> Synthesis:
    """Fills in pixels that are hidden.

    Use it for text over a picture, scratches, and pixels that were lost at
    random. For a large hole take
    `prior=PUBLISHED["inpainting a large hole"].prior`, whose network has no
    skip connections. Hidden pixels are never looked at: they may be NaN.
    Costs are those of `restore`.

    `x = f_w*(z)` with `w* = argmin_w sum m (f_w(z) - y)^2 / sum m`.

    Args:
        images: As for `restore`.
        mask: 1 = kept, 0 = hidden; `(height, width)`, with channels or
            without, for all pictures or with the batch axis for each.
        steps: Number of steps.
        keep: Whether pixels that were given are returned as they are. With
            `False` they are the network's as well, near the given ones,
            which smooths noise. The score is that of the network's picture.
        **options: As for `restore`.

    Returns:
        A `Synthesis`, as `restore` does.

    Raises:
        TypeError, ValueError: As `restore` does.

    Example:

    >>> from keras_explain.synthesis.deep_image_prior import DeepImagePrior
    >>> from keras_explain.synthesis.networks import Hourglass
    >>> from keras_explain.synthesis.restoration import inpaint
    >>> image = np.full((16, 16, 1), 0.5)
    >>> mask = np.ones((16, 16))
    >>> mask[4:8, 4:8] = 0
    >>> prior = DeepImagePrior(Hourglass((8, 8)))
    >>> inpaint(image, mask, steps=4, prior=prior, verbose=False).titles
    ['inpainted']

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """
    prior = DeepImagePrior(input_noise=0.03)
    given = options_of({**options, "mask": mask}, prior)
    made = restored(images, unchanged, steps, "inpainted", given)
    if not keep:
        return made
    values, _, share = read(images, mask, given.value_range)

    def put_back(pictures: np.ndarray) -> np.ndarray:
        return (share * values + (1 - share) * pictures).astype(np.float32)

    return dataclasses.replace(
        made,
        images=put_back(made.images),
        frames={step: put_back(frame) for step, frame in made.frames.items()},
    )


@with_options
def super_resolve(
    images: Any,
    factor: int,
    *,
    kernel: str = "lanczos2",
    steps: int = 2000,
    **options: Any,
) -> Synthesis:
    """Makes pictures larger, with edges that are sharp.

    Use it where no trained network is at hand, or trusted: what is made
    agrees with what was given when it is made smaller again. The kernel
    should be what the camera or the program did. Costs are those of
    `restore`, at the size of what is made.

    `x = f_w*(z)` with `w* = argmin_w mean (D f_w(z) - y)^2`, where `D` is
    `downsample`.

    Args:
        images: As for `restore`.
        factor: How many pixels each pixel becomes, along each axis; 2 or
            more.
        kernel: How the pictures became small, see `downsample`.
        steps: Number of steps.
        **options: As for `restore`.

    Returns:
        A `Synthesis`, as `restore` does.

    Raises:
        TypeError, ValueError: As `restore` and `downsample` do, and if the
            factor is not an integer of at least 2.

    Example:

    >>> from keras_explain.synthesis.deep_image_prior import DeepImagePrior
    >>> from keras_explain.synthesis.networks import Hourglass
    >>> from keras_explain.synthesis.restoration import super_resolve
    >>> prior = DeepImagePrior(Hourglass((8, 8)))
    >>> small = np.full((8, 12, 3), 0.5)
    >>> super_resolve(
    ...     small, 2, steps=4, prior=prior, verbose=False
    ... ).images.shape
    (1, 16, 24, 3)

    References:
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """
    whole = isinstance(factor, numbers.Integral)
    if not whole or isinstance(factor, bool) or factor < 2:
        raise ValueError(
            message(
                "The factor is an integer of at least 2.", f"factor={factor!r}"
            )
        )
    recipe = PUBLISHED["super-resolution x4" if factor <= 4 else
                       "super-resolution x8"]  # fmt: skip
    given = options_of(options, recipe.prior)
    sides = np.shape(images)
    if given.shape is None and len(sides) in (3, 4):
        height, width, channels = sides[-3:]
        shape = (height * factor, width * factor, channels)
        given = dataclasses.replace(given, shape=shape)
    operator = functools.partial(downsample, factor=factor, kernel=kernel)
    title = f"{factor} times as large"
    return restored(images, operator, steps, title, given)
