"""Pages that show results, each in one file that opens anywhere."""

from keras_explain.report.calibration import (
    CalibrationReport,
    Constants,
    Diagram,
    Measure,
)
from keras_explain.report.report import Cell, Column, Prediction, Report, Row
from keras_explain.report.synthesis import MadePicture, SynthesisReport

__all__ = [
    "CalibrationReport",
    "Cell",
    "Column",
    "Constants",
    "Diagram",
    "MadePicture",
    "Measure",
    "Prediction",
    "Report",
    "Row",
    "SynthesisReport",
]
