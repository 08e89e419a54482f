"""Pictures that a layer cannot tell from a given one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import checks, interruption
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.engine.progress import bar
from keras_explain.engine.recording import record
from keras_explain.synthesis import value_range as ranges
from keras_explain.synthesis.looking import outputs_of
from keras_explain.synthesis.match import Match
from keras_explain.synthesis.maximize import maximize
from keras_explain.synthesis.objective import sample_shape
from keras_explain.synthesis.parameterizations import Pixels
from keras_explain.synthesis.parts import Parameterization, Regularizer
from keras_explain.synthesis.regularizers import Lp, TotalVariation
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.settings import USUAL_SIZE, filled

# Mahendran and Vedaldi write their regularizers for pictures around zero
# whose mean length is one; values of 0 to 255 are as long as this, each.
_TYPICAL_VALUE = 68.9
# Their weight there of the sixth power; and those of the total variation in
# the first, second and last third of a network, for pictures of 224 pixels a
# side. In a smaller picture of the same thing neighbors differ more: by the
# inverse of its size. Theirs are 1, 10 and 100: with 100 the picture of a
# small network stays gray, which is a local optimum.
_POWER, _WEIGHT_OF_POWER = 6.0, 2.16e8
_WEIGHTS_OF_VARIATION = (1.0, 3.0, 10.0)
_THEIR_SIZE = 224
# They start from noise as strong as pictures are.
_START = _TYPICAL_VALUE / 255


def invert(
    model: keras.Model,
    image_or_features: Any,
    layer: Any,
    *,
    prior: Regularizer | Parameterization | Sequence[Regularizer] | None = None,
    steps: int = 400,
    **settings: Any,
) -> Synthesis:
    """Makes pictures that a layer answers to as it does to given ones.

    Use it to see what a layer still knows of a picture, and what it has lost:
    what differs between the picture and its inversion. Costs `steps`
    gradients.

    `x* = argmin_x |a(x) - a0|^2 / |a0|^2 + R(x)`

    The start and the regularizers are those of the authors: a sixth power,
    and a total variation whose weight grows with the depth of the layer (1,
    3 and 10 by thirds of the network, in their units, where they have 1, 10
    and 100). Their pictures have 224 pixels a side; for others the weights
    are such that a picture costs the same at any size. The optimizer is Adam
    with a cosine schedule, where they use momentum with steps.

    Args:
        model: A built Keras model with one input.
        image_or_features: `(height, width, channels)` or a batch of such
            pictures, in the model's range of values; or the output of the
            layer, of one sample or a batch.
        layer: Layer, or its path.
        prior: What is known of pictures: regularizers, such as
            `TotalVariation()`, in place of those of the authors; a
            parameterization, such as `DeepImagePrior()` or a `Generator`;
            or `()` for nothing at all.
        steps: Number of steps.
        settings: Others of `maximize`.

    Returns:
        A `Synthesis`, whose `score` is the negative relative error of the
        layer's output.

    Raises:
        ValueError: If what is given is neither a picture nor an output of
            the layer, or the layer's output is zero.

    Example:

    >>> from keras_explain.synthesis import invert
    >>> made = invert(model, images[0], "conv1", steps=4, prior=(),
    ...               value_range=(-10, 10), verbose=False)
    >>> made.images.shape
    (1, 8, 8, 3)

    References:
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
        Ulyanov et al., 2018. Deep Image Prior.
        https://arxiv.org/abs/1711.10925
    """
    features, graph, call = _features(model, image_or_features, layer, settings)
    settings.setdefault("transforms", None)
    shape = _picture_shape(model, image_or_features, settings.get("size"))
    gaps = zip(sample_shape(model), shape, strict=True)
    settings["size"] = tuple(n for gap, n in gaps if gap is None) or None
    if isinstance(prior, Parameterization):
        settings["image"] = prior
    else:
        if prior is None:
            prior = published(shape, _depth(graph, call))
        elif isinstance(prior, Regularizer):
            prior = [prior]
        elif not isinstance(prior, (list, tuple)):
            raise TypeError(
                message(
                    "A prior is what is known of pictures.",
                    f"prior={prior!r}",
                    "Pass a regularizer such as `TotalVariation()`, several, "
                    "a parameterization such as `DeepImagePrior()` or "
                    "`Generator(decoder)`, `()` for nothing, or `None` for "
                    "the published ones.",
                )
            )
        given = tuple(settings.pop("regularizers", ()))
        settings["regularizers"] = (*prior, *given)
        start = Pixels(bounds="clip", stddev=_START)
        settings.setdefault("image", start)
        schedule = keras.optimizers.schedules.CosineDecay(0.1, max(steps, 1))
        settings.setdefault("optimizer", keras.optimizers.Adam(schedule))
    targets = [Match(layer, row) for row in features]
    return maximize(model, targets, steps=steps, **settings)


def invert_layers(
    model: keras.Model,
    image: Any,
    layers: Iterable[Any] | None = None,
    *,
    verbose: bool | str = "auto",
    **settings: Any,
) -> dict[str, Synthesis]:
    """Inverts every layer of a network, from the first to the last.

    Use it to watch a network forget. Costs as many runs of `invert` as there
    are layers.

    Args:
        model, image: As for `invert`.
        layers: Layers, or their paths; `None` for all that have weights of
            their own, activations and poolings.
        verbose: Whether to show a progress bar.
        settings: Others of `invert`.

    Returns:
        The `Synthesis` of each layer by its path, in their order. Ctrl-C, or
        a `callback` that returns `True`, ends it with those that were made.

    Example:

    >>> from keras_explain.synthesis import invert_layers
    >>> made = invert_layers(model, images[0], steps=2, prior=(),
    ...                      value_range=(-10, 10))
    >>> sorted(made)[:2]
    ['conv1', 'conv2']

    References:
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
    """
    if layers is None:
        array = _batch(image, sample_shape(model))
        graph = _graph(model, array)
        layers = [call.path for call in _worth_inverting(graph)]
    layers = list(layers)
    made = {}
    with (
        bar(len(layers), "Inverting", verbose) as advance,
        interruption.between_steps(),
    ):
        for layer in layers:
            name = getattr(layer, "name", layer)
            made[name] = invert(model, image, layer, verbose=False, **settings)
            if made[name].stopped in ("interrupted", "callback"):
                break
            advance(title=f"Inverted {name}")
    return made


def reconstruction_error(
    model: keras.Model,
    layer: Any,
    inverted: Synthesis,
    originals: Any,
    reference: Any,
    **settings: Any,
) -> np.ndarray:
    """Returns how far inversions are from what was inverted, to a layer.

    Use it to compare layers and priors: the error is given in the distance
    that two pictures usually have there. Costs a forward pass of all of them.

    `|a(x*) - a(x)| / mean_(i < j) |a(r_i) - a(r_j)|`

    Args:
        model, layer: As for `invert`.
        inverted: What `invert` returned.
        originals: The pictures that were inverted, one for each row.
        reference: Two pictures or more, `r`, as the model usually sees them.
        settings: `value_range` and `preprocess`, as for `invert`.

    Returns:
        `(rows,)`; 0 is a picture that the layer cannot tell from the
        original, 1 one that is as far as any other.

    Raises:
        ValueError: If the pictures do not fit, or the layer cannot tell those
            of the reference apart.

    Example:

    >>> from keras_explain.synthesis import invert, reconstruction_error
    >>> options = {"value_range": (-10, 10)}
    >>> made = invert(model, images[0], "conv1", steps=4, prior=(),
    ...               verbose=False, **options)
    >>> reconstruction_error(model, "conv1", made, images[:1], images,
    ...                      **options).shape
    (1,)

    References:
        Mahendran and Vedaldi, 2015. Understanding Deep Image
        Representations by Inverting Them. https://arxiv.org/abs/1412.0035
    """
    found = []
    for pictures in (inverted.images, originals, reference):
        if _batch(pictures, sample_shape(model)) is None:
            raise ValueError(
                message(
                    "An error is that of pictures.",
                    f"an array of shape {np.shape(pictures)}",
                    f"Pass batches of pictures {sample_shape(model)}.",
                )
            )
        features, *_ = _features(model, pictures, layer, settings)
        found.append(features.reshape(len(features), -1).astype(np.float64))
    ours, theirs, usual = found
    if len(ours) != len(theirs):
        raise ValueError(
            message(
                "There is one original for each inversion.",
                f"{len(ours)} inversions and {len(theirs)} originals",
            )
        )
    first, second = np.triu_indices(len(usual), 1)
    apart = np.linalg.norm(usual[first] - usual[second], axis=1)
    if not np.any(apart > 0):
        raise ValueError(
            message(
                "The pictures of the reference are to be told apart.",
                f"{len(usual)} pictures that the layer cannot tell apart",
                "Pass several different pictures.",
            )
        )
    return np.linalg.norm(ours - theirs, axis=1) / apart.mean()


def published(shape: tuple[int, ...], depth: float) -> tuple[Regularizer, ...]:
    """Returns the regularizers of Mahendran and Vedaldi.

    Args:
        shape: Of one picture, with values of 0 to 1.
        depth: Of the layer: 0 for the first, 1 for the last.
    """
    values = float(np.prod(shape))
    unit = 255 / (_TYPICAL_VALUE * np.sqrt(values))
    third = min(int(depth * 3), 2)
    # The mean sixth power of the pixels costs the same at any size.
    power = _WEIGHT_OF_POWER * (values / (3 * _THEIR_SIZE**2)) ** 2
    norm = Lp(power * unit**_POWER, p=_POWER, center=0.5)
    if len(shape) < 2:
        return (norm,)
    size = float(np.exp(np.mean(np.log(shape[:-1]))))
    weight = _WEIGHTS_OF_VARIATION[third] * (size / _THEIR_SIZE) ** 2
    return (norm, TotalVariation(weight * unit**2, beta=2.0))


def _graph(model: keras.Model, array: np.ndarray) -> Graph:
    inputs = checks.standardize(model, array)
    return record(model, tf.TensorSpec(inputs.shape, inputs.dtype))


def _features(
    model: keras.Model, given: Any, layer: Any, settings: dict[str, Any]
) -> tuple[np.ndarray, Graph, Call]:
    """The layer's output, `(rows, ...)`: as given, or that of pictures."""
    declared = sample_shape(model)
    given = np.asarray(given, np.float32)
    pictures = _batch(given, declared)
    if pictures is None:
        shape = filled(declared, settings.get("size") or USUAL_SIZE)
        graph = _graph(model, np.zeros((1, *shape), np.float32))
        call = graph.find(layer)
        sample = tuple((call.shape or ())[1:])
        if given.shape == sample:
            given = given[np.newaxis]
        if given.shape[1:] != sample:
            raise ValueError(
                message(
                    f"The model takes pictures of shape {declared}, and the "
                    f"layer gives {sample}.",
                    f"an array of shape {given.shape}",
                    "Pass one of them, or a batch.",
                )
            )
        return given, graph, call
    graph = _graph(model, pictures)
    call = graph.find(layer)
    found = ranges.find(
        model, graph, settings.get("value_range"), settings.get("preprocess")
    )
    pictures = found.check(pictures, "The pictures to invert")
    return _outputs(model, found, pictures, call), graph, call


