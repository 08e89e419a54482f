"""The least change that takes an image over a decision boundary."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Unpack, cast

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.sampling import expand
from keras_explain.synthesis.adversarial import checks as attack_checks
from keras_explain.synthesis.adversarial.attack import (
    Attack,
    Changed,
    CommonOptions,
    Task,
    chosen,
    nonzero,
)
from keras_explain.synthesis.adversarial.result import Adversarial
from keras_explain.synthesis.adversarial.run import run

# A lead of this share of the largest score is what float32 makes of none.
_ROUNDING = 1e-6


def deepfool(
    model: keras.Model,
    inputs: Any,
    labels: Any = None,
    *,
    max_steps: int = 50,
    num_candidates: int = 10,
    overshoot: float = 0.02,
    **options: Unpack[CommonOptions],
) -> Adversarial:
    """Finds a change of about the least Euclidean length that fools.

    To measure how far images are from the boundary, where `pgd` only says
    whether they are nearer than `epsilon`: see `norm_l2` and `relative_l2`
    of the result. Two or three steps are usual, and the loop ends with the
    last image of a batch. A step costs two forward passes and
    `num_candidates - 1` backward passes.

    In each step the logits `f` are taken as linear, and `x` goes to the
    nearest boundary with another class `k`, and a little further:

        w_k = d/dx (f_k - f_y),  d_k = (f_y - f_k) / |w_k|
        x <- clip(x + (1 + overshoot) * d_k * w_k / |w_k|)

    for the `k` with the least `d_k`, until the model no longer says `y`.
    That is found out on the clipped image with its overshoot.

    Departures from the paper: images are clipped to `bounds`, and values at
    a bound that would leave it do not count in `w_k`, as they cannot move.
    Clipping alone would take a part of every step, the overshoot first, so
    that images creep up to the boundary and do not cross it. The overshoot
    is part of every step, as in the authors' program, and not only of the
    sum of them. With `targeted=True`, which the paper does not have, the
    boundary is that between the label and whichever class leads. An image
    that is not fooled after `max_steps` is returned as far as it got, with
    `success` false.

    Args:
        model: As for `fgsm`.
        inputs: As for `fgsm`.
        labels: As for `fgsm`.
        max_steps: Most steps.
        num_candidates: How many classes are looked at: the label, and those
            with the highest scores on the original. Targeted attacks look
            at the label only.
        overshoot: How much further than the boundary, as a share.
        **options: `targeted`, `bounds` and `batch_size` as for `fgsm`.

    Returns:
        An `Adversarial`.

    Raises:
        TypeError: As for `fgsm`, or if there is no such option.
        ValueError: As for `fgsm`, or if an option is out of range.

    Example:

    >>> from keras_explain.synthesis import deepfool
    >>> found = deepfool(model, images, bounds=(-5, 5))
    >>> found.success.tolist(), bool(found.norm_l2.max() < 5)
    ([True, True], True)

    References:
        Moosavi-Dezfooli, Fawzi and Frossard, 2016, "DeepFool: A Simple and
        Accurate Method to Fool Deep Neural Networks".
        https://arxiv.org/abs/1511.04599
    """
    defaults = {"targeted": False, "bounds": None, "batch_size": 32}
    attack = NearestBoundary(max_steps, num_candidates, overshoot)
    given = chosen(dict(options), defaults, "deepfool")
    return run(attack, model, inputs, labels, cast(CommonOptions, given))


@dataclasses.dataclass(frozen=True)
class NearestBoundary(Attack):
    """What `deepfool` does."""

    name: ClassVar[str] = "deepfool"
    static: ClassVar[tuple[str, ...]] = ("num_candidates",)
    max_steps: int = 50
    num_candidates: int = 10
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        attack_checks.count("max_steps", self.max_steps)
        attack_checks.count("num_candidates", self.num_candidates, 2)
        number = isinstance(self.overshoot, (int, float, np.number))
        if not (number and 0 <= self.overshoot < np.inf):
            raise ValueError(
                message(
                    "`overshoot` is a share of the way to the boundary, from "
                    "zero.",
                    f"overshoot={self.overshoot!r}",
                )
            )

    def numbers(self) -> dict[str, float | int]:
        return {
            "max_steps": int(self.max_steps),
            "overshoot": float(self.overshoot),
        }

    def perturb(self, task: Task) -> Changed:
        numbers = task.numbers
        candidates = self._candidates(task)

        def body(
            step: tf.Tensor,
            images: tf.Tensor,
            going: tf.Tensor,
            steps: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            change = self._to_boundary(task, images, candidates)
            further = task.clip(images + (1 + numbers["overshoot"]) * change)
            going &= nonzero(further - images)
            images = tf.where(expand(going, images), further, images)
            steps += tf.cast(going, tf.int32)
            going &= ~task.reached(task.classifier.logits(images))
            return step + 1, images, going, steps

        each = task.active.shape
        _, images, _, steps = tf.while_loop(
            lambda step, images, going, steps: (
                (step < numbers["max_steps"]) & tf.reduce_any(going)
            ),
            body,
            (0, task.images, task.active, tf.zeros_like(task.labels)),
            shape_invariants=(
                tf.TensorShape([]),
                task.images.shape,
                each,
                each,
            ),
        )
        return Changed(images, steps, steps > 0)

    def _candidates(self, task: Task) -> tf.Tensor:
        """Classes to be taken over the boundary to, `(batch, number)`."""
        if task.targeted:
            return task.labels[:, tf.newaxis]
        classes = task.logits.shape[-1]
        hot = tf.one_hot(task.labels, classes)
        others = tf.where(hot > 0, task.logits.dtype.min, task.logits)
        number = min(self.num_candidates, classes) - 1
        return tf.math.top_k(others, number).indices

    def _to_boundary(
        self, task: Task, images: tf.Tensor, candidates: tf.Tensor
    ) -> tf.Tensor:
        """The way to the nearest boundary, as if the logits were linear."""
        classes = task.logits.shape[-1]
        leader = task.labels
        if task.targeted:
            leader = tf.argmax(
                task.classifier.logits(images), -1, output_type=tf.int32
            )
        weights = [
            tf.one_hot(candidates[:, k], classes) - tf.one_hot(leader, classes)
            for k in range(candidates.shape[-1])
        ]
        logits, slopes = task.classifier.gradients(images, weights)
        least = _ROUNDING * tf.reduce_max(tf.abs(logits), -1)
        nearest = tf.fill(tf.shape(leader), np.float32(np.inf))
        change = tf.zeros_like(images)
        for weight, slope in zip(weights, slopes, strict=True):
            slope = _free(task, images, slope)
            axes = list(range(1, slope.shape.rank))
            length = tf.sqrt(tf.reduce_sum(slope**2, axes))
            lead = tf.abs(tf.reduce_sum(logits * weight, -1))
            lead = tf.maximum(lead, least)
            distance = tf.where(length > 0, lead / length, np.inf)
            way = tf.math.divide_no_nan(distance, length)
            nearer = distance < nearest
            change = tf.where(
                expand(nearer, slope), expand(way, slope) * slope, change
            )
            nearest = tf.minimum(distance, nearest)
        return change


def _free(task: Task, images: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """The slope along the values that are free to follow it."""
    low, high = task.numbers["low"], task.numbers["high"]
    stuck = ((images <= low) & (slope < 0)) | ((images >= high) & (slope > 0))
    return tf.where(stuck, 0.0, slope)
