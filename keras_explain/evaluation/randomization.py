"""Whether an explanation is about the model: what if it knew nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_explain.engine.checks import check_choice
from keras_explain.engine.errors import ExplainWarning
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.targets import Target
from keras_explain.evaluation.copies import judged_for, scratch
from keras_explain.evaluation.faithfulness import mean_of_known
from keras_explain.evaluation.initialization import (
    reinitialize,
    weighted_layers,
)
from keras_explain.evaluation.judged import Batch, Explained, Judge
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import Settings, take
from keras_explain.evaluation.similarity import check_similarities, similar

_USUAL = ("spearman_abs", "spearman", "ssim")


def model_randomization(
    explainer: Explainer | Callable,
    data: Any,
    target: Any = None,
    *,
    order: str = "cascade",
    similarity: str | Sequence[str] = _USUAL,
    layers: Sequence[Any] | None = None,
    **settings: Any,
) -> Evaluation:
    """How much of a map is left when the weights are random.

    Low is good: a map that stays as it is does not show what the model has
    learned. Costs an explanation for each layer with weights.

    With `order="cascade"` the layers get new initial weights one after the
    other from the output down, and keep them; with `"bottom_up"` from the
    input up; with `"independent"` one at a time. Each layer's own
    initializers are used with new seeds; batch normalization begins with 1
    and 0. The first point of the curve is the model as it is, which is 1 for
    an explainer without randomness.

    The model is not changed: a copy is. Of a subclassed model that cannot be
    made from its config there is none; its weights are put back afterwards,
    also after an error, and it must not be used by others meanwhile. The
    same target is explained throughout: with `target=None` the class that
    the model predicts as it is.

    Similarities: `"spearman_abs"` and `"spearman"`, rank correlations of
    magnitudes and of signed values with average ranks, NaN for a constant
    map; `"ssim"`, the structural similarity of magnitudes divided by their
    maximum; `"hog"`, the correlation of their histograms of oriented
    gradients, for pictures, with scikit-image.

    Args:
        explainer: An explainer, which is made anew for the copy from its
            config; or a callable `(model, inputs, target) -> maps`, with
            `model=`.
        data, target: See `deletion`.
        order: `"cascade"`, `"bottom_up"` or `"independent"`.
        similarity: One or several of the names above; the first is that of
            `per_sample` and of the curve.
        layers: Which layers, by name or object; `None` for all that have
            weights. What a layer holds goes with it; nested models are
            opened.
        settings: See `deletion`; without `of`.

    Returns:
        An `Evaluation`: for each sample the mean over the steps with random
        weights; the curve over the steps, with the names of the layers as
        `labels`; `details` has an array `(samples, steps + 1)` for each
        similarity.

    Raises:
        ValueError: If an option is out of range or a layer has no weights.
        TypeError: See `deletion`.
        ImportError: If `"hog"` is asked for and scikit-image is not there.

    Example:

    >>> result = keras_explain.evaluation.model_randomization(
    ...     keras_explain.Saliency(model), images)
    >>> result.curve["labels"]
    ['(none)', 'logits', 'conv2', 'conv1']

    References:
        Adebayo et al., 2018. Sanity Checks for Saliency Maps.
        https://arxiv.org/abs/1810.03292
    """
    check_choice("order", order, ("cascade", "bottom_up", "independent"))
    names = check_similarities(similarity)
    own = take(settings, ("of",))
    judge = judge_of(explainer, target, own)
    found: dict[str, list] = {name: [] for name in names}
    classes = []
    with contextlib.ExitStack() as stack:
        trial: _Trial | None = None
        for batch in judge.batches(data, "Randomizing"):
            if trial is None:
                copy = stack.enter_context(
                    scratch(judge.explained_model, batch.inputs)
                )
                other = Judge(judged_for(explainer, copy), target, own)
                weighted = weighted_layers(copy, batch.inputs, layers)
                trial = _Trial(other, copy, copy.get_weights(), weighted, order)
            trial.model.set_weights(trial.weights)
            explained = judge.explain(batch)
            before = reduced_maps(judge, batch, explained.maps)
            after = list(trial.maps(batch, explained, own.seed))
            classes.append(explained.classes)
            for name in names:
                each = [similar(name, before, maps) for maps in after]
                found[name].append(np.stack(each, 1))
        labels = ["(none)", *trial.labels]  # type: ignore[union-attr]
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    curve = joined[names[0]]
    return evaluated(
        "model_randomization",
        mean_of_known(curve[:, 1:]),
        judge.about(order=order, similarity=list(names), layers=_named(layers)),
        curve=(np.arange(len(labels)), curve),
        labels=labels,
        details={"class": np.concatenate(classes), **joined},
    )


def _named(layers: Sequence[Any] | None) -> list[str] | None:
    """The names of layers, as JSON can hold them."""
    if layers is None:
        return None
    return [str(getattr(layer, "name", layer)) for layer in layers]


class _Trial(NamedTuple):
    """A model whose weights are made random, step by step.

    Attributes:
        judge: Of the explainer of this model.
        model: It.
        weights: As they were.
        layers: Those with weights, from the input up, by name.
        order: In which they become random.
    """

    judge: Judge
    model: keras.Model
    weights: list[np.ndarray]
    layers: list[tuple[str, keras.Layer]]
    order: str

    @property
    def numbers(self) -> list[int]:
        """Which layer becomes random in each step."""
        numbers = list(range(len(self.layers)))
        return numbers if self.order == "bottom_up" else numbers[::-1]

    @property
    def labels(self) -> list[str]:
        return [self.layers[number][0] for number in self.numbers]

    def maps(
        self, batch: Batch, explained: Explained, seed: int
    ) -> Iterator[np.ndarray]:
        """Yields the maps of a batch before the first step and after each.

        New weights depend on the seed and on the number of the layer only.
        """
        yield self._explained(batch, explained)
        for number in self.numbers:
            if self.order == "independent":
                self.model.set_weights(self.weights)
            reinitialize(self.layers[number][1], [seed, number])
            yield self._explained(batch, explained)

    def _explained(self, batch: Batch, explained: Explained) -> np.ndarray:
        maps = quietly(self.judge, batch, explained.target)
        return reduced_maps(self.judge, batch, maps)


def judge_of(explainer: Any, target: Any, settings: Settings) -> Judge:
    """Returns a judge of the model as it is.

    Args:
        explainer: An explainer, or a callable `(model, inputs, target)`.
        target, settings: See `Judge`.
    """
    if isinstance(explainer, Explainer):
        return Judge(explainer, target, settings)
    if settings.model is None or not callable(explainer):
        wrong = explainer
        if callable(wrong) and not isinstance(wrong, (keras.Model, type)):
            wrong = judged_for(wrong, settings.model)
        Judge(wrong, target, settings, scores=True)  # says what is wrong
    bound = judged_for(explainer, settings.model)
    return Judge(bound, target, settings)


def quietly(judge: Judge, batch: Batch, target: Target) -> Any:
    """Returns maps without what is warned about: they may well be zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplainWarning)
        return judge.again(batch, batch.inputs, target)


def reduced_maps(judge: Judge, batch: Batch, maps: Any) -> np.ndarray:
    """Returns `(batch, *positions)`; maps of several inputs are flat."""
    values = judge.reduce(maps, batch.inputs)
    if len(values) == 1:
        return np.asarray(next(iter(values.values())), np.float64)
    flat = [np.asarray(values[key], np.float64).reshape(batch.size, -1)
            for key in sorted(values, key=int)]  # fmt: skip
    return np.concatenate(flat, 1)
