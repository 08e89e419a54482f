"""The logits of a classifier and their gradients, whatever its head is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.recording import pre_activation, producer

# Ops that make probabilities of probabilities, as the average of several
# networks does, or that choose some of them.
_AVERAGING = {
    "Add",
    "AddN",
    "AddV2",
    "ConcatV2",
    "ExpandDims",
    "GatherV2",
    "Mean",
    "Mul",
    "Pack",
    "RealDiv",
    "Reshape",
    "Squeeze",
    "StridedSlice",
    "Sum",
    "Transpose",
}
_SMALLEST = float(np.finfo("float32").tiny)
# Half the distance of 1.0 to the number before it: a probability that is
# rounded to one is no more certain than that.
_NEAR_ONE = 2.0**-25
# Small gradients do not underflow on their way through a float16 network.
_HALF_SCALE = 256.0


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model seen as a function from inputs to one logit for each class.

    Its methods are called while a `tf.function` is being traced.

    Attributes:
        model: A built model with one output.
        graph: Its recorded run.
        probabilities: Whether outputs of a head that cannot be seen are
            known to be probabilities.
    """

    model: keras.Model
    graph: Graph
    probabilities: bool = False

    def logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `(batch, classes)` float32, at least two classes.

        They are what the final softmax or sigmoid is applied to; a sigmoid
        over `z` has the logits `(0, z)`. Where there are probabilities only,
        they are their logarithms, which are the same to a softmax.
        """
        kind, values = self.head(inputs)
        if values.shape.rank == 1:
            values = values[:, tf.newaxis]
        _check_head(kind, values.shape[-1])
        values = tf.cast(values, tf.float32)
        if kind != "probability":
            logits = values
        elif values.shape[-1] > 1:
            return tf.math.log(tf.maximum(values, _SMALLEST))
        else:
            other = tf.maximum(1.0 - values, _NEAR_ONE)
            logits = tf.math.log(tf.maximum(values, _SMALLEST) / other)
        if logits.shape[-1] > 1:
            return logits
        return tf.concat([tf.zeros_like(logits), logits], axis=-1)

    def head(self, inputs: tf.Tensor) -> tuple[str, tf.Tensor]:
        """Returns the kind of the head and the tensor that is read.

        `"softmax"` and `"sigmoid"` come with what they are applied to;
        `"probability"`, `"linear"` and `"unknown"` with the output.
        """
        outputs = self.model(declared(self.model, inputs), training=False)
        (output,) = tf.nest.flatten(outputs)
        kind, before = pre_activation(output)
        if kind in ("softmax", "sigmoid"):
            return kind, before
        if _averages(output) or (self.probabilities and kind == "unknown"):
            kind = "probability"
        return kind, output

    def differentiate(
        self,
        inputs: tf.Tensor,
        score: Callable[[tf.Tensor], tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a score of the logits and its gradient by the inputs.

        The gradient comes times a positive constant where the network
        computes in float16.

        Args:
            inputs: `(batch, ...)`.
            score: From logits to `(batch,)`.
        """
        found = score(self.logits(inputs))
        return found, self._gradient(found, inputs)

    def gradients(
        self, inputs: tf.Tensor, weights: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the logits, and gradients of weighted sums of them.

        It costs one forward pass, and one backward pass for each of them.

        Args:
            inputs: `(batch, ...)`.
            weights: Each `(batch, classes)`.
        """
        logits = self.logits(inputs)
        scale = self._scale
        found = [
            self._gradient(tf.reduce_sum(logits * w, -1), inputs) / scale
            for w in weights
        ]
        return logits, found

    @property
    def _scale(self) -> float:
        return _HALF_SCALE if self.graph.half_precision else 1.0

    def _gradient(self, score: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        # `tf.gradients` and not a tape: the logits are found by walking the
        # graph back from the softmax, and a tape knows only the tensors that
        # Python held while it recorded.
        (found,) = tf.gradients(tf.reduce_sum(score) * self._scale, [inputs])
        if found is None:
            raise ValueError(
                message(
                    "The scores cannot be differentiated by the inputs.",
                    f"model {self.model.name!r}, which rounds them or looks "
                    "them up on the way",
                    "Attack the part of the model behind that step.",
                )
            )
        return tf.convert_to_tensor(found)


def declared(model: keras.Model, inputs: Any) -> Any:
    """Returns the one input of a model in the structure it declares.

    A model made of `other.inputs` takes a list of one.
    """
    try:
        structure = model.input
    except (AttributeError, ValueError):  # Sequential, subclassed
        return inputs
    if len(tf.nest.flatten(structure)) != 1:
        return inputs
    return tf.nest.pack_sequence_as(structure, [inputs])


def odds_against(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns `log((1 - p) / p)` of a class, `(batch,)`.

    With the cross entropy `L = -log p` it is `log(exp(L) - 1)`: it rises
    and falls with it, and its gradient has the same direction. The length
    differs by `1 - p`, which is what makes the gradient of the cross entropy
    vanish, and not only that of the softmax, where a model is certain.

    Args:
        logits: `(batch, classes)`.
        labels: `(batch,)` int32.
    """
    hot = tf.one_hot(
        labels, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool
    )
    own = tf.reduce_sum(tf.where(hot, logits, 0.0), -1)
    others = tf.where(hot, logits.dtype.min, logits)
    return tf.reduce_logsumexp(others, -1) - own


def _averages(output: tf.Tensor) -> bool:
    """Whether a tensor is a sum or mean of visible probabilities only."""
    found, queue = False, [output]
    while queue:
        tensor = producer(queue.pop())
        kind = tensor.op.type
        if kind in ("Softmax", "Sigmoid"):
            found = True
        elif kind in _AVERAGING:
            queue.extend(tensor.op.inputs)
        elif kind != "Const" and tensor.dtype.is_floating:
            return False
    return found


def _check_head(kind: str, classes: int) -> None:
    """Raises unless the outputs tell one class from others."""
    if classes == 1 and kind in ("linear", "unknown"):
        raise ValueError(
            message(
                "The model returns one number and no class: it is a "
                "regression.",
                "an output of shape (None, 1) without a sigmoid",
                "If it is the logit of a binary classifier, put "
                '`keras.layers.Activation("sigmoid")` behind it.',
            )
        )
    if classes == 1 and kind == "softmax":
        raise ValueError(
            message(
                "A softmax over one class is always one.",
                "an output of shape (None, 1)",
                "End the model in a sigmoid, or in one unit for each class.",
            )
        )
    if classes > 1 and kind == "sigmoid":
        raise ValueError(
            message(
                "Each class has a sigmoid of its own, so that several may be "
                "right at once.",
                f"an output of shape (None, {classes})",
                "Attack one label: `keras.Model(model.inputs, "
                "model.outputs[0][:, 3:4])`.",
            )
        )
