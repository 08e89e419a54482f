"""What is explained or maximized: one scalar for each sample.

Targets are immutable values with an algebra: `Class(3) - Class(5)`,
`0.5 * Channel("conv4", 7)`. They name outputs and layers; they hold no
tensors of a model, so that one target serves many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph, Head
from keras_explain.engine.own_gradient import give_gradient


class View:
    """What a target may look at while the model is being traced.

    Args:
        heads: The heads of the graph, one for each output.
        structure: What the model returned.
        outputs: The flat outputs, each with the tensor before its final
            nonlinearity: `[(kind, output, pre_activation)]`.
        activations: `{layer as named by the target: tensor}`.
        parameters: Tensors of the targets' parameters, in order of leaves.
        linear: Whether single units are read before their nonlinearity.
    """

    def __init__(
        self,
        heads: tuple[Head, ...],
        structure: Any,
        outputs: list[tuple[str, tf.Tensor, tf.Tensor]],
        activations: dict[Any, tf.Tensor],
        parameters: list[dict[str, tf.Tensor]],
        linear: bool = False,
    ):
        self.heads = heads
        self.structure = structure
        self.outputs = outputs
        self.activations = activations
        self.linear = linear
        self._parameters = iter(parameters)
        self.indices: list[tf.Tensor | None] = []
        self.probabilities: list[tf.Tensor | None] = []

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

    def arguments(
        self, batch: tf.Tensor | int, graph: Graph
    ) -> list[dict[str, tf.Tensor]]:
        """Returns the parameters of all leaves, in their order."""
        return [leaf.parameters(batch, graph) for leaf in self.leaves()]

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
            field.name: plain(getattr(self, field.name))
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
        return (type(self).__name__, frozen(self.get_config()))


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


def plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) or tf.is_tensor(value):
        return np.asarray(value).tolist()
    if isinstance(value, keras.layers.Layer):
        return value.name
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, list):
        return tuple(frozen(v) for v in value)
    return value


# Every target is saved under this package name; a class keeps its key.
registered = keras.saving.register_keras_serializable("keras_explain")


def one_of_each(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Returns `values[i, index[i]]` for each row `i`.

    It is `tf.gather` with a gradient of a few operations. TensorFlow's own is
    made for any number of axes: it takes a fifth of the time in which a
    method on a small model is traced.
    """

    def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
        chosen = tf.one_hot(
            index, tf.shape(values)[1], True, False, dtype=tf.bool
        )
        nothing = tf.zeros([], upstream.dtype)
        return [tf.where(chosen, upstream[:, tf.newaxis], nothing)]

    found = tf.gather(values, index, axis=1, batch_dims=1)
    return give_gradient(found, [values], gradient)


@registered
@dataclasses.dataclass(frozen=True, eq=False)
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


@registered
@dataclasses.dataclass(frozen=True, eq=False)
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
