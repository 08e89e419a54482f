"""How a model becomes a calibrated model: what all calibrators share.

A calibrator is fitted on logits, and its result is a small Keras layer from
logits to probabilities. `CalibratedModel` puts that layer behind the model,
with the final softmax or sigmoid set aside.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from keras_explain.calibration import heads, samples
from keras_explain.calibration.calibrated import (
    CalibratedModel,
    CalibrationLayer,
    HasModel,
    assembled,
    gives_probabilities,
)
from keras_explain.calibration.ensemble import Ensemble, plain_model
from keras_explain.engine import batching, checks
from keras_explain.engine.errors import message


class Calibrator(HasModel, abc.ABC):
    """Makes the confidence of a classifier mean how often it is right.

    Fit it on samples the model was not trained on, then predict with it:

        calibrator = TemperatureScaling(model).fit((x_val, y_val))
        probabilities = calibrator.predict(x_test)
        calibrator.model.save("calibrated.keras")

    The model is not changed. Its final softmax or sigmoid is looked for in
    the computation and set aside, wherever it is written: held by the last
    layer, as a layer or as an op, in a nested or a subclassed model. The
    logits are then exact. Where probabilities are all there is (an average of
    networks, a softmax over another axis or one that is written out by hand),
    their logarithm is taken, which is the same to a softmax as long as no
    probability is rounded to zero; those are taken as 1e-38, or as the least
    number of the format for float16.

    Costs one run over the data, and memory for all logits, in float32.

    Args:
        model: A built classifier of any kind with one output of shape
            `(batch, ..., classes)`; one unit is the score of class 1 against
            class 0. An `Ensemble` is a model too. `None` to use `fit_logits`
            and `calibrate` only.
        from_logits: Whether the model returns logits. `"auto"` looks at the
            end of the model: a visible softmax or sigmoid returns
            probabilities, and so does a model whose outputs on the data are
            not negative and sum to one; anything else returns logits.

    Raises:
        TypeError: If the model is no Keras 3 model.
        ValueError: If `from_logits` is none of the three, or on `fit`, if the
            model has several outputs, the labels are no class numbers of the
            model, or the data hold no samples, one class only (but for
            temperature scaling, which warns) or NaN.
    """

    # Whether samples of one class alone say nothing.
    needs_several: ClassVar[bool] = True

    def __init__(
        self,
        model: keras.Model | Ensemble | None = None,
        *,
        from_logits: bool | str = "auto",
    ):
        model = plain_model(model)
        if model is not None:
            checks.check_model(model)
        heads.check_from_logits(from_logits)
        self.source: keras.Model | None = model
        self.from_logits = from_logits
        self._settled: bool | str = from_logits
        self._looked = False  # whether outputs have shown that it is so
        self._layer: CalibrationLayer | None = None
        self._calibrated: keras.Model | None = None
        self._reader: _Reader | None = None

    def fit(
        self,
        validation_data: Any,
        batch_size: int = 32,
        verbose: bool | str = "auto",
    ) -> Self:
        """Fits on the model's logits of held-out data.

        Args:
            validation_data: `(x, y)`, a `tf.data.Dataset` of `(x, y)` batches
                or a `keras.utils.PyDataset`. `y` holds class numbers
                `(samples, ...)` or one-hot rows; for outputs with positions,
                a label for each position. It may be larger than memory.
            batch_size: Most samples the model sees at once.
            verbose: Whether to show a progress bar; `"auto"` where there is
                more than one batch and someone to see it.

        Returns:
            The calibrator.
        """
        reader = self._reader = _Reader(self._model())
        values, labels = [], []
        with batching.progress(
            validation_data, batch_size, verbose, "Calibrating"
        ) as advance:
            for inputs, truth in samples.labeled(validation_data, batch_size):
                values.append(reader(inputs))
                labels.append(truth)
                advance()
        settled = reader.settle(values, self.from_logits)
        logits = samples.check_logits(reader.logits(values, settled))
        layer = self._fitted(logits, batching.concatenate(labels))
        return self._keep(layer, settled, looked=True)

    def fit_logits(self, logits: Any, labels: Any) -> Self:
        """Fits on logits that are at hand.

        Args:
            logits: `(samples, ..., classes)`, before the softmax or sigmoid.
            labels: Class numbers `(samples, ...)` or one-hot rows.

        Returns:
            The calibrator.
        """
        layer = self._fitted(samples.check_logits(logits, said=True), labels)
        return self._keep(layer, self.from_logits, looked=False)

    def _fitted(self, logits: np.ndarray, labels: Any) -> CalibrationLayer:
        scores, truth = samples.flat_samples(logits, labels)
        samples.check_classes(
            truth, scores.shape[-1], needs_several=self.needs_several
        )
        return self._fit(scores, truth)

    def _keep(
        self, layer: CalibrationLayer, settled: bool | str, looked: bool
    ) -> Self:
        self._layer, self._settled, self._calibrated = layer, settled, None
        self._looked = looked
        return self

    @abc.abstractmethod
    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> CalibrationLayer:
        """The mathematics: from logits `(N, K)` and labels `(N,)`."""

    @property
    def layer(self) -> CalibrationLayer:
        """The fitted layer, from logits to probabilities."""
        if self._layer is None:
            raise RuntimeError(
                message(
                    f"{type(self).__name__} is not fitted yet.",
                    mend="Call `fit((x, y))` or `fit_logits(logits, labels)`.",
                )
            )
        return self._layer

    def _constant(self, name: str) -> np.ndarray:
        """A fitted array, in float32."""
        return np.asarray(self.layer.constants[name])

    def _model(self) -> keras.Model:
        if self.source is None:
            raise ValueError(
                message(
                    f"This {type(self).__name__} was made without a model.",
                    mend="Pass the model, or use `fit_logits(logits, labels)`"
                    " and `calibrate(logits)`.",
                )
            )
        checks.check_built(self.source)
        return self.source

    @property
    def model(self) -> keras.Model:
        """A Keras model from the model's inputs to calibrated probabilities.

        It shares the weights of the model, and can be compiled, evaluated,
        exported, saved and loaded. A later fit leaves it as it is and makes
        another.
        """
        if self._calibrated is None:
            layer, model = self.layer, self._model()
            inner = CalibratedModel(
                [model], layer, self._settled, looked=self._looked
            )
            self._calibrated = assembled(model, inner)
        return self._calibrated

    def logits(
        self, x: Any, batch_size: int = 32, verbose: bool | str = "auto"
    ) -> np.ndarray:
        """Returns the model's logits, `(samples, ..., classes)`, float32.

        Args:
            x: Inputs: an array, a list or dict of them, a `tf.data.Dataset`
                or a `PyDataset`.
            batch_size: Most samples the model sees at once.
            verbose: As for `fit`.
        """
        model = self._model()
        reader = self._reader = self._reader or _Reader(model)
        values = []
        with batching.progress(x, batch_size, verbose, "Predicting") as advance:
            for inputs, _ in batching.batches(x, batch_size, "calibrate"):
                values.append(reader(inputs))
                advance()
        settled = self._settled
        if not self._looked or not isinstance(settled, bool):
            settled = reader.settle(values, self.from_logits)
        return reader.logits(values, settled)

    def calibrate(self, logits: Any) -> np.ndarray:
        """Returns calibrated probabilities of logits, in their shape.

        Args:
            logits: `(samples, ..., classes)`, as returned by `logits`.
        """
        layer = self.layer
        array = samples.check_logits(logits).astype("float32")
        return np.asarray(layer(tf.convert_to_tensor(array)))

    def predict(
        self, x: Any, batch_size: int = 32, verbose: bool | str = "auto"
    ) -> np.ndarray:
        """Returns calibrated probabilities, `(samples, ..., classes)`.

        Args:
            x, batch_size, verbose: As for `logits`.
        """
        _ = self.layer  # refuses before the model runs
        return self.calibrate(self.logits(x, batch_size, verbose))

    def __repr__(self) -> str:
        name = "logits" if self.source is None else repr(self.source.name)
        state = "not fitted" if self._layer is None else "fitted"
        return f"<{type(self).__name__} of {name}, {state}>"


class _Reader:
    """Runs a model and keeps what its head is applied to."""

    def __init__(self, model: keras.Model):
        self.model = model
        self.kind = "unknown"
        self._functions: dict[str, Any] = {}

    def _read(self, inputs: Any) -> tf.Tensor:
        outputs = self.model(inputs, training=False)
        output = heads.single_output(self.model, outputs)
        known = gives_probabilities(self.model)
        self.kind, values = heads.visible_head(output, known)
        return values

    def __call__(self, inputs: Any) -> np.ndarray:
        inputs = checks.standardize(self.model, inputs)
        specs = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), inputs
        )
        key = repr(specs)
        if key not in self._functions:
            made = tf.function(self._read, autograph=False)
            self._functions[key] = made.get_concrete_function(specs)
        # A compiled function takes its tensors one by one.
        found = self._functions[key](*tf.nest.flatten(inputs))
        return np.asarray(found)  # kept on the host

    def settle(self, parts: list[np.ndarray], from_logits: bool | str) -> bool:
        """Returns whether the outputs are logits, by what was read."""
        sizes = {part.shape[1:] for part in parts}
        if len(sizes) > 1:
            raise ValueError(
                message(
                    "All samples need outputs of one shape.",
                    f"shapes {sorted(map(str, sizes))}",
                    "Resize the inputs to one size.",
                )
            )
        values = np.concatenate(parts).astype("float32")
        return heads.settle(self.kind, values, from_logits)

    def logits(self, parts: list[np.ndarray], settled: bool) -> np.ndarray:
        """Returns the logits of all that was read, float32."""
        # By part: the floor of a logarithm depends on the number format.
        logits = [
            np.asarray(heads.as_logits(tf.constant(part), self.kind, settled))
            for part in parts
        ]
        return np.concatenate(logits)
