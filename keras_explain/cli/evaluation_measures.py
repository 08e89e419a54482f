"""The measures of `keras-explain evaluate`: one entry for each column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import message, near
from keras_explain.evaluation.curves import (
    deletion,
    insertion,
    perturbation_curve,
)
from keras_explain.evaluation.erasure import log_odds_erasure
from keras_explain.evaluation.faithfulness import infidelity, sensitivity_n
from keras_explain.evaluation.localization import (
    pointing_game,
    weak_localization,
)
from keras_explain.evaluation.neurons import neuron_sensitivity
from keras_explain.evaluation.randomization import model_randomization
from keras_explain.evaluation.result import Evaluation
from keras_explain.evaluation.road import road
from keras_explain.evaluation.shifts import shift_invariance
from keras_explain.evaluation.stability import max_sensitivity

# What a measure is given besides the data.
MAPS, SCORES, SUMS, VALUES, EXPLAINER, RIVAL, MODEL, DELTA = (
    "maps", "scores", "sums", "values", "explainer", "rival", "model",
    "delta",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        name: As `--measures` takes it.
        title: As it is shown.
        function: Of `keras_explain.evaluation`; `None` for what an
            explanation says of itself.
        takes: What is judged: `"maps"`, one value for each position, without
            a model; `"scores"`, the same with the model; `"sums"`, with the
            model and the channels added up with their signs; `"values"`,
            with the model and one for each input value; `"explainer"`, the
            explainer itself, which runs again; `"rival"`, the same with the
            class that comes next; `"model"`, the same with other models;
            `"delta"`, the completeness error that comes with the maps.
        higher: Whether high is good.
        text: What it says.
        caveat: What it does not say.
        options: Other than the defaults of the function.
        masks: Whether the data need masks.
        usual: Whether it is measured without being asked for.
        ranked: Whether it counts in the ranking.
        drawn: What the curve is drawn over; empty for none.
        score: What the curve is of.
    """

    name: str
    title: str
    function: Callable[..., Evaluation] | None
    takes: str
    higher: bool
    text: str
    caveat: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    masks: bool = False
    usual: bool = True
    ranked: bool = True
    drawn: str = ""
    score: str = "probability of the class"

    def settings(self) -> str:
        """Returns the options for people to read."""
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())


