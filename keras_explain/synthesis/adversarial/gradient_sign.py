"""Images changed by no more than epsilon: one step, or many."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Unpack, cast

import keras
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
    unit_length,
)
from keras_explain.synthesis.adversarial.result import Adversarial
from keras_explain.synthesis.adversarial.run import run

_NORMS = ("linf", "l2")
_UNITS = (
    "It is in the units of the inputs: 8 for pixels of 0 to 255 is what is "
    "written 8/255 for pixels of 0 to 1."
)
# How far the steps of a random start reach: the ball can be crossed.
_REACH = 2.5


def fgsm(
    model: keras.Model,
    inputs: Any,
    labels: Any = None,
    *,
    epsilon: float,
    targeted: bool = False,
    bounds: tuple[float, float] | None = None,
    batch_size: int = 32,
) -> Adversarial:
    """Fools a classifier with one step of the fast gradient sign method.

    For a first look at how easily a model is fooled, at the cost of one
    gradient and two forward passes. It is a weak attack: a model that
    withstands it may fall to `pgd`, which searches the same images.

        x' = clip(x + epsilon * sign(d/dx L(x, y)))

    `L` is the cross entropy with the label `y`. It is computed from the
    logits, which are found whatever the model ends in, and its direction is
    computed in a form that does not vanish where the model is certain. With
    `targeted=True` the step goes the other way, down to a class to reach.

    Departures from the paper: the result is clipped to `bounds`; without
    labels the model's own prediction is used (Kurakin et al.), so that the
    true label cannot leak into the image; images that the model gets wrong
    from the start are left as they are.

    Args:
        model: A built classifier with one output `(batch, classes)`, or one
            sigmoid. Not changed.
        inputs: Images `(n, ...)`, or other arrays of numbers, as the model
            takes them; a `tf.data.Dataset` or `PyDataset` of batches of
            them, or of `(inputs, labels)`, whose labels are left aside.
        labels: Class indices `(n,)` or one for all: the classes to leave,
            or with `targeted=True` to reach. `None` for the prediction.
        epsilon: Most that a value changes by, in the units of the inputs: 8
            for pixels of 0 to 255 is what is written 8/255 for 0 to 1.
        targeted: Whether `labels` are classes to reach.
        bounds: `(low, high)`, the values that inputs may have. `None` reads
            them from a model that begins with `keras.layers.Rescaling` of
            pixels of 0 to 255.
        batch_size: Most images in memory at once.

    Returns:
        An `Adversarial`.

    Raises:
        TypeError: If the model is no Keras model, or inputs, labels or
            epsilon are no numbers.
        ValueError: If the model is no classifier, the bounds are not known
            or not kept by the inputs, a label is out of range or there is
            not one for each image, an image is in its target class already,
            or epsilon is not above zero.

    Example:

    >>> from keras_explain.synthesis import fgsm
    >>> found = fgsm(model, images, epsilon=0.5, bounds=(-5, 5))
    >>> found.images.shape, bool(found.norm_linf.max() <= 0.5 + 1e-6)
    ((2, 8, 8, 3), True)

    References:
        Goodfellow, Shlens and Szegedy, 2015, "Explaining and Harnessing
        Adversarial Examples".
        https://arxiv.org/abs/1412.6572

        Kurakin, Goodfellow and Bengio, 2017, "Adversarial Machine Learning
        at Scale".
        https://arxiv.org/abs/1611.01236
    """
    options: CommonOptions = {
        "targeted": targeted,
        "bounds": bounds,
        "batch_size": batch_size,
    }
    return run(FastGradientSign(epsilon), model, inputs, labels, options)


class DescentOptions(CommonOptions, total=False):
    """Options of `pgd` by name.

    Attributes:
        random_start: Whether to start anywhere in the ball.
        seed: Of the random start.
    """

    random_start: bool
    seed: int


def pgd(
    model: keras.Model,
    inputs: Any,
    labels: Any = None,
    *,
    epsilon: float,
    norm: str = "linf",
    step_size: float | None = None,
    steps: int = 40,
    **options: Unpack[DescentOptions],
) -> Adversarial:
    """Fools a classifier by projected gradient descent within a ball.

    The usual measure of robustness to small changes: `accuracy` of the
    result is an upper bound of the accuracy that is left when anyone may
    change images by `epsilon`. It costs `steps` gradients and two forward
    passes.

        x <- clip(project(x + step_size * direction))

    The direction is the sign of the gradient of the cross entropy for
    `norm="linf"`, and the gradient divided by its length for `"l2"`. The
    projection leads back to changes of at most `epsilon`: in any value, or
    in Euclidean length. The gradient is taken as in `fgsm`; with one step
    of `epsilon` and no random start, `"linf"` is `fgsm`.

    Departures from the paper: as for `fgsm`. The random start is the same
    draw for all images, so that an image fares the same alone and in any
    batch. The last iterate is returned, as in the paper, whether or not one
    before it fooled the model.

    Args:
        model: As for `fgsm`.
        inputs: As for `fgsm`.
        labels: As for `fgsm`.
        epsilon: Largest change, in the units of the inputs and the norm.
        norm: `"linf"`, or `"l2"`.
        step_size: Length of a step in the same norm. `None` for
            `2.5 * epsilon / steps`, with which every part of the ball can
            be reached from every other.
        steps: Number of steps.
        **options: `targeted`, `bounds` and `batch_size` as for `fgsm`;
            `random_start=True`, whether to start at a point drawn from the
            ball in place of the image itself; `seed=0` of that draw. On a
            CPU the same seed gives the same images, bit for bit.

    Returns:
        An `Adversarial`.

    Raises:
        TypeError: As for `fgsm`, or if there is no such option.
        ValueError: As for `fgsm`, or if the norm is neither of the two, or
            a number is not above zero.

    Example:

    >>> from keras_explain.synthesis import pgd
    >>> found = pgd(model, images, epsilon=0.5, norm="l2", bounds=(-5, 5))
    >>> found.steps.tolist(), bool(found.norm_l2.max() <= 0.5 + 1e-6)
    ([40, 40], True)

    References:
        Madry, Makelov, Schmidt, Tsipras and Vladu, 2018, "Towards Deep
        Learning Models Resistant to Adversarial Attacks".
        https://arxiv.org/abs/1706.06083
    """
    defaults = {"targeted": False, "bounds": None, "batch_size": 32,
                "random_start": True, "seed": 0}  # fmt: skip
    given = chosen(dict(options), defaults, "pgd")
    attack = ProjectedDescent(
        epsilon=epsilon,
        norm=norm,
        step_size=step_size,
        steps=steps,
        random_start=given.pop("random_start"),
        seed=given.pop("seed"),
    )
    return run(attack, model, inputs, labels, cast(CommonOptions, given))


@dataclasses.dataclass(frozen=True)
class FastGradientSign(Attack):
    """What `fgsm` does."""

    name: ClassVar[str] = "fgsm"
    epsilon: float

    def __post_init__(self) -> None:
        attack_checks.positive("epsilon", self.epsilon, _UNITS)

    def check(self, bounds: tuple[float, float]) -> None:
        attack_checks.epsilon(self.epsilon, bounds, "linf")

    def numbers(self) -> dict[str, float | int]:
        return {"epsilon": float(self.epsilon)}

    def perturb(self, task: Task) -> Changed:
        _, gradient = task.uphill(task.images)
        direction = tf.sign(gradient)
        images = task.images + task.numbers["epsilon"] * direction
        steps = tf.ones_like(task.labels)
        return Changed(task.clip(images), steps, nonzero(direction))


@dataclasses.dataclass(frozen=True)
class ProjectedDescent(Attack):
    """What `pgd` does."""

    name: ClassVar[str] = "pgd"
    static: ClassVar[tuple[str, ...]] = ("norm", "random_start")
    epsilon: float
    norm: str = "linf"
    step_size: float | None = None
    steps: int = 40
    random_start: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        attack_checks.positive("epsilon", self.epsilon, _UNITS)
        attack_checks.count("steps", self.steps)
        attack_checks.count("seed", self.seed, 0)
        if self.step_size is not None:
            attack_checks.positive("step_size", self.step_size)
        if self.norm not in _NORMS:
            raise ValueError(
                message(
                    "There is no such norm.",
                    f"norm={self.norm!r}",
                    f"Pass one of {', '.join(map(repr, _NORMS))}.",
                )
            )

    def check(self, bounds: tuple[float, float]) -> None:
        attack_checks.epsilon(self.epsilon, bounds, self.norm)

    def numbers(self) -> dict[str, float | int]:
        step = self.step_size or _REACH * self.epsilon / self.steps
        return {
            "epsilon": float(self.epsilon),
            "step_size": float(step),
            "steps": int(self.steps),
            "seed": int(self.seed),
        }

    def perturb(self, task: Task) -> Changed:
        numbers = task.numbers
        shape = task.images.shape
        start = self._start(task) if self.random_start else task.images

        def body(
            step: tf.Tensor, images: tf.Tensor, moved: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            _, gradient = task.uphill(images)
            direction = self._direction(gradient)
            images += numbers["step_size"] * direction
            images = task.clip(self._project(task, images))
            return step + 1, images, moved | nonzero(direction)

        _, images, moved = tf.while_loop(
            lambda step, *_: step < numbers["steps"],
            body,
            (0, start, tf.zeros_like(task.active)),
            shape_invariants=(tf.TensorShape([]), shape, task.active.shape),
        )
        steps = tf.ones_like(task.labels) * numbers["steps"]
        return Changed(images, steps, moved)

    def _start(self, task: Task) -> tf.Tensor:
        """The images, moved to a point drawn evenly from the ball."""
        shape = [1, *task.images.shape[1:]]
        seed, epsilon = task.numbers["seed"], task.numbers["epsilon"]
        if self.norm == "linf":
            drawn = tf.random.stateless_uniform(shape, [seed, 0], -1.0, 1.0)
        else:
            drawn = tf.random.stateless_normal(shape, [seed, 0])
            radius = tf.random.stateless_uniform([], [seed, 1])
            # So much of a ball is within a radius: its power of dimensions.
            radius **= 1.0 / tf.cast(tf.size(drawn), tf.float32)
            drawn *= radius / tf.norm(drawn)
        return task.clip(task.images + epsilon * drawn)

    def _direction(self, gradient: tf.Tensor) -> tf.Tensor:
        if self.norm == "linf":
            return tf.sign(gradient)
        return unit_length(gradient)

    def _project(self, task: Task, images: tf.Tensor) -> tf.Tensor:
        epsilon = task.numbers["epsilon"]
        if self.norm == "linf":
            low, high = task.images - epsilon, task.images + epsilon
            return tf.clip_by_value(images, low, high)
        change = images - task.images
        axes = list(range(1, change.shape.rank))
        length = tf.sqrt(tf.reduce_sum(change**2, axes))
        shrink = tf.minimum(1.0, tf.math.divide_no_nan(epsilon, length))
        # No length: nothing to shrink.
        shrink = tf.where(length > 0, shrink, 1.0)
        return task.images + change * expand(shrink, change)
