"""Opens up Keras models: where they look, and whether to believe it."""

from keras_explain.attribution import (
    CAM,
    AblationCAM,
    DeconvNet,
    EigenCAM,
    EigenGradCAM,
    ElementwiseGradCAM,
    GradCAM,
    GradCAMPlusPlus,
    Gradient,
    GuidedBackprop,
    GuidedGradCAM,
    HiResCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    Saliency,
    ScoreCAM,
    Sensitivity,
    SmoothGrad,
    SquareGrad,
    VarGrad,
    XGradCAM,
)
from keras_explain.engine.class_target import Class
from keras_explain.engine.errors import ExplainWarning
from keras_explain.engine.explainer import Explainer
from keras_explain.engine.explanation import Explanation
from keras_explain.engine.targets import Output, Target
from keras_explain.engine.unit_targets import (
    Channel,
    Direction,
    LayerActivation,
    Neuron,
)
from keras_explain.version import __version__

__all__ = [
    "CAM",
    "AblationCAM",
    "Channel",
    "Class",
    "DeconvNet",
    "Direction",
    "EigenCAM",
    "EigenGradCAM",
    "ElementwiseGradCAM",
    "ExplainWarning",
    "Explainer",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GuidedBackprop",
    "GuidedGradCAM",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerActivation",
    "LayerCAM",
    "Neuron",
    "Output",
    "Saliency",
    "ScoreCAM",
    "Sensitivity",
    "SmoothGrad",
    "SquareGrad",
    "Target",
    "VarGrad",
    "XGradCAM",
    "__version__",
]
