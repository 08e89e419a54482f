"""The backward rules of the papers, as data over `engine.rules`."""

from keras_explain.engine.composites import (
    Composite,
    first,
    kinds,
    last,
    layer_type,
    path,
    role,
)
from keras_explain.rules.attention import Attention, Bilinear, Softmax
from keras_explain.rules.lrp import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZBox,
    ZPlus,
)
from keras_explain.rules.merging import Gate, Norm
from keras_explain.rules.normalization import Normalization
from keras_explain.rules.recipes import (
    convolution,
    linear,
    relevance_composite,
)
from keras_explain.rules.recurrent import SignalTakesAll
from keras_explain.rules.registry import register, unregister
from keras_explain.rules.relu import BetaSmooth, DeconvNet, GuidedReLU, Pass
from keras_explain.rules.winner import Winner

__all__ = [
    "AlphaBeta",
    "Attention",
    "BetaSmooth",
    "Bilinear",
    "Composite",
    "DeconvNet",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gate",
    "GuidedReLU",
    "Norm",
    "Normalization",
    "Pass",
    "SignalTakesAll",
    "Softmax",
    "WSquare",
    "Winner",
    "ZBox",
    "ZPlus",
    "convolution",
    "first",
    "kinds",
    "last",
    "layer_type",
    "linear",
    "path",
    "register",
    "relevance_composite",
    "role",
    "unregister",
]
