"""What the score loses, or keeps, when parts of the input are hidden."""

from keras_explain.attribution.perturbation.ablation import FeatureAblation
from keras_explain.attribution.perturbation.extremal import (
    ExtremalPerturbation,
)
from keras_explain.attribution.perturbation.meaningful import (
    MeaningfulPerturbation,
)
from keras_explain.attribution.perturbation.occlusion import Occlusion
from keras_explain.attribution.perturbation.rise import RISE
from keras_explain.attribution.perturbation.settings import (
    ExtremalSettings,
    MeaningfulSettings,
)

__all__ = [
    "RISE",
    "ExtremalPerturbation",
    "ExtremalSettings",
    "FeatureAblation",
    "MeaningfulPerturbation",
    "MeaningfulSettings",
    "Occlusion",
]
