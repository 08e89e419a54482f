"""Whether a map is about the output it is called after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_explain.engine.checks import check_choice, check_count
from keras_explain.engine.class_target import Class, find_output
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.recording import record
from keras_explain.engine.scoring import settled_on
from keras_explain.evaluation.faithfulness import mean_of_known
from keras_explain.evaluation.judged import (
    Batch,
    Explained,
    Judge,
    specs_of,
)
from keras_explain.evaluation.randomization import quietly, reduced_maps
from keras_explain.evaluation.result import Evaluation, evaluated
from keras_explain.evaluation.settings import take
from keras_explain.evaluation.similarity import check_similarities, similar


def neuron_sensitivity(
    explainer: Explainer | Callable,
    data: Any,
    target: Any = None,
    *,
    other: Any = "random",
    num_draws: int = 1,
    similarity: str = "ssim",
    **settings: Any,
) -> Evaluation:
    """How much of a map is left when another output is explained.

    Low is good: a map that is the same for every class says little about the
    one it is called after. Costs `1 + num_draws` explanations.

    Args:
        explainer, data: See `deletion`.
        target: See `deletion`; must be a class.
        other: The other class: an index, an array of them, or `"random"`, one
            of the classes that are not the target, all with the same chance.
            The draw depends on the seed and on the place of the sample in
            the data.
        num_draws: Over how many random classes the similarity is averaged.
        similarity: See `model_randomization`.
        settings: See `deletion`; without `of`. A callable needs `model`.

    Returns:
        An `Evaluation`: the similarity of each sample; NaN where both classes
        are the same, or the similarity is not known.

    Raises:
        ValueError: If the target is no class, the model has one output only,
            or an option is out of range.
        TypeError: See `deletion`.

    Example:

    >>> keras_explain.evaluation.neuron_sensitivity(
    ...     keras_explain.Gradient(model), images).n_valid
    2

    References:
        Sixt et al., 2020. When Explanations Lie: Why Many Modified BP
        Attributions Fail. https://arxiv.org/abs/1912.09818
    """
    (name,) = check_similarities([similarity])
    check_count("num_draws", num_draws)
    if isinstance(other, str):
        check_choice("other", other, ("random",))
    judge = Judge(explainer, target, take(settings, ("of",)), scores=True)
    if not isinstance(judge.target, Class):
        raise ValueError(
            message(
                "Another class is compared with that of the target.",
                f"target={judge.target!r}",
                "Pass a class, or None for the predicted one.",
            )
        )
    found = []
    for batch in judge.batches(data, "Evaluating"):
        explained = judge.explain(batch)
        before = reduced_maps(judge, batch, explained.maps)
        each = []
        for draw in range(num_draws if isinstance(other, str) else 1):
            index = _other_class(judge, batch, explained, other, draw)
            target_of = settled_on(explained.target, [index])
            after = reduced_maps(judge, batch, quietly(judge, batch, target_of))
            value = similar(name, before, after)
            each.append(np.where(index == explained.classes, np.nan, value))
        found.append(mean_of_known(np.stack(each, 1)))
    shown = other if isinstance(other, str) else np.asarray(other).tolist()
    return evaluated(
        "neuron_sensitivity", np.concatenate(found),
        judge.about(other=shown, num_draws=num_draws, similarity=name),
    )  # fmt: skip


def _other_class(
    judge: Judge, batch: Batch, explained: Explained, other: Any, draw: int
) -> np.ndarray:
    """The index of another class for each sample."""
    if not isinstance(other, str):
        index = np.asarray(other)
        return np.broadcast_to(index[batch.rows] if index.ndim else index,
                               batch.size)  # fmt: skip
    number = _classes(judge, batch)
    found = []
    for row, own in enumerate(explained.classes, start=batch.rows.start):
        random = np.random.default_rng([judge.settings.seed, row, draw])
        step = random.integers(1, number)
        found.append((int(own) + int(step)) % number)
    return np.array(found, np.int32)


def _classes(judge: Judge, batch: Batch) -> int:
    graph = record(judge.model, specs_of(batch.inputs))
    target = batch.target
    head = graph.heads[find_output(graph.heads, target.output)]  # type: ignore[attr-defined]
    number = head.shape[-1] if len(head.shape) > 1 else 1
    if number is None or number < 2:
        raise ValueError(
            message(
                "There is no other output to explain.",
                f"a model with output {head.shape}",
                "Pass a model with several classes.",
            )
        )
    return number
