"""What is explained or maximized: one scalar for each sample.

Targets are immutable values with an algebra: `Class(3) - Class(5)`,
`0.5 * Channel("conv4", 7)`. They name outputs and layers; they hold no
tensors of a model, so that one target serves many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message, near
from keras_explain.engine.graph import Graph, Head

_SCORES = ("logit", "probability", "log_probability")


class View:
    """What a target may look at while the model is being traced.

    Args:
        heads: The heads of the graph, one for each output.
        structure: What the model returned.
        outputs: The flat outputs, each with the tensor before its final
            nonlinearity: `[(kind, output, pre_activation)]`.
        activations: `{layer as named by the target: tensor}`.
        parameters: Tensors of the targets' parameters, in order of leaves.
    """

    def __init__(
        self,
        heads: tuple[Head, ...],
        structure: Any,
        outputs: list[tuple[str, tf.Tensor, tf.Tensor]],
        activations: dict[Any, tf.Tensor],
        parameters: list[dict[str, tf.Tensor]],
    ):
        self.heads = heads
        self.structure = structure
        self.outputs = outputs
        self.activations = activations
        self._parameters = iter(parameters)
        self.indices: list[tf.Tensor | None] = []

    def parameters(self) -> dict[str, tf.Tensor]:
        """Returns the parameters of the next leaf."""
        return next(self._parameters)


class Target:
    """Maps outputs and activations to one scalar for each sample.

    Targets add, subtract, scale and negate; they compare and hash by value
    and serialize with `keras.saving`.
    """

    def leaves(self) -> Iterator[Target]:
        """Yields the targets that this one is made of."""
        yield self

    def layers(self) -> tuple[Any, ...]:
        """Returns the layers whose activations are needed."""
        return tuple(getattr(leaf, "layer", None) for leaf in self.leaves()
                     if getattr(leaf, "layer", None) is not None)  # fmt: skip

    def signature(self) -> Any:
        """Returns what the traced computation depends on."""
        return self

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        """Returns tensors with one row for each of `batch` samples."""
        return {}

    def rows(self, rows: slice) -> Target:
        """Returns the target of some of the samples."""
        return self

    def check(self, graph: Graph, batch: int | None = None) -> None:
        """Raises `ValueError` if the model has no such output or unit.

        Args:
            graph: The recorded run of the model.
            batch: Number of samples, if known.
        """

    def score(self, view: View) -> tf.Tensor:
        """Returns `(batch,)` float32 scores."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Target:
        return Sum((self, *_terms(other)), (1.0, 1.0))

    def __radd__(self, other: Any) -> Target:
        if other == 0:  # so that `sum(targets)` works
            return self
        return NotImplemented

    def __sub__(self, other: Any) -> Target:
        return Sum((self, *_terms(other)), (1.0, -1.0))

    def __neg__(self) -> Target:
        return Sum((self,), (-1.0,))

    def __mul__(self, factor: float) -> Target:
        return Sum((self,), (float(factor),))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Target:
        return Sum((self,), (1.0 / float(divisor),))

    def get_config(self) -> dict[str, Any]:
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        return cls(**config)

    def __eq__(self, other: Any) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> Any:
        return (type(self).__name__, _frozen(self.get_config()))


def _terms(other: Any) -> tuple[Target, ...]:
    if not isinstance(other, Target):
        raise TypeError(
            message(
                "A target can be added to a target only.",
                repr(other),
                "Scale with `*`; wrap a function in `Output(fn)`.",
            )
        )
    return (other,)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) or tf.is_tensor(value):
        return np.asarray(value).tolist()
    if isinstance(value, keras.layers.Layer):
        return value.name
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, list):
        return tuple(_frozen(v) for v in value)
    return value


def _target(cls: type) -> type:
    """Makes a frozen, registered target of a class with fields."""
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    return keras.saving.register_keras_serializable("keras_explain")(cls)


