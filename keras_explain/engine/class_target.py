"""The score of a class: what most explanations are about."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.each_target import Each
from keras_explain.engine.errors import message, near
from keras_explain.engine.graph import Graph, Head
from keras_explain.engine.targets import (
    Target,
    View,
    frozen,
    one_of_each,
    plain,
    registered,
)

_SCORES = ("logit", "probability", "log_probability")


@registered
@dataclasses.dataclass(frozen=True, eq=False)
class Class(Target):
    """The score of a class; by default the one the model predicts.

    By default it is the logit: the score before the final softmax or
    sigmoid, whose gradient does not vanish where the model is certain. It
    costs nothing extra.

    Args:
        index: Class index, an array of one for each sample, or `None` for
            the class with the highest score of each sample.
        output: Name or number of the output, for models with several.
        of: `"logit"`, `"probability"` or `"log_probability"`.
        region: For outputs with positions, `(batch, height, width,
            classes)`: a mask `(height, width)` or `(batch, height, width)`
            with 1 where the score counts; it is the mean over the mask.
            Outputs with steps, `(batch, steps, classes)`, take `(steps,)`
            only. Defaults to all positions.
        position: One position, `(row, column)` or a step, instead.

    Raises:
        ValueError: If `of` is none of the three, or both `region` and
            `position` are given; on use, if an index is out of range.

    Example:

    >>> explainer = keras_explain.Gradient(model)
    >>> explainer(images, keras_explain.Class(3) - keras_explain.Class(5)).shape
    TensorShape([2, 8, 8, 3])
    """

    index: Any = None
    output: str | int | None = None
    of: str = "logit"
    region: Any = None
    position: Any = None

    def __post_init__(self) -> None:
        if self.of not in _SCORES:
            raise ValueError(
                message(
                    "`of` says which score of the class is meant.",
                    f"of={self.of!r}",
                    f"Pass one of {', '.join(map(repr, _SCORES))}.",
                )
            )
        if self.region is not None and self.position is not None:
            raise ValueError(
                "Class takes a `region` or a `position`, not both."
            )

    def signature(self) -> Any:
        region = None if self.region is None else np.ndim(self.region)
        given = self.index is not None
        return ("Class", given, self.output, self.of, region,
                frozen(plain(self.position)))  # fmt: skip

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        found = {}
        if self.index is not None:
            found["index"] = _each(self.index, batch)
        if self.region is not None:
            head = graph.heads[find_output(graph.heads, self.output)]
            region = tf.cast(tf.convert_to_tensor(self.region), tf.float32)
            if region.shape.rank == len(head.shape) - 2:  # one for all
                region = tf.repeat(region[tf.newaxis], batch, axis=0)
            found["region"] = region
        return found

    def rows(self, rows: slice) -> Target:
        index, region = self.index, self.region
        if np.ndim(index) == 1:
            index = np.asarray(index)[rows]
        if np.ndim(region) == 3:  # one for each sample
            region = region[rows]
        return dataclasses.replace(self, index=index, region=region)

    def check(self, graph: Graph, batch: int | None = None) -> None:
        head = graph.heads[find_output(graph.heads, self.output)]
        if self.index is None or _symbolic(self.index):
            return
        index = np.asarray(self.index)
        if not np.issubdtype(index.dtype, np.integer):
            raise TypeError(
                message(
                    "A class index is an integer or an array of them.",
                    f"index={self.index!r}",
                    "For one-hot labels pass `labels.argmax(-1)`.",
                )
            )
        if index.ndim > 1:
            raise ValueError(
                message(
                    "There is one class index for each sample.",
                    f"an array of shape {index.shape}",
                    "For one-hot labels pass `labels.argmax(-1)`.",
                )
            )
        if batch is not None and index.ndim == 1 and len(index) != batch:
            raise ValueError(
                message(
                    "There is one class index for each sample.",
                    f"{len(index)} indices for {batch} samples",
                    "Pass one integer to explain the same class in all.",
                )
            )
        self._check_range(index, head)

    def _check_range(self, index: np.ndarray, head: Head) -> None:
        classes = head.shape[-1] if len(head.shape) > 1 else 1
        if classes is None:
            return
        if index.size and (index.min() < 0 or index.max() >= classes):
            single = (
                ""
                if classes > 1
                else (
                    " The model has one output: 0 is its score, and "
                    "`-Class(0)` the evidence against it."
                )
            )
            raise ValueError(
                message(
                    f"Class index out of range: the output has {classes}.",
                    f"index={self.index!r}",
                    f"Pass 0 to {classes - 1}.{single}",
                )
            )

    def score(self, view: View) -> tf.Tensor:
        number = find_output(view.heads, self.output)
        scores = _class_scores(*view.outputs[number], self.of)
        parameters = view.parameters()
        scores = self._at_positions(scores, parameters.get("region"))
        index = parameters.get("index")
        if index is None:
            index = tf.argmax(scores, axis=-1, output_type=tf.int32)
        view.indices.append(index)
        found = self._probabilities(*view.outputs[number])
        if found is not None:
            found = self._at_positions(found, parameters.get("region"))
            found = one_of_each(found, index)
        view.probabilities.append(found)
        return one_of_each(scores, index)

    def _probabilities(
        self, kind: str, output: tf.Tensor, before: tf.Tensor
    ) -> tf.Tensor | None:
        """Those of all classes; a single linear output has none."""
        single = output.shape.rank == 1 or output.shape[-1] == 1
        if single and kind not in ("sigmoid", "probability"):
            return None
        return _class_scores(kind, output, before, "probability")

    def _at_positions(
        self, scores: tf.Tensor, region: tf.Tensor | None
    ) -> tf.Tensor:
        if scores.shape.rank == 1:
            return scores[:, tf.newaxis]
        if self.position is not None:
            for step in np.atleast_1d(self.position):
                scores = tf.gather(scores, int(step), axis=1)
        axes = list(range(1, scores.shape.rank - 1))
        if region is not None:
            weights = region / tf.reduce_sum(region, axes, keepdims=True)
            return tf.reduce_sum(scores * weights[..., tf.newaxis], axes)
        return tf.reduce_mean(scores, axes) if axes else scores


def _each(index: Any, batch: tf.Tensor | int) -> tf.Tensor:
    """One index for each sample, `(batch,)` int32."""
    if isinstance(batch, int) and not tf.is_tensor(index):
        each = np.broadcast_to(np.asarray(index, np.int32), (batch,))
        return tf.constant(each)  # at once: this is on the way of every call
    index = tf.cast(tf.convert_to_tensor(index), tf.int32)
    return tf.broadcast_to(index, [batch])


def _symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not hasattr(value, "numpy")


def find_output(heads: tuple[Head, ...], output: str | int | None) -> int:
    """Returns the number of the output that is meant."""
    names = [head.name or str(k) for k, head in enumerate(heads)]
    if output is None:
        if len(heads) == 1:
            return 0
        raise ValueError(
            message(
                "The model has several outputs, and the target names none.",
                f"outputs {', '.join(map(repr, names))}",
                f"Pass `target=Class(index, output={names[0]!r})`.",
            )
        )
    if isinstance(output, str) and output in names:
        return names.index(output)
    if isinstance(output, int) and 0 <= output < len(heads):
        return output
    raise ValueError(
        message(
            "The model has no such output.",
            f"output={output!r}",
            f"Outputs: {near(str(output), names)}.",
        )
    )


def _class_scores(
    kind: str, output: tf.Tensor, before: tf.Tensor, of: str
) -> tf.Tensor:
    """Returns logits, probabilities or log probabilities in float32."""
    output, before = tf.cast(output, tf.float32), tf.cast(before, tf.float32)
    if kind == "softmax":
        if of == "log_probability":
            return tf.nn.log_softmax(before)
        return before if of == "logit" else output
    if kind == "sigmoid":
        if of == "log_probability":
            return tf.math.log_sigmoid(before)
        return before if of == "logit" else output
    if kind == "probability":
        tiny = tf.constant(np.finfo("float32").tiny)
        return output if of == "probability" else tf.math.log(output + tiny)
    if of == "logit" or output.shape.rank == 1 or output.shape[-1] == 1:
        return output
    if of == "probability":
        return tf.nn.softmax(output)
    return tf.nn.log_softmax(output)


def as_target(target: Any) -> Target:
    """Returns a `Target` for `None`, an index, indices, a target or several."""
    if isinstance(target, Target):
        return target
    if isinstance(target, (list, tuple)) and any(
        isinstance(one, Target) for one in target
    ):
        return Each(tuple(as_target(one) for one in target))
    if isinstance(target, (str, bool)) or callable(target):
        raise TypeError(
            message(
                "A target is None, a class index, an array of them or a "
                "Target.",
                repr(target),
                "Look names up first; wrap a function in `Output(fn)`.",
            )
        )
    return Class(target)
