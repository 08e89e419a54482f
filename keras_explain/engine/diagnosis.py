"""What the numbers of a finished explanation say about its worth."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine.errors import (
    ExplainWarning,
    candidates,
    message,
)
from keras_explain.engine.graph import Graph
from keras_explain.engine.targets import Target

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def diagnose(
    results: dict[str, Any], inputs: Any, graph: Graph, target: Target
) -> None:
    """Raises or warns where an explanation cannot mean what it seems to.

    Args:
        results: What the compiled function returned.
        inputs: The batch.
        graph: The recorded run of the model.
        target: What was explained.
    """
    if not bool(results["finite"]):
        raise ValueError(
            message(
                "The inputs hold NaN or infinite values.",
                _where(inputs),
                "Clean them first: `np.nan_to_num(inputs)`.",
            )
        )
    largest = _largest(results["maps"])
    # A ReLU turns NaN into zero, so that a broken network may look dead.
    if not np.all(np.isfinite(results["score"]) & (largest > 0)):
        _refuse_broken_weights(graph)
    _check_scale(graph, inputs)
    _warn_about(results, target, graph)


def _refuse_broken_weights(graph: Graph) -> None:
    """Raises if NaN or infinite weights are why the score is none."""
    broken = []
    for call in graph.layers:
        weights = getattr(call.operation, "weights", None) or []
        if call.leaf and any(
            not np.all(np.isfinite(np.asarray(w))) for w in weights
        ):
            broken.append(call.path)
    if broken:
        raise ValueError(broken_message(broken))


def broken_message(paths: list[str]) -> str:
    """What is said about layers with weights that are NaN or infinite."""
    return message(
        "The model has weights that are NaN or infinite.",
        f"such weights in {candidates(dict.fromkeys(paths))}",
        "Training has diverged: load an earlier checkpoint, or train "
        "with a smaller learning rate.",
    )


def sums_to_one(outputs: tf.Tensor) -> bool:
    """Whether outputs are probabilities over their last axis."""
    values = np.asarray(outputs, "float64")
    if values.ndim < 2 or values.shape[-1] < 2 or values.min() < 0:
        return False
    return bool(np.all(np.abs(values.sum(-1) - 1) < 1e-2))


def _where(inputs: Any) -> str:
    for k, tensor in enumerate(tf.nest.flatten(inputs)):
        wrong = ~np.isfinite(np.asarray(tensor, np.float64))
        if wrong.any():
            samples = np.unique(np.nonzero(wrong)[0])[:8].tolist()
            return f"{int(wrong.sum())} in input {k}, samples {samples}"
    return "values that overflow in float32"


def _warn_about(results: dict[str, Any], target: Target, graph: Graph) -> None:
    scores = np.asarray(results["score"])
    of = getattr(target, "of", "logit")
    if of == "probability" and np.any((scores > 1 - 1e-6) | (scores < 1e-6)):
        warn(
            "The softmax is saturated: the probability of "
            f"{int(np.sum((scores > 1 - 1e-6) | (scores < 1e-6)))} of "
            f"{len(scores)} samples is within 1e-6 of 0 or 1, and its "
            "gradient has vanished. Explain the logit: `Class(index)`."
        )
    largest = _largest(results["maps"])
    if not np.all(np.isfinite(largest)):
        warn(
            "Some attributions are not finite: numbers overflow on the way. "
            + (
                "Explain the model under the float32 policy."
                if graph.half_precision
                else "Explain a layer nearer to the output."
            )
        )
    dead = np.nonzero(largest == 0)[0]
    if dead.size:
        warn(
            f"The map of {dead.size} of {len(largest)} samples is zero "
            f"everywhere (samples {dead[:8].tolist()}). The score does not "
            "depend on the layer there, or everything speaks against the "
            "target: explain another class, or pass an earlier `layer`."
        )


def _largest(maps: Any) -> np.ndarray:
    flat = [np.asarray(m) for m in tf.nest.flatten(maps)]
    each = [np.abs(m).reshape(len(m), -1).max(axis=1, initial=0) for m in flat]
    return np.max(each, axis=0)


def warn(text: str) -> None:
    """Warns at the line outside the package that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ExplainWarning, stacklevel=level)


def _check_scale(graph: Graph, inputs: Any) -> None:
    """Warns about images on a scale the model rescales away.

    A model that begins by dividing by 255 expects pixels up to 255; given
    pixels up to 1 it sees black pictures only.
    """
    flat, rescaling = tf.nest.flatten(inputs), graph.rescaling
    if rescaling is None or len(flat) != 1 or flat[0].shape.rank != 4:
        return
    scale = float(np.max(np.abs(np.asarray(rescaling.scale))))
    offset = float(np.min(np.asarray(rescaling.offset)))
    largest = float(tf.reduce_max(tf.abs(flat[0])))
    if scale < 0.05 and 0 < largest <= 1.0:
        warn(
            f"The largest pixel is {largest:.3g}, and the model begins by "
            f"multiplying with {scale:.3g}: it expects pixels up to "
            f"{(1 - offset) / scale:.0f}. Pass the images on that scale."
        )
