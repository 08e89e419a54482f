"""The layers of a model that have weights, and new weights for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import message
from keras_explain.engine.recording import record

# Weights whose initializer has another name than they.
_NAMES = {"recurrent_kernel": "recurrent_initializer"}
_NORMAL = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0,
           "moving_variance": 1.0}  # fmt: skip


def weighted_layers(
    model: keras.Model, inputs: Any, chosen: Sequence[Any] | None = None
) -> list[tuple[str, keras.Layer]]:
    """Returns the layers with weights in the order in which they run.

    Nested models are opened. A layer that holds others, such as an
    attention, counts as one; so does one that is called several times, where
    it runs last. A `Normalization` layer holds no trained weights.

    Args:
        model: A built model.
        inputs: A batch.
        chosen: Layers or their addresses; `None` for all.

    Raises:
        ValueError: If there are none, or one that is chosen has no weights.
    """
    specs = tf.nest.map_structure(
        lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), inputs
    )
    graph = record(model, specs)
    calls = [c for c in graph.layers if isinstance(c.operation, keras.Layer)]
    holders = {
        c.path for c in calls if not isinstance(c.operation, keras.Model)
    }
    found: dict[int, tuple[str, keras.Layer]] = {}
    for call in calls:
        layer = call.operation
        parts = call.path.split("/")
        within = any("/".join(parts[:k]) in holders
                     for k in range(1, len(parts)))  # fmt: skip
        if isinstance(layer, keras.Model) or within or not _learns(layer):
            continue
        found.pop(id(layer), None)  # where it runs last
        found[id(layer)] = (call.path, layer)
    if chosen is not None:
        wanted = [graph.find(layer).operation for layer in chosen]
        missing = [w.name for w in wanted if id(w) not in found]
        if missing or not wanted:
            raise ValueError(
                message(
                    "Only layers with weights of their own are randomized.",
                    f"layers={missing or chosen!r}",
                    f"Layers that qualify: {[p for p, _ in found.values()]}.",
                )
            )
        ids = {id(w) for w in wanted}
        found = {key: pair for key, pair in found.items() if key in ids}
    if not found:
        raise ValueError(
            message(
                "There are no weights to randomize.",
                f"model {model.name!r}",
                "The layers of a model must be found by Keras.",
            )
        )
    return list(found.values())


def _learns(layer: keras.Layer) -> bool:
    return bool(layer.weights) and not isinstance(
        layer, keras.layers.Normalization
    )


def reinitialize(layer: keras.Layer, source: Sequence[int]) -> None:
    """Gives a layer new initial weights.

    Each weight is drawn by the layer's own initializer, made anew with
    another seed: called as it is, it returns the weights that training began
    with. Batch normalization begins with scale and variance 1, shift and
    mean 0. Weights without an initializer that could be found are shuffled.

    Args:
        layer: A layer, with all that it holds. Changed.
        source: Integers; the same give the same weights.
    """
    number = 0
    for owner in layer._flatten_layers():
        for variable in (
            *owner._trainable_variables, *owner._non_trainable_variables
        ):  # fmt: skip
            random = np.random.default_rng([*source, number])
            number += 1
            if keras.backend.standardize_dtype(variable.dtype).startswith(
                ("int", "uint", "bool")
            ):
                continue  # counters and states of random numbers
            value = _fresh(owner, variable, random)
            variable.assign(tf.cast(value, variable.dtype))


def _fresh(owner: Any, variable: Any, random: np.random.Generator) -> Any:
    name = variable.name
    if isinstance(owner, keras.layers.BatchNormalization) and name in _NORMAL:
        return tf.fill(variable.shape, _NORMAL[name])
    initializer = getattr(owner, _NAMES.get(name, f"{name}_initializer"), None)
    if initializer is None:
        values = tf.convert_to_tensor(variable).numpy()
        return random.permutation(values.ravel()).reshape(values.shape)
    if isinstance(initializer, keras.initializers.Initializer):
        config = initializer.get_config()
        if "seed" in config:
            config["seed"] = int(random.integers(2**31 - 1))
        initializer = type(initializer).from_config(config)
    return initializer(tuple(variable.shape), dtype="float32")