@_target
class Sum(Target):
    """A weighted sum of targets; made by the algebra."""

    targets: tuple[Target, ...]
    factors: tuple[float, ...]

    def leaves(self) -> Iterator[Target]:
        for target in self.targets:
            yield from target.leaves()

    def signature(self) -> Any:
        return (self.factors, tuple(t.signature() for t in self.targets))

    def rows(self, rows: slice) -> Target:
        return Sum(tuple(t.rows(rows) for t in self.targets), self.factors)

    def check(self, graph: Graph, batch: int | None = None) -> None:
        for target in self.targets:
            target.check(graph, batch)

    def score(self, view: View) -> tf.Tensor:
        scores = [target.score(view) for target in self.targets]
        return tf.add_n(
            [f * s for f, s in zip(self.factors, scores, strict=True)]
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "targets": [serialize(target) for target in self.targets],
            "factors": list(self.factors),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        load = keras.saving.deserialize_keras_object
        targets = tuple(load(target) for target in config["targets"])
        return cls(targets, tuple(config["factors"]))

    def _identity(self) -> Any:
        return ("Sum", self.factors, tuple(t._identity() for t in self.targets))


@_target
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
                _frozen(_plain(self.position)))  # fmt: skip

    def parameters(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> dict[str, tf.Tensor]:
        found = {}
        if self.index is not None:
            index = tf.cast(tf.convert_to_tensor(self.index), tf.int32)
            found["index"] = tf.broadcast_to(index, [batch])
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
        return tf.gather(scores, index, axis=1, batch_dims=1)

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


class _LayerTarget(Target):
    """A target that looks at the output of one layer."""

    layer: Any

    def check(self, graph: Graph, batch: int | None = None) -> None:
        call = graph.find(self.layer)
        if call.shape is None:
            return
        self._check_shape(call.shape[1:])

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        pass

    def signature(self) -> Any:
        return (*self._identity(), id(self.layer))

    def score(self, view: View) -> tf.Tensor:
        view.parameters()
        activation = view.activations[self.layer]
        return self._score(tf.cast(activation, tf.float32))

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


def _positions(activation: tf.Tensor) -> list[int]:
    return list(range(1, activation.shape.rank))


@_target
class Neuron(_LayerTarget):
    """One unit of a layer.

    Args:
        layer: Layer, or its path.
        index: Its position in the output of one sample: an int, or a tuple
            such as `(row, column, channel)`.
    """

    layer: Any
    index: Any

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        index = tuple(np.atleast_1d(self.index))
        fits = len(index) == len(shape) and all(
            size is None or -size <= i < size
            for i, size in zip(index, shape, strict=False)
        )
        if not fits:
            raise ValueError(
                message(
                    f"The layer's output for one sample has shape {shape}.",
                    f"Neuron index {self.index!r}",
                    "Give one number in range for each axis.",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        for step in np.atleast_1d(self.index):
            activation = tf.gather(activation, int(step), axis=1)
        return activation


@_target
class Channel(_LayerTarget):
    """The mean of one channel of a layer over its positions.

    Args:
        layer: Layer, or its path.
        index: Channel, counted along the last axis.
    """

    layer: Any
    index: int

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        size = shape[-1]
        if size is not None and not 0 <= self.index < size:
            raise ValueError(
                message(
                    f"The layer has {size} channels.",
                    f"Channel index {self.index!r}",
                    f"Pass 0 to {size - 1}.",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        channel = activation[..., self.index]
        return tf.reduce_mean(channel, _positions(channel))


@_target
class LayerActivation(_LayerTarget):
    """The mean square of a layer's output: what DeepDream maximizes.

    Args:
        layer: Layer, or its path.
    """

    layer: Any

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(activation), _positions(activation))


@_target
class Direction(_LayerTarget):
    """The mean projection of a layer's output on a vector of channels.

    With `cosine_power > 0` the projection is multiplied by the cosine
    (at least 0.1) to that power, which keeps the direction from being
    drowned by the length (Carter et al., 2019, Activation Atlas).

    Args:
        layer: Layer, or its path.
        vector: `(channels,)`.
        cosine_power: Non-negative number.
    """

    layer: Any
    vector: Any
    cosine_power: float = 0.0

    smallest_cosine: ClassVar[float] = 0.1

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        if np.shape(self.vector) != (shape[-1],):
            raise ValueError(
                message(
                    f"The layer has {shape[-1]} channels.",
                    f"a vector of shape {np.shape(self.vector)}",
                    f"Pass a vector of shape ({shape[-1]},).",
                )
            )

    def _score(self, activation: tf.Tensor) -> tf.Tensor:
        vector = tf.constant(self.vector, tf.float32)
        projection = tf.linalg.matvec(activation, vector)
        if self.cosine_power:
            lengths = tf.norm(activation, axis=-1) * tf.norm(vector)
            cosine = tf.math.divide_no_nan(projection, lengths)
            cosine = tf.maximum(cosine, self.smallest_cosine)
            projection *= cosine**self.cosine_power
        return tf.reduce_mean(projection, _positions(projection))


@_target
class Output(Target):
    """Any differentiable function of the model's outputs.

    Args:
        function: `outputs -> (batch,)`; gets what `model(inputs)` returns.
            Register it with `keras.saving` if the target is to be saved.
    """

    function: Callable[[Any], tf.Tensor]

    def signature(self) -> Any:
        return ("Output", id(self.function))

    def score(self, view: View) -> tf.Tensor:
        view.parameters()
        score = self.function(view.structure)
        score = tf.cast(tf.convert_to_tensor(score), tf.float32)
        if score.shape.rank != 1:
            raise ValueError(
                message(
                    "The function of an Output target gives one number for "
                    "each sample.",
                    f"a result of shape {score.shape}",
                    "Reduce it to shape (batch,).",
                )
            )
        return score

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {"function": serialize(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        load = keras.saving.deserialize_keras_object
        return cls(load(config["function"]))

    def _identity(self) -> Any:
        return ("Output", id(self.function))


def as_target(target: Any) -> Target:
    """Returns a `Target` for `None`, an index, indices or a target."""
    if isinstance(target, Target):
        return target
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
