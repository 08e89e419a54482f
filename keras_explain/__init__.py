"""Opens up Keras models: where they look, and whether to believe it.

The names are loaded when they are used, so that the command line answers
`--help` before TensorFlow has started.
"""

from __future__ import annotations

import importlib
from typing import Any

from keras_explain.engine.errors import near
from keras_explain.version import __version__

_HOMES = {
    "attribution": """AblationCAM CAM ContrastiveExcitationBackprop
        DeconvNet DeepLIFT DeepSHAP DeepTaylor EigenCAM EigenGradCAM
        ElementwiseGradCAM ExcitationBackprop ExtremalPerturbation
        ExtremalSettings FeatureAblation GradCAM GradCAMPlusPlus
        Gradient GradientSHAP GuidedBackprop GuidedGradCAM HiResCAM
        InputXGradient IntegratedGradients KernelSHAP LIME LRP LayerCAM
        LinearSHAP LinearSurrogate MeaningfulPerturbation
        MeaningfulSettings Occlusion PatternAttribution PatternNet RISE
        Saliency ScoreCAM Sensitivity ShapleySampling ShapleyValues
        SmoothGrad SquareGrad VarGrad XGradCAM""",
    "engine.class_target": "Class",
    "engine.errors": "ExplainWarning",
    "engine.explainer": "Explainer",
    "engine.explanation": "Explanation",
    "engine.targets": "Output Target",
    "engine.unit_targets": "Channel Direction LayerActivation Neuron",
}
_MODULES = {name: home for home, names in _HOMES.items()
            for name in names.split()}  # fmt: skip
_PACKAGES = (
    "attribution",
    "calibration",
    "callbacks",
    "datasets",
    "engine",
    "evaluation",
    "plots",
    "rules",
    "synthesis",
    "units",
)

__all__ = [*sorted(_MODULES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"keras_explain.{name}")
    if name not in _MODULES:
        text = f"module 'keras_explain' has no attribute {name!r}."
        if not name.startswith("_"):
            text += f" Near names: {near(name, _MODULES)}."
        raise AttributeError(text)
    module = importlib.import_module(f"keras_explain.{_MODULES[name]}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES]
