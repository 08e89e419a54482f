"""The settings of an optimization, and what holds where none were given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.synthesis.diversity import Diversity
from keras_explain.synthesis.objective import record_rows, sample_shape
from keras_explain.synthesis.parameterizations import Fourier, Pixels
from keras_explain.synthesis.parts import (
    Parameterization,
    Regularizer,
    Transform,
)
from keras_explain.synthesis.transforms import robust

# Where a model leaves the size of pictures open and nobody says.
USUAL_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Settings:
    """How pictures are made; the keyword arguments of `maximize`."""

    image: Parameterization | None = None
    transforms: str | Sequence[Transform] | None = "robust"
    regularizers: Sequence[Regularizer | Diversity] = ()
    optimizer: Any = None
    batch: int = 1
    size: int | tuple[int, ...] | None = None
    seed: int = 0
    value_range: tuple[float, float] | None = None
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None = None
    layer: Any = None
    warmup: int = 16
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.batch, int) and self.batch >= 1):
            raise ValueError(
                message(
                    "`batch` is the number of pictures of each target.",
                    f"batch={self.batch!r}",
                    "Pass 1 or more.",
                )
            )
        for name, low in (("seed", -(2**31)), ("warmup", 0)):
            value = getattr(self, name)
            whole = isinstance(value, (int, np.integer))
            if not whole or not low <= value < 2**31:
                raise ValueError(
                    message(
                        f"`{name}` is a whole number from {low} up.",
                        f"{name}={value!r}",
                    )
                )
        if not 0 <= self.averaging < 1:
            raise ValueError(
                message(
                    "`averaging` is the weight of the past, from 0 to 1.",
                    f"averaging={self.averaging!r}",
                    "Pass such as 0.99, or 0 for none.",
                )
            )
        for name, kind in (
            ("transforms", Transform),
            ("regularizers", (Regularizer, Diversity)),
        ):
            _check_parts(name, getattr(self, name), kind)
        if self.image is not None and not isinstance(
            self.image, Parameterization
        ):
            raise TypeError(
                message(
                    "`image` says how a picture is made of numbers.",
                    repr(type(self.image).__name__),
                    "Pass such as `Fourier(224)`; to start from a picture, "
                    "`Pixels(initial=picture)`.",
                )
            )

    def plain(self) -> dict[str, Any]:
        """Returns the settings as JSON can hold them."""
        return {
            field.name: _text(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


def _check_parts(name: str, parts: Any, kind: Any) -> None:
    if parts is None or (name == "transforms" and parts == "robust"):
        return
    if isinstance(parts, str) or not isinstance(parts, Sequence):
        raise TypeError(
            message(
                f"`{name}` is a list.",
                f"{name}={parts!r}",
                "Put even a single one into a list.",
            )
        )
    for part in parts:
        if not isinstance(part, kind):
            raise TypeError(
                message(
                    f"`{name}` holds parts of `keras_explain.synthesis`.",
                    repr(part),
                    "A function of your own becomes one in a subclass of "
                    "`Transform` or `Regularizer`.",
                )
            )


def check_pixels(
    regularizers: Sequence[Regularizer], image: Parameterization
) -> None:
    for regularizer in regularizers:
        if regularizer.needs_pixels and not image.in_pixels:
            raise ValueError(
                message(
                    f"{regularizer.name} changes pixels after each step.",
                    f"image={type(image).__name__}, whose numbers are none",
                    "Pass `image=Pixels(bounds='clip')`.",
                )
            )


def image_and_shape(
    given: Settings, model: keras.Model, declared: tuple[int | None, ...]
) -> tuple[Parameterization, tuple[int, ...]]:
    """The parameterization, and the shape of one picture."""
    if given.layer is not None:
        return _in_a_layer(given, model)
    _check_no_tokens(model)
    image = given.image
    if image is None:
        unbounded = given.value_range is not None and not np.all(
            np.isfinite(given.value_range)
        )
        if unbounded:
            image = Pixels(bounds=None)
        else:
            image = Fourier() if len(declared) in (2, 3, 4) else Pixels()
    own = getattr(image, "size", None)
    shape = filled(declared, given.size or own or USUAL_SIZE)
    if not shape:
        raise ValueError(
            message(
                "The model does not say which inputs it takes.",
                f"{type(model).__name__} without declared inputs",
                "Begin it with a `keras.Input`, or wrap it: "
                "`keras.Model(x, model(x))`.",
            )
        )
    if own is not None and any(
        length not in (None, own) for length in declared[:-1]
    ):
        raise ValueError(
            message(
                f"The model takes inputs of shape {declared}.",
                f"image={type(image).__name__}({own})",
                "Leave the size out to have that of the model.",
            )
        )
    return image, shape


def _check_no_tokens(model: keras.Model) -> None:
    """Raises for a model of tokens: a number between two is no token."""
    found = [
        layer
        for layer in getattr(model, "layers", ())
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    names = [r.name for r in found if isinstance(r, keras.layers.Embedding)]
    if names and found[0].name == names[0]:
        raise ValueError(
            message(
                "Tokens cannot be changed a little: the model takes whole "
                "numbers.",
                f"a model that begins with the embedding {names[0]!r}",
                f"Pass layer={names[0]!r} to make its output, and look for "
                "the nearest tokens.",
            )
        )


def filled(
    declared: tuple[int | None, ...], size: int | tuple[int, ...]
) -> tuple[int, ...]:
    """Returns a declared shape with a size where it is open.

    Args:
        declared: Of one sample, `None` where it is open.
        size: One for all open axes, or one for each.

    Raises:
        ValueError: If there are more or fewer sizes than open axes.
    """
    gaps = declared.count(None)
    sizes = (size,) * gaps if isinstance(size, int) else tuple(size)
    if len(sizes) != gaps or not all(length > 0 for length in sizes):
        raise ValueError(
            message(
                f"The model leaves {gaps} axes of its input open: {declared}.",
                f"size={size!r}",
                "Pass one size for all of them, or one for each.",
            )
        )
    following = iter(sizes)
    return tuple(next(following) if n is None else n for n in declared)


def _in_a_layer(
    given: Settings, model: keras.Model
) -> tuple[Parameterization, tuple[int, ...]]:
    image = given.image or Pixels(bounds=None, stddev=0.1)
    if image.bounded:
        raise ValueError(
            message(
                "The output of a layer has no bounds.",
                f"image={type(image).__name__} with layer={given.layer!r}",
                "Pass `image=Pixels(bounds=None)`.",
            )
        )
    size = given.size or getattr(image, "size", None) or 16
    declared = filled(sample_shape(model), size)
    graph, _ = record_rows(model, 1, declared)
    shape = graph.find(given.layer).shape
    if shape is None or None in shape[1:]:
        raise ValueError(
            message(
                "The layer's output must have a shape that is known.",
                f"layer={given.layer!r}, whose output is {shape}",
                "Pass `image=Pixels(size, bounds=None)`.",
            )
        )
    return image, tuple(shape[1:])


def transforms_for(
    given: Any, shape: tuple[int, ...], image: Parameterization
) -> Sequence[Transform]:
    if given == "robust":
        # Raw values have no scale of their own to move in.
        return robust(axes=len(shape) - 1) if image.bounded else ()
    return given or ()


def _text(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    if isinstance(value, keras.optimizers.Optimizer):
        return repr(type(value).__name__)
    return repr(value)
