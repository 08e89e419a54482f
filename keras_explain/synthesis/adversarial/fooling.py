"""Images that mean nothing to us and much to a classifier."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypedDict, Unpack

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import checks
from keras_explain.engine.errors import message
from keras_explain.engine.recording import record
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
from keras_explain.synthesis.adversarial.classifier import declared
from keras_explain.synthesis.adversarial.result import Adversarial
from keras_explain.synthesis.adversarial.run import bounds_of, run

# Length of a step: what changes every value by this share of the bounds.
_STEP = 0.01
# Two ways to run the same model may round differently: how much further the
# log-odds go than they must.
_ROUNDING = 1e-4


class FoolingOptions(TypedDict, total=False):
    """Options of `fooling_image` by name.

    Attributes:
        num_images: How many images to make of each class.
        shape: Of an image, where the model does not tell.
        batch_size: Most images in memory at once.
    """

    num_images: int
    shape: tuple[int, ...] | None
    batch_size: int


def fooling_image(
    model: keras.Model,
    class_index: Any,
    *,
    start: Any = "noise",
    confidence: float = 0.99,
    steps: int = 200,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
    **options: Unpack[FoolingOptions],
) -> Adversarial:
    """Makes noise into an image that a classifier is sure about.

    To show that a high confidence is no sign that a model has seen anything
    like the image before. It costs a gradient for each step, and ends with
    the last image that reaches `confidence`.

        x <- clip(x + step_size * g / |g|),  g = d/dx log(p / (1 - p))

    Here `p` is the probability of the class. The step changes values by 1 %
    of the bounds on average (root mean square).

    Departures from the paper, which climbs the logarithm of the softmax
    from the mean image and adds L2 regularization, or evolves images: the
    log-odds have the same direction and do not vanish where `p` is near one,
    and the length of a step does not depend on the model.

    Args:
        model: As for `fgsm`.
        class_index: The class, or a list of them for one image each.
        start: `"noise"`, every value drawn evenly from the bounds;
            `"gray"`, the middle of the bounds; or images to start from, one
            for each class.
        confidence: Probability at which an image is done.
        steps: Most steps.
        bounds: As for `fgsm`.
        seed: Of the noise. An image depends on the seed and on its number
            among those of its class.
        **options: `num_images=1` of each class; `shape=None`, needed where
            the model takes images of any size; `batch_size=32`.

    Returns:
        An `Adversarial` whose originals are what was started from. The
        images of a class follow each other.

    Raises:
        TypeError: If there is no such option, or a class is no integer.
        ValueError: If the model is no classifier, the bounds or the shape
            are not known, there is no such class, or an option is out of
            range.

    Example:

    >>> from keras_explain.synthesis import fooling_image
    >>> found = fooling_image(model, [3, 8], confidence=0.3, bounds=(-9, 9))
    >>> found.predictions.tolist(), bool(found.confidence.min() >= 0.3)
    ([3, 8], True)

    References:
        Nguyen, Yosinski and Clune, 2015, "Deep Neural Networks are Easily
        Fooled: High Confidence Predictions for Unrecognizable Images".
        https://arxiv.org/abs/1412.1897
    """
    defaults = {"num_images": 1, "shape": None, "batch_size": 32}
    given = chosen(dict(options), defaults, "fooling_image")
    number = attack_checks.count("num_images", given["num_images"])
    drawn = isinstance(start, str)
    attack = Fooling(confidence, steps, start if drawn else "images", seed)
    checks.check_model(model)
    checks.check_built(model)
    labels = _classes(class_index)
    if drawn:
        shape = _shape(model, given["shape"])
        images = _started(attack, shape, number, _range(model, shape, bounds))
        images = np.tile(images, [labels.size] + [1] * len(shape))
        labels = np.repeat(labels, number)
    else:
        images = start
    common: CommonOptions = {
        "targeted": True,
        "bounds": bounds,
        "batch_size": given["batch_size"],
    }
    return run(attack, model, images, labels, common)


@dataclasses.dataclass(frozen=True)
class Fooling(Attack):
    """What `fooling_image` does."""

    name: ClassVar[str] = "fooling_image"
    refuses_reached: ClassVar[bool] = False
    confidence: float = 0.99
    steps: int = 200
    start: str = "noise"
    seed: int = 0

    def __post_init__(self) -> None:
        attack_checks.positive("confidence", self.confidence)
        attack_checks.count("steps", self.steps)
        attack_checks.count("seed", self.seed, 0)
        if self.confidence >= 1:
            raise ValueError(
                message(
                    "`confidence` is a probability below one, which a "
                    "softmax never reaches.",
                    f"confidence={self.confidence!r}",
                )
            )
        if self.start not in ("noise", "gray", "images"):
            raise ValueError(
                message(
                    "There is no such start.",
                    f"start={self.start!r}",
                    'Pass "noise", "gray", or images.',
                )
            )

    def numbers(self) -> dict[str, float | int]:
        # Probabilities near one are told apart by their odds only.
        odds = np.log(self.confidence) - np.log1p(-self.confidence)
        return {"odds": float(odds), "steps": int(self.steps)}

    def perturb(self, task: Task) -> Changed:
        numbers = task.numbers
        shape = task.images.shape
        width = numbers["high"] - numbers["low"]
        size = tf.cast(tf.size(task.images[0]), tf.float32)
        length = _STEP * width * tf.sqrt(size)

        def body(
            step: tf.Tensor,
            images: tf.Tensor,
            going: tf.Tensor,
            steps: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            odds, gradient = task.uphill(images)
            going &= (odds < numbers["odds"] + _ROUNDING) & nonzero(gradient)
            further = task.clip(images + length * unit_length(gradient))
            images = tf.where(expand(going, images), further, images)
            return step + 1, images, going, steps + tf.cast(going, tf.int32)

        _, images, _, steps = tf.while_loop(
            lambda step, images, going, steps: (
                (step < numbers["steps"]) & tf.reduce_any(going)
            ),
            body,
            (0, task.images, task.active, tf.zeros_like(task.labels)),
            shape_invariants=(
                tf.TensorShape([]),
                shape,
                task.active.shape,
                task.labels.shape,
            ),
        )
        reached = task.gain(task.logits) >= numbers["odds"]
        return Changed(images, steps, reached | (steps > 0))

    def succeeded(self, task: Task, logits: tf.Tensor) -> tf.Tensor:
        return task.gain(logits) >= task.numbers["odds"]


def _classes(index: Any) -> np.ndarray:
    """Returns one class, or several, or raises."""
    found = np.asarray(index)
    if found.dtype.kind not in "iu" or found.ndim > 1 or not found.size:
        raise TypeError(
            message(
                "`class_index` is a class index or a list of them.",
                f"class_index={index!r}",
                "Look names up first.",
            )
        )
    return found


def _shape(model: keras.Model, given: Any) -> tuple[int, ...]:
    """Returns the shape of one image: as given, or as the model declares."""
    shape = given
    if shape is None:
        try:
            (expected,) = model.inputs
            shape = expected.shape[1:]
        except (AttributeError, ValueError, TypeError):  # subclassed
            shape = (None,)
    if any(size is None for size in shape):
        raise ValueError(
            message(
                "The model does not tell what shape its inputs have.",
                f"shape={given!r} for model {model.name!r}",
                "Pass `shape=(height, width, channels)`, or images as `start`.",
            )
        )
    return tuple(int(size) for size in shape)


def _range(
    model: keras.Model, shape: tuple[int, ...], bounds: Any
) -> tuple[float, float]:
    spec = tf.TensorSpec([None, *shape], tf.float32)
    return bounds_of(model, record(model, declared(model, spec)), bounds)


def _started(
    attack: Fooling,
    shape: tuple[int, ...],
    number: int,
    bounds: tuple[float, float],
) -> np.ndarray:
    """What images are made from, `(number, *shape)`."""
    low, high = bounds
    if attack.start == "gray":
        return np.full((number, *shape), (low + high) / 2, "float32")
    drawn = [
        tf.random.stateless_uniform(shape, [attack.seed, k], low, high)
        for k in range(number)
    ]
    return np.stack([image.numpy() for image in drawn])
