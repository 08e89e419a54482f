"""What is maximized: the score a model gives to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine import checks
from keras_explain.engine.composites import Composite, kinds
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.recording import record
from keras_explain.engine.rules import RELU_FAMILY, ActivationRule
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Target
from keras_explain.synthesis.value_range import ValueRange

# Where a unit is silent, what would raise it passes shut gates as well.
_OPEN = Composite(
    (
        (
            kinds(*RELU_FAMILY),
            ActivationRule(
                "open_relu",
                lambda upstream, x, gradient: tf.where(
                    upstream > 0, upstream, gradient(upstream)
                ),
            ),
        ),
    )
)


def record_rows(
    model: keras.Model, rows: int, shape: tuple[int, ...], layer: Any = None
) -> tuple[Graph, Any]:
    """Returns the recorded run on a batch, and inputs it can be fed.

    Args:
        model: A built model with one input.
        rows: Size of the batch.
        shape: Of one sample.
        layer: Takes the place of the inputs, which are then ones: a token
            of 0 is padding in many models.
    """
    declared = sample_shape(model)
    if layer is None:
        inputs = tf.zeros([rows, *shape])
    else:
        dtype = _dtype(model)
        open_sizes = [size or 1 for size in declared]
        if len(declared) == 1 and declared[0] is None:  # tokens
            open_sizes = [shape[0]]
        inputs = tf.ones([rows, *open_sizes], dtype)
    inputs = checks.standardize(model, inputs)
    return record(model, tf.TensorSpec(inputs.shape, inputs.dtype)), inputs


def sample_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of one sample as the model declares it.

    Raises:
        ValueError: If the model has several inputs, or does not say.
    """
    checks.check_model(model)
    checks.check_built(model)
    try:
        inputs = list(model.inputs or ())
    except (AttributeError, ValueError, TypeError):
        inputs = []
    if len(inputs) == 1:
        return tuple(inputs[0].shape[1:])
    if len(inputs) > 1:
        raise ValueError(
            message(
                "Pictures are made for models with one input.",
                f"inputs {', '.join(repr(i.name) for i in inputs)}",
                "Wrap it: `keras.Model(image, model([image, constant]))`.",
            )
        )
    # A subclassed model remembers the shape it was built with.
    built = (model.get_build_config() or {}).get("input_shape")
    if isinstance(built, (list, tuple)) and all(
        size is None or isinstance(size, int) for size in built
    ):
        return tuple(built[1:])
    return ()


def _dtype(model: keras.Model) -> str:
    try:
        return model.inputs[0].dtype
    except (AttributeError, IndexError, ValueError, TypeError):
        return "float32"  # subclassed


class ModelObjective:
    """The score of a target, for the pictures of a batch.

    Args:
        model: The model.
        target: One for all rows, or an `Each`.
        value_range: From pictures to the model's inputs.
        rows: Size of the batch.
        shape: Of one picture.
        layer: Where the pictures go, in place of the inputs.
    """

    def __init__(
        self,
        model: keras.Model,
        target: Target,
        value_range: ValueRange,
        rows: int,
        shape: tuple[int, ...],
        layer: Any = None,
    ):
        self.model = model
        self.target = target
        self.value_range = value_range
        with tf.init_scope():
            self.graph, self._inputs = record_rows(model, rows, shape, layer)
            target.check(self.graph, rows)
            self._parameters = target.arguments(rows, self.graph)
        self._call = None if layer is None else self.graph.find(layer)

    @property
    def scale(self) -> float:
        """What losses are multiplied with, so that float16 holds them."""
        return 256.0 if self.graph.half_precision else 1.0

    @property
    def can_open(self) -> bool:
        """Whether there are ReLUs that may be shut."""
        return bool(self._open_rules())

    def score(self, images: tf.Tensor, *, opened: bool = False) -> tf.Tensor:
        """Returns `(rows,)` scores, under trace.

        Args:
            images: `(rows, *shape)` as the parameterization makes them.
            opened: Whether the gradient passes ReLUs that are shut.
        """
        inputs = self.value_range.inputs(self.value_range.values(images))
        function = ScoreFunction(
            model=self.model,
            graph=self.graph,
            inputs=inputs if self._call is None else self._inputs,
            target=self.target,
            parameters=self._parameters,
            call=self._call,
            rules=self._open_rules() if opened else {},
            linear=True,
        )
        point = None if self._call is None else inputs
        return function.evaluate(point).score

    def _open_rules(self) -> dict:
        return _OPEN.assign(self.graph, self._call)


def repeated(
    targets: Sequence[Target], facets: int
) -> tuple[list[Target], list[int]]:
    """Returns the target and the facet of each row, unit by unit."""
    rows = [target for target in targets for _ in range(facets)]
    return rows, list(range(facets)) * len(targets)
