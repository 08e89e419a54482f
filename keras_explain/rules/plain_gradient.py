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
    """

    layer: Any
    splits: bool = False

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        alone = without_activation if self.splits else contextlib.nullcontext
        with alone(self.layer):
            return function(*args, **kwargs)


class QuickGradient:
    """The gradient of a plain convolution, by the way that takes least time."""

    splits = True
    reads = ""

    def prepared(self, place: Place) -> Rule | None:
        layer = place.call.operation
        plain = plain_convolution(layer)
        if plain is None:
            return None
        return _PlacedQuickGradient(layer, splits=True, plain=plain)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PlacedQuickGradient(PlainGradient):
    plain: PlainConvolution

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        x = args[0]
        way = self.plain.way_back(x, self.layer.kernel)
        if way is None:
            return super().apply(function, args, kwargs, sink)
        z = super().apply(function, (cut(x), *args[1:]), kwargs)

        def backward(upstream: tf.Tensor) -> Shares:
            kernel = tf.convert_to_tensor(self.layer.kernel)
            return Shares([way(kernel, upstream)])

        return connect(z, [x], backward, sink)
