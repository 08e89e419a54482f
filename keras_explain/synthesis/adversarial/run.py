"""Runs attacks: checks, batches, compiled functions and the result."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import batching, checks
from keras_explain.engine.diagnosis import sums_to_one, warn
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Graph
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.engine.recording import record
from keras_explain.engine.sampling import expand
from keras_explain.synthesis import value_range
from keras_explain.synthesis.adversarial import checks as attack_checks
from keras_explain.synthesis.adversarial.attack import (
    Attack,
    CommonOptions,
    Task,
)
from keras_explain.synthesis.adversarial.classifier import Classifier, declared
from keras_explain.synthesis.adversarial.result import Adversarial

# Compiled functions that are kept for a model: one for each attack and shape.
_MOST_FUNCTIONS = 16
# Marks a label that is still to be taken from the model.
_OWN = -1


def run(
    attack: Attack,
    model: keras.Model,
    inputs: Any,
    labels: Any,
    options: CommonOptions,
) -> Adversarial:
    """Attacks data of any length in batches.

    Args:
        attack: What to do.
        model: A built classifier.
        inputs: Data, as for `Explainer.explain`.
        labels: Class indices, or `None` for the model's own predictions.
        options: All of `CommonOptions`.
    """
    targeted, size = options["targeted"], options["batch_size"]
    checks.check_model(model)
    checks.check_built(model)
    given = attack_checks.labels(labels, targeted, inputs)
    bounds: tuple[float, float] | None = None
    parts, moved = [], []
    with batching.progress(inputs, size, "auto", "Attacking") as advance:
        for chunk, rows in batching.batches(inputs, size):
            images = attack_checks.images(model, chunk)
            spec = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
            graph = record(model, declared(model, spec))
            attack_checks.head(model, graph)
            if bounds is None:
                bounds = bounds_of(model, graph, options["bounds"])
                attack.check(bounds)
                if options["bounds"] is None:
                    attack_checks.scale(images, bounds)
            attack_checks.inside(images, bounds)
            count = attack_checks.classes(graph)
            wanted = attack_checks.rows(given, rows, len(images), count)
            numbers = {"low": bounds[0], "high": bounds[1], **attack.numbers()}
            function = _compiled(attack, model, graph, images, targeted)
            found = _call(function, images, wanted, numbers)
            attack_checks.finite(found, model)
            if targeted and attack.refuses_reached:
                attack_checks.not_reached(found, rows.start)
            moved.append(found.pop("moved"))
            settings = attack.settings(targeted, bounds)
            parts.append(Adversarial(settings=settings, **found))
            advance()
    attack_checks.all_used(given, rows.stop)
    made = Adversarial.concatenate(parts)
    attack_checks.result(made, np.concatenate(moved), given is not None)
    return made


def bounds_of(
    model: keras.Model, graph: Graph, bounds: Any
) -> tuple[float, float]:
    """Returns the least and the greatest value that inputs may have.

    Args:
        model: The model.
        graph: Its recorded run.
        bounds: `(low, high)`, or `None` to read it from the `Rescaling` or
            `Normalization` that the model begins with.

    Raises:
        ValueError: If they are no bounds, or the model does not tell.
    """
    if bounds is not None:
        return attack_checks.given_bounds(bounds)
    found = value_range.rescaled(graph)
    if found is not None:
        return found.low, found.high
    raise ValueError(
        message(
            "The values that the inputs may have are not known: the model "
            "does not begin by rescaling or normalizing pixels.",
            f"bounds=None for model {model.name!r}",
            "Pass `bounds=(low, high)` in the units of the inputs, such as "
            "(0, 1).",
        )
    )


def _call(
    function: Callable,
    images: tf.Tensor,
    labels: np.ndarray | None,
    numbers: dict[str, float | int],
) -> dict[str, np.ndarray]:
    if labels is None:
        labels = np.full(len(images), _OWN)
    tensors = {
        name: tf.constant(value, _dtype(value))
        for name, value in numbers.items()
    }
    flat = tf.nest.flatten((images, tf.constant(labels, tf.int32), tensors))
    found = {name: value.numpy() for name, value in function(*flat).items()}
    return {"originals": images.numpy(), **found}


def _dtype(value: float | int) -> tf.DType:
    return tf.int32 if isinstance(value, int) else tf.float32


# A compiled function reads the weights when it runs, so that it stays right
# while the model trains. It knows the weights and not the model, which is
# free to go.
_COMPILED: weakref.WeakKeyDictionary[keras.Model, dict[Any, tuple]] = (
    weakref.WeakKeyDictionary()
)


def _compiled(
    attack: Attack,
    model: keras.Model,
    graph: Graph,
    images: tf.Tensor,
    targeted: bool,
) -> Callable:
    """Returns the attack as one compiled function of images and labels."""
    probabilities = _gives_probabilities(model, graph, images)
    options = tuple(getattr(attack, name) for name in attack.static)
    shape = (None, *images.shape[1:])
    key = (type(attack), options, targeted, shape, id(graph), probabilities)
    known = _COMPILED.setdefault(model, {})
    if key in known:
        return known[key][0]
    numbers = {"low": 0.0, "high": 1.0, **attack.numbers()}
    structure = (
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec([None], tf.int32),
        {n: tf.TensorSpec([], _dtype(v)) for n, v in numbers.items()},
    )

    def compute(*flat: tf.Tensor) -> dict[str, tf.Tensor]:
        given, labels, values = tf.nest.pack_sequence_as(structure, flat)
        classifier = Classifier(model, graph, probabilities)
        return _results(attack, classifier, given, labels, values, targeted)

    with TRACE_LOCK, tf.init_scope():
        made = tf.function(compute, autograph=False)
        concrete = made.get_concrete_function(*tf.nest.flatten(structure))
    while len(known) >= _MOST_FUNCTIONS:
        known.pop(next(iter(known)))
    # With the graph, to keep its id from being taken for that of another.
    known[key] = (concrete, graph)
    return concrete


def _results(
    attack: Attack,
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    numbers: dict[str, tf.Tensor],
    targeted: bool,
) -> dict[str, tf.Tensor]:
    """The whole of an attack, under trace."""
    before = classifier.logits(images)
    first = tf.argmax(before, -1, output_type=tf.int32)
    labels = tf.where(labels == _OWN, first, labels)
    active = tf.ones_like(labels, tf.bool) if targeted else first == labels
    task = Task(classifier, images, before, labels, active, targeted, numbers)
    changed = attack.perturb(task)
    kept = active & changed.moved
    final = tf.where(expand(kept, images), changed.images, images)
    after = classifier.logits(final)
    return {
        "images": final,
        "labels": labels,
        "predictions": tf.argmax(after, -1, output_type=tf.int32),
        "original_predictions": first,
        "confidence": tf.reduce_max(tf.nn.softmax(after), -1),
        "original_confidence": tf.reduce_max(tf.nn.softmax(before), -1),
        "initially_correct": active,
        "success": active & attack.succeeded(task, after),
        "steps": tf.where(kept, changed.steps, 0),
        "moved": changed.moved,
    }


def _kind(model: keras.Model, graph: Graph, images: tf.Tensor) -> str:
    """The kind of the head, as far as the graph tells."""
    kinds = []

    def look(inputs: tf.Tensor) -> tf.Tensor:
        kind, values = Classifier(model, graph).head(inputs)
        kinds.append(kind)
        return values

    with TRACE_LOCK:
        tf.function(look, autograph=False).get_concrete_function(images)
    return kinds[0]


_PROBABILITIES: weakref.WeakKeyDictionary[keras.Model, bool] = (
    weakref.WeakKeyDictionary()
)


def _gives_probabilities(
    model: keras.Model, graph: Graph, images: tf.Tensor
) -> bool:
    """Finds out whether outputs of an unknown head are probabilities.

    It happens where a softmax is written out by hand, so that its logits
    are in no single tensor.
    """
    if graph.heads[0].kind != "unknown":
        return False
    if model not in _PROBABILITIES:
        known = _kind(model, graph, images) == "probability"
        outputs = model(declared(model, images), training=False)
        found = known or sums_to_one(outputs)
        _PROBABILITIES[model] = found
        if found and not known:
            warn(
                "The outputs are probabilities, but the softmax that made "
                "them cannot be seen: the log probability is attacked in "
                "place of the logit, which has no gradient where it is "
                "rounded to zero or one. End the model in a softmax layer "
                "or op."
            )
    return _PROBABILITIES[model]
