"""A copy of a model to be altered, so that the model itself is not."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.explainer import Explainer
from keras_explain.evaluation.settings import check_callable


@contextlib.contextmanager
def scratch(model: keras.Model, inputs: Any) -> Iterator[keras.Model]:
    """Yields a model with the weights of another, to be altered.

    It is a copy where Keras can make one: of Functional and Sequential
    models, and of subclassed ones that describe themselves in `get_config`.
    Of others it is the model itself, whose weights are put back afterwards,
    also after an error; nobody else may use it meanwhile.

    Args:
        model: A built model.
        inputs: A batch, by which it is seen whether the copy is one.
    """
    copy = copy_of(model, inputs)
    if copy is not None:
        yield copy
        return
    saved = model.get_weights()
    try:
        yield model
    finally:
        model.set_weights(saved)


def copy_of(model: keras.Model, inputs: Any) -> keras.Model | None:
    """Returns a copy that computes the same, or `None` if there is none."""
    # New layers draw seeds for their initial weights, which nobody needs.
    state = random.getstate()
    try:
        if isinstance(model, keras.Sequential) or hasattr(model, "operations"):
            copy = keras.models.clone_model(model)
        else:
            copy = type(model).from_config(model.get_config())
            copy(inputs)
        if copy is model:
            return None
        copy.set_weights(model.get_weights())
        return copy if _same(model, copy, inputs) else None
    except Exception:  # the code of a model of one's own may raise anything
        return None
    finally:
        random.setstate(state)


def _same(model: keras.Model, copy: keras.Model, inputs: Any) -> bool:
    outputs = [
        tf.nest.flatten(one(inputs, training=False)) for one in (model, copy)
    ]
    return all(
        np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True)
        for a, b in zip(*outputs, strict=True)
    )


def rebuilt(explainer: Explainer, model: keras.Model) -> Explainer:
    """Returns the same method for another model."""
    config = explainer.get_config()
    plain = (str, int, float, bool, type(None), list, tuple, dict,
             keras.Layer, Explainer)  # fmt: skip
    for name in explainer._option_names():
        value = getattr(explainer, name)
        if name in config and not isinstance(value, plain):
            config[name] = value  # such as a composite, an array, a function
    return type(explainer).from_config(model, config)


def judged_for(explainer: Any, model: keras.Model) -> Any:
    """Returns what is judged, for another model.

    Args:
        explainer: An explainer; a class of them; or a callable `(model,
            inputs, target) -> maps`.
        model: The other model.
    """
    if isinstance(explainer, Explainer):
        return rebuilt(explainer, model)
    if isinstance(explainer, type) and issubclass(explainer, Explainer):
        return explainer(model)
    function: Callable = explainer
    check_callable(function, "model", "inputs", "target")

    def bound(inputs: Any, target: Any) -> Any:
        return function(model, inputs, target)

    bound.__name__ = getattr(function, "__name__", type(function).__name__)
    return bound
