"""The plain gradient of affine layers, for methods that modify all others."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.engine.interception import without_activation
from keras_explain.engine.plain_convolution import (
    PlainConvolution,
    plain_convolution,
)
from keras_explain.engine.relevance import Shares, connect, cut
from keras_explain.engine.rules import Place, ReadyRule, Rule


@dataclasses.dataclass(frozen=True)
class PlainGradient(ReadyRule):
    """The gradient as it is, of a layer that is known to be affine.

    Attributes:
        layer: The layer.
        splits: Whether its activation is a call of its own.
        plain: The convolution that the layer is, to go back by the way that
            takes least time; `None` for TensorFlow's own.
    """

    layer: Any
    splits: bool = False
    plain: PlainConvolution | None = None

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        way = None
        if self.plain is not None:
            way = self.plain.way_back(args[0], self.layer.kernel)
        alone = without_activation if self.splits else contextlib.nullcontext
        with alone(self.layer):
            if way is None:
                return function(*args, **kwargs)
            z = function(cut(args[0]), *args[1:], **kwargs)

        def backward(upstream: tf.Tensor) -> Shares:
            kernel = tf.convert_to_tensor(self.layer.kernel)
            return Shares([way(kernel, upstream)])

        return connect(z, args[:1], backward, sink)


class QuickGradient:
    """The plain gradient of plain convolutions; leaves other layers alone."""

    splits = True
    reads = ""

    def prepared(self, place: Place) -> Rule | None:
        layer = place.call.operation
        plain = plain_convolution(layer)
        if plain is None:
            return None
        return PlainGradient(layer, splits=True, plain=plain)
