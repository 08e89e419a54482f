"""Surrogates: simple models of the score of a sample with parts hidden."""

from keras_explain.attribution.surrogate.kernel_shap import KernelSHAP
from keras_explain.attribution.surrogate.lime import LIME
from keras_explain.attribution.surrogate.linear_shap import LinearSHAP
from keras_explain.attribution.surrogate.linear_surrogate import (
    LinearSurrogate,
)
from keras_explain.attribution.surrogate.shapley_values import (
    ShapleySampling,
    ShapleyValues,
)

__all__ = [
    "LIME",
    "KernelSHAP",
    "LinearSHAP",
    "LinearSurrogate",
    "ShapleySampling",
    "ShapleyValues",
]
