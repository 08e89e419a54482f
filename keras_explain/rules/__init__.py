"""The backward rules of the papers, as data over `engine.rules`."""

from keras_explain.engine.composites import Composite
from keras_explain.rules.relu import BetaSmooth, DeconvNet, GuidedReLU, Pass

__all__ = ["BetaSmooth", "Composite", "DeconvNet", "GuidedReLU", "Pass"]
