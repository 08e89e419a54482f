"""What a network looks for: pictures made by optimization."""

from keras_explain.synthesis.adversarial import (
    Adversarial,
    deepfool,
    fgsm,
    fooling_image,
    pgd,
)
from keras_explain.synthesis.code_sampling import Forces, sample_codes
from keras_explain.synthesis.conditioning import (
    LaplacianNormalized,
    NormalizedGradient,
)
from keras_explain.synthesis.deep_image_prior import DeepImagePrior
from keras_explain.synthesis.diversity import Diversity
from keras_explain.synthesis.dream import deep_dream
from keras_explain.synthesis.generators import CPPN, Generator
from keras_explain.synthesis.grids import class_grid, layer_grid
from keras_explain.synthesis.inversion import (
    invert,
    invert_layers,
    reconstruction_error,
)
from keras_explain.synthesis.learned_inverter import (
    LearnedInverter,
    LossWeights,
)
from keras_explain.synthesis.match import Match
from keras_explain.synthesis.maximize import Maximization, maximize
from keras_explain.synthesis.networks import Hourglass
from keras_explain.synthesis.parameterizations import (
    MACO,
    Fourier,
    LaplacianPyramid,
    Pixels,
)
from keras_explain.synthesis.pixel_operators import (
    Bilateral,
    Blur,
    Decay,
    GradientBlur,
    SmallContribution,
    SmallNorm,
)
from keras_explain.synthesis.regularizers import (
    L2,
    ExpertDensity,
    Lp,
    TotalVariation,
)
from keras_explain.synthesis.restoration import (
    denoise,
    inpaint,
    restore,
    super_resolve,
)
from keras_explain.synthesis.result import Synthesis
from keras_explain.synthesis.transforms import (
    Crop,
    Flip,
    Jitter,
    Noise,
    Pad,
    Rotate,
    Scale,
    robust,
)

__all__ = [
    "LaplacianNormalized",
    "NormalizedGradient",
    "Bilateral",
    "Blur",
    "Decay",
    "GradientBlur",
    "SmallContribution",
    "SmallNorm",
    "L2",
    "ExpertDensity",
    "Lp",
    "TotalVariation",
    "Crop",
    "Flip",
    "Jitter",
    "Noise",
    "Pad",
    "Rotate",
    "Scale",
    "robust",
    "CPPN",
    "MACO",
    "Adversarial",
    "DeepImagePrior",
    "Diversity",
    "Forces",
    "Fourier",
    "Generator",
    "Hourglass",
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
    "denoise",
    "fgsm",
    "fooling_image",
    "inpaint",
    "invert",
    "invert_layers",
    "layer_grid",
    "maximize",
    "pgd",
    "reconstruction_error",
    "restore",
    "sample_codes",
    "super_resolve",
]
