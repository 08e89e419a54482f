"""What a network looks for: pictures made by optimization."""

from keras_explain.synthesis.adversarial import (
    Adversarial,
    deepfool,
    fgsm,
    fooling_image,
    pgd,
)
from keras_explain.synthesis.code_sampling import Forces, sample_codes
from keras_explain.synthesis.diversity import Diversity
from keras_explain.synthesis.dream import deep_dream
from keras_explain.synthesis.generators import CPPN, Generator
from keras_explain.synthesis.grids import class_grid, layer_grid
from keras_explain.synthesis.inversion import invert, invert_layers
from keras_explain.synthesis.learned_inverter import (
    LearnedInverter,
    LossWeights,
)
from keras_explain.synthesis.match import Match
from keras_explain.synthesis.maximize import Maximization, maximize
from keras_explain.synthesis.parameterizations import (
    MACO,
    Fourier,
    LaplacianPyramid,
    Pixels,
)
from keras_explain.synthesis.result import Synthesis

__all__ = [
    "CPPN",
    "MACO",
    "Adversarial",
    "Diversity",
    "Forces",
    "Fourier",
    "Generator",
    "LaplacianPyramid",
    "LearnedInverter",
    "LossWeights",
    "Match",
    "Maximization",
    "Pixels",
    "Synthesis",
    "class_grid",
    "deep_dream",
    "deepfool",
    "fgsm",
    "fooling_image",
    "invert",
    "invert_layers",
    "layer_grid",
    "maximize",
    "pgd",
    "sample_codes",
]
