"""Whether the confidence of a model that trains can be believed."""

from __future__ import annotations

import io
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_explain import plots
from keras_explain.calibration import (
    BrierScore,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    NegativeLogLikelihood,
    ReliabilityDiagram,
    heads,
)
from keras_explain.calibration.samples import check_labeled, labeled
from keras_explain.callbacks.base import PictureLogger, Shown


class CalibrationLogger(PictureLogger):
    """Measures calibration on held-out data at the end of each epoch.

    `val_ece`, `val_mce`, `val_nll` and `val_brier` go to the logs of the
    epoch, so that `History`, and `EarlyStopping` and `ModelCheckpoint` behind
    it in the list of callbacks, can use them; say `mode="min"` there, as Keras
    knows only of compiled metrics which way is better. With `log_dir` or
    `writers` the reliability diagram is a picture.

    Costs one run over the data for each epoch; the model sees it batch by
    batch.

    Args:
        validation_data: `(x, y)`, or a `tf.data.Dataset` or `PyDataset` of
            batches of them. `y` holds class numbers or one-hot rows.
        log_dir: Folder of the logs of TensorBoard, or `None`.
        num_bins: Number of bins of the errors and of the diagram.
        from_logits: Whether the model returns logits; `"auto"` looks at how
            it ends.
        batch_size: Most samples at once.
        prefix: Of the names in the logs.
        options: `writers`, `every` and `on_error` of `PictureLogger`;
            `every` is when the diagram is drawn.

    Raises:
        TypeError: If the data have no labels.
        ValueError: If an option is unknown, or the data hold no samples, are
            not in batches or have another number of labels.
        OSError: If nothing can be written to a folder, before the training.

    Example:

    >>> from keras_explain.callbacks import CalibrationLogger
    >>> labels = np.array([0, 1])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     images, labels, verbose=0,
    ...     callbacks=[CalibrationLogger((images, labels))],
    ... )
    >>> sorted(history.history)
    ['loss', 'val_brier', 'val_ece', 'val_mce', 'val_nll']
    """

    needs_writers = False

    def __init__(
        self,
        validation_data: Any,
        log_dir: str | os.PathLike | None = None,
        *,
        num_bins: int = 15,
        from_logits: bool | str = "auto",
        batch_size: int = 32,
        prefix: str = "val_",
        **options: Any,
    ):
        super().__init__(log_dir, **options)
        heads.check_from_logits(from_logits)
        check_labeled(validation_data)
        self.data = validation_data
        self.from_logits = from_logits
        self.batch_size = batch_size
        self.prefix = prefix
        self.metrics: dict[str, keras.metrics.Metric] = {
            "ece": ExpectedCalibrationError(num_bins, from_logits=True),
            "mce": MaximumCalibrationError(num_bins, from_logits=True),
            "nll": NegativeLogLikelihood(from_logits=True),
            "brier": BrierScore(from_logits=True),
        }
        self.diagram = ReliabilityDiagram(num_bins, from_logits=True)
        self._reader: tuple[keras.Model, Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found = None
        with self.careful():
            found = self.measure()
            if logs is not None:
                logs.update({self.prefix + k: v for k, v in found.items()})
        if found is not None:  # or the picture would be of nothing
            super().on_epoch_end(epoch, logs)

    def measure(self) -> dict[str, float]:
        """Returns the four numbers of the model as it is now."""
        every = [*self.metrics.values(), self.diagram]
        for metric in every:
            metric.reset_state()
        for inputs, labels in labeled(self.data, self.batch_size):
            output, logits = self._outputs(
                tf.nest.map_structure(tf.constant, inputs)
            )
            values = np.asarray(output, "float32")
            if self.from_logits is False and np.isfinite(values).all():
                heads.check_probabilities(values)
            for metric in every:
                metric.update_state(labels, logits)
        return {k: float(m.result()) for k, m in self.metrics.items()}

    def _outputs(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """What the model returns, and the logits of it."""
        if self._reader is None or self._reader[0] is not self.model:
            self._reader = (
                self.model,
                tf.function(self._read, autograph=False, reduce_retracing=True),
            )
        return self._reader[1](inputs)

    def _read(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        model = self.model
        output = heads.single_output(model, model(inputs, training=False))
        kind, values = heads.visible_head(output)
        heads.check_one_class(kind, output.shape[-1])
        are_logits = heads.returns_logits(kind, self.from_logits)
        return output, heads.as_logits(values, kind, are_logits)

    def shown(self) -> list[Shown]:
        if self.schedule.every != "epoch":
            self.measure()
        curve = self.diagram.curve()
        figure = plots.reliability_diagram(curve)
        image = Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB")
        text = f"expected calibration error {self._error():.3f}"
        return [Shown("calibration/reliability", np.asarray(image), text)]

    def _error(self) -> float:
        return float(self.metrics["ece"].result())
