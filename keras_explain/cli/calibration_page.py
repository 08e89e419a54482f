"""What a calibration is reported with: on the page and in the terminal."""

from __future__ import annotations

from pathlib import Path

from keras_explain import plots
from keras_explain.calibration import (
    MatrixScaling,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
)
from keras_explain.calibration.binning import CurveLayer
from keras_explain.calibration.wrapping import Calibrator
from keras_explain.cli.calibration_job import Outcome
from keras_explain.cli.failures import shown
from keras_explain.cli.measures import NUM_BINS, Measures
from keras_explain.cli.models import Source
from keras_explain.report import (
    CalibrationReport,
    Constants,
    Diagram,
    Measure,
)
from keras_explain.report.rendering import number, percent
from keras_explain.version import __version__

# Longer tables of constants say nothing to a reader.
_MOST_CLASSES = 20


def report(
    source: Source, calibrator: Calibrator, outcome: Outcome, out: Path
) -> CalibrationReport:
    """Puts the page together."""
    split = outcome.split
    return CalibrationReport(
        title=f"Calibration of {source.name}",
        facts=(
            ("Model", source.name),
            ("Calibrator", type(calibrator).__name__),
            ("Fitted on", split.fit.text),
            ("Measured on", split.test.text),
            ("Version", f"keras_explain {__version__}"),
        ),
        notices=(split.text, *outcome.notices),
        measures=_measures(outcome.before, outcome.after),
        diagrams=_diagrams(outcome),
        constants=_constants(calibrator, len(split.fit.rows)),
        by_chance=outcome.after.by_chance(),
        file=shown(out.name),
        holds_code=source.unsafe,
    )


def table(page: CalibrationReport) -> str:
    """Returns the numbers as lines for a terminal."""
    rows = [("", "before", "after")]
    rows += [(m.name, m.shown_before, m.shown_after) for m in page.measures]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    name, before, after = widths
    return "\n".join(
        f"{a:<{name}}  {b:>{before}}  {c:>{after}}".rstrip() for a, b, c in rows
    )


def _measures(before: Measures, after: Measures) -> tuple[Measure, ...]:
    rows = (
        ("ece", "Expected calibration error",
         "the mean gap between confidence and accuracy, over "
         f"{NUM_BINS} bins of equal width"),
        ("mce", "Maximum calibration error",
         "the largest gap of a bin, however few samples it has"),
        ("classwise", "Classwise calibration error",
         "the mean gap of the probability of each class, and not of the "
         "predicted one alone"),
        ("nll", "Negative log likelihood",
         "how surprised the model is by the labels, in nats"),
        ("brier", "Brier score",
         "the squared distance to the labels, from 0 to 2"),
    )  # fmt: skip
    return (
        *(
            Measure(name, text, getattr(before, key), getattr(after, key))
            for key, name, text in rows
        ),
        Measure(
            "Accuracy",
            "how often the predicted class is right",
            before.accuracy,
            after.accuracy,
            is_share=True,
        ),
    )


def _diagrams(outcome: Outcome) -> tuple[Diagram, ...]:
    pairs = (("Before", outcome.before), ("After", outcome.after))
    figures = [plots.reliability_diagram(m.curve) for _, m in pairs]
    # Both have one scale, as if they were drawn as one figure; a page for a
    # phone needs two.
    lower = [figure.axes[1] for figure in figures]
    top = max(axes.get_ylim()[1] for axes in lower)
    diagrams = []
    for (title, m), figure, axes in zip(pairs, figures, lower, strict=True):
        axes.set_ylim(0, top)
        figure.set_dpi(160)
        diagrams.append(
            Diagram(
                title=title,
                picture=plots.to_png(figure),
                text=f"{percent(m.confidence)} sure on average, right in "
                f"{percent(m.accuracy)}",
                alt=f"Reliability diagram {title.lower()} calibration: "
                f"expected calibration error {number(m.ece)}, mean confidence "
                f"{percent(m.confidence)}, accuracy {percent(m.accuracy)}",
            )
        )
    return tuple(diagrams)


def _constants(calibrator: Calibrator, count: int) -> Constants:
    """What was fitted, in words, and in numbers where they are few."""
    classes = calibrator.layer.num_classes
    rows = range(classes) if classes <= _MOST_CLASSES else ()
    if isinstance(calibrator, TemperatureScaling):
        return Constants(_about_temperature(calibrator.temperature))
    if isinstance(calibrator, VectorScaling):
        return Constants(
            "The logit of each class is multiplied by a factor, and an offset "
            f"is added: {2 * classes} numbers.",
            ("Class", "Factor", "Offset"),
            tuple(
                (str(k), number(calibrator.weights[k]),
                 number(calibrator.bias[k])) for k in rows
            ),
        )  # fmt: skip
    if isinstance(calibrator, PlattScaling):
        return Constants(
            "The score of each class goes through a sigmoid of its own, and "
            f"the results are divided by their sum: {2 * classes} numbers.",
            ("Class", "Slope", "Intercept"),
            tuple(
                (str(1 if classes == 1 else k), number(calibrator.slope[k]),
                 number(calibrator.intercept[k])) for k in rows
            ),
        )  # fmt: skip
    if isinstance(calibrator, MatrixScaling):
        total = classes**2 + classes
        return Constants(
            f"The logits are multiplied by a matrix of {classes} x {classes}, "
            f"and an offset of each class is added: {total} numbers, fitted on "
            f"{count} samples."
        )
    return Constants(_about_curves(calibrator.layer))


def _about_temperature(temperature: float) -> str:
    text = f"The temperature is {number(temperature)}, and the logits are "
    text += "divided by it. "
    if temperature > 1.005:
        return text + "It is above one: the model was too sure."
    if temperature < 0.995:
        return text + "It is below one: the model was not sure enough."
    return text + "It is about one: the model was as sure as it should be."


def _about_curves(layer: CurveLayer) -> str:
    whose = "The probability of each class goes through a "
    if layer.linear:
        shape = f"rising line of up to {layer.num_points} corners"
    else:
        shape = f"histogram of up to {layer.num_points + 1} bins"
    return f"{whose}{shape}, and the results are divided by their sum."
