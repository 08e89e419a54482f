"""The calibrated Keras model, and the layer that calibrates in it."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads
from keras_explain.engine import checks
from keras_explain.engine.errors import message

registered = keras.saving.register_keras_serializable("keras_explain")


class HasModel:
    """What stands for a Keras model, and holds it as `model`."""

    @property
    def model(self) -> keras.Model:
        """The Keras model."""
        raise NotImplementedError


class GraphModel(keras.Model):
    """A model around other models, whose heads it looks for in the graph.

    Its members are used as they are and share their weights; calling it
    leaves no node in them. It casts nothing on the way in: its members do
    that by their own policies.

    Args:
        members: The models that it calls.
        **options: Of `keras.Model`.
    """

    def __init__(self, members: list[keras.Model], **options: Any):
        super().__init__(**{"dtype": "float32", "autocast": False, **options})
        for member in members:
            checks.check_model(member)
            checks.check_built(member)
        self.members = members
        self.built = True

    def read(self, inputs: Any, training: bool) -> tf.Tensor:
        """The outputs, in the graph under trace."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        if not tf.executing_eagerly():
            return self.read(inputs, bool(training))
        function = self.__dict__.get("_traced")
        if function is None:
            function = tf.function(
                self.read, autograph=False, reduce_retracing=True
            )
            object.__setattr__(self, "_traced", function)  # not for Keras
        return function(inputs, bool(training))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "trainable": self.trainable,
            "members": [serialize(member) for member in self.members],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> GraphModel:
        config = dict(config)
        config["members"] = [
            keras.saving.deserialize_keras_object(
                member, custom_objects=custom_objects
            )
            for member in config["members"]
        ]
        return cls(**config)


@registered
class CalibrationLayer(keras.layers.Layer):
    """From logits to calibrated probabilities, in float32.

    Args:
        num_classes: Size of the last axis, one for a sigmoid.
        **options: Of `keras.layers.Layer`.
    """

    def __init__(self, num_classes: int, **options: Any):
        super().__init__(**{"dtype": "float32", **options, "trainable": False})
        self.num_classes = num_classes

    def build(self, input_shape: Any = None) -> None:
        self.constants = {
            name: self.add_weight(name=name, shape=shape, trainable=False)
            for name, shape in self.shapes().items()
        }
        self.built = True

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the fitted numbers."""
        raise NotImplementedError

    def fitted(self, **values: Any) -> Self:
        """Builds the layer with the numbers of a fit."""
        self.build()
        for name, value in values.items():
            self.constants[name].assign(np.asarray(value, "float32"))
        return self

    def map(self, logits: tf.Tensor) -> tf.Tensor:
        """The mathematics: from logits to probabilities."""
        raise NotImplementedError

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        if logits.shape[-1] != self.num_classes:
            raise ValueError(
                message(
                    f"The calibrator was fitted on {self.num_classes} classes.",
                    f"logits of shape {tuple(logits.shape)}",
                )
            )
        return self.map(logits)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


@registered
class CalibratedModel(GraphModel):
    """A model and, in place of its final softmax or sigmoid, a calibrator.

    It takes what the model takes and returns probabilities. It shares the
    weights of the model: what trains one changes the other. It is saved and
    loaded like any Keras model, once `keras_explain.calibration` is imported;
    a model of a class of one's own must be registered with Keras, as always.

    Args:
        members: The model, in a list.
        calibration: A built `CalibrationLayer`.
        from_logits: Whether the model returns logits; `"auto"` as for a
            `Calibrator`.
        looked: Whether outputs have shown that it is so. If not, a linear
            head cannot be said to return probabilities.
        **options: Of `keras.Model`.
    """

    def __init__(
        self,
        members: list[keras.Model],
        calibration: CalibrationLayer,
        from_logits: bool | str = "auto",
        *,
        looked: bool = True,
        **options: Any,
    ):
        super().__init__(members, **options)
        self.calibration = calibration
        self.from_logits = from_logits
        self.looked = looked

    def read(self, inputs: Any, training: bool) -> tf.Tensor:
        (model,) = self.members
        outputs = model(inputs, training=training)
        output = heads.single_output(model, outputs)
        known = gives_probabilities(model)
        kind, values = heads.visible_head(output, known)
        heads.check_one_class(kind, output.shape[-1])
        if not self.looked:
            heads.check_not_linear(kind, self.from_logits)
        logits = heads.returns_logits(kind, self.from_logits)
        return self.calibration(heads.as_logits(values, kind, logits))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "calibration": serialize(self.calibration),
            "from_logits": self.from_logits,
            "looked": self.looked,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> GraphModel:
        calibration = keras.saving.deserialize_keras_object(
            config["calibration"]
        )
        config = {**config, "calibration": calibration}
        return super().from_config(config, custom_objects)


def gives_probabilities(model: keras.Model) -> bool:
    """Whether a model is one of ours, all of which return probabilities."""
    operations = getattr(model, "operations", None) or [model]
    return isinstance(operations[-1], GraphModel)


def assembled(model: keras.Model, around: GraphModel) -> keras.Model:
    """Returns what is around a model, with its inputs declared, if it does.

    Only such a model is exported with the number formats of its inputs.
    """
    try:
        # `input` keeps a dict or a list; a Sequential model has no such.
        sequential = isinstance(model, keras.Sequential)
        declared = model.inputs[0] if sequential else model.input
    except (AttributeError, ValueError):  # a subclassed model
        return around
    inputs = tf.nest.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name),
        declared,
    )
    return keras.Model(inputs, around(inputs))
