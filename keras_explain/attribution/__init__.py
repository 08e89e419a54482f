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
from keras_explain.attribution.perturbation import (
    RISE,
    ExtremalPerturbation,
    ExtremalSettings,
    FeatureAblation,
    MeaningfulPerturbation,
    MeaningfulSettings,
    Occlusion,
)
from keras_explain.attribution.relevance_trace import RelevanceTrace
from keras_explain.attribution.surrogate import (
    LIME,
    KernelSHAP,
    LinearSHAP,
    LinearSurrogate,
    ShapleySampling,
    ShapleyValues,
)

__all__ = [
    "AblationCAM",
    "CAM",
    "ContrastiveExcitationBackprop",
    "DeconvNet",
    "DeepLIFT",
    "DeepSHAP",
    "DeepTaylor",
    "EigenCAM",
    "EigenGradCAM",
    "ElementwiseGradCAM",
    "ExcitationBackprop",
    "ExtremalPerturbation",
    "ExtremalSettings",
    "FeatureAblation",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GradientSHAP",
    "GuidedBackprop",
    "GuidedGradCAM",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "LIME",
    "LRP",
    "LayerCAM",
    "LinearSHAP",
    "LinearSurrogate",
    "MeaningfulPerturbation",
    "MeaningfulSettings",
    "Occlusion",
    "PatternAttribution",
    "PatternNet",
    "RISE",
    "RelevanceTrace",
    "Saliency",
    "ScoreCAM",
    "Sensitivity",
    "ShapleySampling",
    "ShapleyValues",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
    "XGradCAM",
]
