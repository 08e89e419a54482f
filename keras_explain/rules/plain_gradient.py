"""The plain gradient of affine layers, for methods that modify all others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_explain.engine.interception import without_activation
from keras_explain.engine.linear import linear_maps
from keras_explain.engine.plain_convolution import plain_convolution
from keras_explain.engine.relevance import Shares, connect, cut
from keras_explain.engine.rules import Place, ReadyRule
from keras_explain.engine.terms import same
from keras_explain.engine.weights import Weights


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

    def prepared(self, place: Place) -> _PlacedQuickGradient | None:
        layer = place.call.operation
        if plain_convolution(layer) is None:
            return None
        return _PlacedQuickGradient(layer, splits=True)


@dataclasses.dataclass(frozen=True)
class _PlacedQuickGradient(PlainGradient):
    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        x = args[0]
        if x.dtype != tf.float32:
            return super().apply(function, args, kwargs, sink)
        inside = cut(x)
        z = super().apply(function, (inside, *args[1:]), kwargs)
        call = functools.partial(function, **kwargs)

        def backward(upstream: tf.Tensor) -> Shares:
            (linear,) = linear_maps(self.layer, call)
            weights = Weights(linear, upstream)
            return Shares([weights.pull(inside, same, upstream)])

        return connect(z, [x], backward, sink)
