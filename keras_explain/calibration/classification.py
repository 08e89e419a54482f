"""What the metrics of a classifier have in common."""

from __future__ import annotations

import inspect
import re
from numbers import Integral
from typing import Any, TypedDict

import keras
import tensorflow as tf

from keras_explain.calibration.inputs import Samples, read
from keras_explain.engine.errors import message


class Options(TypedDict, total=False):
    """The keyword arguments that every metric takes."""

    from_logits: bool
    num_classes: int | None
    ignore_class: int | None
    name: str | None
    dtype: Any


class ClassificationMetric(keras.metrics.Metric):
    """Reads labels, predictions and weights for a metric of a classifier.

    The state is sums in float64, whatever the dtype policy: a float32 sum
    stops counting at 2**24, about 17 million pixels or samples. Sums add
    up over batches and over the replicas of a `tf.distribute` strategy.

    Args:
        from_logits: Whether the predictions are logits. A softmax is
            applied over the last axis, a sigmoid to a single output.
        num_classes: Number of classes, to check the predictions against;
            by default the size of the last axis. A single output has two.
        ignore_class: Label of samples that are left out, such as the 255
            of unlabeled pixels.
        name: Name in logs; by default the class's name in snake case.
        dtype: Dtype of the result; float32 by default. The state has its
            own.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        num_classes: int | None = None,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__)
        super().__init__(name=name or words.lower(), dtype=dtype)
        self._direction = "down"  # where Keras looks which way is better
        check_flag("from_logits", from_logits)
        if num_classes is not None:
            num_classes = check_count("num_classes", num_classes, 2)
        if ignore_class is not None:
            ignore_class = check_integer("ignore_class", ignore_class)
        self.from_logits = from_logits
        self.num_classes = num_classes
        self.ignore_class = ignore_class

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch.

        In an eager call wrong values raise. In a compiled one (`fit`,
        `evaluate`, `tf.function`) they cannot, and the result is NaN until
        `reset_state`. Where it can be seen there that the predictions come
        from a softmax, sigmoid or linear layer, and `from_logits` says
        another thing, it is told when it is compiled.

        Args:
            y_true: Class indices `(batch, ...)` or `(batch, ..., 1)`, or
                one-hot labels `(batch, ..., classes)`.
            y_pred: Predictions `(batch, ..., classes)`; of a binary model
                `(batch, ..., 1)` or `(batch,)`: the probability, or the
                logit, of class 1.
            sample_weight: A number, `(batch,)`, or the shape of the class
                indices. Weights count samples: a weight of two equals the
                sample twice, a weight of zero equals no sample.

        Raises:
            TypeError: If labels or predictions are no numbers.
            ValueError: If shapes or values do not fit.
        """
        samples = read(
            y_true, y_pred, sample_weight, self.from_logits, self.ignore_class
        )
        if self.num_classes not in (None, samples.num_classes):
            raise ValueError(
                message(
                    f"{self.name} was made for {self.num_classes} classes.",
                    f"predictions with {samples.num_classes} classes",
                    "Pass the model's `num_classes`, or leave it out.",
                )
            )
        self._accumulate(samples)

    def _accumulate(self, samples: Samples) -> None:
        raise NotImplementedError

    def _add_sums(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_variable(shape, "zeros", "float64", "sum", name)

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments, of this class and of those above."""
        return {
            "from_logits": self.from_logits,
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same metric."""
        taken = set(inspect.signature(type(self)).parameters)
        taken |= set(Options.__annotations__)
        # A subclass that fixes an argument does not take it.
        own = {k: v for k, v in self._settings().items() if k in taken}
        return {**super().get_config(), **own}


class MeanScore(ClassificationMetric):
    """The weighted mean of a score of each sample.

    Args:
        **options: `from_logits`, `num_classes`, `ignore_class`, `name`,
            `dtype`, as in `ExpectedCalibrationError`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sums = self._add_sums("sums", (2,))

    def _accumulate(self, samples: Samples) -> None:
        score = tf.cast(self._score(samples), tf.float64) * samples.weights
        both = tf.stack([score, samples.weights], -1)
        self.sums.assign_add(tf.reduce_sum(both, 0))

    def _score(self, samples: Samples) -> tf.Tensor:
        """Returns `(n,)` scores."""
        raise NotImplementedError

    def result(self) -> tf.Tensor:
        """Returns the mean; NaN if there were no samples."""
        total, weight = tf.unstack(tf.convert_to_tensor(self.sums))
        return tf.cast(total / weight, self.dtype)


def check_integer(name: str, value: Any) -> int:
    """Returns the value as a Python int, which a config can hold."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            message(
                f"`{name}` must be an integer.",
                f"{name}={value!r}",
                "Pass a Python int.",
            )
        )
    return int(value)


def check_count(name: str, value: Any, least: int) -> int:
    count = check_integer(name, value)
    if count < least:
        raise ValueError(
            message(
                f"`{name}` must be at least {least}.",
                f"{name}={value!r}",
                f"Pass {least} or more.",
            )
        )
    return count


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(
            message(
                f"`{name}` must be True or False.",
                f"{name}={value!r}",
                "A metric cannot look at the model: say what its outputs are.",
            )
        )
