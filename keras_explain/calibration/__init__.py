"""Whether a model's confidence can be believed, and how to mend it."""

from keras_explain.calibration.binning import (
    BayesianBinning,
    HistogramBinning,
    IsotonicCalibration,
)
from keras_explain.calibration.ensemble import Ensemble
from keras_explain.calibration.metrics import (
    AdaptiveCalibrationError,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    ReliabilityDiagram,
)
from keras_explain.calibration.scaling import (
    MatrixScaling,
    PlattScaling,
    TemperatureScaling,
    VectorScaling,
)
from keras_explain.calibration.scores import (
    BrierScore,
    NegativeLogLikelihood,
)

__all__ = [
    "AdaptiveCalibrationError",
    "BayesianBinning",
    "BrierScore",
    "ClasswiseCalibrationError",
    "Ensemble",
    "ExpectedCalibrationError",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "MaximumCalibrationError",
    "NegativeLogLikelihood",
    "PlattScaling",
    "ReliabilityDiagram",
    "TemperatureScaling",
    "VectorScaling",
]
