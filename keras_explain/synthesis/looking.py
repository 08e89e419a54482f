"""What layers give for pictures, under trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine import execution
from keras_explain.engine.graph import Call
from keras_explain.synthesis.value_range import ValueRange


def outputs_of(
    model: keras.Model,
    calls: Sequence[Call],
    value_range: ValueRange,
    values: tf.Tensor,
) -> list[tf.Tensor]:
    """Returns the float32 outputs of calls, from one run of the model.

    Args:
        model: A built model.
        calls: Of its recorded run.
        value_range: From pictures to the model's inputs.
        values: `(rows, *shape)` pictures in that range.
    """
    kept: dict[tuple[str, int], Any] = {}

    def keeper(call: Call) -> execution.Tap:
        def keep(outputs: Any) -> Any:
            kept[call.key] = outputs
            return outputs

        return keep

    execution.run(
        model,
        value_range.inputs(values),
        taps={call.key: keeper(call) for call in calls},
    )
    return [tf.cast(kept[call.key], tf.float32) for call in calls]
