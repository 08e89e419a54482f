"""Whether an explanation is about what the labels taught the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_explain.engine.checks import check_count
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.evaluation.copies import judged_for
from keras_explain.evaluation.judged import Judge
from keras_explain.evaluation.randomization import quietly, reduced_maps
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import Settings, as_text, take
from keras_explain.evaluation.similarity import check_similarities, similar


def label_randomization(
    explainer: Explainer | Callable,
    data: Any,
    target: Any = None,
    *,
    build: Callable[[], keras.Model],
    train: Callable[[keras.Model, Any, Any], Any] | int = 50,
    similarity: str | Sequence[str] = ("spearman_abs", "spearman", "ssim"),
    **settings: Any,
) -> Evaluation:
    """How alike the maps of a model are to those of one taught random labels.

    Low is good: a map that is the same cannot be about what was learned. Two
    models are trained, one on the labels as they are and one on the same
    labels in a random order, and explained on the same inputs. Costs two
    trainings. It says something only if the second model has learned its
    labels by heart; its accuracy is in `settings`.

    Training follows the random seed of Keras: call
    `keras.utils.set_random_seed` to repeat it. The order of the labels
    follows `seed`.

    Args:
        explainer: A class of explainers, such as `GradCAM`; an explainer,
            which is made anew for both models from its config; or a
            callable `(model, inputs, target) -> maps`.
        data: `(x, y)`, arrays; `y` holds class numbers or one-hot rows, of
            two classes at least. No dataset: the labels are shuffled over
            all samples, and both trainings see the same inputs, so that all
            of them must be at hand.
        target: See `deletion`; `None` for the class that the model with the
            right labels predicts.
        build: Returns a new model, compiled if `train` is a number.
        train: How many epochs; or a function `(model, x, y)` that trains.
        similarity: See `model_randomization`.
        settings: See `deletion`; without `model` and `of`.

    Returns:
        An `Evaluation`: the first similarity of each sample; `details` has
        all of them; `settings["accuracy"]` holds the accuracy on `x` of both
        models on their labels.

    Raises:
        TypeError: If the data are no pair of arrays, or `build` is no
            function.
        ValueError: If the lengths differ, all labels are equal, or an option
            is out of range.

    Example:

    >>> def build():
    ...     net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    ...     net.compile("adam", "mse")
    ...     return net
    >>> x, y = np.eye(3, dtype="float32"), np.eye(2)[[0, 1, 0]]
    >>> keras_explain.evaluation.label_randomization(
    ...     keras_explain.Gradient, (x, y), build=build, train=1).n_valid
    3

    References:
        Adebayo et al., 2018. Sanity Checks for Saliency Maps.
        https://arxiv.org/abs/1810.03292
    """
    names = check_similarities(similarity)
    own: Settings = take(settings, ("of", "model"))
    x, y = _arrays(data)
    if not callable(train):
        check_count("train", train)
    shuffled = _shuffled(y, own.seed)
    judges, accuracy = [], []
    for labels in (y, shuffled):
        model = _trained(build, train, x, labels)
        judge = Judge(judged_for(explainer, model), target,
                      Settings(**{**settings, "model": model}))  # fmt: skip
        judges.append(judge)
        accuracy.append(_accuracy(judge, x, labels))
    found: dict[str, list] = {name: [] for name in names}
    for batch in judges[0].batches(x, "Evaluating"):
        explained = judges[0].explain(batch)
        before = reduced_maps(judges[0], batch, explained.maps)
        maps = quietly(judges[1], batch, explained.target)
        after = reduced_maps(judges[1], batch, maps)
        for name in names:
            found[name].append(similar(name, before, after))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return evaluated(
        "label_randomization",
        joined[names[0]],
        judges[0].about(
            accuracy=accuracy, similarity=list(names), train=as_text(train)
        ),
        details=joined,
    )


def _shuffled(y: np.ndarray, seed: int) -> np.ndarray:
    """Returns the labels in a random order that is not their own."""
    if len(y) < 2 or np.all(y == y[:1]):
        raise ValueError(
            message(
                "Labels in another order must be other labels.",
                f"{len(y)} sample{'s' * (len(y) != 1)} of one class",
                "Pass samples of two classes or more.",
            )
        )
    random = np.random.default_rng(seed)
    shuffled = y
    while np.array_equal(shuffled, y):
        shuffled = y[random.permutation(len(y))]
    return shuffled


def _arrays(data: Any) -> tuple[Any, np.ndarray]:
    pair = isinstance(data, tuple) and len(data) == 2
    if not pair or isinstance(data[0], (list, dict, tuple)):
        raise TypeError(
            message(
                "Labels can be shuffled where all of them are at hand.",
                type(data).__name__,
                "Pass `(x, y)`, two arrays. Of a dataset, concatenate its "
                "batches.",
            )
        )
    x, y = (np.asarray(part) for part in data)
    if len(x) != len(y):
        raise ValueError(
            message(
                "There is one mask, box or label for each sample.",
                f"inputs of shape {x.shape}, and {y.shape}",
            )
        )
    return x, y


def _trained(build: Any, train: Any, x: Any, y: Any) -> keras.Model:
    new = callable(build) and not isinstance(build, keras.Model)
    model = build() if new else build
    if not isinstance(model, keras.Model) or not new:
        raise TypeError(
            message(
                "`build` is a function that returns a new Keras model.",
                repr(type(model).__name__),
                "It is called twice: one model learns random labels.",
            )
        )
    if callable(train):
        train(model, x, y)
    elif not model.compiled:
        raise ValueError(
            message(
                "The model that `build` returns is not compiled.",
                f"train={train}, a number of epochs",
                "Call `compile` with a loss in `build`, or pass a function "
                "`(model, x, y)` that trains as `train`.",
            )
        )
    else:
        model.fit(x, y, epochs=train, verbose=0)
    return model


def _accuracy(judge: Judge, x: Any, y: np.ndarray) -> float | None:
    """Share of the labels that are predicted; `None` where unknown."""
    classes = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.ravel()
    if len(classes) != len(x):
        return None
    own = Judge(judge.explainer, Class(None), judge.settings)
    hits = []
    for batch in own.batches(x, "Evaluating"):
        index = own.indices(batch)[0]
        hits.append(index == classes[batch.rows])
    return float(np.concatenate(hits).mean())
