"""From pictures to what a model takes: read off the model, or asked for."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.graph import INPUT, Graph

# Pixels as cameras give them, and the same divided by 255.
_SCALES = (255.0, 1.0)

# Applications whose models have their width and size in the name.
_NAMED_BY_SIZE = {"mobilenet_": "mobilenet", "mobilenetv2_": "mobilenet_v2"}


@dataclasses.dataclass(frozen=True)
class ValueRange:
    """The values that pictures have, and how they become a model's inputs.

    Attributes:
        low: The smallest value; minus infinity if there is none.
        high: The largest.
        prepare: What is done to pictures before the model sees them, such
            as the `preprocess_input` of an application; or `None`.
        source: Where this was read, for people.
    """

    low: float
    high: float
    prepare: Callable[[tf.Tensor], tf.Tensor] | None = None
    source: str = ""

    @property
    def bounded(self) -> bool:
        """Whether there is a smallest and a largest value."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def values(self, pictures: Any) -> Any:
        """Returns pictures of 0 to 1 in this range; raw values as they are."""
        if not self.bounded:
            return pictures
        return self.low + pictures * (self.high - self.low)

    def pictures(self, values: Any) -> Any:
        """Returns values of this range from 0 to 1; raw ones as they are."""
        if not self.bounded:
            return values
        return (values - self.low) / (self.high - self.low)

    def inputs(self, values: tf.Tensor) -> tf.Tensor:
        """Returns what the model takes for values of this range."""
        return values if self.prepare is None else self.prepare(values)

    def check(self, values: Any, name: str) -> np.ndarray:
        """Returns values as float32, or raises if they are out of range."""
        found = np.asarray(values, np.float32)
        if not np.all(np.isfinite(found)):
            raise ValueError(
                message(
                    f"{name} must be finite.",
                    f"{int(np.sum(~np.isfinite(found)))} values that are "
                    "NaN or infinite",
                    "Clean them first: `np.nan_to_num(values)`.",
                )
            )
        slack = 1e-4 * (self.high - self.low) if self.bounded else 0.0
        if found.size and (
            found.min() < self.low - slack or found.max() > self.high + slack
        ):
            raise ValueError(
                message(
                    f"{name} must lie from {self.low:g} to {self.high:g} "
                    f"({self.source}).",
                    f"values from {found.min():g} to {found.max():g}",
                    "Scale them, or pass the `value_range` they have.",
                )
            )
        return found


def find(
    model: keras.Model,
    graph: Graph,
    value_range: tuple[float, float] | None = None,
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> ValueRange:
    """Returns the range of values of a model's inputs.

    It is what was given; else what the rescaling or normalization that the
    model begins with was made for; else what the `preprocess_input` of a
    model of `keras.applications` takes. It is never guessed.

    Args:
        model: The model.
        graph: Its recorded run.
        value_range: `(low, high)`; infinite ones for values without bounds.
        preprocess: What is done to values of this range before the model
            sees them. Without a `value_range` it takes 0 to 255.

    Raises:
        ValueError: If low is not less than high, or nothing says what the
            range is.
    """
    if value_range is not None:
        return _given(value_range, preprocess)
    if preprocess is not None:
        return ValueRange(0.0, 255.0, preprocess, "as for `preprocess`")
    found = rescaled(graph) or _application(model)
    if found is None:
        raise ValueError(
            message(
                "The model does not say which values its inputs have.",
                "a model that does not begin with Rescaling or Normalization",
                "Pass `value_range=(low, high)`, such as (0, 1), (-1, 1) or "
                "(0, 255); for values without bounds "
                "`value_range=(-np.inf, np.inf)`; or the function that "
                "prepares pixels of 0 to 255, as `preprocess`.",
            )
        )
    return found


def _given(value_range: Any, preprocess: Callable | None) -> ValueRange:
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ValueError(
            message(
                "A value range is a pair of numbers, the smaller one first.",
                f"value_range={value_range!r}",
                "Pass such as (0, 1) or (0, 255).",
            )
        )
    return ValueRange(low, high, preprocess, "as given")


def rescaled(graph: Graph) -> ValueRange | None:
    """The range that the first layer was made to bring to about one."""
    for call in graph.layers:
        if not call.on_path or call.parents != (INPUT,):
            continue
        layer = call.operation
        source = f"read from the layer {call.path!r}"
        if call.kind == "Rescaling":
            scale, offset = np.asarray(layer.scale), np.asarray(layer.offset)
            for high in _SCALES:
                darkest, brightest = offset + 0 * scale, offset + high * scale
                ends = np.unique(np.round([darkest, brightest], 2))
                made = ends.tolist() in ([0.0, 1.0], [-1.0, 1.0])
                if made and not np.all(scale == 1):  # which says nothing
                    return ValueRange(0.0, high, None, source)
        if call.kind == "Normalization":
            mean = np.mean(np.asarray(layer.mean))
            spread = np.sqrt(np.mean(np.asarray(layer.variance)))
            for high in _SCALES:
                # What the values of pictures are distributed like.
                if (0.1 < mean / high < 0.9) and (0.05 < spread / high < 0.5):
                    return ValueRange(0.0, high, None, source)
    return None


@functools.cache
def _applications() -> dict[str, Any]:
    """The modules of `keras.applications` by the name their models have."""
    known = {}
    for _, function in inspect.getmembers(keras.applications, callable):
        module = sys.modules.get(function.__module__)
        parameters = inspect.signature(function).parameters
        name = parameters["name"].default if "name" in parameters else None
        if isinstance(name, str) and hasattr(module, "preprocess_input"):
            known[name] = module
    return known


def _application(model: keras.Model) -> ValueRange | None:
    module = _applications().get(model.name)
    for name, other in _NAMED_BY_SIZE.items():
        if model.name.startswith(name):
            module = getattr(keras.applications, other)
    if module is None:
        return None
    source = f"what `preprocess_input` of {model.name!r} takes"
    return ValueRange(0.0, 255.0, module.preprocess_input, source)