def _outputs(
    model: keras.Model,
    found: ranges.ValueRange,
    pictures: np.ndarray,
    call: Call,
) -> np.ndarray:
    with TRACE_LOCK, tf.init_scope():
        function = tf.function(
            lambda values: outputs_of(model, [call], found, values)[0],
            autograph=False,
        )
        concrete = function.get_concrete_function(
            tf.TensorSpec(pictures.shape, tf.float32)
        )
    return concrete(tf.constant(pictures)).numpy()


def _batch(given: Any, declared: tuple[int | None, ...]) -> np.ndarray | None:
    """Pictures as a batch, or `None` if the array holds none."""
    array = np.asarray(given, np.float32)
    if array.ndim == len(declared):
        array = array[np.newaxis]
    fits = array.ndim == len(declared) + 1 and all(
        size in (None, length)
        for size, length in zip(declared, array.shape[1:], strict=True)
    )
    return array if fits else None


def _picture_shape(
    model: keras.Model, given: Any, size: Any
) -> tuple[int, ...]:
    declared = sample_shape(model)
    pictures = _batch(given, declared)
    if pictures is not None:
        return pictures.shape[1:]
    return filled(declared, size or USUAL_SIZE)


def _worth_inverting(graph: Graph) -> list[Call]:
    """Layers that change what is known, not those that reshape it."""
    kinds = ("Pooling", "Activation", "ReLU", "Dense", "Conv", "Add")
    return [
        call
        for call in graph.layers
        if call.on_path
        and call.num_outputs == 1
        and "/" not in call.path.removeprefix(call.enclosing).strip("/")
        and any(kind in call.kind for kind in kinds)
    ]


def _depth(graph: Graph, call: Call) -> float:
    """Where a layer is among those with weights, from 0 to 1."""
    weighted = [c for c in graph.layers if getattr(c.operation, "weights", ())]
    before = sum(c.index < call.index for c in weighted)
    return before / max(len(weighted), 1)
