"""A page that shows explanations, in one file that opens anywhere."""

from keras_explain.report.report import Cell, Column, Prediction, Report, Row

__all__ = ["Cell", "Column", "Prediction", "Report", "Row"]
