"""Callbacks for `model.fit`: pictures of a model while it trains."""

from keras_explain.callbacks.base import PictureLogger
from keras_explain.callbacks.calibration import CalibrationLogger
from keras_explain.callbacks.explanations import (
    ExplanationLogger,
    GradCAMLogger,
    SaliencyLogger,
)
from keras_explain.callbacks.layers import ActivationLogger, FilterLogger
from keras_explain.callbacks.synthesis import SynthesisLogger
from keras_explain.callbacks.writers import (
    Picture,
    PNGWriter,
    TensorBoardWriter,
)

__all__ = [
    "ActivationLogger",
    "CalibrationLogger",
    "ExplanationLogger",
    "FilterLogger",
    "GradCAMLogger",
    "PNGWriter",
    "Picture",
    "PictureLogger",
    "SaliencyLogger",
    "SynthesisLogger",
    "TensorBoardWriter",
]