MEASURES = (
    Measure(
        "pointing", "Pointing game", pointing_game, MAPS, True,
        "How often the strongest pixel is on the object.",
        "One pixel decides. A blob in the center does well where objects "
        "are in the middle.",
        {"tolerance": 0}, masks=True,
    ),
    Measure(
        "energy", "Energy on the object", pointing_game, MAPS, True,
        "The share of the positive part of the map that is on the object.",
        "A coarse map spills over the edge of a small object, however right "
        "it is. A model may look beside the object for good reasons.",
        {"variant": "energy", "tolerance": 0}, masks=True,
    ),
    Measure(
        "boxes", "Boxes", weak_localization, MAPS, True,
        "How often the box around the largest part above 0.15 of the "
        "maximum overlaps that of the object by half.",
        "It asks for the whole object, where a model may need a part only, "
        "and fine-grained maps fall apart.",
        masks=True,
    ),
    Measure(
        "deletion", "Deletion", deletion, SCORES, False,
        "The area under the probability while pixels are set to zero, the "
        "most relevant first.",
        "Scattered zeros are nothing the model was trained on: part of the "
        "drop is from that, and fine-grained maps profit from it.",
        {"steps": 16}, drawn="share of pixels deleted",
    ),
    Measure(
        "insertion", "Insertion", insertion, SCORES, True,
        "The area under the probability while pixels take the place of a "
        "blurred picture, the most relevant first.",
        "Smooth maps insert whole patches, in which a model sees more than "
        "in scattered pixels.",
        {"steps": 16}, drawn="share of pixels inserted",
    ),
    Measure(
        "road", "ROAD", road, SCORES, False,
        "How often the class survives when the most relevant pixels are "
        "filled in from their neighbors.",
        "What is filled in is smooth, so that scattered pixels hardly take "
        "anything away.",
        {"shares": (0.1, 0.3)}, drawn="share of pixels removed",
        score="share of classes that survive",
    ),
    Measure(
        "sensitivity_n", "Sensitivity-n", sensitivity_n, SUMS, True,
        "How well sums of attributions over random pixels tell what "
        "setting these to zero does to the score.",
        "Maps that say where and not how much cannot do well. With few "
        "random sets the number is noisy, in the same way for all methods.",
        {"sizes": 3, "subsets": 12},
    ),
    Measure(
        "infidelity", "Infidelity", infidelity, VALUES, False,
        "How far the attributions are from what noise on the input does to "
        "the score, when they are scaled to fit best.",
        "It needs a value for each input value: class activation maps have "
        "none. Gradients answer exactly this question for small noise.",
        {"num_samples": 20, "normalize": True}, usual=False,
    ),
    Measure(
        "completeness", "Completeness", None, DELTA, False,
        "How far the attributions are from adding up to what the method "
        "says they add up to, as a share of the score.",
        "A promise that is kept or not, of the methods that make it; so it "
        "does not count in the ranking.",
        ranked=False,
    ),
    Measure(
        "max_sensitivity", "Max-sensitivity", max_sensitivity, EXPLAINER,
        False,
        "The largest relative change of the map under small noise on the "
        "input.",
        "A map that never changes is perfect, whatever it shows, such as "
        "that of the center.",
        {"num_samples": 5}, usual=False,
    ),
    Measure(
        "randomization", "Randomized model", model_randomization, MODEL, False,
        "The rank correlation of the magnitudes of a map with those of the "
        "same model while its layers get random weights, from the output "
        "down.",
        "A map of chance would pass: it is a test that a map must not fail, "
        "and no more.",
        {"similarity": "spearman_abs"}, usual=False,
    ),
    Measure(
        "aopc", "AOPC", perturbation_curve, SCORES, True,
        "The mean drop of the score while squares of the picture become "
        "noise, the most relevant first.",
        "Noise is nothing the model was trained on, and squares favor coarse "
        "maps.",
        {"region": 8, "steps": 16}, usual=False,
        drawn="number of squares gone", score="score of the class",
    ),
    Measure(
        "log_odds", "Log odds", log_odds_erasure, RIVAL, True,
        "How far erasing what speaks for the class, and not for the one that "
        "the model puts next, moves the score to that one.",
        "A map that is the same for both classes erases nothing, and has "
        "zero. Erased pixels are zeros, which may be evidence themselves.",
        usual=False,
    ),
    Measure(
        "neuron_sensitivity", "Other class", neuron_sensitivity, EXPLAINER,
        False,
        "The structural similarity of a map with that of another class, "
        "drawn at random.",
        "A map of chance that is drawn anew would pass: it is a test that a "
        "map must not fail, and no more.",
        usual=False,
    ),
    Measure(
        "shift_invariance", "Shifted inputs", shift_invariance, MODEL, False,
        "How much a map changes when a constant is added to the input, and "
        "the model takes it back.",
        "Methods with a baseline fail if it stays where it is. A map that "
        "never changes is perfect, whatever it shows.",
        usual=False,
    ),
)  # fmt: skip


def chosen(text: str) -> list[Measure]:
    """Returns the measures of a comma-separated list, in the order above.

    Args:
        text: The list, `usual` or `all`.

    Raises:
        CommandError: If there is no such measure.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return list(MEASURES)
    if names == ["usual"]:
        return [measure for measure in MEASURES if measure.usual]
    known = {measure.name: measure for measure in MEASURES}
    for name in names or [""]:
        if name not in known:
            raise CommandError(
                message(
                    "There is no such measure.",
                    f"--measures {shown(name)!r}",
                    f"Near names: {near(name, known)}.",
                )
            )
    return [measure for measure in MEASURES if measure.name in names]
