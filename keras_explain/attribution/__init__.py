"""Where a model looks: attribution methods."""

from keras_explain.attribution.backprop import DeconvNet, GuidedBackprop
from keras_explain.attribution.cam import (
    ElementwiseGradCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from keras_explain.attribution.deeplift import DeepLIFT, DeepSHAP
from keras_explain.attribution.eigen_cam import EigenCAM, EigenGradCAM
from keras_explain.attribution.excitation import (
    ContrastiveExcitationBackprop,
    ExcitationBackprop,
)
from keras_explain.attribution.gap_cam import CAM
from keras_explain.attribution.gradient import (
    Gradient,
    InputXGradient,
    Saliency,
    Sensitivity,
)
from keras_explain.attribution.gradient_shap import GradientSHAP
from keras_explain.attribution.guided_grad_cam import GuidedGradCAM
from keras_explain.attribution.lrp import LRP, DeepTaylor
from keras_explain.attribution.mask_cam import AblationCAM, ScoreCAM
from keras_explain.attribution.noise import SmoothGrad, SquareGrad, VarGrad
from keras_explain.attribution.path import IntegratedGradients
from keras_explain.attribution.pattern import PatternAttribution, PatternNet
from keras_explain.attribution.relevance import RelevanceTrace

__all__ = [
    "CAM",
    "LRP",
    "AblationCAM",
    "ContrastiveExcitationBackprop",
    "DeconvNet",
    "DeepLIFT",
    "DeepSHAP",
    "DeepTaylor",
    "EigenCAM",
    "EigenGradCAM",
    "ElementwiseGradCAM",
    "ExcitationBackprop",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GradientSHAP",
    "GuidedBackprop",
    "GuidedGradCAM",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCAM",
    "PatternAttribution",
    "PatternNet",
    "RelevanceTrace",
    "Saliency",
    "ScoreCAM",
    "Sensitivity",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
    "XGradCAM",
]
