"""The rule of recurrent layers: the signal takes all, the gates nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.interception import shadow
from keras_explain.engine.relevance import Shares, checked_epsilon, stabilized
from keras_explain.engine.rules import (
    Division,
    Place,
    PlacedTensorRule,
    Rule,
    TensorRule,
)

_CELLS = (
    keras.layers.LSTMCell,
    keras.layers.GRUCell,
    keras.layers.SimpleRNNCell,
)


@dataclasses.dataclass(frozen=True)
class SignalTakesAll(TensorRule):
    """Relevance through LSTM, GRU and simple recurrent layers.

    Gates are taken for constants, nonlinearities hand on what they are
    given, and sums are divided as by `Epsilon` with the stabilizer at the
    output of the layer. What is due to biases and initial states is lost.
    The directions of `Bidirectional` share in proportion to what each adds,
    and alike where they are multiplied.

    Args:
        epsilon: Stabilizer, positive.

    References:
        Arras et al., 2017. Explaining Recurrent Neural Network Predictions
        in Sentiment Analysis. https://arxiv.org/abs/1706.07206
        Arras et al., 2019. Evaluating Recurrent Neural Network Explanations
        (LRP-all). https://arxiv.org/abs/1904.11829
    """

    reads = "proportional"

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)

    def prepared(self, place: Place) -> Rule:
        layer = place.call.operation
        cells = _cells(layer)
        for cell in cells:
            if not isinstance(cell, _CELLS):
                raise ValueError(
                    message(
                        "No rule is known for this recurrent cell.",
                        f"{type(cell).__name__} in {place.call.path!r}",
                        "Use LSTM, GRU or SimpleRNN, or register a rule: "
                        f"`keras_explain.rules.register({_class(layer)}, "
                        "rule)`.",
                    )
                )
        product = getattr(layer, "merge_mode", None) == "mul"
        rule = _PlacedRecurrent(self.epsilon, cells, 2 if product else 1)
        return PlacedTensorRule(rule, place.signals)


def _class(layer: Any) -> str:
    """What a rule is registered for, or that it has to be made."""
    if type(layer) in (keras.layers.RNN, keras.layers.Bidirectional):
        return f"YourSubclassOf{type(layer).__name__}"  # not for all of them
    return type(layer).__name__


def _cells(layer: Any) -> tuple[Any, ...]:
    if isinstance(layer, keras.layers.Bidirectional):
        both = (layer.forward_layer, layer.backward_layer)
        return tuple(cell for one in both for cell in _cells(one))
    cell = getattr(layer, "cell", layer)
    return tuple(getattr(cell, "cells", [cell]))


@dataclasses.dataclass(frozen=True)
class _PlacedRecurrent(TensorRule):
    """`SignalTakesAll` at one call.

    Attributes:
        epsilon: Stabilizer.
        cells: The cells of the layer.
        factors: How many signals are multiplied to its output; each has the
            same share of the relevance.
    """

    epsilon: float
    cells: tuple[Any, ...]
    factors: int = 1

    def running(self) -> contextlib.AbstractContextManager:
        return _linearized(self.cells)

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        ratio = relevance / stabilized(at.output, self.epsilon) / self.factors
        shares = [
            None if down is None else x * down
            for x, down in zip(
                at.inputs,
                tf.gradients(at.output, at.inputs, ratio),
                strict=True,
            )
        ]
        kept = [
            -share
            for share, signal in zip(shares, at.signals, strict=True)
            if signal and share is not None
        ]
        return Shares(shares, [relevance, *kept])


@contextlib.contextmanager
def _linearized(cells: tuple[Any, ...]) -> Iterator[None]:
    """Within the context, the gradient of a cell is that of its signal."""
    undo = []
    try:
        for cell in cells:
            signal = _as_signal(cell.activation)
            undo.append(shadow(cell, "activation", signal))
            gate = getattr(cell, "recurrent_activation", None)
            if gate is not None:
                name = "recurrent_activation"
                undo.append(shadow(cell, name, _as_gate(gate)))
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _as_gate(function: Callable) -> Callable:
    return lambda x: tf.stop_gradient(function(x))


def _as_signal(function: Callable) -> Callable:
    """The nonlinearity as a product of its input with a constant."""

    def signal(x: tf.Tensor) -> tf.Tensor:
        safe = tf.where(tf.abs(x) < _TINY, tf.ones_like(x), x)
        factor = function(safe) / safe
        # At zero it is the slope, of tanh and its like 1.
        return x * tf.stop_gradient(
            tf.where(tf.abs(x) < _TINY, tf.ones_like(x), factor)
        )

    return signal


_TINY = 1e-7
