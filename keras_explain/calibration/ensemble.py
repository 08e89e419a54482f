"""Several networks as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads
from keras_explain.calibration.calibrated import (
    GraphModel,
    HasModel,
    assembled,
    gives_probabilities,
    registered,
)
from keras_explain.engine import batching, checks
from keras_explain.engine.errors import message


@registered
class EnsembleModel(GraphModel):
    """The mean of the probabilities of its members, as a Keras model.

    Args:
        members: Built models.
        from_logits: As for `Ensemble`.
        **options: Of `keras.Model`.
    """

    def __init__(
        self,
        members: list[keras.Model],
        from_logits: bool | str = "auto",
        **options: Any,
    ):
        super().__init__(members, **options)
        self.from_logits = from_logits

    def read(self, inputs: Any, training: bool) -> tf.Tensor:
        found = [self._of(m, inputs, training) for m in self.members]
        shapes = {tuple(each.shape[1:]) for each in found}
        if len(shapes) > 1:
            raise ValueError(
                message(
                    "The members of an ensemble tell the same classes apart.",
                    f"outputs of shapes {sorted(map(str, shapes))}",
                    "Leave out those with other classes.",
                )
            )
        return tf.reduce_mean(tf.stack(found), axis=0)

    def _of(
        self, member: keras.Model, inputs: Any, training: bool
    ) -> tf.Tensor:
        """The probabilities of one member."""
        outputs = member(inputs, training=training)
        output = heads.single_output(member, outputs)
        known = gives_probabilities(member)
        kind, _ = heads.visible_head(output, known)
        heads.check_one_class(kind, output.shape[-1])
        heads.check_not_linear(kind, self.from_logits)
        logits = heads.returns_logits(kind, self.from_logits)
        output = tf.cast(output, tf.float32)
        return heads.probabilities(output) if logits else output

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits}


class Ensemble(HasModel):
    """Averages the probabilities of several models.

    Networks that were trained from different seeds are sure of themselves in
    different places; their mean is more often right and less often too sure.
    It costs as much as its members together.

    Its `model` is a Keras model that takes what the members take. They are
    used as they are and share their weights with it. An ensemble can be
    given to any calibrator in place of a model, for which the logarithm of
    the mean probability is the logit.

    Args:
        models: A list of at least one built classifier, ensemble or fitted
            calibrator, with outputs of one shape `(batch, ..., classes)`. One
            unit is a sigmoid.
        from_logits: Whether all of them return logits. `"auto"` looks at the
            end of each: a visible softmax or sigmoid, or an average of those,
            returns probabilities, and a linear layer logits.

    Raises:
        TypeError: If the models are no list, or a member is no Keras 3
            model.
        RuntimeError: If a member is a calibrator that is not fitted.
        ValueError: If there is no member, one is not built, their outputs
            differ in shape, `"auto"` finds neither a softmax nor a linear
            layer, or a member does not return what `from_logits` says or
            gives each of several classes a sigmoid of its own.

    Example:

    >>> ensemble = keras_explain.calibration.Ensemble([model, model])
    >>> ensemble.predict(images).shape
    (2, 10)

    References:
        B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and Scalable
        Predictive Uncertainty Estimation using Deep Ensembles", 2017,
        https://arxiv.org/abs/1612.01474
    """

    def __init__(
        self,
        models: Sequence[keras.Model | HasModel],
        from_logits: bool | str = "auto",
    ):
        members = [plain_model(member) for member in _several(models)]
        if not members:
            raise ValueError(
                message(
                    "An ensemble has at least one member.",
                    "an empty list",
                    "Pass models: `Ensemble([first, second])`.",
                )
            )
        heads.check_from_logits(from_logits)
        for member in members:
            checks.check_model(member)
            checks.check_built(member)
        self._model = assembled(members[0], EnsembleModel(members, from_logits))

    @property
    def model(self) -> keras.Model:
        """The ensemble as a Keras model, to be saved or compiled."""
        return self._model

    def predict(
        self, x: Any, batch_size: int = 32, verbose: bool | str = "auto"
    ) -> np.ndarray:
        """Returns the mean probabilities, `(samples, ..., classes)`.

        Args:
            x: Inputs: an array, a list or dict of them, a `tf.data.Dataset`
                or a `PyDataset`.
            batch_size: Most samples the models see at once.
            verbose: Whether to show a progress bar; `"auto"` where there is
                more than one batch and someone to see it.
        """
        found = []
        with batching.progress(x, batch_size, verbose, "Predicting") as advance:
            for inputs, _ in batching.batches(x, batch_size, "predict"):
                inputs = checks.standardize(self._model, inputs)
                found.append(self._model.predict_on_batch(inputs))
                advance()
        return np.concatenate(found)


def _several(models: Any) -> list[Any]:
    """Returns the members as a list, or raises."""
    single = isinstance(models, (keras.layers.Layer, HasModel))
    if single or not isinstance(models, Iterable):
        raise TypeError(
            message(
                "An ensemble is made of a list of models.",
                type(models).__name__,
                "Pass `Ensemble([first, second])`.",
            )
        )
    return list(models)


def plain_model(model: Any) -> Any:
    """Returns the Keras model of what has one; anything else as it is."""
    return model.model if isinstance(model, HasModel) else model
