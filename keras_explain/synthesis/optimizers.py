"""Optimizers of Keras: which keep pictures apart, and how they step."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.errors import message

# Optimizers that mix the numbers of a variable, and with them the rows.
_MIXING = ("Adafactor", "Lamb", "Muon", "LARS")


def copied(optimizer: Any, rows: int) -> Any:
    """Returns an optimizer of the same options, with nothing learned."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            message(
                "An optimizer is one of Keras, or 'lbfgs'.",
                repr(optimizer),
                "Pass such as `keras.optimizers.Adam(0.05)`.",
            )
        )
    kind = type(optimizer)
    mixes = kind.__name__ in _MIXING or any(
        getattr(optimizer, name, None)
        for name in ("clipnorm", "global_clipnorm")
    )
    if mixes and rows > 1:
        raise ValueError(
            message(
                "Pictures of one batch must not influence each other.",
                f"{kind.__name__}, which mixes the numbers of a variable, "
                f"for {rows} pictures",
                "Pass an optimizer that treats each number by itself, such "
                "as Adam or SGD without clipping of norms, or make one "
                "picture at a time.",
            )
        )
    return kind.from_config(optimizer.get_config())


def make_step(
    optimizer: keras.optimizers.Optimizer,
    gradients: list[tf.Tensor],
    values: list[tf.Variable],
) -> None:
    """Lets an optimizer of Keras make a step, under trace.

    It sums the gradients over all replicas. Even of one alone TensorFlow keeps
    the gradient of that sum for good, and the graph with it, for each trace;
    where replicas are brought together there is nothing to sum.
    """
    if tf.distribute.has_strategy():
        optimizer.apply(gradients, values)
        return
    replica = tf.distribute.get_replica_context()
    replica.merge_call(lambda _: optimizer.apply(gradients, values))
